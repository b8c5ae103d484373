//! MeanIoU (monai.metrics.meaniou) and MeanIoUHandler (monai.handlers.mean_iou), MONAI 1.6.1.

use super::by_case::{ByCase, CaseMetric};
use super::overlap::overlap_ignoring;
use super::reduction::{Reduction, score};
use crate::component::Value;
use crate::contracts::{Attached, Score, Segmentation};
use crate::error::Result;

metric_and_handler! {
    /// Intersection over union (Jaccard index) of each case and channel.
    metric METRIC = "MeanIoU" in "meaniou";

    /// Mean intersection over union (Jaccard index) over the cases of an engine.
    handler HANDLER = "MeanIoUHandler" in "mean_iou";

    struct MeanIoUArgs, MeanIoUHandlerArgs {
        /// Include channel 0, the background.
        include_background: bool = true,
        /// Reduction over cases and channels, such as "mean" or "mean_batch".
        reduction: Reduction = "mean",
    }
    metric only {
        /// Also return the number of valid cases; engines record the scores only.
        get_not_nans: bool = false,
        /// Ignore channels that are empty in the target (NaN); False scores them 1 if the prediction is empty too, else
        /// 0.
        ignore_empty: bool = true,
        /// Channel to ignore; another index ignores voxels that belong to no channel of the target.
        ignore_index: Option<i64> = (),
    }

    differs: ["overlaps are counted on label maps instead of one-hot channels"],
    build: mean_iou,
}

fn mean_iou(name: &'static str, args: MeanIoUArgs, output_transform: Value, save_details: bool) -> Result<Attached> {
    Ok(ByCase::attached(MeanIoU { name, args }, output_transform, save_details))
}

struct MeanIoU {
    name: &'static str,
    args: MeanIoUArgs,
}

impl CaseMetric for MeanIoU {
    fn name(&self) -> &'static str {
        self.name
    }
    fn include_background(&self) -> bool {
        self.args.include_background
    }
    fn measure(&mut self, prediction: &Segmentation, target: &Segmentation) -> Result<Vec<f32>> {
        let args = &self.args;
        let first = self.first_channel(target.channels());
        let counts = overlap_ignoring(prediction, target, first, args.include_background, args.ignore_index)?;
        let of_channel = |c: usize| {
            let union = counts.prediction[c] + counts.target[c] - counts.both[c];
            match (counts.target[c], union) {
                (0, _) if args.ignore_empty => f32::NAN,
                (_, 0) => 1.0,
                (_, union) => counts.both[c] as f32 / union as f32,
            }
        };
        Ok((0..counts.target.len()).map(of_channel).collect())
    }
    fn score(&self, rows: &[Vec<f32>]) -> Result<Score> {
        score(rows, self.args.reduction)
    }
}
