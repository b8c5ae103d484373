//! torch.nn.CrossEntropyLoss (torch 2.11).

use super::support::{self, Reduction, on_cpu};
use crate::component::{NotSupported, OneOrMany};
use crate::contracts::Loss;
use crate::error::{Kind as ErrorKind, Result};
use crate::{bail, err};
use parking_lot::Mutex;
use segbundle_native::label_sums;
use tch::{Kind, Tensor};

component! {
    /// Cross-entropy loss between logits and class labels or probabilities.
    pub static COMPONENT = loss "CrossEntropyLoss" in "torch.nn" / "modules" / "modules.loss";

    pub struct CrossEntropyLossArgs {
        /// Weight of each class.
        weight: Option<Vec<f64>> = (),
        /// Deprecated form of `reduction`; not supported.
        size_average: NotSupported = (),
        /// Label value to ignore.
        ignore_index: i64 = -100,
        /// Deprecated form of `reduction`; not supported.
        reduce: NotSupported = (),
        /// Reduction over the voxels: "mean" (weighted), "sum", or "none" for one value per voxel.
        reduction: Reduction = "mean",
        /// Label smoothing in [0, 1].
        label_smoothing: f64 = 0.0,
    }

    differs: ["labels may have any integer type; labels with a channel axis may have any type"],
    build: CrossEntropy::new,
}

struct CrossEntropy {
    args: CrossEntropyLossArgs,
    weight: Option<Mutex<Tensor>>,
}

impl CrossEntropy {
    fn new(args: CrossEntropyLossArgs) -> Result<CrossEntropy> {
        if !(0.0..=1.0).contains(&args.label_smoothing) {
            return Err(err!("`label_smoothing` must be between 0 and 1").kind(ErrorKind::Config));
        }
        let weight = args.weight.as_ref().map(|all| Mutex::new(support::weights(&OneOrMany::Many(all.clone()))));
        Ok(CrossEntropy { args, weight })
    }
}

impl Loss for CrossEntropy {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    /// Computes the loss of logits [N,C,…] against class labels [N,…] (integers) or [N,1,…] (any type, as in a label
    /// image), or against probabilities [N,C,…] (floats).
    fn forward(&self, prediction: &Tensor, target: &Tensor) -> Result<Tensor> {
        let image = prediction.dim() == target.dim()
            && prediction.dim() > 1
            && prediction.size()[1] > 1
            && target.size()[1] == 1;
        let target = if image { target.f_squeeze_dim(1)?.f_to_kind(Kind::Int64)? } else { target.shallow_clone() };
        let (shape, own) = (prediction.size(), target.size());
        let mut voxels = shape.clone();
        if shape.len() < 2 || prediction.numel() == 0 {
            bail!("CrossEntropyLoss: expected a prediction [N,C,…], found {shape:?}");
        }
        let classes = voxels.remove(1);
        let weight = self.weight.as_ref().map(|weight| weight.lock().f_to_device(prediction.device())).transpose()?;
        if let Some(weight) = weight.as_ref().filter(|weight| weight.size() != [classes]) {
            bail!(
                "CrossEntropyLoss: `weight` has {} values, expected one for each of {classes} classes",
                weight.numel()
            );
        }
        let float = matches!(target.kind(), Kind::Float | Kind::Double | Kind::Half | Kind::BFloat16);
        let target = match (own == shape, own == voxels) {
            (true, _) if float => target.f_to_kind(Kind::Float)?,
            (_, true) if !float => target.f_to_kind(Kind::Int64)?,
            _ => {
                return Err(err!(
                    "CrossEntropyLoss: expected integer labels {voxels:?} or probabilities {shape:?}, found {:?} {own:?}",
                    target.kind()
                )
                .hint("keep the channel axis of the label image: labels [N,1,…] may have any type"));
            }
        };
        let args = &self.args;
        if own == voxels {
            let ignored = target.f_eq(args.ignore_index)?;
            let kept = target.f_masked_fill(&ignored, 0)?;
            let labels = support::labels(COMPONENT.name, &kept.f_reshape([shape[0], -1])?, classes)?;
            let any = ignored.f_any()?.f_int64_value(&[])? != 0;
            if shape.len() > 2 && !any && args.label_smoothing == 0.0 && on_cpu(prediction, &target) {
                let log = label_sums(prediction, &labels, false)?.log_likelihood;
                let loss = support::cross_entropy(&log, &labels, weight.as_ref(), args.reduction)?;
                return Ok(if args.reduction == Reduction::None { loss.f_reshape(&voxels)? } else { loss });
            }
        }
        let input = prediction.f_to_kind(Kind::Float)?;
        Ok(input.f_cross_entropy_loss(
            &target,
            weight.as_ref(),
            args.reduction.tch(),
            args.ignore_index,
            args.label_smoothing,
        )?)
    }
}
