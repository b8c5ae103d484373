//! What whoever started a run gives to its engines, and what they tell about each case.

use crate::contracts::{Clock, Explanation, NoProgress, Progress};
use crate::error::{Error, Kind};
use crate::image::Grid;
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// A run's surroundings; travels as [`crate::component::Surroundings`].
pub struct Run {
    pub cancel: Arc<AtomicBool>,
    pub observer: Arc<dyn Observer>,
    /// The type of `amp` on a CPU when the user asks for one; otherwise a CPU computes in f32, as MONAI does.
    pub amp_dtype: Option<tch::Kind>,
    /// Bytes that the whole process may use.
    pub memory_bytes: u64,
    /// Leave out cases whose result is there and was made from the same input, weights and config.
    pub skip_existing: bool,
    /// What would run, instead of running it: one for each engine.
    pub explanation: Option<Mutex<Vec<Explanation>>>,
    /// Go on with a training where it was saved last.
    pub resume: bool,
    /// How often a training is saved between the ends of its epochs.
    pub save_every: Duration,
    /// Set by the workflow; see [`Run::config`].
    pub config: OnceLock<ConfigSource>,
    /// Set by the workflow: the folder that the config keeps checkpoints in (`ckpt_dir`).
    pub checkpoint_folder: OnceLock<FolderSource>,
}

/// Makes the config's record from what is built so far.
pub type ConfigSource = Box<dyn Fn() -> Option<ConfigRecord> + Send + Sync>;

/// Finds a folder in the config; `None` if there is none.
pub type FolderSource = Box<dyn Fn() -> Option<PathBuf> + Send + Sync>;

/// The config as the run has it.
#[derive(Debug, Clone, Default)]
pub struct ConfigRecord {
    /// All that the run reaches, with values in place of expressions.
    pub resolved: serde_json::Value,
    /// What results depend on, and nothing else.
    pub fingerprint: serde_json::Value,
}

impl Default for Run {
    /// Nobody watches, nobody interrupts.
    fn default() -> Self {
        Run {
            cancel: Arc::default(),
            observer: Arc::new(NoProgress),
            amp_dtype: None,
            memory_bytes: crate::env::free_memory_bytes(),
            skip_existing: false,
            explanation: None,
            resume: false,
            save_every: Duration::from_secs(15 * 60),
            config: OnceLock::new(),
            checkpoint_folder: OnceLock::new(),
        }
    }
}

impl Run {
    /// Where the config's record comes from; the first one stays.
    pub fn know_config(&self, source: impl Fn() -> Option<ConfigRecord> + Send + Sync + 'static) {
        let _ = self.config.set(Box::new(source));
    }
    /// Where the config's folder of checkpoints comes from; the first one stays.
    pub fn know_checkpoint_folder(&self, source: impl Fn() -> Option<PathBuf> + Send + Sync + 'static) {
        let _ = self.checkpoint_folder.set(Box::new(source));
    }
    /// Where a training is saved so that it can go on, if the config says.
    pub fn resume_folder(&self) -> Option<PathBuf> {
        self.checkpoint_folder.get().and_then(|source| source()).map(|folder| folder.join("resume"))
    }
    /// The config; empty where an engine is run without one.
    pub fn config(&self) -> ConfigRecord {
        self.config.get().and_then(|source| source()).unwrap_or_default()
    }
}

/// Who watches a run.
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
