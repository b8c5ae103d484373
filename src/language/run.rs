//! Options and context of a run, and the reports of its engines.
//!
//! [`RunOptions`] come from the command line. [`RunContext`] is available wherever a config builds something
//! ([`crate::component::BuildContext::run`]); an engine gets [`EngineStart`] when it starts.

use crate::component::Value;
use crate::error::{Error, Kind, Result};
use crate::image::Grid;
use crate::random::RngStates;
use crate::{err, text};
use indexmap::IndexMap;
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// The config item that names the folder of checkpoints, by the convention of MONAI bundles.
pub const CHECKPOINT_FOLDER: &str = "ckpt_dir";

/// Interval between saves of the training state within an epoch, unless `--save-minutes` sets another.
pub const SAVE_EVERY: Duration = Duration::from_secs(15 * 60);

/// The config item with the outputs of the network, from metadata.json. The names of the channels are the `channel_def`
/// of the first output that has one.
pub const NETWORK_OUTPUTS: &str = "_meta_::network_data_format::outputs";

/// One of the parts into which the cases of a run are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Part {
    /// Number of the part, from 0.
    pub index: usize,
    /// Number of parts.
    pub of: usize,
}

impl Part {
    /// Largest number of parts.
    const MAX: usize = 1 << 20;

    /// Part `index` of `of`.
    ///
    /// # Errors
    /// The numbers are out of range.
    pub fn new(index: usize, of: usize) -> Result<Part> {
        match of {
            1..=Part::MAX if index < of => Ok(Part { index, of }),
            1..=Part::MAX => Err(Error::config(format!("expected a part from 0 to {}, found {index}", of - 1))),
            _ => Err(Error::config(format!("expected between 1 and {} parts, found {of}", Part::MAX))),
        }
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "part {} of {}", self.index, self.of)
    }
}

/// Options of a run, from the command line.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Precision where the config sets `amp: true` without a type, if given. The default is that of MONAI: float32 on a
    /// CPU and float16 on a GPU.
    pub amp_precision: Option<Precision>,
    /// Memory limit of the whole process in bytes.
    pub memory_bytes: u64,
    /// Skip cases whose results exist and were computed from the same input, weights and config.
    pub skip_existing: bool,
    /// Process only this part of the cases.
    pub part: Option<Part>,
    /// The rank of this process, if there are several: an inference divides its cases among them.
    pub rank: Option<Part>,
    /// Resume training from the last saved state.
    pub resume: bool,
    /// Interval between saves of the training state within an epoch, if given; the default is [`SAVE_EVERY`].
    pub save_every: Option<Duration>,
}

impl RunOptions {
    /// Memory that the process may take in addition to what it takes now, in bytes.
    ///
    /// # Errors
    /// The process takes more than the limit already, so that no case fits.
    pub fn room_bytes(&self) -> Result<u64> {
        let taken = crate::env::resident_memory_bytes();
        match self.memory_bytes.checked_sub(taken) {
            Some(room) if room > 0 => Ok(room),
            _ => Err(err!(
                "the memory limit is {}, but the program already takes {}",
                text::bytes(self.memory_bytes),
                text::bytes(taken)
            )
            .kind(Kind::Memory)
            .hint("`segbundle explain` without --max-memory shows the memory that each case needs")),
        }
    }
}

/// Floating-point format of a computation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// IEEE 754 single precision.
    Float32,
    /// bfloat16.
    Bfloat16,
}

impl Default for RunOptions {
    fn default() -> Self {
        RunOptions {
            amp_precision: None,
            memory_bytes: crate::env::free_memory_bytes(),
            skip_existing: false,
            part: None,
            rank: None,
            resume: false,
            save_every: None,
        }
    }
}

/// Options and handles that the command line passes to every component of a run.
pub struct RunContext {
    /// Options from the command line.
    pub options: RunOptions,
    /// Set when the user interrupts the run.
    pub cancel: Arc<AtomicBool>,
    /// Receives the events of the run's cases.
    pub observer: Arc<dyn Observer>,
    /// What an interrupt lets the run finish, for messages: a window or an iteration.
    pub step: Arc<Mutex<&'static str>>,
    /// The record (`run.json`) of the engine that is running, for a program that exits before the engine ends.
    pub record: Arc<Mutex<Option<PathBuf>>>,
    /// States of the random transforms outside of loader workers: one per transform, even if several loaders share it.
    pub rng: Arc<Mutex<RngStates>>,
}

impl RunContext {
    /// Creates the context of a run without an observer.
    pub fn new(options: RunOptions) -> RunContext {
        RunContext {
            options,
            cancel: Arc::default(),
            observer: Arc::new(NoProgress),
            step: Arc::new(Mutex::new("window")),
            record: Arc::default(),
            rng: Arc::default(),
        }
    }

    /// Runs `work` with another [`RunContext::step`].
    pub fn with_step<T>(&self, step: &'static str, work: impl FnOnce() -> T) -> T {
        let before = std::mem::replace(&mut *self.step.lock(), step);
        let result = work();
        *self.step.lock() = before;
        result
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

/// Context and config that an engine is started with.
#[derive(Debug, Clone, Default)]
pub struct EngineStart {
    /// Options and handles of the run.
    pub run: Arc<RunContext>,
    /// The config when the engine starts.
    pub config: ConfigRecord,
}

/// The config at the start of an engine; empty for an engine that runs without a config.
#[derive(Debug, Clone)]
pub struct ConfigRecord {
    /// All items that the run refers to, with expressions evaluated.
    pub resolved: serde_json::Value,
    /// The part of the config that results depend on.
    pub fingerprint: serde_json::Value,
    /// Value of [`CHECKPOINT_FOLDER`], `None` if the config does not define it. Its error concerns only engines that use
    /// the folder.
    pub checkpoint_folder: Result<Option<PathBuf>>,
    /// Names of the prediction's channels, by number: `channel_def` in the bundle's metadata.json. `None` without one.
    pub channel_names: Value,
}

impl Default for ConfigRecord {
    fn default() -> Self {
        ConfigRecord {
            resolved: Default::default(),
            fingerprint: Default::default(),
            checkpoint_folder: Ok(None),
            channel_names: Value::None,
        }
    }
}

/// Receives the events of a run's cases.
pub trait Observer: Send + Sync {
    /// A case enters inference; `name` is its input. Returns the receiver of its progress.
    fn case_started(&self, _name: &str, _index: usize, _total: usize) -> Arc<dyn Progress> {
        Arc::new(NoProgress)
    }
    /// A case is complete with all files written, has failed, or was skipped.
    fn case_finished(&self, _report: &CaseReport) {}
}

impl Observer for NoProgress {}

/// Report of one case at its end.
#[derive(Clone)]
pub struct CaseReport {
    /// Input of the case, as in [`Observer::case_started`].
    pub name: String,
    /// Position in the dataset, counted from 0.
    pub index: usize,
    /// Number of cases of the dataset.
    pub total: usize,
    /// Files written.
    pub outputs: Vec<PathBuf>,
    /// Time per stage.
    pub clock: Clock,
    /// Measurements.
    pub facts: CaseFacts,
    /// Skipped because its results existed.
    pub skipped: bool,
    /// Error that ended the case.
    pub error: Option<Error>,
}

/// Measurements of a case; those of stages that the case did not reach are `None` or 0.
#[derive(Debug, Clone, Default)]
pub struct CaseFacts {
    /// Number of channels and voxel grid of the input file.
    pub input: Option<(usize, Grid)>,
    /// Number of channels and voxel grid of the network's input.
    pub network: Option<(usize, Grid)>,
    /// Number of windows of the sliding-window inference.
    pub windows: usize,
    /// Peak resident memory of the process during inference in bytes, sampled.
    pub peak_memory_bytes: u64,
}

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CaseStatus {
    /// All files are written.
    Done,
    /// Its results existed.
    Skipped,
    /// An error occurred.
    Failed,
    /// The user interrupted the run during its inference.
    Interrupted,
}

impl CaseReport {
    /// How the case ended.
    pub fn status(&self) -> CaseStatus {
        match &self.error {
            Some(error) if error.get_kind() == Kind::Cancelled => CaseStatus::Interrupted,
            Some(_) => CaseStatus::Failed,
            None if self.skipped => CaseStatus::Skipped,
            None => CaseStatus::Done,
        }
    }
}

/// Receives the progress of one case.
pub trait Progress: Send + Sync {
    /// Inference starts, with `total` windows.
    fn windows(&self, _total: usize) {}
    /// The network has processed a window.
    fn window_done(&self) {}
}

/// Ignores all events.
pub struct NoProgress;
impl Progress for NoProgress {}

/// Busy time of each stage, summed over threads.
#[derive(Clone, Default)]
pub struct Clock(Arc<Mutex<IndexMap<Stage, Duration>>>);

/// Stage of processing a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Comparison and recording of inputs and outputs.
    Check,
    /// Reading and preprocessing.
    Pre,
    /// Inference.
    Inferer,
    /// Inversion of spatial transforms.
    Invert,
    /// Postprocessing.
    Post,
    /// Writing of files.
    Write,
}

impl Stage {
    /// Name of the stage in log lines.
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
    /// Add a duration to a stage.
    pub fn add(&self, stage: Stage, elapsed: Duration) {
        *self.0.lock().entry(stage).or_default() += elapsed;
    }
    /// Run `work` and add its duration to a stage.
    pub fn time<T>(&self, stage: Stage, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        self.add(stage, start.elapsed());
        result
    }
    /// Busy time of all stages, without the time in which a case waits for others.
    pub fn total(&self) -> Duration {
        self.0.lock().values().sum()
    }
    /// Busy time of a stage.
    pub fn get(&self, stage: Stage) -> Duration {
        self.0.lock().get(&stage).copied().unwrap_or_default()
    }
}
