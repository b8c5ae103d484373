//! The result of [`Engine::explain`](super::Engine): a dry run as data, for `segbundle explain`.

use super::{Certainty, InferencePlan, OnPrediction, VoxelLocation};
use crate::error::Error;
use crate::image::{Affine, DType};
use std::path::PathBuf;

/// What an engine would do.
#[derive(Debug, Clone)]
pub enum Explanation {
    Evaluation(EvaluationExplanation),
    Training(TrainingExplanation),
}

/// What a trainer would do.
#[derive(Debug, Clone)]
pub struct TrainingExplanation {
    pub cases: usize,
    pub batch_size: usize,
    pub iterations_per_epoch: usize,
    pub epochs: usize,
    /// The network's class name.
    pub network: String,
    /// Number of trainable scalar parameters.
    pub parameters: usize,
    /// Folder in which the training state is saved; `None` where the config does not name one.
    pub saved_in: Option<PathBuf>,
}

/// What an evaluator would do, case by case.
#[derive(Debug, Clone)]
pub struct EvaluationExplanation {
    /// The network's class name.
    pub network: String,
    pub in_channels: usize,
    pub out_channels: usize,
    /// Channels of the blended windows; fewer than `out_channels` where the last layer is applied after blending.
    pub blended_channels: usize,
    /// `float32`, `float16` or `bfloat16`.
    pub precision: &'static str,
    pub device: String,
    pub threads: usize,
    /// Memory limit of the process in bytes.
    pub memory_bytes: u64,
    /// Name and effect of each transform of the postprocessing.
    pub postprocessing: Vec<(&'static str, OnPrediction)>,
    pub cases: Vec<CaseExplanation>,
}

/// One case, as far as it could be planned.
#[derive(Debug, Clone, Default)]
pub struct CaseExplanation {
    pub name: String,
    pub steps: Vec<ExplainedStep>,
    pub inference: Option<ExplainedInference>,
    /// Buffers at the moment of peak memory, by description, in bytes: an upper bound.
    pub memory: Vec<(&'static str, u64)>,
    pub outputs: Vec<PathBuf>,
    /// Why the case cannot run.
    pub error: Option<Error>,
}

/// The image after a preprocessing transform.
#[derive(Debug, Clone)]
pub struct ExplainedStep {
    pub transform: &'static str,
    /// `[C, X, Y, Z]`
    pub shape: [usize; 4],
    pub affine: Affine,
    pub dtype: DType,
    pub certainty: Certainty,
    pub voxels: VoxelLocation,
}

/// Inference of one case.
#[derive(Debug, Clone, Copy)]
pub struct ExplainedInference {
    pub plan: InferencePlan,
    /// Size `[X, Y, Z]` of the input that the network was timed with, at most a window.
    pub measured: [usize; 3],
    pub seconds_per_window: f64,
}

impl EvaluationExplanation {
    /// Number of cases that cannot run.
    pub fn failures(&self) -> usize {
        self.cases.iter().filter(|case| case.error.is_some()).count()
    }
}

impl CaseExplanation {
    /// Estimated inference time in seconds; 0 where the case cannot run.
    pub fn seconds(&self) -> f64 {
        match (&self.inference, &self.error) {
            (Some(inference), None) => inference.seconds_per_window * inference.plan.runs as f64,
            _ => 0.0,
        }
    }
}
