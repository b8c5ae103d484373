//! `run.json` in the output folder: settings of a run and the outcome of each case. A run of one part of the cases
//! (`--part`) has a record of its own, `run.part-3-of-64.json`; [`merge`] joins them.
//!
//! The file is replaced atomically (written under a temporary name, then renamed), so that it is valid at any time,
//! even after a kill. It is rewritten after each case, unless that would take more than 1/20 of the run's time
//! (thousands of cases of a few milliseconds each); then it is rewritten within a second.

mod merge;

pub use merge::{Merged, join_ranks, merge, wait_for_ranks};

use super::resume::Identity;
use crate::contracts::{CaseReport, CaseStatus, Clock, Stage};
use crate::error::{Error, Result};
use crate::formats::atomic;
use crate::formats::lock::FolderLock;
use crate::image::Grid;
use crate::run::Part;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Version of the file format.
const FORMAT: u64 = 1;
/// Writing may take the time of the run divided by this.
const COST: u32 = 20;

/// Writer of `run.json` during a run.
pub struct RunRecord {
    path: PathBuf,
    settings: Settings,
    started: String,
    cases: BTreeMap<usize, CaseRecord>,
    counts: Counts,
    /// End and duration of the last write.
    last: Option<(Instant, Duration)>,
    dirty: bool,
    warned: bool,
}

/// Settings of the whole run.
pub struct Settings {
    /// Version, weights and config.
    pub identity: Identity,
    /// The config with expressions evaluated.
    pub config: Json,
    /// Device of the network.
    pub device: String,
    /// Autocast dtype; `None` is float32.
    pub amp: Option<&'static str>,
    /// Number of threads that libtorch computes with.
    pub threads: usize,
    /// Memory limit of the process in bytes (`--max-memory`).
    pub memory_bytes: u64,
    /// Whether cases with current results are skipped (`--skip-existing`).
    pub skip_existing: bool,
    /// The division of the cases of which the run processes a part.
    pub division: Option<Division>,
}

/// A list of cases that is divided into parts, and one of the parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Division {
    /// The part.
    #[serde(flatten)]
    pub part: Part,
    /// Number of cases of the list.
    pub cases: usize,
    /// SHA-256 of the names of the cases.
    pub names_sha256: String,
}

/// Number of cases by status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// Cases of the run.
    pub total: usize,
    /// Cases whose files were written.
    pub done: usize,
    /// Cases whose results existed.
    pub skipped: usize,
    /// Cases that ended with an error.
    pub failed: usize,
    /// Cases in inference when the user interrupted the run.
    pub interrupted: usize,
    /// Cases without a record.
    pub not_started: usize,
}

impl Counts {
    fn add(&mut self, status: CaseStatus) {
        *match status {
            CaseStatus::Done => &mut self.done,
            CaseStatus::Skipped => &mut self.skipped,
            CaseStatus::Failed => &mut self.failed,
            CaseStatus::Interrupted => &mut self.interrupted,
        } += 1;
        self.not_started = self.not_started.saturating_sub(1);
    }
}

/// Status of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunStatus {
    /// The run has not ended, or was killed.
    Running,
    /// All cases are done or skipped.
    Done,
    /// A case or the run failed.
    Failed,
    /// The user interrupted the run.
    Interrupted,
}

/// The content of `run.json`.
#[derive(Serialize, Deserialize)]
struct RunFile<'a> {
    status: RunStatus,
    updated: String,
    counts: Counts,
    peak_memory_bytes: u64,
    format: u64,
    segbundle: Cow<'a, str>,
    libtorch: Cow<'a, str>,
    cpu_features: Vec<Cow<'a, str>>,
    started: Cow<'a, str>,
    device: Cow<'a, str>,
    amp: Option<Cow<'a, str>>,
    threads: usize,
    max_memory_bytes: u64,
    skip_existing: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    part: Option<Cow<'a, Division>>,
    config_sha256: Cow<'a, str>,
    weights_sha256: Cow<'a, str>,
    config: Cow<'a, Json>,
    cases: Vec<Cow<'a, CaseRecord>>,
}

/// One case in `run.json` and in the sidecar record of its result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseRecord {
    /// Index in the datalist.
    pub index: usize,
    /// Outcome of the case.
    pub status: CaseStatus,
    /// The input as named in the datalist.
    pub input: String,
    /// Paths of the written files.
    pub outputs: Vec<String>,
    /// `[C, X, Y, Z]` of the input file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_shape: Option<[usize; 4]>,
    /// Voxel spacing of the input file along X, Y and Z.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_spacing_mm: Option<[f64; 3]>,
    /// `[C, X, Y, Z]` of the network's input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_shape: Option<[usize; 4]>,
    /// Voxel spacing of the network's input along X, Y and Z.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_spacing_mm: Option<[f64; 3]>,
    /// Number of windows that the network processed.
    pub windows: usize,
    /// Busy time by stage.
    pub seconds: Seconds,
    /// Peak resident memory of the process during the case, in bytes.
    pub peak_memory_bytes: u64,
    /// The reason of a failure.
    pub error: Option<ErrorRecord>,
}

/// Busy time of a case by stage, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seconds {
    check: f64,
    pre: f64,
    inferer: f64,
    invert: f64,
    post: f64,
    write: f64,
    /// Sum of the stages.
    total: f64,
}

impl Seconds {
    fn new(clock: &Clock) -> Seconds {
        let of = |stage| rounded(clock.get(stage));
        Seconds {
            check: of(Stage::Check),
            pre: of(Stage::Pre),
            inferer: of(Stage::Inferer),
            invert: of(Stage::Invert),
            post: of(Stage::Post),
            write: of(Stage::Write),
            total: rounded(clock.total()),
        }
    }
}

/// Seconds, rounded to 0.1 ms.
fn rounded(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e4).round() / 1e4
}

/// The error of a failed case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorRecord {
    message: String,
    file: Option<PathBuf>,
    hint: Option<String>,
}

impl From<&Error> for ErrorRecord {
    fn from(error: &Error) -> ErrorRecord {
        ErrorRecord {
            message: error.message().to_owned(),
            file: error.get_file().map(PathBuf::from),
            hint: error.get_hint().map(str::to_owned),
        }
    }
}

impl From<&CaseReport> for CaseRecord {
    fn from(report: &CaseReport) -> CaseRecord {
        let shape = |(channels, grid): &(usize, Grid)| {
            let [x, y, z] = grid.shape;
            [*channels, x, y, z]
        };
        let spacing = |(_, grid): &(usize, Grid)| grid.affine.spacing_mm();
        let (input, network) = (report.facts.input.as_ref(), report.facts.network.as_ref());
        CaseRecord {
            index: report.index,
            status: report.status(),
            input: report.name.clone(),
            outputs: report.outputs.iter().map(|path| path.display().to_string()).collect(),
            input_shape: input.map(shape),
            input_spacing_mm: input.map(spacing),
            network_shape: network.map(shape),
            network_spacing_mm: network.map(spacing),
            windows: report.facts.windows,
            seconds: Seconds::new(&report.clock),
            peak_memory_bytes: report.facts.peak_memory_bytes,
            error: report.error.as_ref().map(ErrorRecord::from),
        }
    }
}

impl RunRecord {
    /// Creates the record in `folder`, which is created if it does not exist.
    pub fn start(folder: &Path, settings: Settings, total: usize) -> RunRecord {
        let mut record = RunRecord {
            path: folder.join(name(settings.division.as_ref().map(|division| division.part)) + ".json"),
            settings,
            started: now(),
            cases: BTreeMap::new(),
            counts: Counts { total, not_started: total, ..Counts::default() },
            last: None,
            dirty: true,
            warned: false,
        };
        record.write(RunStatus::Running);
        record
    }

    /// Path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a case; the file is written now, or by the next [`RunRecord::flush`].
    pub fn add(&mut self, case: CaseRecord) {
        let status = case.status;
        if self.cases.insert(case.index, case).is_none() {
            self.counts.add(status);
        }
        self.dirty = true;
        if self.last.is_none_or(|(at, took)| at.elapsed() >= took * COST) {
            self.write(RunStatus::Running);
        }
    }

    /// Writes the file if cases were added since the last write.
    pub fn flush(&mut self) {
        if self.dirty {
            self.write(RunStatus::Running);
        }
    }

    /// Writes the final status.
    pub fn finish(mut self, status: RunStatus) {
        self.write(status);
    }

    fn write(&mut self, status: RunStatus) {
        let start = Instant::now();
        let content = self.content(status);
        let written = write_lines(&self.path, &content);
        drop(content);
        if let Err(error) = written
            && !std::mem::replace(&mut self.warned, true)
        {
            tracing::warn!("cannot write the record of the run, which continues without it: {error}");
        }
        self.last = Some((Instant::now(), start.elapsed()));
        self.dirty = false;
    }

    fn content(&self, status: RunStatus) -> RunFile<'_> {
        let settings = &self.settings;
        RunFile {
            status,
            updated: now(),
            counts: self.counts,
            peak_memory_bytes: crate::env::peak_memory_bytes(),
            format: FORMAT,
            segbundle: settings.identity.version.into(),
            libtorch: env!("LIBTORCH_VERSION").into(),
            cpu_features: segbundle_native::cpu().names().into_iter().map(Cow::Borrowed).collect(),
            started: self.started.as_str().into(),
            device: settings.device.as_str().into(),
            amp: settings.amp.map(Cow::Borrowed),
            threads: settings.threads,
            max_memory_bytes: settings.memory_bytes,
            skip_existing: settings.skip_existing,
            part: settings.division.as_ref().map(Cow::Borrowed),
            config_sha256: settings.identity.config_sha256.as_str().into(),
            weights_sha256: settings.identity.weights_sha256.as_str().into(),
            config: Cow::Borrowed(&settings.config),
            cases: self.cases.values().map(Cow::Borrowed).collect(),
        }
    }
}

/// Names of record and lock of a run, without extension: `run`, `run.part-3-of-64`.
fn name(part: Option<Part>) -> String {
    part.map_or_else(|| "run".into(), |Part { index, of }| format!("run.part-{index}-of-{of}"))
}

/// The part whose record or lock has this name, without extension; `None` for a run without parts.
fn part_of(name: &str) -> Option<Part> {
    let (index, of) = name.strip_prefix("run.part-")?.split_once("-of-")?;
    Part::new(index.parse().ok()?, of.parse().ok()?).ok()
}

/// Keeps other runs out of the folder of a record, or of the saved states of a training. Other parts of the same
/// division may write to the folder. `None` if the folder cannot be written, or if another rank of the same run holds the
/// lock.
///
/// # Errors
/// Another run writes to the folder.
pub fn lock(folder: &Path, part: Option<Part>) -> Result<Option<FolderLock>> {
    if part.is_none() && matches!(crate::env::rank(), Some((1.., _))) {
        return Ok(None);
    }
    let own = name(part) + ".lock";
    let lock = FolderLock::take(&folder.join(&own))?;
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(file) = entry.file_name().into_string() else { continue };
        let Some(other) = file.strip_suffix(".lock").filter(|other| file != own && other.starts_with("run")) else {
            continue;
        };
        if part.is_none() || part.map(|part| part.of) != part_of(other).map(|part| part.of) {
            FolderLock::check(&entry.path())?;
        }
    }
    Ok(lock)
}

/// Sets the status of the record at `path` to [`RunStatus::Interrupted`], for a process that is about to exit.
///
/// # Errors
/// The file cannot be read or written.
pub fn mark_interrupted(path: &Path) -> Result<()> {
    let mut content: Json = serde_json::from_slice(&std::fs::read(path)?)?;
    content["status"] = serde_json::to_value(RunStatus::Interrupted)?;
    write_lines(path, &content)
}

fn write_lines(path: &Path, content: &impl Serialize) -> Result<()> {
    atomic::write_file(path, |file, _| {
        content.serialize(&mut Serializer::with_formatter(&mut *file, Lines::default())).map_err(io::Error::from)?;
        Ok(writeln!(file)?)
    })
    .map(drop)
}

/// JSON formatter with one line per entry down to [`LINES_DEPTH`] levels, so that each case is on one line.
#[derive(Default)]
struct Lines {
    pretty: PrettyFormatter<'static>,
    depth: usize,
}

/// Values below this depth are on one line.
const LINES_DEPTH: usize = 2;

impl Lines {
    fn open<W: Write + ?Sized>(
        &mut self,
        out: &mut W,
        bracket: &[u8],
        pretty: fn(&mut PrettyFormatter<'static>, &mut W) -> io::Result<()>,
    ) -> io::Result<()> {
        self.depth += 1;
        if self.depth > LINES_DEPTH { out.write_all(bracket) } else { pretty(&mut self.pretty, out) }
    }

    fn close<W: Write + ?Sized>(
        &mut self,
        out: &mut W,
        bracket: &[u8],
        pretty: fn(&mut PrettyFormatter<'static>, &mut W) -> io::Result<()>,
    ) -> io::Result<()> {
        self.depth -= 1;
        if self.depth >= LINES_DEPTH { out.write_all(bracket) } else { pretty(&mut self.pretty, out) }
    }

    fn entry<W: Write + ?Sized>(
        &mut self,
        out: &mut W,
        first: bool,
        pretty: fn(&mut PrettyFormatter<'static>, &mut W, bool) -> io::Result<()>,
    ) -> io::Result<()> {
        match (self.depth > LINES_DEPTH, first) {
            (true, true) => Ok(()),
            (true, false) => out.write_all(b","),
            (false, _) => pretty(&mut self.pretty, out, first),
        }
    }
}

impl Formatter for Lines {
    fn begin_array<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.open(out, b"[", PrettyFormatter::begin_array)
    }
    fn end_array<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.close(out, b"]", PrettyFormatter::end_array)
    }
    fn begin_array_value<W: Write + ?Sized>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.entry(out, first, PrettyFormatter::begin_array_value)
    }
    fn end_array_value<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        if self.depth > LINES_DEPTH { Ok(()) } else { self.pretty.end_array_value(out) }
    }
    fn begin_object<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.open(out, b"{", PrettyFormatter::begin_object)
    }
    fn end_object<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.close(out, b"}", PrettyFormatter::end_object)
    }
    fn begin_object_key<W: Write + ?Sized>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.entry(out, first, PrettyFormatter::begin_object_key)
    }
    fn begin_object_value<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.pretty.begin_object_value(out)
    }
    fn end_object_value<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        if self.depth > LINES_DEPTH { Ok(()) } else { self.pretty.end_object_value(out) }
    }
}

fn now() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_run_and_parts_of_another_division_keep_each_other_out() {
        let folder = tempfile::tempdir().unwrap();
        let part = |index, of| Some(Part { index, of });
        let locks: Vec<_> = (0..3).map(|index| lock(folder.path(), part(index, 3)).unwrap().unwrap()).collect();
        for other in [None, part(1, 3), part(3, 4)] {
            let error = lock(folder.path(), other).err().unwrap();
            assert!(error.message().starts_with("another run writes to "), "{error}");
        }
        drop(locks);
        let whole = lock(folder.path(), None).unwrap().unwrap();
        assert!(lock(folder.path(), part(0, 2)).is_err());
        drop(whole);
        assert!(lock(folder.path(), part(0, 2)).unwrap().is_some());
    }

    fn case() -> CaseRecord {
        let clock = Clock::default();
        clock.add(Stage::Pre, Duration::from_micros(1234567));
        CaseRecord {
            index: 0,
            status: CaseStatus::Done,
            input: "a.nii.gz".into(),
            outputs: vec!["out/a_trans.nii.gz".into()],
            input_shape: Some([1, 4, 5, 6]),
            input_spacing_mm: Some([1.0, 1.5, 2.0]),
            network_shape: None,
            network_spacing_mm: None,
            windows: 8,
            seconds: Seconds::new(&clock),
            peak_memory_bytes: 7,
            error: Some(ErrorRecord { message: "no space".into(), file: None, hint: Some("make room".into()) }),
        }
    }

    #[test]
    fn a_case_record_keeps_its_field_names() {
        let text = r#"{"index":0,"status":"done","input":"a.nii.gz","outputs":["out/a_trans.nii.gz"],"#.to_owned()
            + r#""input_shape":[1,4,5,6],"input_spacing_mm":[1.0,1.5,2.0],"windows":8,"#
            + r#""seconds":{"check":0.0,"pre":1.2346,"inferer":0.0,"invert":0.0,"post":0.0,"write":0.0,"total":1.2346},"#
            + r#""peak_memory_bytes":7,"error":{"message":"no space","file":null,"hint":"make room"}}"#;
        assert_eq!(serde_json::to_string(&case()).unwrap(), text);
        assert_eq!(serde_json::from_str::<CaseRecord>(&text).unwrap(), case());
    }

    #[test]
    fn run_json_has_a_line_per_case_and_counts_by_status() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings {
            identity: Identity { version: "1", weights_sha256: "w".into(), config_sha256: "c".into() },
            config: json!({"pixdim": [1.5, 1.5, 1.5]}),
            device: "cpu".into(),
            amp: None,
            threads: 2,
            memory_bytes: 3,
            skip_existing: false,
            division: None,
        };
        let mut record = RunRecord::start(folder.path(), settings, 3);
        record.add(case());
        record.add(CaseRecord { index: 1, status: CaseStatus::Failed, ..case() });
        record.finish(RunStatus::Failed);
        let text = std::fs::read_to_string(folder.path().join("run.json")).unwrap();
        let lines: Vec<&str> = text.lines().filter(|line| line.contains("a.nii.gz")).collect();
        assert_eq!(lines.len(), 2, "{text}");
        let json: Json = serde_json::from_str(&text).unwrap();
        assert_eq!(json["status"], "failed");
        let counts = json!({"total": 3, "done": 1, "skipped": 0, "failed": 1, "interrupted": 0, "not_started": 1});
        assert_eq!(json["counts"], counts);
        let names: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        let expected = "status updated counts peak_memory_bytes format segbundle libtorch cpu_features started device amp threads \
                        max_memory_bytes skip_existing config_sha256 weights_sha256 config cases";
        assert_eq!(names, expected.split_whitespace().collect::<Vec<_>>());
    }
}
