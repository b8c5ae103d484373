//! MeanIoU (monai.metrics.meaniou) and MeanIoUHandler (monai.handlers.mean_iou), MONAI 1.6.1.

use super::by_case::{ByCase, CaseMetric};
use super::overlap::overlap_ignoring;
use super::reduction::{Reduction, score};
use crate::component::Value;
use crate::contracts::{Score, Segmentation};
use crate::error::Result;

component! {
    /// Intersection over union (Jaccard index) of each case and channel.
    pub static METRIC = metric "MeanIoU" in "monai.metrics" / "meaniou";

    pub struct MeanIoUArgs {
        /// Include channel 0, the background.
        include_background: bool = true,
        /// Reduction over cases and channels, such as "mean" or "mean_batch".
        reduction: Reduction = "mean",
        /// Also return the number of valid cases; engines record the scores only.
        get_not_nans: bool = false,
        /// Ignore channels that are empty in the target (NaN); False scores them 1 if the prediction is empty too, else
        /// 0.
        ignore_empty: bool = true,
        /// Channel to ignore; another index ignores voxels that belong to no channel of the target.
        ignore_index: Option<i64> = (),
    }

    differs: ["overlaps are counted on label maps instead of one-hot channels"],
    build: |args| Ok(ByCase::attached(MeanIoU { name: METRIC.name, args }, Value::None, true)),
}

component! {
    /// Mean intersection over union (Jaccard index) over the cases of an engine.
    pub static HANDLER = metric "MeanIoUHandler" in "monai.handlers" / "mean_iou";

    pub struct MeanIoUHandlerArgs {
        /// Include channel 0, the background.
        include_background: bool = true,
        /// Reduction over cases and channels, such as "mean" or "mean_batch".
        reduction: Reduction = "mean",
        /// Function that extracts prediction and label from the engine's output: `$monai.handlers.from_engine(['pred',
        /// 'label'])`.
        output_transform: Value = (),
        /// Keep the scores of each case for reports.
        save_details: bool = true,
    }

    differs: ["overlaps are counted on label maps instead of one-hot channels"],
    build: |a| {
        let args = MeanIoUArgs {
            include_background: a.include_background,
            reduction: a.reduction,
            get_not_nans: false,
            ignore_empty: true,
            ignore_index: None,
        };
        Ok(ByCase::attached(MeanIoU { name: HANDLER.name, args }, a.output_transform, a.save_details))
    },
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
