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
    /// Cases with labels (imagesTr, labelsTr)
    #[arg(long, value_name = "N", default_value_t = Options::default().training)]
    training: usize,
    /// Cases without labels (imagesTs)
    #[arg(long, value_name = "N", default_value_t = Options::default().test)]
    test: usize,
}
