//! The result of [`Engine::explain`](super::Engine): a dry run as data, for `segbundle explain`.

use super::{Certainty, InferencePlan, OnPrediction, VoxelLocation};
use crate::error::Error;
use crate::image::{Affine, DType};
use std::path::PathBuf;

/// What an engine would do.
#[derive(Debug, Clone)]
pub enum Explanation {
    /// The engine evaluates or predicts cases.
    Evaluation(EvaluationExplanation),
    /// The engine trains a network.
    Training(TrainingExplanation),
}

/// What a trainer would do.
#[derive(Debug, Clone)]
pub struct TrainingExplanation {
    /// Number of cases in the datalist.
    pub cases: usize,
    /// Number of cases per iteration.
    pub batch_size: usize,
    /// Number of batches in an epoch.
    pub iterations_per_epoch: usize,
    /// Number of epochs (`max_epochs`).
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
    /// Number of channels of the network's input.
    pub in_channels: usize,
    /// Number of channels of the network's output.
    pub out_channels: usize,
    /// Channels of the blended windows; fewer than `out_channels` where the last layer is applied after blending.
    pub blended_channels: usize,
    /// `float32`, `float16` or `bfloat16`.
    pub precision: &'static str,
    /// Device of the network: `cpu` or `cuda:N`.
    pub device: String,
    /// Number of threads that libtorch computes with.
    pub threads: usize,
    /// Memory limit of the process in bytes.
    pub memory_bytes: u64,
    /// Name and effect of each transform of the postprocessing.
    pub postprocessing: Vec<(&'static str, OnPrediction)>,
    /// The cases in the order of the datalist.
    pub cases: Vec<CaseExplanation>,
}

/// One case, as far as it could be planned.
#[derive(Debug, Clone, Default)]
pub struct CaseExplanation {
    /// The input as named in the datalist.
    pub name: String,
    /// The image after each transform of the preprocessing that could be planned.
    pub steps: Vec<ExplainedStep>,
    /// `None` where the preprocessing could not be planned.
    pub inference: Option<ExplainedInference>,
    /// Buffers at the moment of peak memory, by description, in bytes: an estimate.
    pub memory: Vec<(&'static str, u64)>,
    /// Files that the case writes.
    pub outputs: Vec<PathBuf>,
    /// Why the case cannot run.
    pub error: Option<Error>,
}

impl CaseExplanation {
    /// Estimated memory at the peak in bytes.
    pub fn memory_bytes(&self) -> u64 {
        self.memory.iter().map(|(_, bytes)| bytes).sum()
    }
}

/// The image after a preprocessing transform.
#[derive(Debug, Clone)]
pub struct ExplainedStep {
    /// Class name of the transform.
    pub transform: &'static str,
    /// `[C, X, Y, Z]`
    pub shape: [usize; 4],
    /// Voxel indices to RAS coordinates in mm.
    pub affine: Affine,
    /// Data type of the voxels.
    pub dtype: DType,
    /// How well shape and geometry are known.
    pub certainty: Certainty,
    /// Where the voxels are after the transform.
    pub voxels: VoxelLocation,
}

/// Inference of one case.
#[derive(Debug, Clone, Copy)]
pub struct ExplainedInference {
    /// Windows and memory.
    pub plan: InferencePlan,
    /// Size `[X, Y, Z]` of the input that the network was timed with, at most a window.
    pub measured: [usize; 3],
    /// Estimated seconds of a forward pass of one window, from the measured pass.
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
