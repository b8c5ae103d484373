//! `segbundle merge-labels`: merge one mask per structure into label maps, for a whole dataset.

use crate::error::{Kind, Result};
use crate::formats::atomic;
use crate::text::count;
use crate::tools::label_names;
use crate::tools::merge_labels::{self, Case, Cases, Merged, Options, Pair, Split};
use crate::tools::structures::Structures;
use crate::{bail, err, log_error};
use parking_lot::Mutex;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Fraction of the cases used for validation if the dataset does not have a split.
const VALIDATION: f64 = 0.1;

#[derive(clap::Args)]
pub struct Args {
    /// Dataset with a folder per case that contains ct.nii.gz and segmentations/STRUCTURE.nii.gz, like
    /// TotalSegmentator's
    dataset_dir: PathBuf,
    /// Output folder, for imagesTr and labelsTr
    #[arg(long = "output_dir", alias = "output-dir", value_name = "DIR")]
    output_dir: PathBuf,
    /// metadata.json of a bundle, for the names and numbers of the structures [default: configs/metadata.json, else the
    /// 104 structures of version 1 of TotalSegmentator's dataset]
    #[arg(long = "meta_file", alias = "meta-file", value_name = "FILE")]
    meta_file: Option<PathBuf>,
    /// Merge cases without a mask for some structures, which then count as background. Version 2 of TotalSegmentator's
    /// dataset has no masks for 7 of the 104 structures
    #[arg(long)]
    allow_missing: bool,
    /// Copy the images instead of creating symbolic links
    #[arg(long)]
    copy_images: bool,
    /// Also write dataset.json, which lists the cases for training, validation and test, in the format of the Medical
    /// Segmentation Decathlon: by the column `split` of the dataset's meta.csv, or at random if it has no such file or
    /// --validation is given. A config reads it with monai.data.load_decathlon_datalist; train.json does not
    #[arg(long)]
    split: bool,
    /// Fraction of the cases for validation, drawn at random [default: 0.1 without meta.csv]
    #[arg(long, value_name = "FRACTION", requires = "split")]
    validation: Option<f64>,
    /// Seed of a random split
    #[arg(long, value_name = "N", default_value_t = 0, requires = "split")]
    seed: u32,
}

pub fn merge_labels(args: &Args) -> Result<()> {
    if let Some(fraction) = args.validation.filter(|fraction| !(0.0..1.0).contains(fraction)) {
        return Err(err!("--validation: expected a fraction from 0 to below 1, found {fraction}").kind(Kind::Config));
    }
    merge_labels::check_output(&args.dataset_dir, &args.output_dir)?;
    let structures = super::bundle_names(args.meta_file.as_deref(), label_names::from_metadata)?;
    let Cases { cases, without_image, without_masks } = merge_labels::cases(&args.dataset_dir, &structures)?;
    report_names(args, &structures, &cases)?;
    if let Some(first) = without_masks.first() {
        tracing::warn!("{} without masks, the first is {first}", count(without_masks.len(), "folder"));
    }
    let total = cases.len() + without_image.len();
    let split = match args.split && args.validation.is_none() {
        true => merge_labels::published_split(&args.dataset_dir, &cases)?,
        false => None,
    };
    let results = Mutex::new(vec![]);
    let report = |case: &Case, result: Result<Merged>| {
        let mut results = results.lock();
        let place = format!("[{}/{}] {}", results.len() + 1, total, case.name);
        match &result {
            Ok(merged) if merged.kept => tracing::info!("{place}: unchanged, kept"),
            Ok(merged) => tracing::info!("{place}: {}", summary(case, merged, &structures)),
            Err(error) => log_error!(error, error, {}, "{place}: {}", error.message()),
        }
        results.push((case.name.clone(), result));
    };
    let options = Options { copy_images: args.copy_images, memory_bytes: crate::env::free_memory_bytes() / 2 };
    merge_labels::merge_all(&cases, &structures, &args.output_dir, options, report)?;
    let results = results.into_inner();
    for name in &without_image {
        tracing::error!("{name}: expected ct.nii.gz beside the masks, found no image");
        merge_labels::remove_results(name, &args.output_dir);
    }
    let merged: Vec<&Merged> = results.iter().filter_map(|(_, result)| result.as_ref().ok()).collect();
    report_empty(&merged, &structures);
    let kept = merged.iter().filter(|merged| merged.kept).count();
    tracing::info!(
        "{} in {}: {} merged, {kept} kept",
        count(merged.len(), "label map"),
        args.output_dir.join("labelsTr").display(),
        merged.len() - kept
    );
    if args.split {
        let usable = |case: &&Case| results.iter().any(|(name, result)| *name == case.name && result.is_ok());
        write_split(args, &cases.iter().filter(usable).collect::<Vec<_>>(), split.as_ref())?;
    }
    match results.len() - merged.len() + without_image.len() {
        0 => Ok(()),
        failed => bail!("{failed} of {} could not be merged", count(total, "case")),
    }
}

/// Logs masks that are not used and structures without a mask.
fn report_names(args: &Args, structures: &Structures, cases: &[Case]) -> Result<()> {
    let unknown = merge_labels::tally(cases, |case| &case.unknown);
    if !unknown.is_empty() {
        tracing::warn!("masks that are not structures of the bundle are not used: {unknown}");
    }
    let missing = merge_labels::tally(cases, |case| &case.missing);
    if missing.is_empty() {
        return Ok(());
    }
    let of = count(structures.len(), "structure");
    if args.allow_missing {
        tracing::warn!("structures without a mask are background in the label maps: {missing}");
        return Ok(());
    }
    Err(err!("expected a mask for each of {of}; without a mask: {missing}")
        .kind(Kind::Config)
        .file(&args.dataset_dir)
        .hint(
            "`--meta_file` names the metadata.json of another bundle; `--allow-missing` makes these structures background",
        ))
}

/// `104 masks, 12 empty, 85 voxels changed to a later structure (most: 40 from aorta to esophagus)`
fn summary(case: &Case, merged: &Merged, structures: &Structures) -> String {
    let mut text = count(case.masks.len(), "mask");
    if !merged.empty.is_empty() {
        text += &format!(", {} empty", merged.empty.len());
    }
    if let Some(((one, other), most)) = merged.overlaps.iter().max_by_key(|(_, voxels)| **voxels) {
        let (one, other) = (structures.get(*one).name, structures.get(*other).name);
        let all: u64 = merged.overlaps.values().sum();
        text += &format!(
            ", {} changed to a later structure (most: {most} from {one} to {other})",
            count(all as usize, "voxel")
        );
    }
    text
}

/// Logs structures that no case has.
fn report_empty(merged: &[&Merged], structures: &Structures) {
    if merged.iter().any(|case| case.kept) {
        return;
    }
    let empty: Vec<String> =
        merge_labels::always_empty(merged.iter().copied()).into_iter().map(|id| structures.get(id).name).collect();
    if !empty.is_empty() {
        tracing::warn!("structures with empty masks in all cases: {}", empty.join(", "));
    }
}

/// Writes dataset.json: `published` without cases that could not be merged, or a random split.
fn write_split(args: &Args, cases: &[&Case], published: Option<&[Vec<&Case>; 3]>) -> Result<()> {
    let source = if published.is_some() { "meta.csv" } else { "random" };
    let [training, validation, test] = match published {
        Some(parts) => [0, 1, 2].map(|part| parts[part].iter().copied().filter(|case| cases.contains(case)).collect()),
        None => {
            let fraction = args.validation.unwrap_or(VALIDATION);
            let [training, validation] = merge_labels::random_split(cases, fraction, args.seed);
            [training, validation, vec![]]
        }
    };
    let pairs =
        |cases: Vec<&Case>| -> Vec<Pair> { cases.into_iter().map(|case| merge_labels::outputs(case).into()).collect() };
    tracing::info!(
        "dataset.json: {} for training, {} for validation, {} for test (split: {source})",
        training.len(),
        validation.len(),
        test.len()
    );
    let split = Split { training: pairs(training), validation: pairs(validation), test: pairs(test) };
    write_json(&args.output_dir.join("dataset.json"), &split)
}

fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<()> {
    atomic::write_file(path, |file, _| {
        let text = serde_json::to_string_pretty(value).map_err(|error| err!("cannot write JSON: {error}"))?;
        file.write_all((text + "\n").as_bytes()).map_err(|error| err!("cannot write: {error}").file(path))
    })
}
