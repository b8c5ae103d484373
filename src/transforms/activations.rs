//! Activationsd: apply an activation to predictions. The operation is recorded on the prediction and computed later.
//!
//! Source: monai/transforms/post/dictionary.py and array.py of MONAI 1.6.1.

use super::post::{call_on, on_predictions, per_key, planned_images};
use crate::bail;
use crate::component::{Keys, OneOrMany, Value};
use crate::contracts::{OnPrediction, Sample, Step, Transform, TransformContext};
use crate::error::Result;
use crate::image::DType;
use crate::prediction::VoxelOp;
use std::sync::Arc;

component! {
    /// Apply softmax, sigmoid or another function to the prediction.
    pub static COMPONENT = dictionary "Activations" in "monai.transforms" / "post.dictionary";

    pub struct ActivationsArgs {
        /// Keys of the predictions.
        keys: Keys,
        /// Apply a sigmoid; one value or one per key.
        sigmoid: OneOrMany<bool> = false,
        /// Apply softmax over the channels; one value or one per key.
        softmax: OneOrMany<bool> = false,
        /// Other function to apply, such as `$torch.tanh`; one or one per key.
        other: Value = (),
        /// Skip missing keys instead of raising an error.
        allow_missing_keys: bool = false,
        /// Channel axis; only 0 is supported.
        dim: i64 = 0,
    }

    differs: ["applied lazily, block by block, when the values are needed"],
    build: Activations::new,
}

struct Activations {
    keys: Vec<Arc<str>>,
    /// Per key: the operation to record, and the function `other`.
    ops: Vec<(Option<VoxelOp>, Value)>,
    allow_missing: bool,
}

impl Activations {
    fn new(args: ActivationsArgs) -> Result<Self> {
        if args.dim != 0 {
            bail!("dim={}, only 0 is supported", args.dim);
        }
        let n = args.keys.0.len();
        let (sigmoid, softmax) = (args.sigmoid.repeat(n, "sigmoid")?, args.softmax.repeat(n, "softmax")?);
        let mut ops = vec![];
        for ((sigmoid, softmax), other) in sigmoid.into_iter().zip(softmax).zip(per_key(&args.other, n, "other")?) {
            if sigmoid && softmax {
                bail!("sigmoid and softmax cannot both be true");
            }
            if !other.is_none() && !other.callable() {
                bail!("argument `other`: expected a function, found {}", other.type_name());
            }
            let op = if sigmoid { Some(VoxelOp::Sigmoid) } else { softmax.then_some(VoxelOp::Softmax) };
            ops.push((op, other));
        }
        Ok(Activations { keys: args.keys.0, ops, allow_missing: args.allow_missing_keys })
    }
}

impl Transform for Activations {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn on_prediction(&self) -> OnPrediction {
        if self.ops.iter().any(|(_, other)| !other.is_none()) {
            OnPrediction::AllChannels
        } else {
            OnPrediction::Recorded
        }
    }
    fn plan(&self, sample: Sample) -> Result<Step<'_>> {
        let sample = planned_images(sample, &self.keys, self.allow_missing, |_, channels| (channels, DType::F32))?;
        let known = self.ops.iter().all(|(_, other)| other.is_none());
        Ok(if known { Step::exact(sample) } else { Step::unknown(sample) })
    }
    fn apply(&self, sample: Sample, cx: &mut TransformContext) -> Result<Vec<Sample>> {
        on_predictions(sample, &self.keys, self.allow_missing, cx.case, |at, prediction| {
            let (op, other) = &self.ops[at];
            let prediction = match op {
                Some(op) => prediction.activate(*op, cx.case)?,
                None => prediction,
            };
            if other.is_none() {
                Ok(prediction)
            } else {
                prediction.map_dense(cx.case, |values| call_on(other, values))
            }
        })
    }
}
