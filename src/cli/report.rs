//! `segbundle report`: write an HTML page about the output folder of a run.

use crate::error::Result;
use crate::text::bytes;
use crate::tools::report::{self, Options};
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// Output folders, such as those of an inference and its evaluation: run.json, metrics, event files and label maps,
    /// as far as they exist
    #[arg(required = true, value_name = "FOLDER")]
    folders: Vec<PathBuf>,
    /// Number of cases shown as a picture
    #[arg(long, value_name = "N", default_value_t = 12)]
    previews: usize,
    /// Do not read the label maps to measure the volumes of the structures
    #[arg(long)]
    no_volumes: bool,
    /// Output file (.html) [default: report.html in the first folder]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub fn report(args: &Args) -> Result<()> {
    let output = args.output.clone().unwrap_or_else(|| args.folders[0].join("report.html"));
    super::check_extension(&output, &["html"])?;
    let options = Options { previews: args.previews, volumes: !args.no_volumes };
    let report = report::gather(&args.folders, options)?;
    for note in &report.notes {
        tracing::info!("{note}");
    }
    let size = report::write(&report, &output)?;
    tracing::info!("wrote {} ({})", output.display(), bytes(size));
    Ok(())
}
