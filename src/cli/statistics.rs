//! `segbundle statistics`: measure volume, centroid and HU of each structure of a label map.

use crate::error::Result;
use crate::formats::{nifti, paths, reader};
use crate::tools::statistics;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Args {
    /// Label map (NIfTI)
    labels: PathBuf,
    /// CT of the label map, to measure HU: an image file or a folder of DICOM slices
    #[arg(long, value_name = "IMAGE")]
    image: Option<PathBuf>,
    /// Series of the DICOM folder: its SeriesInstanceUID or the beginning of it, its number or its description
    #[arg(long, value_name = "NAME", requires = "image")]
    series: Option<String>,
    /// metadata.json of a bundle, for the names of the structures [default: names in the label map, else metadata.json
    /// beside it or in its bundle's configs folder]
    #[arg(long = "meta_file", alias = "meta-file", value_name = "FILE")]
    meta_file: Option<PathBuf>,
    /// Output file, .csv or .json [default: CSV on stdout]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub fn statistics(args: &Args) -> Result<()> {
    let inputs: Vec<&Path> = [Some(&args.labels), args.image.as_ref(), args.meta_file.as_ref()]
        .into_iter()
        .flatten()
        .map(|path| &**path)
        .collect();
    args.output.iter().try_for_each(|output| paths::check_keeps(output, &inputs))?;
    if let Some(path) = &args.output {
        super::check_extension(path, &["csv", "json"])?;
    }
    args.image.iter().try_for_each(|path| reader::check_series(path, args.series.as_deref()))?;
    let structures = super::names_of(&args.labels, args.meta_file.as_deref())?;
    let labels = nifti::read(&args.labels)?;
    let image = args.image.as_ref().map(|path| reader::read(path, args.series.as_deref())).transpose()?;
    let rows =
        statistics::statistics(&labels, image.as_ref(), &structures).map_err(|error| error.file(&args.labels))?;
    super::warn_of_unnamed(&args.labels, rows.iter().map(|row| row.id), &structures);
    match &args.output {
        Some(path) => statistics::write(path, &rows).map(drop),
        None => {
            let mut text = vec![];
            statistics::write_csv(&mut text, &rows)?;
            super::show(&String::from_utf8_lossy(&text))
        }
    }
}
