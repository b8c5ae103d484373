//! Traits of training: losses, optimizers, learning-rate schedules, metrics.

use super::Shared;
use crate::checkpoint::StateDict;
use crate::component::Value;
use crate::error::Result;
use tch::Tensor;

/// A loss function.
pub trait Loss: Send + Sync {
    /// Class name in MONAI or torch.
    fn name(&self) -> &'static str;
    /// Computes the loss in float32: a scalar, unless the reduction keeps items and channels. `prediction`:
    /// `[N, C, X, Y, Z]`, logits or probabilities of any float dtype. `target`: class indices `[N, 1, X, Y, Z]` of any
    /// dtype, or `[N, C, X, Y, Z]`, depending on the loss's arguments.
    ///
    /// # Errors
    /// Shapes that do not match, and class indices outside 0..C.
    fn forward(&self, prediction: &Tensor, target: &Tensor) -> Result<Tensor>;
}

/// Parameters with a common learning rate (`param_groups`).
pub struct ParamGroup {
    /// Shallow clones of the network's parameters, which share values and gradients.
    pub parameters: Vec<Tensor>,
    /// Current learning rate.
    pub lr: f64,
    /// Learning rate that schedules start from; set by the first schedule.
    pub initial_lr: Option<f64>,
}

/// Updates parameters by their gradients, with the same arithmetic as torch.optim.
pub trait Optimizer: Send {
    /// Class name in torch.
    fn name(&self) -> &'static str;
    /// Parameter groups, in the order of the config.
    fn groups(&self) -> &[ParamGroup];
    /// Mutable groups, for schedules that set `lr`.
    fn groups_mut(&mut self) -> &mut [ParamGroup];
    /// Performs one step; parameters without a gradient are unchanged.
    fn step(&mut self) -> Result<()>;
    /// Clears all gradients (`set_to_none=True`).
    fn zero_grad(&mut self) -> Result<()> {
        Ok(self.groups().iter().try_for_each(|group| segbundle_native::clear_gradients(&group.parameters))?)
    }
    /// torch's `state_dict()`; its tensors are shared with the optimizer, not copied.
    fn state(&self) -> Result<StateDict>;
    /// torch's `load_state_dict()`: restores the state, including learning rates and options.
    ///
    /// # Errors
    /// Groups or shapes differ; the optimizer is then unchanged.
    fn load_state(&mut self, state: &StateDict) -> Result<()>;
}

/// Sets an optimizer's learning rates, as torch.optim.lr_scheduler.
pub trait Schedule: Send {
    /// Class name in torch.
    fn name(&self) -> &'static str;
    /// Advances by one epoch or iteration, whichever the caller counts.
    fn step(&mut self) -> Result<()>;
    /// `get_last_lr()`: learning rates by group.
    fn last_lr(&self) -> &[f64];
    /// torch's `state_dict()`.
    fn state(&self) -> StateDict;
    /// torch's `load_state_dict()`. The current learning rates are part of the optimizer's state.
    fn load_state(&mut self, state: &StateDict) -> Result<()>;
}

/// Prediction or target of one case, as an input of metrics.
pub enum Segmentation {
    /// One class index per voxel, equivalent to one-hot channels that are not materialized.
    Labels {
        /// `[X, Y, Z]` of any integer or float dtype, with values in 0..classes.
        map: Tensor,
        /// Number of one-hot channels.
        classes: usize,
        /// Whether values of `classes` and more occur, too: their voxels belong to no channel.
        unassigned: bool,
    },
    /// `[C, X, Y, Z]` of zeros and ones.
    Channels(Tensor),
}

/// Value of a metric.
#[derive(Debug, Clone, PartialEq)]
pub enum Score {
    /// One value for all cases and channels.
    Number(f64),
    /// By channel or by case, depending on the metric's reduction.
    Numbers(Vec<f64>),
    /// By label (`return_with_label`).
    Named(Vec<(String, f64)>),
}

/// A metric over the cases of an epoch.
pub trait Metric: Send {
    /// Class name in MONAI or ignite.
    fn name(&self) -> &'static str;
    /// Discards all cases, at the beginning of an epoch.
    fn reset(&mut self);
    /// Adds one case; prediction and target have the same shape.
    ///
    /// # Errors
    /// Shapes or classes do not match; the metric is then unchanged.
    fn update(&mut self, prediction: &Segmentation, target: &Segmentation) -> Result<()>;
    /// The value over all cases.
    ///
    /// # Errors
    /// No cases were added.
    fn value(&self) -> Result<Score>;
    /// Values of each case (`metric_details`), if the metric has any.
    fn details(&self) -> Option<MetricDetails> {
        None
    }
    /// The accumulated state, which several processes can combine.
    fn parts(&self) -> MetricParts;
    /// The sums and the number of rows of [`Metric::parts`], without a copy of the rows.
    fn extent(&self) -> (Vec<i64>, usize);
    /// Replaces the accumulated state, as returned by [`Metric::parts`].
    fn set_parts(&mut self, parts: MetricParts);
}

/// Values of a metric by case and channel; NaN marks a channel that is absent from a case.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MetricDetails {
    /// One row per case, all of the same length.
    pub rows: Vec<Vec<f32>>,
    /// Channel of the first column: 1 if the metric leaves the background out.
    pub first_channel: usize,
    /// Whether lower values are better, as for distances; reports then list the highest first.
    pub lower_is_better: bool,
    /// Unit of the values; `None` for scores without one.
    pub unit: Option<&'static str>,
    /// For distances, the number of cases by column in which only one of prediction and target has the channel: such a
    /// distance is infinite, also where `rows` leave it out as NaN. Otherwise empty.
    pub infinite: Vec<usize>,
}

/// Accumulated state of a metric.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MetricParts {
    /// Combined by addition.
    pub sums: Vec<i64>,
    /// Combined by concatenation in rank order.
    pub rows: Vec<Vec<f32>>,
}

/// A metric with the function that selects prediction and target from an engine's output.
#[derive(Clone)]
pub struct Attached {
    /// The metric, which accumulates the cases of an epoch.
    pub metric: Shared<dyn Metric>,
    /// `output_transform`; `None`: the metric receives the output itself.
    pub output_transform: Option<Value>,
    /// Whether the values of each case are kept for reports (`save_details`).
    pub save_details: bool,
}
