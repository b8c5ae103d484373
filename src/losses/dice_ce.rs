//! DiceCELoss: λ·Dice + λ·cross-entropy (monai.losses.dice, MONAI 1.6.1).
//!
//! With softmax and integer labels on the CPU both terms come from one pass over the logits. Label smoothing
//! additionally allocates a log-softmax of the volume's size; targets that are already one-hot use the plain formula.

use super::dice::{Dice, DiceLossArgs, dice_component, dice_half};
use super::support::{self, Reduction, check_shapes, labels};
use crate::component::{NotSupported, OneOrMany};
use crate::contracts::Loss;
use crate::err;
use crate::error::{Kind as ErrorKind, Result};
use parking_lot::Mutex;
use segbundle_native::label_sums;
use tch::{Kind, Tensor};

dice_component! {
    /// Weighted sum of Dice loss and cross-entropy loss.
    pub static COMPONENT = loss "DiceCELoss" in "monai.losses" / "dice" also "dice_ce";

    pub struct DiceCELossArgs {
        /// Weight of each class, for both terms; the weight of positives if the prediction has one channel.
        weight: Option<Vec<f64>> = (),
        /// Weight of the Dice loss.
        lambda_dice: f64 = 1.0,
        /// Weight of the cross-entropy loss.
        lambda_ce: f64 = 1.0,
        /// Label smoothing of the cross-entropy, in [0, 1].
        label_smoothing: f64 = 0.0,
    }

    differs: ["labels outside the prediction's channels are an error that names them"],
    build: DiceCE::new,
}

struct DiceCE {
    args: DiceCELossArgs,
    dice: Dice,
    weight: Option<Mutex<Tensor>>,
}

impl DiceCE {
    fn new(args: DiceCELossArgs) -> Result<DiceCE> {
        let fail = |message: &str| Err(err!("{message}").kind(ErrorKind::Config));
        if args.reduction == Reduction::None {
            return fail("argument `reduction`: expected \"mean\" or \"sum\", found \"none\"");
        }
        if !(args.lambda_dice >= 0.0 && args.lambda_ce >= 0.0) {
            return fail("`lambda_dice` and `lambda_ce` must be at least 0");
        }
        if !(0.0..=1.0).contains(&args.label_smoothing) {
            return fail("`label_smoothing` must be between 0 and 1");
        }
        let dice_weight = args
            .weight
            .as_ref()
            .map(|all| OneOrMany::Many(all[usize::from(!args.include_background && !all.is_empty())..].to_vec()));
        let dice = Dice::new(COMPONENT.name, dice_half!(args, dice_weight))?;
        let weight = args.weight.as_ref().map(|all| Mutex::new(support::weights(&OneOrMany::Many(all.clone()))));
        Ok(DiceCE { args, dice, weight })
    }

    fn weight(&self, input: &Tensor) -> Result<Option<Tensor>> {
        self.weight.as_ref().map(|weight| Ok(weight.lock().f_to_device(input.device())?)).transpose()
    }

    /// Computes the cross-entropy with libtorch's operator.
    fn plain_ce(&self, input: &Tensor, target: &Tensor) -> Result<Tensor> {
        let input = input.f_to_kind(Kind::Float)?;
        let (classes, weight, reduction) = (input.size()[1], self.weight(&input)?, self.args.reduction.tch());
        if classes == 1 {
            let target = target.f_to_kind(Kind::Float)?;
            return Ok(input.f_binary_cross_entropy_with_logits(&target, None, weight.as_ref(), reduction)?);
        }
        let target = match target.size()[1] {
            1 => {
                let _ = labels(COMPONENT.name, target, classes)?;
                target.f_squeeze_dim(1)?.f_to_kind(Kind::Int64)?
            }
            _ => target.f_to_kind(Kind::Float)?,
        };
        Ok(input.f_cross_entropy_loss(&target, weight.as_ref(), reduction, -100, self.args.label_smoothing)?)
    }
}

impl Loss for DiceCE {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn forward(&self, prediction: &Tensor, target: &Tensor) -> Result<Tensor> {
        check_shapes(COMPONENT.name, prediction, target)?;
        let classes = prediction.size()[1];
        if let Some(weight) = self.args.weight.as_ref().filter(|weight| classes > 1 && weight.len() as i64 != classes) {
            return Err(err!(
                "DiceCELoss: `weight` has {} values, expected one for each of {classes} classes",
                weight.len()
            ));
        }
        let (dice, ce) = if self.dice.fuses(prediction, target) && target.size()[1] == 1 {
            let labels = labels(COMPONENT.name, target, classes)?;
            let sums = label_sums(prediction, &labels, self.dice.squared())?;
            let ce = if self.args.label_smoothing > 0.0 {
                self.plain_ce(prediction, target)?
            } else {
                support::cross_entropy(
                    &sums.log_likelihood,
                    &labels,
                    self.weight(prediction)?.as_ref(),
                    self.args.reduction,
                )?
            };
            (self.dice.of_sums(&sums, &labels, prediction.dim())?, ce)
        } else {
            (self.dice.value(prediction, target)?, self.plain_ce(prediction, target)?)
        };
        Ok(dice * self.args.lambda_dice + ce * self.args.lambda_ce)
    }
}
