//! What training is made of: losses, optimizers, schedules, metrics.

use super::Shared;
use crate::checkpoint::StateDict;
use crate::component::Value;
use crate::error::Result;
use tch::Tensor;

/// A loss function.
pub trait Loss: Send + Sync {
    /// MONAI's or torch's class name.
    fn name(&self) -> &'static str;
    /// prediction [N,C,X,Y,Z] (logits or probabilities, any float type; computed in f32) and target, as the loss's own
    /// arguments say: labels [N,1,X,Y,Z] of any type, or [N,C,X,Y,Z] → f32, a scalar unless the loss keeps items and
    /// channels. Errors on shapes that do not fit and on labels outside 0..C.
    fn forward(&self, prediction: &Tensor, target: &Tensor) -> Result<Tensor>;
}

/// Parameters that are trained with one learning rate.
pub struct ParamGroup {
    /// Shallow clones: gradients and steps are the network's own.
    pub parameters: Vec<Tensor>,
    pub lr: f64,
    /// Where schedules start from; set by the first one.
    pub initial_lr: Option<f64>,
}

/// Changes parameters by their gradients, number for number as torch.optim.
pub trait Optimizer: Send {
    /// torch's class name.
    fn name(&self) -> &'static str;
    fn groups(&self) -> &[ParamGroup];
    /// For schedules, which set `lr`.
    fn groups_mut(&mut self) -> &mut [ParamGroup];
    /// One step; parameters without a gradient stay as they are.
    fn step(&mut self) -> Result<()>;
    /// Forget all gradients (`set_to_none=True`).
    fn zero_grad(&mut self) -> Result<()> {
        Ok(self.groups().iter().try_for_each(|group| segbundle_native::clear_gradients(&group.parameters))?)
    }
    /// torch's `state_dict()`: its tensors are shared with the optimizer, not copied.
    fn state(&self) -> Result<StateDict>;
    /// Take over what [`Optimizer::state`] or torch has saved, learning rates and options included; errors, without
    /// any change, if groups or shapes are others.
    fn load_state(&mut self, state: &StateDict) -> Result<()>;
}

/// Sets an optimizer's learning rates, as torch.optim.lr_scheduler.
pub trait Schedule: Send {
    /// torch's class name.
    fn name(&self) -> &'static str;
    /// The next epoch (or iteration, as whoever calls it counts).
    fn step(&mut self) -> Result<()>;
    /// `get_last_lr()`: by group.
    fn last_lr(&self) -> &[f64];
    /// torch's `state_dict()`.
    fn state(&self) -> StateDict;
    /// Take over what [`Schedule::state`] or torch has saved; the optimizer's learning rates are its own state.
    fn load_state(&mut self, state: &StateDict) -> Result<()>;
}

/// One case's prediction or target, as metrics take it.
pub enum Segmentation {
    /// [X,Y,Z] of any integer or float type, each a class of 0..classes: stands for as many one-hot channels, which
    /// are never made.
    Labels { map: Tensor, classes: usize },
    /// [C,X,Y,Z] of zeros and ones.
    Channels(Tensor),
}

/// How cases become one number.
#[derive(Debug, Clone, PartialEq)]
pub enum Score {
    Number(f64),
    /// By channel or by case, as the metric's reduction says.
    Numbers(Vec<f64>),
    /// By label (`return_with_label`).
    Named(Vec<(String, f64)>),
}

/// A metric over the cases of an epoch.
pub trait Metric: Send {
    /// MONAI's or ignite's class name.
    fn name(&self) -> &'static str;
    /// Begin an epoch.
    fn reset(&mut self);
    /// Take one case in; both have the same voxels. Errors leave the metric as it was.
    fn update(&mut self, prediction: &Segmentation, target: &Segmentation) -> Result<()>;
    /// The epoch's value; errors if no case came.
    fn value(&self) -> Result<Score>;
    /// Each case's value by channel, in the order of the cases: `metric_details`. Empty if the metric has none.
    fn rows(&self) -> &[Vec<f32>] {
        &[]
    }
    /// What several processes add up or join, and back: numbers to be summed, rows to be joined in rank order.
    fn parts(&self) -> MetricParts;
    fn set_parts(&mut self, parts: MetricParts);
}

/// A metric's contents between processes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MetricParts {
    pub sums: Vec<i64>,
    pub rows: Vec<Vec<f32>>,
}

/// A metric as a config attaches it: with what picks prediction and target from an engine's output.
#[derive(Clone)]
pub struct Attached {
    pub metric: Shared<dyn Metric>,
    /// `output_transform`; None: the metric is called directly.
    pub output_transform: Option<Value>,
    /// Whether the rows are kept for reports (`save_details`).
    pub save_details: bool,
}
