//! Activationsd (monai.transforms.post.dictionary, MONAI 1.6.1): recorded on the prediction, computed later.

use super::post::on_predictions;
use crate::component::{Component, Declared, Effect, Keys, OneOrMany, Value};
use crate::contracts::{Cx, Sample, Transform, TransformHandle};
use crate::error::Result;
use crate::prediction::VoxelOp;
use crate::{args, bail};
use std::sync::Arc;

args! {
    /// Arguments of Activationsd.
    pub struct ActivationsArgs {
        /// Keys of the predictions.
        keys: Keys,
        /// Apply a sigmoid to each value; for all keys or each.
        sigmoid: OneOrMany<bool> = false,
        /// Apply softmax over the channels; for all keys or each.
        softmax: OneOrMany<bool> = false,
        /// Any other function of the values, such as `$torch.tanh`; for all keys or each.
        other: OneOrMany<Value> = (),
        /// Skip keys that a sample does not have.
        allow_missing_keys: bool = false,
        /// The channel axis: only 0 is supported.
        dim: i64 = 0,
    }
}

pub static COMPONENT: Component = Component {
    name: "Activationsd",
    path: "monai.transforms.Activationsd",
    aliases: &["ActivationsD", "ActivationsDict", "monai.transforms.ActivationsD", "monai.transforms.ActivationsDict"],
    doc: "Softmax, sigmoid or another function of the network's output.",
    params: ActivationsArgs::PARAMS,
    differences: &["recorded and computed box by box, when something needs the values"],
    effect: Effect::Pure,
    build: |args, _| {
        let args = ActivationsArgs::parse("Activationsd", args)?;
        if args.dim != 0 {
            bail!("Activationsd: dim={}, only 0 is supported", args.dim);
        }
        let n = args.keys.0.len();
        let (sigmoid, softmax) = (args.sigmoid.repeat(n, "sigmoid")?, args.softmax.repeat(n, "softmax")?);
        let other = match &args.other {
            OneOrMany::One(Value::List(list)) => OneOrMany::Many(list.items()),
            other => other.clone(),
        }
        .repeat(n, "other")?;
        let mut ops = vec![];
        for ((sigmoid, softmax), other) in sigmoid.into_iter().zip(softmax).zip(other) {
            if sigmoid && softmax {
                bail!("Activationsd: sigmoid and softmax cannot both be true");
            }
            if !other.is_none() && !other.callable() {
                bail!("Activationsd: argument `other`: expected a function, found {}", other.type_name());
            }
            let op = if sigmoid { Some(VoxelOp::Sigmoid) } else { softmax.then_some(VoxelOp::Softmax) };
            ops.push((op, other));
        }
        Ok(Value::object(TransformHandle(Arc::new(Activations { keys: args.keys.0, ops, allow_missing: args.allow_missing_keys }))))
    },
};

struct Activations {
    keys: Vec<Arc<str>>,
    /// Per key: the recorded operation and any other function.
    ops: Vec<(Option<VoxelOp>, Value)>,
    allow_missing: bool,
}

impl Transform for Activations {
    fn name(&self) -> &'static str {
        "Activationsd"
    }
    fn apply(&self, sample: Sample, cx: &mut Cx) -> Result<Vec<Sample>> {
        on_predictions(sample, &self.keys, self.allow_missing, |at, prediction| {
            let (op, other) = &self.ops[at];
            let prediction = match op {
                Some(op) => prediction.activate(*op)?,
                None => prediction,
            };
            if other.is_none() { Ok(prediction) } else { prediction.map_dense(cx.work, |values| super::post::call_on(other, values)) }
        })
    }
}
