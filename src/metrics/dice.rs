//! DiceMetric (monai.metrics.meandice) and MeanDice (monai.handlers.mean_dice), MONAI 1.6.1.

use super::by_case::{ByCase, CaseMetric};
use super::overlap::{kept, overlap};
use super::reduction::{Reduction, score};
use crate::component::{FromValue, NotSupported, Value};
use crate::contracts::{Attached, Score, Segmentation};
use crate::error::Result;

component! {
    /// Dice score of each case and channel.
    pub static DICE = metric "DiceMetric" in "monai.metrics" / "meandice";

    pub struct DiceMetricArgs {
        /// Include channel 0, the background.
        include_background: bool = true,
        /// Reduction over cases and channels, such as "mean" or "mean_batch".
        reduction: Reduction = "mean",
        /// Also return the number of valid cases; engines record the scores only.
        get_not_nans: bool = false,
        /// Ignore channels that are empty in the target (NaN); False scores them 1 if the prediction is empty too, else
        /// 0.
        ignore_empty: bool = true,
        /// Number of classes, for inputs that are class labels instead of one-hot.
        num_classes: Option<usize> = (),
        /// Return scores by label with reduction "mean_batch": True names them `label_1` …, a list gives the names.
        return_with_label: WithLabel = false,
        /// Compute the Dice of each connected component; not supported.
        per_component: NotSupported = false,
        /// Label value to ignore.
        ignore_index: Option<i64> = (),
    }

    differs: ["overlaps are counted on label maps instead of one-hot channels"],
    build: |args| Ok(ByCase::attached(Dice { name: DICE.name, args }, Value::None, true)),
}

component! {
    /// Mean Dice score over the cases of an engine.
    pub static MEAN_DICE = metric "MeanDice" in "monai.handlers" / "mean_dice";

    pub struct MeanDiceArgs {
        /// Include channel 0, the background.
        include_background: bool = true,
        /// Reduction over cases and channels, such as "mean" or "mean_batch".
        reduction: Reduction = "mean",
        /// Number of classes, for inputs that are class labels instead of one-hot.
        num_classes: Option<usize> = (),
        /// Function that extracts prediction and label from the engine's output: `$monai.handlers.from_engine(['pred',
        /// 'label'])`.
        output_transform: Value = (),
        /// Keep the scores of each case for reports.
        save_details: bool = true,
        /// Return scores by label with reduction "mean_batch": True names them `label_1` …, a list gives the names.
        return_with_label: WithLabel = false,
    }

    differs: ["overlaps are counted on label maps instead of one-hot channels"],
    build: mean_dice,
}

fn mean_dice(a: MeanDiceArgs) -> Result<Attached> {
    let args = DiceMetricArgs {
        include_background: a.include_background,
        reduction: a.reduction,
        get_not_nans: false,
        ignore_empty: true,
        num_classes: a.num_classes,
        return_with_label: a.return_with_label,
        per_component: NotSupported,
        ignore_index: None,
    };
    Ok(ByCase::attached(Dice { name: MEAN_DICE.name, args }, a.output_transform, a.save_details))
}

/// `return_with_label`: whether scores are reported by label, and the names of the labels.
#[derive(Debug, Clone, PartialEq)]
pub enum WithLabel {
    /// Scores are reported without labels.
    No,
    /// The names are `label_1`, `label_2`, …; `label_0` is the background, if it is included.
    Numbered,
    /// Names of the included channels, in order.
    Names(Vec<String>),
}

impl FromValue for WithLabel {
    fn expected() -> String {
        "bool or list of str".into()
    }
    fn from_value(value: &Value) -> Option<Self> {
        match bool::from_value(value) {
            Some(true) => Some(WithLabel::Numbered),
            Some(false) => Some(WithLabel::No),
            None => Vec::from_value(value).map(WithLabel::Names),
        }
    }
}

struct Dice {
    name: &'static str,
    args: DiceMetricArgs,
}

/// Interprets a single channel of class labels as one-hot with `classes` channels if `classes` is given.
fn as_labels(segmentation: &Segmentation, classes: Option<usize>) -> Result<Option<Segmentation>> {
    match (segmentation, classes) {
        (Segmentation::Channels(x), Some(classes)) if classes > 1 && x.size().first() == Some(&1) => {
            Ok(Some(Segmentation::Labels { map: x.f_get(0)?, classes, unassigned: false }))
        }
        _ => Ok(None),
    }
}

impl CaseMetric for Dice {
    fn name(&self) -> &'static str {
        self.name
    }
    fn include_background(&self) -> bool {
        self.args.include_background
    }
    fn measure(&mut self, prediction: &Segmentation, target: &Segmentation) -> Result<Vec<f32>> {
        let args = &self.args;
        let (own, own_target) = (as_labels(prediction, args.num_classes)?, as_labels(target, args.num_classes)?);
        let (prediction, target) = (own.as_ref().unwrap_or(prediction), own_target.as_ref().unwrap_or(target));
        let keep = args.ignore_index.map(|index| kept(target, index)).transpose()?;
        let counts = overlap(prediction, target, keep.as_ref())?;
        let channels = counts.target.len();
        let of_channel = |c: usize| {
            let (both, prediction, target) = (counts.both[c], counts.prediction[c], counts.target[c]);
            if target > 0 {
                (2.0 * both as f32) / (target + prediction) as f32
            } else if args.ignore_empty {
                f32::NAN
            } else {
                f32::from(u8::from(prediction == 0))
            }
        };
        Ok((self.first_channel(channels)..channels).map(of_channel).collect())
    }
    fn score(&self, rows: &[Vec<f32>]) -> Result<Score> {
        let score = score(rows, self.args.reduction)?;
        if self.args.reduction != Reduction::MeanBatch || self.args.return_with_label == WithLabel::No {
            return Ok(score);
        }
        let channels = match score {
            Score::Numbers(channels) => channels,
            Score::Number(channel) => vec![channel],
            named => return Ok(named),
        };
        let first = usize::from(!self.args.include_background);
        let name = |at: usize| match &self.args.return_with_label {
            WithLabel::Names(names) => names.get(at).cloned(),
            _ => Some(format!("label_{}", at + first)),
        };
        // Rounded to 4 digits, as MONAI reports them.
        let rounded = |x: f64| (x * 1e4).round_ties_even() / 1e4;
        let named = channels.into_iter().enumerate().filter_map(|(at, x)| Some((name(at)?, rounded(x))));
        Ok(Score::Named(named.collect()))
    }
}
