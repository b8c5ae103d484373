//! `segbundle sample-data`: a set of CT-like phantoms with labels.

use crate::error::Result;
use crate::tools::phantom::{self, Options};
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// Folder for imagesTr, labelsTr and imagesTs
    #[arg(long = "output_dir", alias = "output-dir", value_name = "DIR", default_value = "sampledata")]
    output_dir: PathBuf,
    /// Cases with labels (imagesTr, labelsTr)
    #[arg(long, value_name = "N", default_value_t = Options::default().training)]
    training: usize,
    /// Cases without labels (imagesTs)
    #[arg(long, value_name = "N", default_value_t = Options::default().test)]
    test: usize,
    /// Voxels along x, y and z of a typical case
    #[arg(long, num_args = 3, value_names = ["X", "Y", "Z"])]
    size: Option<Vec<usize>>,
    /// Voxel edge of a typical case
    #[arg(long, value_name = "MM", default_value_t = Options::default().spacing_mm)]
    spacing: f64,
    /// Another seed gives other bodies
    #[arg(long, value_name = "N", default_value_t = Options::default().seed)]
    seed: u64,
}

pub fn sample_data(args: &Args) -> Result<()> {
    let size = match args.size.as_deref() {
        Some(&[x, y, z]) => [x, y, z],
        _ => Options::default().size,
    };
    let options = Options { training: args.training, test: args.test, size, spacing_mm: args.spacing, seed: args.seed };
    let paths = phantom::write_set(&args.output_dir, &options)?;
    tracing::info!("{} phantoms (made by formula, not patients) in {}", paths.len(), args.output_dir.display());
    Ok(())
}
