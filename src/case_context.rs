//! What a part at work on one case may use: device, cancelling, memory budget, progress, and the clock of its stages.

use crate::err;
use crate::error::{Kind, Result};
use crate::torch::Device;
use indexmap::IndexMap;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The surroundings of one case.
#[derive(Clone)]
pub struct CaseContext {
    pub device: Device,
    pub autocast: Option<tch::Kind>,
    pub cancel: Arc<AtomicBool>,
    pub progress: Arc<dyn Progress>,
    pub clock: Clock,
    /// Bytes that one value may take.
    pub budget_bytes: u64,
}

impl CaseContext {
    /// On the CPU, unwatched: for tests and tools.
    pub fn quiet() -> CaseContext {
        CaseContext {
            device: Device::Cpu,
            autocast: None,
            cancel: Arc::default(),
            progress: Arc::new(NoProgress),
            clock: Clock::default(),
            budget_bytes: crate::env::free_memory_bytes(),
        }
    }
    /// An error of kind Cancelled once the user has interrupted.
    pub fn check(&self) -> Result<()> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(err!("interrupted").kind(Kind::Cancelled));
        }
        Ok(())
    }
    /// An error that says what was asked, if `bytes` at once exceed the budget.
    pub fn reserve(&self, bytes: u64, what: impl FnOnce() -> String) -> Result<()> {
        if bytes <= self.budget_bytes {
            return Ok(());
        }
        let gb = |bytes: u64| bytes as f64 / 1e9;
        let hint = "raise --max-memory or use a larger pixdim; argmax or a threshold before Invertd needs one byte per voxel instead \
                    of four per channel";
        Err(err!("{} needs {:.1} GB of memory, {:.1} GB may be used", what(), gb(bytes), gb(self.budget_bytes))
            .hint(hint))
    }
}

/// Where a case stands, for whoever watches.
pub trait Progress: Send + Sync {
    fn windows(&self, _total: usize) {}
    fn window_done(&self) {}
}

/// Nobody watches.
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
    pub const ALL: [Stage; 6] = [Stage::Check, Stage::Pre, Stage::Inferer, Stage::Invert, Stage::Post, Stage::Write];
    /// As the run's record spells it.
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
