//! `segbundle statistics`: volume, place and HU of each structure of a label map.

use crate::error::Result;
use crate::formats::{nifti, paths, reader};
use crate::tools::{label_names, statistics};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Args {
    /// A label map (NIfTI)
    labels: PathBuf,
    /// The CT that it belongs to, for HU
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// A bundle's metadata.json with the names [default: those in the label map]
    #[arg(long = "meta_file", alias = "meta-file", value_name = "FILE")]
    meta_file: Option<PathBuf>,
    /// A .csv or .json file [default: CSV on stdout]
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
    let structures = label_names::of(&args.labels, args.meta_file.as_deref())?;
    let labels = nifti::read(&args.labels)?;
    let image = args.image.as_ref().map(|path| reader::read(path, None)).transpose()?;
    let rows =
        statistics::statistics(&labels, image.as_ref(), &structures).map_err(|error| error.file(&args.labels))?;
    match &args.output {
        Some(path) => statistics::write(path, &rows),
        None => {
            let mut text = vec![];
            statistics::write_csv(&mut text, &rows)?;
            super::show(&String::from_utf8_lossy(&text))
        }
    }
}
