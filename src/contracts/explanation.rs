//! What an engine would do, as data: the result of [`Engine::explain`](super::Engine).

use super::{Certainty, InferencePlan, OnPrediction, VoxelLocation};
use crate::error::Error;
use crate::image::{Affine, DType};
use std::path::PathBuf;

#[derive(Debug, Clone)]
pub enum Explanation {
    Evaluation(EvaluationExplanation),
    Training(TrainingExplanation),
}

#[derive(Debug, Clone)]
pub struct TrainingExplanation {
    pub cases: usize,
    pub batch_size: usize,
    pub iterations_per_epoch: usize,
    pub epochs: usize,
    /// The network's class name.
    pub network: String,
    /// Numbers in the network that are trained.
    pub parameters: usize,
    /// Where the training's state is saved after every epoch; `None` where the config names no folder for it.
    pub saved_in: Option<PathBuf>,
}

/// A network over all cases.
#[derive(Debug, Clone)]
pub struct EvaluationExplanation {
    /// The network's class name.
    pub network: String,
    pub in_channels: usize,
    pub out_channels: usize,
    /// Channels that windows are blended in; fewer than `out_channels` where the last layer follows after that.
    pub blended_channels: usize,
    /// `float32`, `float16` or `bfloat16`.
    pub precision: &'static str,
    pub device: String,
    pub threads: usize,
    /// Memory that the process may use.
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
    /// What takes memory at the worst moment, in bytes; an estimate from above.
    pub memory: Vec<(&'static str, u64)>,
    pub outputs: Vec<PathBuf>,
    /// Why the case cannot run.
    pub error: Option<Error>,
}

/// The image after a transform of the preprocessing.
#[derive(Debug, Clone)]
pub struct ExplainedStep {
    pub transform: &'static str,
    /// [C,X,Y,Z]
    pub shape: [usize; 4],
    pub affine: Affine,
    pub dtype: DType,
    pub certainty: Certainty,
    pub voxels: VoxelLocation,
}

/// The way through the network.
#[derive(Debug, Clone, Copy)]
pub struct ExplainedInference {
    pub plan: InferencePlan,
    /// The part of a window [X,Y,Z] that the network was timed on.
    pub measured: [usize; 3],
    pub seconds_per_window: f64,
}

impl EvaluationExplanation {
    /// How many cases cannot run.
    pub fn failures(&self) -> usize {
        self.cases.iter().filter(|case| case.error.is_some()).count()
    }
}

impl CaseExplanation {
    /// Estimated time in the network; 0 where the case cannot run.
    pub fn seconds(&self) -> f64 {
        match (&self.inference, &self.error) {
            (Some(inference), None) => inference.seconds_per_window * inference.plan.runs as f64,
            _ => 0.0,
        }
    }
}
