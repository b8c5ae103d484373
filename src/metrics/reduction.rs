//! Reduces a table of cases × channels to the values of a metric (monai.metrics.utils.do_metric_reduction, MONAI
//! 1.6.1). NaN marks a channel that is absent from a case.

use crate::component::{FromValue, Value};

/// MONAI's MetricReduction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduction {
    /// All values, case by case.
    None,
    /// Mean over channels, then over cases.
    Mean,
    /// Sum over cases and channels.
    Sum,
    /// Mean over cases, one value per channel.
    MeanBatch,
    /// Sum over cases, one value per channel.
    SumBatch,
    /// Mean over channels, one value per case.
    MeanChannel,
    /// Sum over channels, one value per case.
    SumChannel,
}

impl FromValue for Reduction {
    fn expected() -> String {
        "\"mean\", \"sum\", \"mean_batch\", \"sum_batch\", \"mean_channel\", \"sum_channel\" or \"none\"".into()
    }
    fn from_value(value: &Value) -> Option<Self> {
        Some(match value.as_str()? {
            "none" => Reduction::None,
            "mean" => Reduction::Mean,
            "sum" => Reduction::Sum,
            "mean_batch" => Reduction::MeanBatch,
            "sum_batch" => Reduction::SumBatch,
            "mean_channel" => Reduction::MeanChannel,
            "sum_channel" => Reduction::SumChannel,
            _ => return None,
        })
    }
}

/// Returns the sum (f32, in order) and the number of the values that are not NaN.
fn counted(values: impl Iterator<Item = f32>) -> (f32, f32) {
    values.filter(|x| !x.is_nan()).fold((0.0, 0.0), |(sum, n), x| (sum + x, n + 1.0))
}

fn mean((sum, n): (f32, f32)) -> f32 {
    if n > 0.0 { sum / n } else { 0.0 }
}

/// Returns the reduced values and the number of cases (or channels) behind each; with "none", the table row by row.
pub fn reduce(rows: &[Vec<f32>], reduction: Reduction) -> (Vec<f32>, Vec<f32>) {
    let channels = rows.first().map_or(0, Vec::len);
    let by_channel = || (0..channels).map(|c| counted(rows.iter().map(move |row| row[c])));
    let by_case = || rows.iter().map(|row| counted(row.iter().copied()));
    match reduction {
        Reduction::None => {
            let all = || rows.iter().flatten().copied();
            (all().collect(), all().map(|x| f32::from(u8::from(!x.is_nan()))).collect())
        }
        Reduction::Mean => {
            let (sum, n) =
                by_case().filter(|(_, n)| *n > 0.0).fold((0.0, 0.0), |(sum, n), case| (sum + mean(case), n + 1.0));
            (vec![mean((sum, n))], vec![n])
        }
        Reduction::Sum => {
            let (sum, n) = counted(rows.iter().flatten().copied());
            (vec![sum], vec![n])
        }
        Reduction::MeanBatch => by_channel().map(|part| (mean(part), part.1)).unzip(),
        Reduction::SumBatch => by_channel().unzip(),
        Reduction::MeanChannel => by_case().map(|part| (mean(part), part.1)).unzip(),
        Reduction::SumChannel => by_case().unzip(),
    }
}
