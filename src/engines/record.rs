//! `run.json` in the output folder: what a run was, and how each of its cases ended.
//!
//! The file is replaced as a whole (temporary name, then rename), so that it is valid at every moment, also after a
//! kill. It is rewritten after each case, unless that would take more than a twentieth of the run's time (thousands of
//! cases of a few milliseconds); then it follows within a second.

use super::resume::Identity;
use crate::contracts::{CaseReport, CaseStatus, Stage};
use crate::error::Error;
use crate::formats::atomic;
use crate::image::Grid;
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The layout of the file.
const FORMAT: u64 = 1;
/// Share of the time that writing may take: one part in so many.
const COST: u32 = 20;

pub struct RunRecord {
    path: PathBuf,
    /// What is known from the start.
    head: Map<String, Json>,
    /// Case records, written out, by index.
    cases: BTreeMap<usize, String>,
    counts: BTreeMap<&'static str, usize>,
    total: usize,
    /// When writing ended and how long it took.
    last: Option<(Instant, Duration)>,
    dirty: bool,
    warned: bool,
}

/// What holds for the whole run.
pub struct Settings<'a> {
    pub identity: &'a Identity,
    pub config: Json,
    pub device: String,
    pub amp: Option<&'static str>,
    pub threads: usize,
    pub memory_bytes: u64,
    pub skip_existing: bool,
}

impl RunRecord {
    /// Begin a record in `folder`, which is made if it is not there, and write it.
    pub fn start(folder: &Path, settings: Settings, total: usize) -> RunRecord {
        let mut head = Map::new();
        let mut add = |key: &str, value: Json| head.insert(key.into(), value);
        add("format", json!(FORMAT));
        add("segbundle", json!(settings.identity.version));
        add("libtorch", json!(env!("LIBTORCH_VERSION")));
        add("started", json!(now()));
        add("device", json!(settings.device));
        add("amp", json!(settings.amp));
        add("threads", json!(settings.threads));
        add("max_memory_bytes", json!(settings.memory_bytes));
        add("skip_existing", json!(settings.skip_existing));
        add("config_sha256", json!(settings.identity.config_sha256));
        add("weights_sha256", json!(settings.identity.weights_sha256));
        add("config", settings.config);
        let path = folder.join("run.json");
        let mut record = RunRecord {
            path,
            head,
            cases: BTreeMap::new(),
            counts: BTreeMap::new(),
            total,
            last: None,
            dirty: true,
            warned: false,
        };
        record.write("running");
        record
    }

    /// Add a case; the file follows now or within a second.
    pub fn add(&mut self, index: usize, status: CaseStatus, case: &Map<String, Json>) {
        let text = serde_json::to_string(case).unwrap_or_default();
        if self.cases.insert(index, text).is_none() {
            *self.counts.entry(status.name()).or_default() += 1;
        }
        self.dirty = true;
        if self.last.is_none_or(|(at, took)| at.elapsed() >= took * COST) {
            self.write("running");
        }
    }

    /// Write what was put off.
    pub fn flush(&mut self) {
        if self.dirty {
            self.write("running");
        }
    }

    /// The last word: `done`, `failed` or `interrupted`.
    pub fn finish(mut self, status: &str) {
        self.write(status);
    }

    fn write(&mut self, status: &str) {
        let start = Instant::now();
        let text = self.text(status);
        if let Err(error) = atomic::write_file(&self.path, |file, _| Ok(file.write_all(text.as_bytes())?))
            && !std::mem::replace(&mut self.warned, true)
        {
            tracing::warn!("the run goes on without its record: {error}");
        }
        self.last = Some((Instant::now(), start.elapsed()));
        self.dirty = false;
    }

    fn text(&self, status: &str) -> String {
        let mut head = Map::new();
        head.insert("status".into(), json!(status));
        head.insert("updated".into(), json!(now()));
        let mut counts = Map::new();
        counts.insert("total".into(), json!(self.total));
        for status in [CaseStatus::Done, CaseStatus::Skipped, CaseStatus::Failed, CaseStatus::Interrupted] {
            counts.insert(status.name().into(), json!(self.counts.get(status.name()).copied().unwrap_or(0)));
        }
        counts.insert("not_started".into(), json!(self.total.saturating_sub(self.cases.len())));
        head.insert("counts".into(), Json::Object(counts));
        head.insert("peak_memory_bytes".into(), json!(crate::env::peak_memory_bytes()));
        head.extend(self.head.clone());
        let text = serde_json::to_string_pretty(&head).unwrap_or_default();
        let mut out = text.strip_suffix("\n}").unwrap_or("{").to_owned();
        out += ",\n  \"cases\": [";
        for (at, case) in self.cases.values().enumerate() {
            let _ = write!(out, "{}\n    {case}", if at > 0 { "," } else { "" });
        }
        out += "\n  ]\n}\n";
        out
    }
}

fn now() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

/// One case, as it stands in `run.json` and in the file beside its result.
pub fn case_record(report: &CaseReport) -> Map<String, Json> {
    let mut out = Map::new();
    let mut add = |key: &str, value: Json| out.insert(key.into(), value);
    add("index", json!(report.index));
    add("status", json!(report.status().name()));
    add("input", json!(report.name));
    add("outputs", report.outputs.iter().map(|path| json!(path.display().to_string())).collect());
    for (name, image) in [("input", &report.facts.input), ("network", &report.facts.network)] {
        if let Some((channels, Grid { shape: [x, y, z], affine })) = image {
            add(&format!("{name}_shape"), json!([channels, x, y, z]));
            add(&format!("{name}_spacing_mm"), json!(affine.spacing_mm()));
        }
    }
    add("windows", json!(report.facts.windows));
    let mut seconds: Map<String, Json> =
        Stage::ALL.iter().map(|stage| (stage.name().to_owned(), rounded(report.clock.get(*stage)))).collect();
    seconds.insert("total".into(), rounded(report.elapsed));
    add("seconds", Json::Object(seconds));
    add("peak_memory_bytes", json!(report.facts.peak_memory_bytes));
    add("error", report.error.as_ref().map_or(Json::Null, error_record));
    out
}

fn rounded(time: Duration) -> Json {
    json!((time.as_secs_f64() * 1e4).round() / 1e4)
}

fn error_record(error: &Error) -> Json {
    json!({"message": error.message(), "file": error.get_file(), "hint": error.get_hint()})
}
