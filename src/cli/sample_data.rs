//! `segbundle sample-data`: write synthetic CT phantoms with labels.

use crate::err;
use crate::error::{Kind, Result};
use crate::text::count;
use crate::tools::phantom::{self, Options};
use std::collections::HashSet;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// Output folder, for imagesTr, labelsTr, imagesTs and labelsTs
    #[arg(long = "output_dir", alias = "output-dir", value_name = "DIR", default_value = "sampledata")]
    output_dir: PathBuf,
    /// Number of cases: one fifth, but at least one, for tests (imagesTs, labelsTs), the others for training (imagesTr,
    /// labelsTr). A single case is for training
    #[arg(long, value_name = "N", default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..))]
    cases: u32,
    /// Voxels along x, y and z of a typical case, or one number for all three; cases differ from it with their body
    /// size and field of view [default: 128 104 200]
    #[arg(long, num_args = 1..=3, value_names = ["X", "Y", "Z"])]
    size: Option<Vec<usize>>,
    /// Voxel size of a typical case in mm
    #[arg(long, value_name = "MM", default_value_t = Options::default().spacing_mm)]
    spacing: f64,
    /// Seed of the random number generator
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
    let cases = args.cases as usize;
    let test = if cases == 1 { 0 } else { (cases / 5).max(1) };
    let options = Options { training: cases - test, test, size, spacing_mm: args.spacing, seed: args.seed };
    let folders = ["imagesTr", "imagesTs"].map(|name| std::fs::read_dir(args.output_dir.join(name)));
    let before: HashSet<PathBuf> = folders.into_iter().flatten().flatten().flatten().map(|file| file.path()).collect();
    let paths = phantom::write_set(&args.output_dir, &options)?;
    tracing::info!(
        "wrote {} (not patient data) to {}",
        count(paths.len(), "synthetic phantom"),
        args.output_dir.display()
    );
    match paths.iter().filter(|path| before.contains(*path)).count() {
        0 => {}
        replaced => tracing::warn!("replaced {} of the same name", count(replaced, "case")),
    }
    if test == 0 {
        tracing::info!("the only case is for training: imagesTs and labelsTs are not written");
    }
    Ok(())
}
