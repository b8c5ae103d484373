//! What a part at work on one case may use: device, cancelling, memory budget, progress, and the clock of its stages.

use crate::err;
use crate::error::{Kind, Result};
pub use crate::run::{Clock, NoProgress, Progress, Stage};
use crate::torch::Device;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Device, cancellation, budget, progress and clock of one case.
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
