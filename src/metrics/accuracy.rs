//! ignite.metrics.Accuracy (ignite 0.5.5): its binary and multilabel cases, which apply to one-hot segmentations.
//!
//! Every voxel of every one-hot channel is one example: accuracy = 1 − 2·mismatches/(classes·voxels), over all cases.

use super::overlap::overlap;
use crate::bail;
use crate::component::{Accepted, Value};
use crate::contracts::{Attached, Metric, MetricParts, Score, Segmentation};
use crate::error::Result;
use parking_lot::Mutex;
use std::sync::Arc;
use tch::{Kind, Tensor};

component! {
    /// Accuracy: fraction of correct predictions. Every voxel of every channel counts as one prediction.
    pub static COMPONENT = metric "Accuracy" in "ignite.metrics" / "accuracy";

    pub struct AccuracyArgs {
        /// Function that extracts prediction and label from the engine's output: `$monai.handlers.from_engine(['pred',
        /// 'label'])`.
        output_transform: Value = (),
        /// Count a voxel as correct only if all of its channels are.
        is_multilabel: bool = false,
        /// No effect: counts are integers in host memory.
        device: Accepted = (),
        /// No effect: outputs are always a pair or a list of pairs.
        skip_unrolling: Accepted = false,
    }

    differs: ["counted on label maps instead of one-hot channels"],
    build: |args| Ok(Attached {
        metric: Arc::new(Mutex::new(Accuracy { multilabel: args.is_multilabel, right: 0, examples: 0 })),
        output_transform: Some(args.output_transform).filter(|value| !value.is_none()),
        save_details: false,
    }),
}

struct Accuracy {
    multilabel: bool,
    right: i64,
    examples: i64,
}

fn binary(what: &str, segmentation: &Segmentation) -> Result<()> {
    if let Segmentation::Channels(x) = segmentation {
        let other = x.f_ne(0)?.f_logical_and(&x.f_ne(1)?)?.f_any()?;
        if other.f_int64_value(&[])? != 0 {
            return Err(crate::err!("Accuracy: expected a {what} of zeros and ones, found other values")
                .hint("use AsDiscreted with to_onehot or threshold before the metric"));
        }
    }
    Ok(())
}

/// Returns booleans [X,Y,Z]: true where all channels agree.
fn all_equal(prediction: &Segmentation, target: &Segmentation) -> Result<i64> {
    let channels = |segmentation: &Segmentation| -> Result<Tensor> {
        Ok(match segmentation {
            Segmentation::Channels(x) => x.f_to_kind(Kind::Uint8)?,
            Segmentation::Labels { map, classes, .. } => {
                let labels = (0..*classes as i64).map(|c| map.f_eq(c)).collect::<std::result::Result<Vec<_>, _>>()?;
                Tensor::f_stack(&labels, 0)?.f_to_kind(Kind::Uint8)?
            }
        })
    };
    let equal = match (prediction, target) {
        // Labels outside of the channels are in none, whatever their numbers.
        (Segmentation::Labels { map: a, classes, .. }, Segmentation::Labels { map: b, .. }) => {
            let last = *classes as i64 - 1;
            a.f_eq_tensor(b)?.f_logical_or(&a.f_gt(last)?.f_logical_and(&b.f_gt(last)?)?)?
        }
        _ => channels(prediction)?.f_eq_tensor(&channels(target)?)?.f_all_dim(0, false)?,
    };
    Ok(equal.f_sum(Kind::Int64)?.f_int64_value(&[])?)
}

impl Metric for Accuracy {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn reset(&mut self) {
        (self.right, self.examples) = (0, 0);
    }
    fn update(&mut self, prediction: &Segmentation, target: &Segmentation) -> Result<()> {
        binary("prediction", prediction)?;
        binary("target", target)?;
        let counts = overlap(prediction, target, None).map_err(|e| e.context(COMPONENT.name))?;
        let channels = counts.target.len() as i64;
        if self.multilabel {
            if channels < 2 {
                bail!("Accuracy: is_multilabel expects at least two channels, found {channels}");
            }
            self.right += all_equal(prediction, target)?;
            self.examples += counts.voxels;
            return Ok(());
        }
        let wrong: i64 =
            (0..counts.target.len()).map(|c| counts.prediction[c] + counts.target[c] - 2 * counts.both[c]).sum();
        self.right += channels * counts.voxels - wrong;
        self.examples += channels * counts.voxels;
        Ok(())
    }
    fn value(&self) -> Result<Score> {
        if self.examples == 0 {
            bail!("Accuracy: cannot compute a value before the first case");
        }
        Ok(Score::Number(self.right as f64 / self.examples as f64))
    }
    fn parts(&self) -> MetricParts {
        MetricParts { sums: vec![self.right, self.examples], rows: vec![] }
    }
    fn extent(&self) -> (Vec<i64>, usize) {
        (self.parts().sums, 0)
    }
    fn set_parts(&mut self, parts: MetricParts) {
        if let [right, examples] = parts.sums[..] {
            (self.right, self.examples) = (right, examples);
        }
    }
}
