//! `segbundle split-labels`: write one mask per structure of a label map.

use crate::err;
use crate::error::{Kind, Result};
use crate::formats::{nifti, paths};
use crate::text::count;
use crate::tools::structures::{Names, Structures};
use crate::tools::{label_names, split_labels};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// File extension of the masks.
const EXTENSION: &str = ".nii.gz";

#[derive(clap::Args)]
pub struct Args {
    /// Label map (NIfTI)
    labels: PathBuf,
    /// Names of the structures to write: liver,spleen [default: all structures that have names]
    #[arg(long, value_name = "NAMES")]
    structures: Option<String>,
    /// metadata.json of a bundle, for the names of the structures [default: names in the label map, else metadata.json
    /// beside it or in its bundle's configs folder]
    #[arg(long = "meta_file", alias = "meta-file", value_name = "FILE")]
    meta_file: Option<PathBuf>,
    /// Output folder
    #[arg(long = "output_dir", alias = "output-dir", value_name = "DIR", default_value = "segmentations")]
    output_dir: PathBuf,
}

pub fn split_labels(args: &Args) -> Result<()> {
    let mut structures = label_names::of(&args.labels, args.meta_file.as_deref())?.0;
    if structures.is_empty() {
        return Err(err!("expected names of structures in the label map")
            .file(&args.labels)
            .hint("`--meta_file metadata.json` provides names"));
    }
    let all = structures.clone();
    if let Some(names) = &args.structures {
        structures = structures.subset(&Names::parse(names).0)?;
    }
    let inputs: Vec<&Path> = std::iter::once(&args.labels).chain(&args.meta_file).map(|path| &**path).collect();
    structures.iter().try_for_each(|structure| {
        paths::check_keeps(&split_labels::mask_path(&args.output_dir, structure, EXTENSION), &inputs)
    })?;
    let labels = nifti::read(&args.labels)?;
    let present = label_names::labels_in(&labels).map_err(|error| error.file(&args.labels))?;
    check_names(args, &present, &all)?;
    let paths = split_labels::split_labels(&labels, &structures, &args.output_dir, EXTENSION)
        .map_err(|error| error.file(&args.labels))?;
    tracing::info!("wrote {} into {}", count(paths.len(), "mask"), args.output_dir.display());
    let absent: Vec<&str> = structures.iter().filter(|it| !present.contains(&it.id)).map(|it| &*it.name).collect();
    if !absent.is_empty() {
        tracing::info!(
            "{} of {} not in the label map, with empty masks: {}",
            absent.len(),
            count(structures.len(), "structure"),
            absent.join(", ")
        );
    }
    Ok(())
}

/// Before a file is written: labels without a name indicate the names of another label map. Structures that are chosen by
/// name are written nevertheless.
///
/// # Errors
/// A label has no name, and no structures are chosen, or no label has a name.
fn check_names(args: &Args, present: &BTreeSet<u32>, named: &Structures) -> Result<()> {
    let unnamed: Vec<u32> = present.iter().copied().filter(|id| !named.contains(*id)).collect();
    let Some(first) = unnamed.first() else { return Ok(()) };
    if args.structures.is_some() && unnamed.len() < present.len() {
        super::warn_of_unnamed(&args.labels, unnamed, named);
        return Ok(());
    }
    let found = match present.len() - unnamed.len() {
        0 => format!("{} and none of these names, the first label is {first}", count(unnamed.len(), "label")),
        _ => format!("{} without a name, the first is {first}", count(unnamed.len(), "label")),
    };
    Err(err!("expected names of all labels, found {found}: these are the names of another label map")
        .kind(Kind::Config)
        .file(&args.labels)
        .hint("`--meta_file metadata.json` provides names; `--structures` chooses some of them"))
}
