//! [`CaseContext`]: device, cancellation, memory budget, progress, input digests and stage timings, for components that
//! process one case.

use crate::error::{Error, Kind, Result};
use crate::formats::digest::FileDigests;
use crate::formats::paths::normal;
use crate::run::RunContext;
pub use crate::run::{Clock, NoProgress, Progress, Stage};
use crate::torch::Device;
use crate::{err, text};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Options and handles for the processing of one case.
#[derive(Clone)]
pub struct CaseContext {
    /// Device of the network.
    pub device: Device,
    /// Autocast dtype of the network (`amp`); `None` computes in float32.
    pub autocast: Option<tch::Kind>,
    /// Set to true by an interrupt: [`CaseContext::check`] then returns an error.
    pub cancel: Arc<AtomicBool>,
    /// Blend windows on the CPU as on a GPU, by tensor operations: for tests of that path.
    pub blends_as_gpu: bool,
    /// Receives the progress of inference, in windows.
    pub progress: Arc<dyn Progress>,
    /// Time spent in each stage of the case.
    pub clock: Clock,
    /// Upper limit of the memory that one allocation may take, in bytes.
    pub budget_bytes: u64,
    /// Digests of the input files, recorded by readers; `None` if they are not needed.
    pub digests: Option<FileDigests>,
    /// Output folders of the case.
    pub output_rules: OutputRules,
}

/// What decides about the output folders of a case besides the arguments of its writers.
#[derive(Debug, Clone, Default)]
pub struct OutputRules {
    /// Common root of the inputs: output folders repeat the folders below it if inputs have equal file names.
    pub root: Option<Arc<Path>>,
    /// The folder of the first writer, and the folder that is used instead of it, for a single case.
    pub moved: Option<Arc<(PathBuf, PathBuf)>>,
}

impl OutputRules {
    /// The folder in which a writer with the argument `output_dir` writes.
    ///
    /// # Errors
    /// The folder of the case is given, and `output_dir` is not below that of the first writer.
    pub fn folder(&self, output_dir: &Path) -> Result<PathBuf> {
        let Some((from, to)) = self.moved.as_deref() else { return Ok(output_dir.to_owned()) };
        match normal(output_dir).strip_prefix(normal(from)) {
            Ok(below) => Ok(normal(&to.join(below))),
            Err(_) => Err(err!(
                "cannot write to another folder for one case: {} is not below {}",
                output_dir.display(),
                from.display()
            )
            .hint("use the same output_dir for all transforms that write files, or a request without output_dir")),
        }
    }
}

impl CaseContext {
    /// Creates a context on the CPU without progress, cancellation and digests, for tests and tools.
    pub fn quiet() -> CaseContext {
        CaseContext {
            device: Device::Cpu,
            autocast: None,
            blends_as_gpu: false,
            cancel: Arc::default(),
            progress: Arc::new(NoProgress),
            clock: Clock::default(),
            budget_bytes: crate::env::free_memory_bytes(),
            digests: None,
            output_rules: OutputRules::default(),
        }
    }
    /// Creates a context on the CPU with the cancellation and memory limit of `run`.
    pub fn in_run(run: &RunContext) -> CaseContext {
        CaseContext { cancel: run.cancel.clone(), budget_bytes: run.options.memory_bytes, ..CaseContext::quiet() }
    }
    /// Returns an error of kind [`Kind::Cancelled`] after an interrupt by the user.
    pub fn check(&self) -> Result<()> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(err!("interrupted").kind(Kind::Cancelled));
        }
        Ok(())
    }
    /// Returns an error that names `what` if an allocation of `bytes` exceeds the budget.
    pub fn reserve(&self, bytes: u64, what: impl FnOnce() -> String) -> Result<()> {
        if bytes <= self.budget_bytes {
            return Ok(());
        }
        Err(Error::memory(
            format!(
                "{} needs {} of memory, {} may be used",
                what(),
                text::bytes(bytes),
                text::bytes(self.budget_bytes)
            ),
            "use a larger pixdim; argmax or a threshold before Invertd needs one byte per voxel instead of four per channel",
        ))
    }
}
