//! ConfusionMatrixMetric (monai.metrics.confusion_matrix) and ConfusionMatrix (monai.handlers.confusion_matrix), MONAI
//! 1.6.1.

use super::by_case::{ByCase, CaseMetric};
use super::overlap::overlap_ignoring;
use super::reduction::{Reduction, reduce, score, score_of};
use crate::component::{FromValue, OneOrMany, Value};
use crate::contracts::{Attached, Score, Segmentation};
use crate::err;
use crate::error::Result;

metric_and_handler! {
    /// Rates of true and false positives and negatives, such as sensitivity and precision.
    metric METRIC = "ConfusionMatrixMetric" in "confusion_matrix";

    /// Rates of true and false positives and negatives over the cases of an engine, such as sensitivity and precision.
    handler HANDLER = "ConfusionMatrix" in "confusion_matrix";

    struct ConfusionMatrixMetricArgs, ConfusionMatrixArgs {
        /// Include channel 0, the background.
        include_background: bool = true,
        /// Name of the rate, such as "sensitivity", "specificity", "precision" or "f1 score". Engines record the first
        /// of several.
        metric_name: OneOrMany<Rate> = "hit_rate",
        /// Compute the rate of each case and channel, then reduce; False reduces the counts first.
        compute_sample: bool = false,
        /// Reduction over cases and channels, such as "mean" or "mean_batch".
        reduction: Reduction = "mean",
    }
    metric only {
        /// Also return the number of valid cases; engines record the scores only.
        get_not_nans: bool = false,
        /// Channel to ignore; another index ignores voxels that belong to no channel of the target.
        ignore_index: Option<i64> = (),
    }

    differs: [
        "overlaps are counted on label maps instead of one-hot channels, and exactly where f32 rounds counts above 2²⁴",
        "reports list the rate by case and channel instead of the four counts",
    ],
    build: attach,
}

fn attach(
    name: &'static str,
    args: ConfusionMatrixMetricArgs,
    output_transform: Value,
    save_details: bool,
) -> Result<Attached> {
    let rate = match args.metric_name.as_slice() {
        [] => return Err(err!("`metric_name` is empty, expected {}", Rate::expected())),
        [rate] => *rate,
        [rate, ..] => {
            tracing::warn!("{name}: only the first of several names in `metric_name` is recorded");
            *rate
        }
    };
    Ok(ByCase::attached(ConfusionMatrix { name, rate, args }, output_transform, save_details))
}

/// A rate that a confusion matrix gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// True positives among the positives of the target.
    Sensitivity,
    /// True negatives among the negatives of the target.
    Specificity,
    /// True positives among the predicted positives.
    Precision,
    /// True negatives among the predicted negatives.
    NegativePredictiveValue,
    /// 1 − sensitivity.
    Miss,
    /// 1 − specificity.
    FallOut,
    /// 1 − precision.
    FalseDiscovery,
    /// 1 − negative predictive value.
    FalseOmission,
    /// Prevalence below which the precision falls most.
    PrevalenceThreshold,
    /// Intersection over union.
    ThreatScore,
    /// Voxels that are classified correctly.
    Accuracy,
    /// Mean of sensitivity and specificity.
    BalancedAccuracy,
    /// Dice score.
    F1Score,
    /// Matthews correlation coefficient.
    MatthewsCorrelation,
    /// Geometric mean of precision and sensitivity.
    FowlkesMallows,
    /// Sensitivity + specificity − 1.
    Informedness,
    /// Precision + negative predictive value − 1.
    Markedness,
}

/// MONAI's names of each rate; the first is used in messages.
const NAMES: &[(Rate, &[&str])] = &[
    (Rate::Sensitivity, &["sensitivity", "recall", "hit_rate", "true_positive_rate", "tpr"]),
    (Rate::Specificity, &["specificity", "selectivity", "true_negative_rate", "tnr"]),
    (Rate::Precision, &["precision", "positive_predictive_value", "ppv"]),
    (Rate::NegativePredictiveValue, &["negative_predictive_value", "npv"]),
    (Rate::Miss, &["miss_rate", "false_negative_rate", "fnr"]),
    (Rate::FallOut, &["fall_out", "false_positive_rate", "fpr"]),
    (Rate::FalseDiscovery, &["false_discovery_rate", "fdr"]),
    (Rate::FalseOmission, &["false_omission_rate", "for"]),
    (Rate::PrevalenceThreshold, &["prevalence_threshold", "pt"]),
    (Rate::ThreatScore, &["threat_score", "critical_success_index", "ts", "csi"]),
    (Rate::Accuracy, &["accuracy", "acc"]),
    (Rate::BalancedAccuracy, &["balanced_accuracy", "ba"]),
    (Rate::F1Score, &["f1_score", "f1"]),
    (Rate::MatthewsCorrelation, &["matthews_correlation_coefficient", "mcc"]),
    (Rate::FowlkesMallows, &["fowlkes_mallows_index", "fm"]),
    (Rate::Informedness, &["informedness", "bookmaker_informedness", "bm", "youden_index", "youden"]),
    (Rate::Markedness, &["markedness", "deltap", "mk"]),
];

impl FromValue for Rate {
    fn expected() -> String {
        let names: Vec<String> = NAMES.iter().map(|(_, names)| format!("\"{}\"", names[0])).collect();
        format!("one of {}", names.join(", "))
    }
    fn from_value(value: &Value) -> Option<Self> {
        let name = value.as_str()?.replace(' ', "_").to_lowercase();
        NAMES.iter().find(|(_, names)| names.contains(&name.as_str())).map(|(rate, _)| *rate)
    }
}

impl Rate {
    /// Computes the rate in f32, in MONAI's order of operations; NaN where it is not defined.
    fn of(self, [tp, fp, tn, fneg]: [f32; 4]) -> f32 {
        let ratio = |numerator: f32, denominator: f32| {
            if denominator != 0.0 { numerator / denominator } else { f32::NAN }
        };
        let (p, n) = (tp + fneg, fp + tn);
        let (sensitivity, specificity) = (ratio(tp, p), ratio(tn, n));
        let (precision, negative_predictive_value) = (ratio(tp, tp + fp), ratio(tn, tn + fneg));
        match self {
            Rate::Sensitivity => sensitivity,
            Rate::Specificity => specificity,
            Rate::Precision => precision,
            Rate::NegativePredictiveValue => negative_predictive_value,
            Rate::Miss => ratio(fneg, p),
            Rate::FallOut => ratio(fp, n),
            Rate::FalseDiscovery => ratio(fp, fp + tp),
            Rate::FalseOmission => ratio(fneg, fneg + tn),
            Rate::PrevalenceThreshold => {
                let numerator = (sensitivity * (1.0 - specificity)).sqrt() + specificity - 1.0;
                ratio(numerator, sensitivity + specificity - 1.0)
            }
            Rate::ThreatScore => ratio(tp, tp + fneg + fp),
            Rate::Accuracy => ratio(tp + tn, p + n),
            Rate::BalancedAccuracy => (sensitivity + specificity) / 2.0,
            Rate::F1Score => ratio(tp * 2.0, tp * 2.0 + fneg + fp),
            Rate::MatthewsCorrelation => {
                let product = (tp + fp) * (tp + fneg) * (tn + fp) * (tn + fneg);
                ratio(tp * tn - fp * fneg, product.sqrt())
            }
            Rate::FowlkesMallows => (precision * sensitivity).sqrt(),
            Rate::Informedness => sensitivity + specificity - 1.0,
            Rate::Markedness => precision + negative_predictive_value - 1.0,
        }
    }
}

struct ConfusionMatrix {
    name: &'static str,
    rate: Rate,
    args: ConfusionMatrixMetricArgs,
}

impl CaseMetric for ConfusionMatrix {
    fn name(&self) -> &'static str {
        self.name
    }
    fn include_background(&self) -> bool {
        self.args.include_background
    }
    /// True positives, false positives, true negatives and false negatives, channel by channel.
    fn measure(&mut self, prediction: &Segmentation, target: &Segmentation) -> Result<Vec<f32>> {
        let args = &self.args;
        let first = self.first_channel(target.channels());
        let counts = overlap_ignoring(prediction, target, first, args.include_background, args.ignore_index)?;
        let of_channel = |c: usize| {
            let (both, prediction, target) = (counts.both[c], counts.prediction[c], counts.target[c]);
            let negative = counts.voxels - prediction - target + both;
            [both, prediction - both, negative, target - both].map(|count| count as f32)
        };
        Ok((0..counts.target.len()).flat_map(of_channel).collect())
    }
    fn score(&self, rows: &[Vec<f32>]) -> Result<Score> {
        if self.args.compute_sample {
            let rates: Vec<Vec<f32>> = rows.iter().map(|row| self.by_channel(row)).collect();
            return score(&rates, self.args.reduction);
        }
        let counts = (0..4).map(|kind| {
            let of_kind = |row: &Vec<f32>| row.iter().copied().skip(kind).step_by(4).collect();
            reduce(&rows.iter().map(of_kind).collect::<Vec<_>>(), self.args.reduction)
        });
        let counts = counts.collect::<Result<Vec<_>>>()?;
        let rate = |at: usize| self.rate.of(std::array::from_fn(|kind| counts[kind][at]));
        Ok(score_of((0..counts[0].len()).map(rate).collect()))
    }
    fn by_channel(&self, row: &[f32]) -> Vec<f32> {
        row.as_chunks().0.iter().map(|counts| self.rate.of(*counts)).collect()
    }
    fn lower_is_better(&self) -> bool {
        use Rate::{FallOut, FalseDiscovery, FalseOmission, Miss, PrevalenceThreshold};
        matches!(self.rate, Miss | FallOut | FalseDiscovery | FalseOmission | PrevalenceThreshold)
    }
}
