//! Reduces a table of cases × channels to the values of a metric (monai.metrics.utils.do_metric_reduction, MONAI
//! 1.6.1). NaN marks a channel that is absent from a case.

use crate::component::{FromValue, Value};
use crate::contracts::Score;
use crate::error::Result;
use tch::kind::FLOAT_CPU;
use tch::{Kind, Tensor};

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

/// Returns the reduced values, one per case or channel, or a single one; with "none", the table row by row.
///
/// torch adds the values, in its own order: the result is MONAI's to the last bit.
pub fn reduce(rows: &[Vec<f32>], reduction: Reduction) -> Result<Vec<f32>> {
    let shape = [rows.len() as i64, rows.first().map_or(0, Vec::len) as i64];
    let table = Tensor::f_from_slice(&rows.concat())?.f_view(shape)?;
    let absent = table.f_isnan()?;
    let (values, known) = (table.f_masked_fill(&absent, 0.0)?, absent.f_logical_not()?);
    let sum = |values: &Tensor, dim: i64| values.f_sum_dim_intlist([dim].as_slice(), false, Kind::Float);
    let mean = |values: &Tensor, known: &Tensor, dim: i64| -> Result<Tensor> {
        let count = sum(known, dim)?;
        Ok((sum(values, dim)?.f_div(&count)?).f_where_self(&count.f_gt(0)?, &Tensor::f_zeros([1], FLOAT_CPU)?)?)
    };
    let reduced = match reduction {
        Reduction::None => table,
        Reduction::Mean => mean(&mean(&values, &known, 1)?, &known.f_any_dim(1, false)?, 0)?,
        Reduction::Sum => values.f_sum(Kind::Float)?,
        Reduction::MeanBatch => mean(&values, &known, 0)?,
        Reduction::SumBatch => sum(&values, 0)?,
        Reduction::MeanChannel => mean(&values, &known, 1)?,
        Reduction::SumChannel => sum(&values, 1)?,
    };
    Ok(Vec::try_from(&reduced.f_reshape([-1])?)?)
}

/// The reduced values as the value of a metric.
pub fn score(rows: &[Vec<f32>], reduction: Reduction) -> Result<Score> {
    reduce(rows, reduction).map(score_of)
}

/// A single value is a number.
pub fn score_of(values: Vec<f32>) -> Score {
    match values.as_slice() {
        [one] => Score::Number(f64::from(*one)),
        several => Score::Numbers(several.iter().map(|&x| f64::from(x)).collect()),
    }
}
