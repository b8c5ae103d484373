//! [`CaseContext`]: what components use while they process one case – device, cancellation, memory budget, progress, digests
//! of the files that are read, and the clock of its stages.

use crate::err;
use crate::error::{Kind, Result};
use crate::formats::digest::FileDigests;
pub use crate::run::{Clock, NoProgress, Progress, Stage};
use crate::torch::Device;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Options and handles for the processing of one case.
#[derive(Clone)]
pub struct CaseContext {
    pub device: Device,
    pub autocast: Option<tch::Kind>,
    pub cancel: Arc<AtomicBool>,
    pub progress: Arc<dyn Progress>,
    pub clock: Clock,
    /// Bytes that one value may take.
    pub budget_bytes: u64,
    /// Where readers record the digests of the files that they read; `None` where nothing needs them.
    pub digests: Option<FileDigests>,
    /// The folder below which the inputs' folders are repeated in output folders, where inputs of the same name need it.
    pub output_root: Option<Arc<Path>>,
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
            digests: None,
            output_root: None,
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
