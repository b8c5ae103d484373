//! DiceLoss: 1 − soft Dice (or Jaccard) per item and channel (monai.losses.dice, MONAI 1.6.1; Milletari et al. 2016).
//!
//! With softmax and integer labels on the CPU the sums come from a fused kernel. Its result is bit-equal to MONAI's
//! formula; with `squared_pred` it is equal up to rounding.

use super::support::{Reduction, check_shapes, labels, on_cpu, one_hot, weights};
use crate::component::{NotSupported, OneOrMany};
use crate::contracts::Loss;
use crate::error::{Kind as ErrorKind, Result};
use crate::{bail, err};
use segbundle_native::{LabelSums, label_sums};
use tch::{Kind, Tensor};

/// Declares a loss with a Dice term: the arguments common to MONAI's Dice losses in MONAI's order, then its own.
macro_rules! dice_component {
    (
        $(#[doc = $doc:literal])*
        pub static $static:ident = loss $name:literal in $package:literal / $module:literal also $also:literal;
        pub struct $args:ident { $($own:tt)* }
        $($rest:tt)*
    ) => {
        component! {
            $(#[doc = $doc])*
            pub static $static = loss $name in $package / $module also $also;

            pub struct $args {
                /// Include channel 0 in the Dice term; a cross-entropy term always includes it.
                include_background: bool = true,
                /// Convert the target from class labels to one-hot.
                to_onehot_y: bool = false,
                /// Apply a sigmoid to the prediction for the Dice term.
                sigmoid: bool = false,
                /// Apply a softmax over the channels to the prediction for the Dice term.
                softmax: bool = false,
                /// Other activation function for the Dice term; not supported.
                other_act: NotSupported = (),
                /// Use squared prediction and target in the denominator of the Dice.
                squared_pred: bool = false,
                /// Compute the Jaccard index (soft IoU) instead of the Dice.
                jaccard: bool = false,
                /// Reduction over batch and channels: "mean", "sum", or where the loss supports it "none" for a result
                /// [N, C, 1, 1, 1].
                reduction: Reduction = "mean",
                /// Constant added to the numerator of the Dice, to avoid zero.
                smooth_nr: f64 = 1e-5,
                /// Constant added to the denominator of the Dice, to avoid NaN.
                smooth_dr: f64 = 1e-5,
                /// Sum intersections and unions over the batch before the division.
                batch: bool = false,
                $($own)*
            }

            $($rest)*
        }
    };
}
pub(super) use dice_component;

/// Builds the [`Dice`] term from the arguments of a [`dice_component`], with `weight` as the weights of its channels.
macro_rules! dice_half {
    ($args:expr, $weight:expr) => {
        DiceLossArgs {
            include_background: $args.include_background,
            to_onehot_y: $args.to_onehot_y,
            sigmoid: $args.sigmoid,
            softmax: $args.softmax,
            other_act: $args.other_act,
            squared_pred: $args.squared_pred,
            jaccard: $args.jaccard,
            reduction: $args.reduction,
            smooth_nr: $args.smooth_nr,
            smooth_dr: $args.smooth_dr,
            batch: $args.batch,
            weight: $weight,
            soft_label: false,
            ignore_index: None,
        }
    };
}
pub(super) use dice_half;

dice_component! {
    /// Dice loss: 1 − soft Dice between prediction and target.
    pub static COMPONENT = loss "DiceLoss" in "monai.losses" / "dice" also "Dice";

    pub struct DiceLossArgs {
        /// Weights of the included channels, one value or one per channel.
        weight: Option<OneOrMany<f64>> = (),
        /// The target contains values between 0 and 1 (soft labels).
        soft_label: bool = false,
        /// Label value to ignore.
        ignore_index: Option<i64> = (),
    }

    differs: ["labels outside the prediction's channels are an error that names them"],
    build: |args| Dice::new("DiceLoss", args),
}

/// A configured Dice loss; also the Dice term of DiceCELoss and DiceFocalLoss.
pub struct Dice {
    name: &'static str,
    args: DiceLossArgs,
    weight: Option<parking_lot::Mutex<Tensor>>,
}

impl Dice {
    /// Creates the loss; `name` is used in error messages.
    ///
    /// # Errors
    /// Arguments contradict each other or are not supported.
    pub fn new(name: &'static str, args: DiceLossArgs) -> Result<Dice> {
        let fail = |message: String| Err(err!("{message}").kind(ErrorKind::Config));
        if args.sigmoid && args.softmax {
            return fail("`sigmoid` and `softmax` are both true, expected at most one".into());
        }
        let negative = match &args.weight {
            Some(OneOrMany::One(w)) => *w < 0.0,
            Some(OneOrMany::Many(all)) => all.iter().any(|w| *w < 0.0),
            None => false,
        };
        if negative {
            return fail("`weight` has a negative value, expected values of at least 0".into());
        }
        let weight = args.weight.as_ref().map(|weight| parking_lot::Mutex::new(weights(weight)));
        Ok(Dice { name, args, weight })
    }

    /// Whether [`Dice::of_sums`] can compute this loss for the given prediction and target.
    pub fn fuses(&self, input: &Tensor, target: &Tensor) -> bool {
        let args = &self.args;
        args.softmax
            && args.to_onehot_y
            && !args.soft_label
            && args.ignore_index.is_none()
            && input.size()[1] > 1
            && on_cpu(input, target)
    }

    /// Whether the denominator needs squared predictions (`squared_pred`).
    pub fn squared(&self) -> bool {
        self.args.squared_pred
    }

    /// Computes the loss from `sums` over softmax and `labels` [N,S], for a prediction with `axes` dimensions.
    pub fn of_sums(&self, sums: &LabelSums, labels: &Tensor, axes: usize) -> Result<Tensor> {
        let classes = sums.intersection.size()[1];
        let counts = (0..labels.size()[0])
            .map(|n| Ok(labels.f_get(n)?.f_bincount::<&Tensor>(None, classes)?.f_to_kind(Kind::Float)?))
            .collect::<Result<Vec<_>>>()?;
        let ground = Tensor::f_stack(&counts, 0)?; // [N,C]
        let pred = if self.args.squared_pred { &sums.square } else { &sums.prediction };
        let counted = |x: &Tensor| -> Result<Tensor> {
            let x = if self.args.include_background { x.shallow_clone() } else { x.f_narrow(1, 1, classes - 1)? };
            if !self.args.batch {
                return Ok(x);
            }
            // Item by item: the order in which a sum over the whole batch adds them.
            let mut total = x.f_get(0)?;
            for n in 1..x.size()[0] {
                total = total.f_add(&x.f_get(n)?)?;
            }
            Ok(total)
        };
        let (tp, pred, ground) = (counted(&sums.intersection)?, counted(pred)?, counted(&ground)?);
        let (fp, missed) = (pred - &tp, ground - &tp);
        self.finish(tp, fp, missed, classes - i64::from(!self.args.include_background), axes)
    }

    /// Computes the loss from overlap, false positives and false negatives, each [N,C] ([C] with `batch`).
    fn finish(&self, tp: Tensor, fp: Tensor, missed: Tensor, classes: i64, axes: usize) -> Result<Tensor> {
        let args = &self.args;
        let (fp, missed) = if args.jaccard { (fp, missed) } else { (fp * 0.5, missed * 0.5) };
        let numerator = &tp * 2.0 + args.smooth_nr;
        let denominator = (tp + fp + missed) * 2.0 + args.smooth_dr;
        let mut loss: Tensor = 1.0 - numerator.f_div(&denominator)?;
        if let Some(weight) = self.weight.as_ref().filter(|_| classes != 1) {
            let weight = weight.lock();
            if weight.dim() == 1 && weight.size()[0] != classes {
                return Err(err!("{}: `weight` has {} values, expected {classes}", self.name, weight.size()[0])
                    .hint("with include_background: false, give one value less than the number of channels"));
            }
            loss = loss.f_mul(&weight.f_to_device(loss.device())?)?;
        }
        Ok(match args.reduction {
            Reduction::Mean => loss.f_mean(Kind::Float)?,
            Reduction::Sum => loss.f_sum(Kind::Float)?,
            Reduction::None => {
                let mut shape = loss.size();
                if args.batch {
                    // MONAI reads the first two sizes of [C] as N and C and fails; here the batch is reported as a
                    // single item.
                    shape.insert(0, 1);
                }
                shape.resize(axes, 1);
                loss.f_reshape(&shape)?
            }
        })
    }

    /// Computes MONAI's formula operation by operation, without the fused kernel.
    fn plain(&self, input: &Tensor, target: &Tensor) -> Result<Tensor> {
        let args = &self.args;
        let mut input = input.f_to_kind(Kind::Float)?;
        let classes = input.size()[1];
        if args.sigmoid {
            input = input.f_sigmoid()?;
        }
        if args.softmax && classes > 1 {
            input = input.f_softmax(1, Kind::Float)?;
        }
        let mask = args.ignore_index.map(|index| ignore_mask(target, index)).transpose()?;
        let mut own = if args.to_onehot_y && classes > 1 {
            if target.size()[1] != 1 {
                bail!("{}: to_onehot_y expects a target with one channel, found {:?}", self.name, target.size());
            }
            let outside = args.ignore_index.filter(|index| !(0..classes).contains(index));
            let kept = match outside {
                Some(index) => target.f_where_self(&target.f_ne(index)?, &target.f_zeros_like()?)?,
                None => target.shallow_clone(),
            };
            one_hot(&labels(self.name, &kept, classes)?, &target.size(), classes)?
        } else {
            target.shallow_clone()
        };
        if !args.include_background && classes > 1 {
            input = input.f_narrow(1, 1, classes - 1)?;
            own = own.f_narrow(1, 1, own.size()[1] - 1)?;
        }
        if own.size() != input.size() {
            return Err(err!(
                "{}: expected a target with the prediction's shape {:?}, found {:?}",
                self.name,
                input.size(),
                own.size()
            )
            .hint("if the target contains class labels, set to_onehot_y: true"));
        }
        if let Some(mask) = mask {
            input = input.f_mul(&mask)?;
            own = own.f_mul(&mask)?;
        }
        let mut dims: Vec<i64> = (2..input.dim() as i64).collect();
        if args.batch {
            dims.insert(0, 0);
        }
        let order = if args.squared_pred { 2.0 } else { 1.0 };
        let (tp, fp, missed) = if !args.squared_pred && !args.soft_label {
            let sum = |x: &Tensor| x.f_sum_dim_intlist(dims.as_slice(), false, None);
            let tp = sum(&input.f_mul(&own)?)?;
            (tp.shallow_clone(), sum(&input)? - &tp, sum(&own)? - &tp)
        } else {
            let own = own.f_to_kind(Kind::Float)?;
            let norm = |x: &Tensor| -> Result<Tensor> {
                let norm = x.f_norm_scalaropt_dim(order, dims.as_slice(), false)?;
                Ok(if order > 1.0 { norm.f_pow_tensor_scalar(2)? } else { norm })
            };
            let (pred, ground, difference) = (norm(&input)?, norm(&own)?, norm(&input.f_sub(&own)?)?);
            let tp = (&pred + &ground - difference) / 2.0;
            (tp.shallow_clone(), pred - &tp, ground - &tp)
        };
        self.finish(tp, fp, missed, input.size()[1], input.dim())
    }

    /// Computes the loss, with the fused kernel where [`Dice::fuses`] allows it.
    pub fn value(&self, input: &Tensor, target: &Tensor) -> Result<Tensor> {
        if !self.fuses(input, target) || target.size()[1] != 1 {
            return self.plain(input, target);
        }
        let labels = labels(self.name, target, input.size()[1])?;
        let sums = label_sums(input, &labels, self.args.squared_pred)?;
        self.of_sums(&sums, &labels, input.dim())
    }
}

/// [N,1,…] f32: 0 where the target's voxel is to be ignored, 1 elsewhere (`monai.metrics.utils.create_ignore_mask`).
fn ignore_mask(target: &Tensor, index: i64) -> Result<Tensor> {
    let channels = target.size()[1];
    let kept = if channels == 1 {
        target.f_ne(index)?
    } else if (0..channels).contains(&index) {
        target.f_narrow(1, index, 1)?.f_ne(1)?
    } else {
        target.f_sum_dim_intlist([1i64].as_slice(), true, None)?.f_gt(0)?
    };
    Ok(kept.f_to_kind(Kind::Float)?)
}

impl Loss for Dice {
    fn name(&self) -> &'static str {
        self.name
    }
    fn forward(&self, prediction: &Tensor, target: &Tensor) -> Result<Tensor> {
        check_shapes(self.name, prediction, target)?;
        self.value(prediction, target)
    }
}
