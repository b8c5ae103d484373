//! DiceFocalLoss and FocalLoss (monai.losses.dice, monai.losses.focal_loss, MONAI 1.6.1; Lin et al. 2017).

use super::dice::{Dice, DiceLossArgs, dice_component, dice_half};
use super::support::{self, Reduction, check_shapes, labels, one_hot};
use crate::component::{NotSupported, OneOrMany};
use crate::contracts::Loss;
use crate::error::{Kind as ErrorKind, Result};
use crate::{bail, err};
use parking_lot::Mutex;
use tch::{Kind, Tensor};

dice_component! {
    /// Weighted sum of Dice loss and focal loss.
    pub static COMPONENT = loss "DiceFocalLoss" in "monai.losses" / "dice" also "dice_focal";

    pub struct DiceFocalLossArgs {
        /// Focusing exponent γ of the focal loss.
        gamma: f64 = 2.0,
        /// Weights of the included channels, one value or one per channel.
        weight: Option<OneOrMany<f64>> = (),
        /// Weight of the Dice loss.
        lambda_dice: f64 = 1.0,
        /// Weight of the focal loss.
        lambda_focal: f64 = 1.0,
        /// Balancing factor α of foreground against background, in [0, 1].
        alpha: Option<f64> = (),
    }

    build: DiceFocal::new,
}

component! {
    /// Focal loss (Lin et al. 2017): cross-entropy that down-weights well-classified voxels.
    pub static FOCAL = loss "FocalLoss" in "monai.losses" / "focal_loss";

    pub struct FocalLossArgs {
        /// Include channel 0, the background.
        include_background: bool = true,
        /// Convert the target from class labels to one-hot.
        to_onehot_y: bool = false,
        /// Focusing exponent γ of the focal loss.
        gamma: f64 = 2.0,
        /// Balancing factor α of foreground against background, in [0, 1]; a list of factors is not supported.
        alpha: Option<f64> = (),
        /// Weights of the included channels, one value or one per channel.
        weight: Option<OneOrMany<f64>> = (),
        /// Reduction: "mean", "sum" (over the spatial means of batch and channels) or "none".
        reduction: Reduction = "mean",
        /// Use softmax over the channels instead of a sigmoid per channel.
        use_softmax: bool = false,
        /// Label value to ignore; not supported.
        ignore_index: NotSupported = (),
    }

    build: Focal::new,
}

struct Focal {
    args: FocalLossArgs,
    weight: Option<Mutex<Tensor>>,
}

impl Focal {
    fn new(args: FocalLossArgs) -> Result<Focal> {
        let weight = args.weight.as_ref().map(|weight| Mutex::new(support::weights(weight)));
        Ok(Focal { args, weight })
    }
}

impl Loss for Focal {
    fn name(&self) -> &'static str {
        FOCAL.name
    }
    fn forward(&self, prediction: &Tensor, target: &Tensor) -> Result<Tensor> {
        check_shapes(FOCAL.name, prediction, target)?;
        let args = &self.args;
        let classes = prediction.size()[1];
        let mut input = prediction.f_to_kind(Kind::Float)?;
        let mut target = match args.to_onehot_y && classes > 1 {
            true => one_hot(&labels(FOCAL.name, target, classes)?, &target.size(), classes)?,
            false => target.f_to_kind(Kind::Float)?,
        };
        if target.size() != input.size() {
            return Err(err!(
                "FocalLoss: expected a target with the prediction's shape {:?}, found {:?}",
                input.size(),
                target.size()
            )
            .hint("if the target contains class labels, set to_onehot_y: true"));
        }
        if !args.include_background && classes > 1 {
            input = input.f_narrow(1, 1, classes - 1)?;
            target = target.f_narrow(1, 1, classes - 1)?;
        }
        let counted = input.size()[1];
        let mut loss = if args.use_softmax {
            let log = input.f_log_softmax(1, Kind::Float)?;
            let missing: Tensor = 1.0 - log.exp();
            let loss = missing.f_pow_tensor_scalar(args.gamma)?.f_neg()?.f_mul(&log)?.f_mul(&target)?;
            match args.alpha {
                // MONAI ignores a scalar alpha if the background is excluded.
                Some(alpha) if args.include_background => {
                    let factors: Vec<f32> =
                        (0..counted).map(|c| if c == 0 { 1.0 - alpha as f32 } else { alpha as f32 }).collect();
                    loss.f_mul(&per_channel(&Tensor::from_slice(&factors).f_to_device(input.device())?, input.dim())?)?
                }
                _ => loss,
            }
        } else {
            let loss = &input - &input * &target - input.f_log_sigmoid()?;
            let inverse = (-&input * (&target * 2.0 - 1.0)).f_log_sigmoid()?;
            let loss = (inverse * args.gamma).f_exp()?.f_mul(&loss)?;
            match args.alpha {
                Some(alpha) => {
                    let alpha = f64::from(alpha as f32);
                    loss.f_mul(&(&target * alpha + (1.0 - &target) * f64::from(1.0 - alpha as f32)))?
                }
                None => loss,
            }
        };
        if let Some(weight) = &self.weight {
            let weight = weight.lock().f_to_device(input.device())?;
            loss = if weight.dim() == 0 {
                loss.f_mul(&weight)?
            } else {
                if weight.size() != [counted] || counted == 1 {
                    bail!(
                        "FocalLoss: `weight` has {} values, expected one for each of the {counted} included channels",
                        weight.numel()
                    );
                }
                loss.f_mul(&per_channel(&weight, input.dim())?)?
            };
        }
        Ok(match args.reduction {
            Reduction::None => loss,
            Reduction::Mean => loss.f_mean(Kind::Float)?,
            Reduction::Sum => {
                let dims: Vec<i64> = (2..input.dim() as i64).collect();
                loss.f_mean_dim(dims.as_slice(), false, None)?.f_sum(Kind::Float)?
            }
        })
    }
}

/// Reshapes [C] to [1,C,1,…] with `axes` dimensions.
fn per_channel(values: &Tensor, axes: usize) -> Result<Tensor> {
    let mut shape = vec![1; axes];
    shape[1] = -1;
    Ok(values.f_reshape(&shape)?)
}

struct DiceFocal {
    args: DiceFocalLossArgs,
    dice: Dice,
    focal: Focal,
}

impl DiceFocal {
    fn new(args: DiceFocalLossArgs) -> Result<DiceFocal> {
        if !(args.lambda_dice >= 0.0 && args.lambda_focal >= 0.0) {
            return Err(err!("`lambda_dice` and `lambda_focal` must be at least 0").kind(ErrorKind::Config));
        }
        let dice = DiceLossArgs { to_onehot_y: false, ..dice_half!(args, args.weight.clone()) };
        let focal = FocalLossArgs {
            include_background: args.include_background,
            to_onehot_y: false,
            gamma: args.gamma,
            alpha: args.alpha,
            weight: args.weight.clone(),
            reduction: args.reduction,
            use_softmax: false,
            ignore_index: NotSupported,
        };
        let (dice, focal) = (Dice::new(COMPONENT.name, dice)?, Focal::new(focal)?);
        Ok(DiceFocal { args, dice, focal })
    }
}

impl Loss for DiceFocal {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn forward(&self, prediction: &Tensor, target: &Tensor) -> Result<Tensor> {
        check_shapes(COMPONENT.name, prediction, target)?;
        let classes = prediction.size()[1];
        let target = match self.args.to_onehot_y && classes > 1 {
            true if target.size()[1] != 1 => bail!("DiceFocalLoss: to_onehot_y expects a target with one channel"),
            true => one_hot(&labels(COMPONENT.name, target, classes)?, &target.size(), classes)?,
            false => target.shallow_clone(),
        };
        let (dice, focal) = (self.dice.value(prediction, &target)?, self.focal.forward(prediction, &target)?);
        Ok(dice * self.args.lambda_dice + focal * self.args.lambda_focal)
    }
}
