//! `segbundle split-labels`: one mask per structure of a label map.

use crate::error::Result;
use crate::formats::{nifti, paths};
use crate::tools::{label_names, split_labels};
use std::path::{Path, PathBuf};

/// Of the masks.
const EXTENSION: &str = ".nii.gz";

#[derive(clap::Args)]
pub struct Args {
    /// A label map (NIfTI)
    labels: PathBuf,
    /// Structures to write, by name: liver,spleen [default: all that have names]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    structures: Vec<String>,
    /// A bundle's metadata.json with the names [default: those in the label map]
    #[arg(long = "meta_file", alias = "meta-file", value_name = "FILE")]
    meta_file: Option<PathBuf>,
    /// Folder for the masks
    #[arg(long = "output_dir", alias = "output-dir", value_name = "DIR", default_value = "segmentations")]
    output_dir: PathBuf,
}

pub fn split_labels(args: &Args) -> Result<()> {
    let mut structures = label_names::of(&args.labels, args.meta_file.as_deref())?;
    if structures.is_empty() {
        return Err(crate::err!("expected names of structures in the label map")
            .file(&args.labels)
            .hint("name them with --meta_file metadata.json"));
    }
    if !args.structures.is_empty() {
        structures = structures.subset(&args.structures)?;
    }
    let inputs: Vec<&Path> = std::iter::once(&args.labels).chain(&args.meta_file).map(|path| &**path).collect();
    structures.iter().try_for_each(|structure| {
        paths::check_keeps(&split_labels::mask_path(&args.output_dir, structure, EXTENSION), &inputs)
    })?;
    let labels = nifti::read(&args.labels)?;
    let paths = split_labels::split_labels(&labels, &structures, &args.output_dir, EXTENSION)
        .map_err(|error| error.file(&args.labels))?;
    tracing::info!("wrote {} masks into {}", paths.len(), args.output_dir.display());
    Ok(())
}
