//! A run: what the user asked for, what it gives to the engines that its config builds, and what these report.
//!
//! [`RunOptions`] come from the command line. [`RunContext`] is available wherever a config builds something
//! ([`crate::component::BuildContext::run`]); an engine gets [`EngineStart`] when it starts.

use crate::error::{Error, Kind};
use crate::image::Grid;
use crate::random::RngStates;
use indexmap::IndexMap;
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// The item of a config that names its folder of checkpoints, as MONAI's bundles do.
pub const CHECKPOINT_FOLDER: &str = "ckpt_dir";

/// What the user asked for.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Precision of `amp: true` where the config names none: Float32 is MONAI's choice, float16 on a GPU.
    pub amp_precision: Precision,
    /// Bytes that the whole process may use.
    pub memory_bytes: u64,
    /// Leave out cases whose result is there and was made from the same input, weights and config.
    pub skip_existing: bool,
    /// Resume training from the last saved state.
    pub resume: bool,
    /// How often a training is saved between the ends of its epochs.
    pub save_every: Duration,
}

/// Number format of a computation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Precision {
    #[default]
    Float32,
    Bfloat16,
}

impl Default for RunOptions {
    fn default() -> Self {
        RunOptions {
            amp_precision: Precision::Float32,
            memory_bytes: crate::env::free_memory_bytes(),
            skip_existing: false,
            resume: false,
            save_every: Duration::from_secs(15 * 60),
        }
    }
}

/// What a run gives to everything that its config builds.
pub struct RunContext {
    pub options: RunOptions,
    /// Set when the user interrupts the run.
    pub cancel: Arc<AtomicBool>,
    pub observer: Arc<dyn Observer>,
    /// States of the random transforms outside of a loader's workers: one per transform, whatever loaders share it.
    pub rng: Arc<Mutex<RngStates>>,
}

impl RunContext {
    /// A run that is not observed.
    pub fn new(options: RunOptions) -> RunContext {
        RunContext { options, cancel: Arc::default(), observer: Arc::new(NoProgress), rng: Arc::default() }
    }
}

impl Default for RunContext {
    fn default() -> Self {
        RunContext::new(RunOptions::default())
    }
}

impl std::fmt::Debug for RunContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunContext").field("options", &self.options).finish_non_exhaustive()
    }
}

/// What an engine gets when it starts.
#[derive(Debug, Clone, Default)]
pub struct EngineStart {
    pub run: Arc<RunContext>,
    pub config: ConfigRecord,
}

/// The config as it is when an engine starts; empty where an engine is run without one.
#[derive(Debug, Clone, Default)]
pub struct ConfigRecord {
    /// All that the run reaches, with values in place of expressions.
    pub resolved: serde_json::Value,
    /// What results depend on, and nothing else.
    pub fingerprint: serde_json::Value,
    /// Value of [`CHECKPOINT_FOLDER`], if the config has it.
    pub checkpoint_folder: Option<PathBuf>,
}

/// Told of the cases of a run.
pub trait Observer: Send + Sync {
    /// A case reaches the network; `name` is its input.
    fn case_started(&self, _name: &str, _index: usize, _total: usize) -> Arc<dyn Progress> {
        Arc::new(NoProgress)
    }
    /// A case's files are written, or it has failed, or it was left out.
    fn case_finished(&self, _report: &CaseReport) {}
}

impl Observer for NoProgress {}

/// One case of a run, when it is over.
pub struct CaseReport {
    pub name: String,
    pub index: usize,
    pub total: usize,
    pub outputs: Vec<PathBuf>,
    pub clock: Clock,
    pub elapsed: Duration,
    pub facts: CaseFacts,
    /// Its result was there already.
    pub skipped: bool,
    pub error: Option<Error>,
}

/// What was seen of a case on its way; as far as it came.
#[derive(Debug, Clone, Default)]
pub struct CaseFacts {
    /// Shape [C,X,Y,Z] and grid as in the file.
    pub input: Option<(usize, Grid)>,
    /// Channels and grid that the network saw.
    pub network: Option<(usize, Grid)>,
    /// Windows that the network ran on, or was to.
    pub windows: usize,
    /// The most resident memory of the process while the case was in the network, sampled.
    pub peak_memory_bytes: u64,
}

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CaseStatus {
    Done,
    /// Its result was there already.
    Skipped,
    Failed,
    /// The user stopped the run while it was in the network.
    Interrupted,
}

impl CaseReport {
    pub fn status(&self) -> CaseStatus {
        match &self.error {
            Some(error) if error.get_kind() == Kind::Cancelled => CaseStatus::Interrupted,
            Some(_) => CaseStatus::Failed,
            None if self.skipped => CaseStatus::Skipped,
            None => CaseStatus::Done,
        }
    }
}

/// Told of the progress of one case.
pub trait Progress: Send + Sync {
    fn windows(&self, _total: usize) {}
    fn window_done(&self) {}
}

/// Ignores all reports.
pub struct NoProgress;
impl Progress for NoProgress {}

/// Busy time by stage.
#[derive(Clone, Default)]
pub struct Clock(Arc<Mutex<IndexMap<Stage, Duration>>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Comparing and recording inputs and outputs.
    Check,
    Pre,
    Inferer,
    Invert,
    Post,
    Write,
}

impl Stage {
    /// As log lines spell it.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Check => "check",
            Stage::Pre => "pre",
            Stage::Inferer => "inferer",
            Stage::Invert => "invert",
            Stage::Post => "post",
            Stage::Write => "write",
        }
    }
}

impl Clock {
    pub fn add(&self, stage: Stage, elapsed: Duration) {
        *self.0.lock().entry(stage).or_default() += elapsed;
    }
    pub fn time<T>(&self, stage: Stage, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        self.add(stage, start.elapsed());
        result
    }
    pub fn get(&self, stage: Stage) -> Duration {
        self.0.lock().get(&stage).copied().unwrap_or_default()
    }
}
