//! `segbundle preview`: draw a CT and its labels as a PNG.

use crate::err;
use crate::error::{Kind, Result};
use crate::formats::{nifti, paths, reader};
use crate::tools::{label_names, preview};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Args {
    /// Label map (NIfTI)
    labels: PathBuf,
    /// CT of the label map: an image file or a folder of DICOM slices
    #[arg(long, value_name = "IMAGE")]
    image: PathBuf,
    /// Series of the DICOM folder: its SeriesInstanceUID or the beginning of it, its number or its description
    #[arg(long, value_name = "NAME")]
    series: Option<String>,
    /// metadata.json of a bundle, for the names of the structures [default: names in the label map, else metadata.json
    /// beside it or in its bundle's configs folder]
    #[arg(long = "meta_file", alias = "meta-file", value_name = "FILE")]
    meta_file: Option<PathBuf>,
    /// HU values shown as black and as white
    #[arg(long, num_args = 2, value_names = ["LOW", "HIGH"], allow_negative_numbers = true, default_values_t = preview::Options::default().window)]
    window: Vec<f64>,
    /// Height of the tallest slice, in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = preview::Options::default().height_px as u16, value_parser = clap::value_parser!(u16).range(16..=4096))]
    height: u16,
    /// Output file (.png)
    #[arg(long, value_name = "FILE", default_value = "preview.png")]
    output: PathBuf,
}

pub fn preview(args: &Args) -> Result<()> {
    let inputs: Vec<&Path> = [Some(&args.labels), Some(&args.image), args.meta_file.as_ref()]
        .into_iter()
        .flatten()
        .map(|path| &**path)
        .collect();
    paths::check_keeps(&args.output, &inputs)?;
    let window = match args.window[..] {
        [low, high] if low < high => [low, high],
        _ => {
            return Err(
                err!("--window: expected a lower and a higher value, found {:?}", args.window).kind(Kind::Config)
            );
        }
    };
    super::check_extension(&args.output, &["png"])?;
    reader::check_series(&args.image, args.series.as_deref())?;
    let structures = super::names_of(&args.labels, args.meta_file.as_deref())?;
    let options = preview::Options { window, height_px: usize::from(args.height), ..preview::Options::default() };
    let (labels, image) = (nifti::read(&args.labels)?, reader::read(&args.image, args.series.as_deref())?);
    let title = args.image.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let picture =
        preview::preview(&labels, &image, &structures, &title, options).map_err(|error| error.file(&args.labels))?;
    let present = label_names::labels_in(&labels).map_err(|error| error.file(&args.labels))?;
    super::warn_of_unnamed(&args.labels, present, &structures);
    let done = if args.output.exists() { "replaced" } else { "wrote" };
    picture.write(&args.output)?;
    tracing::info!("{done} {}", args.output.display());
    Ok(())
}
