//! `segbundle merge-runs`: join the records of a run's parts.

use crate::engines::record::{Merged, merge};
use crate::err;
use crate::error::Result;
use crate::text::count;
use std::path::PathBuf;

/// Parts and cases that an error names.
const NAMED: usize = 16;

#[derive(clap::Args)]
pub struct Args {
    /// Output folder of runs with `--part`: run.part-0-of-8.json and so on
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub fn merge_runs(args: &Args) -> Result<()> {
    let Merged { path, counts, incomplete, lost, notes } = merge(&args.folder, None)?;
    for note in notes {
        tracing::warn!("{note}");
    }
    tracing::info!(
        "wrote {}: {} done, {} skipped, {} failed, {} interrupted, {} not started",
        path.display(),
        counts.done,
        counts.skipped,
        counts.failed,
        counts.interrupted,
        counts.not_started
    );
    let named = |texts: Vec<String>| match texts.len() {
        0..=NAMED => texts.join(", "),
        all => format!("{} and {} more", texts[..NAMED].join(", "), all - NAMED),
    };
    if let Some((part, _)) = incomplete.first() {
        let texts = incomplete.iter().map(|(part, why)| format!("part {} {why}", part.index)).collect();
        let error = err!("{} of {} are not complete: {}", incomplete.len(), count(part.of, "part"), named(texts));
        return Err(error.hint(format!(
            "run each of them again: segbundle --skip-existing --part {}/{} run …",
            part.index, part.of
        )));
    }
    if !lost.is_empty() {
        let texts = lost.iter().map(usize::to_string).collect();
        return Err(err!("{} of the list in no part: {}", count(lost.len(), "case"), named(texts))
            .hint("sizes of input files changed between the parts: run all of them again with --skip-existing"));
    }
    Ok(())
}
