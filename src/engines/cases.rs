//! Names, input files and output files of all cases, determined and checked before a run.

use super::resume::sidecar;
use crate::component::{FromValue, OneOrMany, Value};
use crate::contracts::{Dataset, Item, OutputRules, Sample, Transform, flattened};
use crate::data::alignment;
use crate::env::at_home;
use crate::err;
use crate::error::{Error, Kind, Result};
use crate::formats::{atomic, paths};
use indexmap::IndexMap;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// One case of the datalist.
pub struct Case {
    /// The input as named in the datalist.
    pub name: String,
    /// The input file that outputs are named after.
    pub source: Option<PathBuf>,
    /// All input files and folders of the case, the image first.
    pub inputs: Vec<PathBuf>,
    /// Output files of the pre- and postprocessing, or the reason why they cannot be written.
    pub outputs: Result<Vec<PathBuf>>,
}

/// All cases of a run.
pub struct Cases {
    /// The cases in the order of the dataset.
    pub cases: Vec<Case>,
    /// See [`CaseContext::output_rules`](crate::contracts::CaseContext::output_rules).
    pub output_rules: OutputRules,
}

/// Determines inputs and outputs of the first `total` cases. Outputs of inputs with the same name get folders named
/// after the inputs' folders.
///
/// # Errors
/// A transform cannot process predictions, two cases would write the same file, a case would overwrite an input, or no
/// case can be written. If only some cases cannot be written, the errors are in their [`Case::outputs`].
pub fn plan(
    dataset: &dyn Dataset,
    postprocessing: &[Arc<dyn Transform>],
    total: usize,
    mut output_rules: OutputRules,
) -> Result<Cases> {
    check_predictions(postprocessing)?;
    // A cached dataset does not write files: its cases are read without writers.
    let preprocessing = if dataset.reads_files() { dataset.transforms() } else { &[] };
    let writers: Vec<&dyn Transform> = [flattened(postprocessing), flattened(preprocessing)].concat();
    let mut cases: Vec<Case> = (0..total)
        .map(|index| {
            let named = dataset.entry(index).map(|entry| inputs(&entry)).unwrap_or_default();
            let name = named.first().map_or_else(|| format!("case {index}"), |source| source.display().to_string());
            let inputs: Vec<PathBuf> = named.iter().map(|path| found_at(path)).collect();
            let source = inputs.first().cloned();
            let outputs = outputs(&writers, source.as_deref(), &output_rules);
            Case { name, source, inputs, outputs }
        })
        .collect();
    check_overwrites(&cases)?;
    if let Err(clash) = check_clashes(&cases) {
        output_rules.root = Some(separate_by_folder(&mut cases, &writers, &output_rules).ok_or(clash)?);
    }
    check_overwrites(&cases)?;
    check_writable(&mut cases)?;
    Ok(Cases { cases, output_rules })
}

/// Names outputs after the inputs' folders, relative to their deepest common folder. Returns that folder, or `None` if
/// outputs still clash.
fn separate_by_folder(cases: &mut [Case], writers: &[&dyn Transform], rules: &OutputRules) -> Option<Arc<Path>> {
    let folders: Vec<PathBuf> = cases
        .iter()
        .filter_map(|case| case.source.as_deref()?.parent())
        .map(|folder| std::path::absolute(folder).map(|folder| paths::normal(&folder)))
        .collect::<Result<_, _>>()
        .ok()?;
    let mut root = folders.first()?.clone();
    while !folders.iter().all(|folder| folder.starts_with(&root)) {
        root.pop();
    }
    let root: Arc<Path> = root.into();
    let rules = OutputRules { root: Some(root.clone()), ..rules.clone() };
    for case in &mut *cases {
        case.outputs = outputs(writers, case.source.as_deref(), &rules);
    }
    check_clashes(cases).ok()?;
    Some(root)
}

impl Cases {
    /// Logs renamed output folders, and transforms that will not write files.
    pub fn announce(&self, dataset: &dyn Dataset) {
        if let Some(root) = &self.output_rules.root {
            tracing::info!(
                "several inputs have the same name: results are written to folders named after the inputs' folders below {}",
                root.display()
            );
        }
        if !dataset.reads_files() {
            warn_of_unwritten(dataset.transforms(), dataset.name());
        }
    }
}

/// Checks that no transform before SaveImaged needs an image.
///
/// # Errors
/// A transform that needs an image would get the prediction, which becomes an image when it is saved.
fn check_predictions(postprocessing: &[Arc<dyn Transform>]) -> Result<()> {
    let steps = flattened(postprocessing);
    let before_saving = steps.iter().take_while(|step| step.output_folder().is_none());
    match before_saving.into_iter().find(|step| step.image_keys().iter().any(|key| **key == *"pred")) {
        None => Ok(()),
        Some(step) => Err(err!("{} cannot process the prediction `pred`", step.name())
            .kind(Kind::Unsupported)
            .hint("use it after SaveImaged, or on other keys")),
    }
}

/// Warns of transforms of `owner` that would write files, because they do not write there.
pub fn warn_of_unwritten(transforms: &[Arc<dyn Transform>], owner: &str) {
    for transform in flattened(transforms).iter().filter(|transform| transform.output_folder().is_some()) {
        tracing::warn!("{} in the transforms of a {owner} does not write files", transform.name());
    }
}

/// Errors of a dataset's cases: files that are missing or have unreadable headers, outputs that clash or cannot be
/// written, labels that are not aligned with their images. Each kind is one error.
pub fn check(dataset: &dyn Dataset, postprocessing: &[Arc<dyn Transform>]) -> Vec<Error> {
    let mut errors = missing_files(dataset);
    let unreadable = unreadable_files(dataset);
    errors.extend(summary(&unreadable, |count| format!("{count} of {} cases cannot be read", dataset.len())));
    errors.extend(alignment::paired_with_others(dataset).map(Error::new));
    errors.extend(alignment::check(dataset, &AtomicBool::new(false)).err());
    match plan(dataset, postprocessing, dataset.len(), OutputRules::default()) {
        Ok(Cases { cases, .. }) => {
            let refused: Vec<Error> = cases.iter().filter_map(|case| case.outputs.as_ref().err().cloned()).collect();
            let text = |count: usize| format!("the results of {count} of {} cases cannot be written", cases.len());
            errors.extend(summary(&refused, text));
        }
        Err(error) => errors.push(error),
    }
    errors
}

/// Checks that all files that the transforms of a dataset read exist, before the first case. Warns if labels seem to
/// belong to other cases.
///
/// # Errors
/// The number of missing files, and the names of the first ones.
pub fn check_files(dataset: &dyn Dataset) -> Result<()> {
    if let Some(text) = alignment::paired_with_others(dataset) {
        tracing::warn!("{text}");
    }
    let missing = missing_files(dataset);
    if missing.is_empty() {
        return Ok(());
    }
    let text: Vec<&str> = missing.iter().map(Error::message).collect();
    let error = Error::new(text.join("; "));
    Err(if missing.iter().any(Error::is_of_working_folder) { error.of_working_folder() } else { error })
}

/// One error for each key under which files are missing.
fn missing_files(dataset: &dyn Dataset) -> Vec<Error> {
    /// Names in an error.
    const NAMED: usize = 3;
    let mut by_key: IndexMap<Arc<str>, (usize, Vec<PathBuf>)> = IndexMap::new();
    let keys: Vec<&Arc<str>> = flattened(dataset.transforms()).iter().flat_map(|step| step.file_keys()).collect();
    for entry in (0..dataset.len()).filter_map(|index| dataset.entry(index).ok()) {
        let Value::Dict(entry) = entry else { continue };
        for key in &keys {
            let (total, missing) = by_key.entry((*key).clone()).or_default();
            let paths = entry.get(key).map(|value| paths_in(&value)).unwrap_or_default();
            *total += paths.len();
            missing.extend(paths.into_iter().filter(|path| !found_at(path).exists()));
        }
    }
    let error = |(key, (total, missing)): (&Arc<str>, &(usize, Vec<PathBuf>))| {
        let first = missing.first()?;
        let names: Vec<String> = missing.iter().take(NAMED).map(|path| path.display().to_string()).collect();
        let more = match missing.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let (count, are) = (missing.len(), if missing.len() == 1 { "is" } else { "are" });
        let error = err!("{count} of {total} files under `{key}` {are} missing: {}{more}", names.join(", "));
        Some(if first.is_relative() { error.of_working_folder() } else { error })
    };
    by_key.iter().filter_map(error).collect()
}

/// The first error of each case whose files exist and have a header that cannot be read.
fn unreadable_files(dataset: &dyn Dataset) -> Vec<Error> {
    let steps = flattened(dataset.transforms());
    let Some(last) = steps.iter().rposition(|step| !step.file_keys().is_empty()) else { return vec![] };
    let missing = |sample: &Sample| {
        let keys = steps.iter().flat_map(|step| step.file_keys());
        let values = keys.filter_map(|key| match sample.get(key) {
            Some(Item::Value(value)) => Some(paths_in(value)),
            _ => None,
        });
        values.flatten().any(|path| !found_at(&path).exists())
    };
    let read = |index: usize| -> Option<Error> {
        let mut sample = dataset.sample(index).ok().filter(|sample| !missing(sample))?;
        for step in &steps[..=last] {
            match step.plan(sample) {
                Ok(planned) => sample = planned.sample,
                Err(error) => return Some(error.context(step.name())),
            }
        }
        None
    };
    (0..dataset.len()).filter_map(read).collect()
}

/// A single error as it is; several as one that names the first of them after `text` of their number.
fn summary(errors: &[Error], text: impl Fn(usize) -> String) -> Option<Error> {
    /// Errors that are listed.
    const LISTED: usize = 3;
    let (first, others) = errors.split_first()?;
    if others.is_empty() {
        return Some(first.clone());
    }
    let mut out = text(errors.len());
    for error in errors.iter().take(LISTED) {
        let file = error.get_file().map(|file| format!("{file}: ")).unwrap_or_default();
        out += &format!("\n{file}{}", error.message());
    }
    if errors.len() > LISTED {
        out += &format!("\nand {} more", errors.len() - LISTED);
    }
    let error = Error::new(out).kind(first.get_kind());
    Some(match first.get_hint() {
        Some(hint) => error.hint(hint),
        None => error,
    })
}

/// The output folder of the first transform that has one.
pub fn output_folder(postprocessing: &[Arc<dyn Transform>]) -> Option<PathBuf> {
    postprocessing.iter().find_map(|transform| {
        transform.output_folder().map(Path::to_owned).or_else(|| output_folder(transform.children()))
    })
}

/// Removes incomplete files of killed runs from the output folders; returns their number.
pub fn clear_stale(cases: &[Case], folder: Option<&Path>) -> usize {
    let outputs = cases.iter().filter_map(|case| case.outputs.as_ref().ok()).flatten();
    let folders: BTreeSet<&Path> = outputs.filter_map(|path| path.parent()).chain(folder).collect();
    let shown = |folder: &Path| if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder.to_owned() };
    folders.into_iter().map(|folder| atomic::remove_stale(&shown(folder)).len()).sum()
}

/// Paths in an entry of the datalist: those under `image`, and existing files and folders under other keys.
fn inputs(entry: &Value) -> Vec<PathBuf> {
    let Value::Dict(dict) = entry else { return vec![] };
    let mut found = dict.get("image").map(|image| paths_in(&image)).unwrap_or_default();
    for (_, value) in dict.items() {
        let others = paths_in(&value).into_iter().filter(|path| found_at(path).exists());
        found.extend(others.filter(|path| !found.contains(path)).collect::<Vec<_>>());
    }
    found
}

/// The path or paths that a value of the datalist names.
fn paths_in(value: &Value) -> Vec<PathBuf> {
    match OneOrMany::<PathBuf>::from_value(value) {
        Some(OneOrMany::One(path)) => vec![path],
        Some(OneOrMany::Many(paths)) => paths,
        None => vec![],
    }
}

/// The path that LoadImaged opens: `~` is the home folder, unless a file has this name.
fn found_at(path: &Path) -> PathBuf {
    if path.exists() { path.to_owned() } else { at_home(path) }
}

/// The files that transforms will write for a case; see [`Transform::output_paths`].
fn outputs(writers: &[&dyn Transform], source: Option<&Path>, rules: &OutputRules) -> Result<Vec<PathBuf>> {
    let Some(source) = source else { return Ok(vec![]) };
    let mut out = vec![];
    for transform in writers {
        out.extend(transform.output_paths(source, rules)?);
    }
    Ok(out)
}

/// Checks that all output files are different.
///
/// # Errors
/// Two cases, or two transforms of a case, would write the same file.
fn check_clashes(cases: &[Case]) -> Result<()> {
    let mut seen: HashMap<&Path, &Case> = HashMap::new();
    for case in cases {
        for path in case.outputs.iter().flatten() {
            let Some(other) = seen.insert(path, case) else { continue };
            if std::ptr::eq(other, case) {
                return Err(err!("two transforms would both write {}", path.display())
                    .kind(Kind::Config)
                    .hint("give one of them another output_postfix or output_dir"));
            }
            return Err(err!("{} and {} would both be written to {}", other.name, case.name, path.display())
                .kind(Kind::Config)
                .hint("set data_root_dir of SaveImaged to a folder above both inputs, or rename one"));
        }
    }
    Ok(())
}

/// Checks that no output file is an input.
///
/// # Errors
/// An output would overwrite an input.
fn check_overwrites(cases: &[Case]) -> Result<()> {
    let read: HashMap<PathBuf, &Path> =
        cases.iter().flat_map(|case| &case.inputs).map(|input| (paths::real_path(input), &**input)).collect();
    for case in cases {
        for path in case.outputs.iter().flatten() {
            if let Some(input) = read.get(&paths::real_path(path)) {
                return Err(err!("the result of {} would be written over the input {}", case.name, input.display())
                    .kind(Kind::Config)
                    .hint("choose another output_dir, or an output_postfix that no input has"));
            }
        }
    }
    Ok(())
}

/// Replaces the outputs of cases that cannot be written by the reason.
///
/// # Errors
/// No case can be written.
fn check_writable(cases: &mut [Case]) -> Result<()> {
    // Most outputs share the nearest folder that exists.
    let mut known: HashMap<PathBuf, Option<Error>> = HashMap::new();
    for case in &mut *cases {
        let Ok(paths) = &case.outputs else { continue };
        let mut check = |path: &Path| -> Result<()> {
            let absolute = std::path::absolute(path)?;
            let nearest =
                absolute.ancestors().skip(1).find(|folder| folder.symlink_metadata().is_ok()).unwrap_or(Path::new("/"));
            let found = match known.get(nearest) {
                Some(found) if !path.is_dir() => found
                    .clone()
                    .map(|error| Error::new(error.message()).file(path).hint(error.get_hint().unwrap_or_default())),
                _ => {
                    let found = atomic::check_writable(path).err();
                    if !path.is_dir() {
                        known.insert(nearest.to_owned(), found.clone());
                    }
                    found
                }
            };
            found.map_or(Ok(()), Err)
        };
        // The sidecar record is written beside the first output.
        let names = || paths.iter().cloned().chain(paths.first().map(|first| sidecar(first)));
        if let Err(error) = names()
            .try_for_each(|path| atomic::check_names(&path))
            .and_then(|()| paths.iter().try_for_each(|path| check(path)))
        {
            case.outputs = Err(error);
        }
    }
    let mut errors = cases.iter().map(|case| case.outputs.as_ref().err());
    match errors.clone().next().flatten() {
        Some(first) if errors.all(|error| error.is_some()) => Err(first.clone().context("no result can be written")),
        _ => Ok(()),
    }
}
