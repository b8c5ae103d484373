//! AsDiscreted: convert predictions to class indices, one-hot channels, thresholded or rounded values.
//!
//! Source: monai/transforms/post/dictionary.py and array.py of MONAI 1.6.1.
//!
//! Deliberate difference: class indices stay integers, and one-hot channels are created only where they are needed;
//! MONAI creates float tensors.

use super::post::{on_predictions, planned_images};
use crate::bail;
use crate::component::{Accepted, Keys, OneOrMany};
use crate::contracts::{OnPrediction, Sample, Step, Transform, TransformContext};
use crate::error::Result;
use crate::image::DType;
use std::sync::Arc;

component! {
    /// Convert predictions to discrete values: argmax, one-hot, threshold and rounding, in this order.
    pub static COMPONENT = dictionary "AsDiscrete" in "monai.transforms" / "post.dictionary";

    pub struct AsDiscreteArgs {
        /// Keys of the predictions or labels.
        keys: Keys,
        /// Replace the channels by the index of the largest; one value or one per key.
        argmax: OneOrMany<bool> = false,
        /// Number of classes for conversion to one-hot; one value or one per key.
        to_onehot: OneOrMany<Option<i64>> = (),
        /// Threshold: 1 where a value is at least this, else 0; one value or one per key.
        threshold: OneOrMany<Option<f64>> = (),
        /// Rounding: "torchrounding" rounds to the nearest integer, halves to even; one value or one per key.
        rounding: OneOrMany<Option<String>> = (),
        /// Skip missing keys instead of raising an error.
        allow_missing_keys: bool = false,
        /// Channel axis; only 0 is supported.
        dim: i64 = 0,
        /// Keep the channel axis after argmax; only True is supported.
        keepdim: bool = true,
        /// No effect: discrete values are integers; `output_dtype` of SaveImaged sets the type in the file.
        dtype: Accepted = (),
    }

    differs: ["labels stay integers; one-hot channels are computed when they are needed"],
    build: AsDiscrete::new,
}

#[derive(Clone, Copy)]
struct Steps {
    argmax: bool,
    classes: Option<usize>,
    threshold: Option<f64>,
    round: bool,
}

struct AsDiscrete {
    keys: Vec<Arc<str>>,
    steps: Vec<Steps>,
    allow_missing: bool,
}

impl AsDiscrete {
    fn new(args: AsDiscreteArgs) -> Result<Self> {
        if args.dim != 0 || !args.keepdim {
            bail!("only dim=0 and keepdim=True are supported");
        }
        let n = args.keys.0.len();
        let (argmax, onehot) = (args.argmax.repeat(n, "argmax")?, args.to_onehot.repeat(n, "to_onehot")?);
        let (threshold, rounding) = (args.threshold.repeat(n, "threshold")?, args.rounding.repeat(n, "rounding")?);
        let mut steps = vec![];
        for at in 0..n {
            if let Some(bad) = rounding[at].as_ref().filter(|rounding| *rounding != "torchrounding") {
                bail!("argument `rounding`: expected 'torchrounding' or None, found '{bad}'");
            }
            let classes = match onehot[at] {
                Some(classes) if classes < 1 => {
                    bail!("argument `to_onehot`: expected at least 1 class, found {classes}")
                }
                classes => classes.map(|classes| classes as usize),
            };
            steps.push(Steps { argmax: argmax[at], classes, threshold: threshold[at], round: rounding[at].is_some() });
        }
        Ok(AsDiscrete { keys: args.keys.0, steps, allow_missing: args.allow_missing_keys })
    }
}

impl Transform for AsDiscrete {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn on_prediction(&self) -> OnPrediction {
        // With several keys, the one that needs most memory.
        let (mut most, mut rank) = (OnPrediction::Labels, 0);
        for step in &self.steps {
            let (effect, own) = match step {
                Steps { round: true, .. } => (OnPrediction::AllChannels, 3),
                Steps { argmax: true, .. } => (OnPrediction::Labels, 0),
                Steps { threshold: Some(_), .. } => (OnPrediction::Masks, 1),
                // Class labels of one channel, which stay a label map.
                Steps { classes: Some(_), .. } => (OnPrediction::Labels, 0),
                _ => (OnPrediction::Other, 2),
            };
            if own > rank {
                (most, rank) = (effect, own);
            }
        }
        most
    }
    fn plan(&self, sample: Sample) -> Result<Step<'_>> {
        let after = |at: usize, channels: usize| {
            let Steps { argmax, classes, threshold, round } = self.steps[at];
            let labels = if channels <= 256 { DType::U8 } else { DType::U16 };
            let dtype = match (round, classes.is_some() || threshold.is_some(), argmax) {
                (false, true, _) => DType::U8,
                (false, false, true) => labels,
                _ => DType::F32,
            };
            (classes.unwrap_or(if argmax { 1 } else { channels }), dtype)
        };
        Ok(Step::exact(planned_images(sample, &self.keys, self.allow_missing, after)?))
    }
    fn apply(&self, sample: Sample, cx: &mut TransformContext) -> Result<Vec<Sample>> {
        on_predictions(sample, &self.keys, self.allow_missing, cx.case, |at, mut prediction| {
            let Steps { argmax, classes, threshold, round } = self.steps[at];
            if argmax {
                prediction = prediction.argmax(cx.case)?;
            }
            if let Some(classes) = classes {
                prediction = prediction.one_hot(classes, cx.case)?;
            }
            if let Some(threshold) = threshold {
                prediction = prediction.threshold(threshold, cx.case)?;
            }
            if round {
                prediction = prediction.map_dense(cx.case, |values| Ok(values.f_round()?))?;
            }
            Ok(prediction)
        })
    }
}
