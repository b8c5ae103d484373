//! Joins the records of parts, `run.part-3-of-64.json`, into `run.json`.

use super::{CaseRecord, Counts, FORMAT, RunFile, RunStatus, name, now, part_of, write_lines};
use crate::contracts::CaseStatus;
use crate::error::{Kind, Result};
use crate::formats::lock::FolderLock;
use crate::run::Part;
use crate::text::{self, count};
use crate::tools::run_folder::MAX_RECORD_BYTES;
use crate::{bail, err};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// Time to wait for another rank that does not start, or that joins records.
const PATIENCE: Duration = Duration::from_secs(60);
/// Interval at which other ranks are looked at.
const POLL_EVERY: Duration = Duration::from_millis(50);

/// Result of [`merge`].
pub struct Merged {
    /// Path of the record that was written.
    pub path: PathBuf,
    /// Cases by status.
    pub counts: Counts,
    /// Parts that have not processed all of their cases, with the reason.
    pub incomplete: Vec<(Part, &'static str)>,
    /// Cases without a record whose part is complete, by their number in the list from 1.
    pub lost: Vec<usize>,
    /// What differs between the parts.
    pub notes: Vec<String>,
}

/// Joins the records of the parts of a run in `folder`. A case in several parts keeps the record of its result. `of`:
/// number of parts, if records of other divisions are to be ignored.
///
/// # Errors
/// There are no records of parts, they are of several divisions or lists of cases, or one cannot be read; a run without
/// parts writes to the folder.
pub fn merge(folder: &Path, of: Option<usize>) -> Result<Merged> {
    FolderLock::check(&folder.join("run.lock"))?;
    let parts = parts_in(folder, of)?;
    let mut merger: Option<Merger> = None;
    for (part, path) in parts.values() {
        let file = read(path, *part)?;
        match &mut merger {
            None => merger = Some(Merger::new(file, *part, path)),
            Some(merger) => merger.add(file, *part, path)?,
        }
    }
    let Some(merger) = merger else { bail!("expected records of parts") };
    merger.finish(folder.join("run.json"))
}

/// Joins the records of the ranks of an inference; called by each rank when it has ended. Other ranks may still run.
///
/// # Errors
/// As for [`merge`].
pub fn join_ranks(folder: &Path, rank: Part) -> Result<()> {
    // The record of a rank that ends at the same time would otherwise be left out.
    let began = Instant::now();
    let _lock = loop {
        match FolderLock::take(&folder.join("merge.lock")) {
            Err(_) if began.elapsed() < PATIENCE => std::thread::sleep(POLL_EVERY),
            taken => break taken?,
        }
    };
    merge(folder, Some(rank.of)).map(drop)
}

/// Waits until the other ranks have ended, since launchers end all ranks when one fails. A rank that does not run is
/// waited for a minute only. `since`: start of this rank.
pub fn wait_for_ranks(folder: &Path, rank: Part, since: SystemTime, cancel: &AtomicBool) {
    let began = Instant::now();
    let mut others: Vec<usize> = (0..rank.of).filter(|index| *index != rank.index).collect();
    while !cancel.load(Ordering::Relaxed) {
        others.retain(|index| {
            let file = |extension: &str| folder.join(name(Some(Part { index: *index, ..rank })) + extension);
            let runs = || FolderLock::check(&file(".lock")).is_err();
            !has_ended(&file(".json"), since) && (runs() || began.elapsed() < PATIENCE)
        });
        if others.is_empty() {
            return;
        }
        std::thread::sleep(10 * POLL_EVERY);
    }
}

/// Whether a record is that of a run that has ended since, or not long before.
fn has_ended(path: &Path, since: SystemTime) -> bool {
    #[derive(serde::Deserialize)]
    struct Status {
        status: RunStatus,
    }
    let is_new = path.metadata().and_then(|metadata| metadata.modified()).is_ok_and(|at| at + PATIENCE > since);
    let status = || serde_json::from_slice::<Status>(&std::fs::read(path).ok()?).ok();
    is_new && status().is_some_and(|Status { status }| status != RunStatus::Running)
}

/// The records of parts in a folder, by index.
fn parts_in(folder: &Path, of: Option<usize>) -> Result<BTreeMap<usize, (Part, PathBuf)>> {
    let entries = std::fs::read_dir(folder).map_err(|error| err!("cannot read the folder: {error}").file(folder))?;
    let mut parts = BTreeMap::new();
    for entry in entries {
        let path = entry?.path();
        let stem = path.file_name().and_then(|file| file.to_str()?.strip_suffix(".json"));
        if let Some(part) = stem.and_then(part_of).filter(|part| of.is_none_or(|of| part.of == of)) {
            parts.insert((part.of, part.index), (part, path));
        }
    }
    let (Some(((first, _), _)), Some(((last, _), _))) = (parts.first_key_value(), parts.last_key_value()) else {
        return Err(err!("found no records of parts, such as run.part-0-of-8.json")
            .kind(Kind::Config)
            .file(folder)
            .hint("give the output folder of runs with `--part`"));
    };
    if first != last {
        return Err(err!("found records of a division into {first} parts and of one into {last}")
            .kind(Kind::Config)
            .file(folder)
            .hint("remove the records of the division that is out of date"));
    }
    Ok(parts.into_iter().map(|((_, index), found)| (index, found)).collect())
}

/// Reads the record of `part`.
fn read(path: &Path, part: Part) -> Result<RunFile<'static>> {
    let text = text::read(path, MAX_RECORD_BYTES)?;
    let file: RunFile = serde_json::from_str(&text).map_err(|error| {
        err!("expected the record of a run of this version: {error}").file(path).hint("run this part again")
    })?;
    if file.format != FORMAT {
        return Err(err!("expected a record of format {FORMAT}, found {}", file.format).file(path));
    }
    if file.part.as_ref().map(|division| division.part) != Some(part) {
        return Err(err!("expected the record of {part}, as its name says").file(path));
    }
    Ok(file)
}

/// The record of all parts so far.
struct Merger {
    file: RunFile<'static>,
    first: Part,
    /// Path of the first record.
    path: PathBuf,
    cases: BTreeMap<usize, CaseRecord>,
    /// Status of each part, by index.
    status: BTreeMap<usize, RunStatus>,
    repeated: usize,
    notes: Vec<String>,
}

impl Merger {
    fn new(file: RunFile<'static>, part: Part, path: &Path) -> Merger {
        let mut merger = Merger {
            file,
            first: part,
            path: path.to_owned(),
            cases: BTreeMap::new(),
            status: BTreeMap::new(),
            repeated: 0,
            notes: vec![],
        };
        let cases = std::mem::take(&mut merger.file.cases);
        merger.add_cases(cases, part, merger.file.status);
        merger
    }

    fn add(&mut self, mut file: RunFile<'static>, part: Part, path: &Path) -> Result<()> {
        let names = |file: &RunFile| file.part.as_ref().map(|part| (part.cases, part.names_sha256.clone()));
        if names(&file) != names(&self.file) {
            return Err(err!("{part} was made from another list of cases than {}", self.first)
                .kind(Kind::Config)
                .file(path)
                .hint(format!("run the older of the two again; the other record is {}", self.path.display())));
        }
        let identities = [
            ("version", &file.segbundle, &self.file.segbundle),
            ("weights", &file.weights_sha256, &self.file.weights_sha256),
            ("config", &file.config_sha256, &self.file.config_sha256),
        ];
        for (what, _, _) in identities.iter().filter(|(_, own, first)| own != first) {
            self.notes.push(format!("{part} was computed with another {what} than {}", self.first));
        }
        let cases = std::mem::take(&mut file.cases);
        self.add_cases(cases, part, file.status);
        self.file.peak_memory_bytes = self.file.peak_memory_bytes.max(file.peak_memory_bytes);
        if file.started < self.file.started {
            self.file.started = file.started;
        }
        self.file.skip_existing |= file.skip_existing;
        Ok(())
    }

    fn add_cases(&mut self, cases: Vec<Cow<'static, CaseRecord>>, part: Part, status: RunStatus) {
        self.status.insert(part.index, status);
        let has_result = |case: &CaseRecord| matches!(case.status, CaseStatus::Done | CaseStatus::Skipped);
        for case in cases {
            let case = case.into_owned();
            match self.cases.get(&case.index) {
                Some(earlier) => {
                    self.repeated += 1;
                    if has_result(&case) && !has_result(earlier) {
                        self.cases.insert(case.index, case);
                    }
                }
                None => drop(self.cases.insert(case.index, case)),
            }
        }
    }

    fn finish(mut self, path: PathBuf) -> Result<Merged> {
        let total = self.file.part.take().map_or(0, |division| division.cases);
        let mut counts = Counts { total, not_started: total, ..Counts::default() };
        self.cases.values().for_each(|case| counts.add(case.status));
        let part = |index| Part { index, of: self.first.of };
        let incomplete: Vec<(Part, &'static str)> = (0..self.first.of)
            .filter_map(|index| {
                let why = match self.status.get(&index) {
                    None => "has no record",
                    Some(RunStatus::Running) => "has not ended, or was killed",
                    Some(RunStatus::Interrupted) => "was interrupted",
                    Some(RunStatus::Done | RunStatus::Failed) => return None,
                };
                Some((part(index), why))
            })
            .collect();
        let lost = match incomplete.is_empty() {
            true => (0..total).filter(|index| !self.cases.contains_key(index)).map(|index| index + 1).collect(),
            false => vec![],
        };
        if self.repeated > 0 {
            self.notes.push(format!(
                "{} in several parts: sizes of input files changed between them",
                count(self.repeated, "case")
            ));
        }
        let has = |status| self.status.values().any(|found| *found == status);
        self.file.status = match () {
            () if has(RunStatus::Running) => RunStatus::Running,
            () if !incomplete.is_empty() => RunStatus::Interrupted,
            () if has(RunStatus::Failed) || !lost.is_empty() => RunStatus::Failed,
            () => RunStatus::Done,
        };
        (self.file.updated, self.file.counts) = (now(), counts);
        self.file.cases = self.cases.into_values().map(Cow::Owned).collect();
        write_lines(&path, &self.file)?;
        Ok(Merged { path, counts, incomplete, lost, notes: self.notes })
    }
}
