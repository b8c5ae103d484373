//! `segbundle sample-data`: a set of CT-like phantoms with labels.

use crate::err;
use crate::error::{Kind, Result};
use crate::tools::phantom::{self, Options};
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// Folder for imagesTr, labelsTr and imagesTs
    #[arg(long = "output_dir", alias = "output-dir", value_name = "DIR", default_value = "sampledata")]
    output_dir: PathBuf,
    /// Cases in all: four fifths with labels (imagesTr, labelsTr), the others without (imagesTs)
    #[arg(long, value_name = "N", default_value_t = 25)]
    cases: usize,
    /// Voxels along x, y and z of a typical case; one number for all three
    #[arg(long, num_args = 1..=3, value_names = ["X", "Y", "Z"])]
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
        None => Options::default().size,
        Some(&[n]) => [n; 3],
        Some(&[x, y, z]) => [x, y, z],
        Some(other) => {
            return Err(err!("--size: expected one number or three, found {}", other.len()).kind(Kind::Config));
        }
    };
    let test = args.cases / 5;
    let options = Options { training: args.cases - test, test, size, spacing_mm: args.spacing, seed: args.seed };
    let paths = phantom::write_set(&args.output_dir, &options)?;
    tracing::info!("{} phantoms (computed bodies, not patients) in {}", paths.len(), args.output_dir.display());
    Ok(())
}
