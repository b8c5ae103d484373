//! Reports of metrics: values by case, and their summary by channel (monai.handlers.utils.write_metrics_reports, MONAI
//! 1.6.1). Numbers are computed in f32 in NumPy's order, so that the files are equal byte for byte.

use crate::component::{FromValue, Value};
use crate::contracts::MetricDetails;

/// A column of a summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SummaryOp {
    /// Mean of the values that are not NaN.
    Mean,
    /// Median of the values that are not NaN.
    Median,
    /// Largest value.
    Max,
    /// Smallest value.
    Min,
    /// Percentile from 0 to 100, linearly interpolated.
    Percentile(u8),
    /// Population standard deviation.
    Std,
    /// Number of values that are not NaN.
    NotNans,
}

impl SummaryOp {
    /// The columns of `summary_ops: "*"`.
    pub const ALL: [SummaryOp; 7] = [
        SummaryOp::Mean,
        SummaryOp::Median,
        SummaryOp::Max,
        SummaryOp::Min,
        SummaryOp::Percentile(90),
        SummaryOp::Std,
        SummaryOp::NotNans,
    ];

    fn name(self) -> String {
        match self {
            SummaryOp::Mean => "mean".into(),
            SummaryOp::Median => "median".into(),
            SummaryOp::Max => "max".into(),
            SummaryOp::Min => "min".into(),
            SummaryOp::Percentile(percent) => format!("{percent}percentile"),
            SummaryOp::Std => "std".into(),
            SummaryOp::NotNans => "notnans".into(),
        }
    }

    /// Applies the operation to the values that are not NaN; without any, all but [`SummaryOp::NotNans`] are NaN.
    /// `values` may contain NaN.
    pub fn apply(self, values: &[f32]) -> f32 {
        let mut known: Vec<f32> = values.iter().copied().filter(|x| !x.is_nan()).collect();
        known.sort_unstable_by(f32::total_cmp);
        let count = known.len();
        if self == SummaryOp::NotNans {
            return count as f32;
        }
        let (Some(low), Some(high)) = (known.first(), known.last()) else { return f32::NAN };
        match self {
            SummaryOp::Mean | SummaryOp::NotNans => nan_mean(values),
            SummaryOp::Median if count % 2 == 1 => known[count / 2],
            SummaryOp::Median => (known[count / 2 - 1] + known[count / 2]) / 2.0,
            SummaryOp::Max => *high,
            SummaryOp::Min => *low,
            SummaryOp::Percentile(percent) => percentile(&known, percent),
            SummaryOp::Std => {
                let mean = nan_mean(values);
                let squares: Vec<f32> =
                    values.iter().map(|x| if x.is_nan() { 0.0 } else { (x - mean) * (x - mean) }).collect();
                (pairwise_sum(&squares) / count as f32).sqrt()
            }
        }
    }
}

impl FromValue for SummaryOp {
    fn expected() -> String {
        "\"mean\", \"median\", \"max\", \"min\", \"std\", \"notnans\" or a percentile such as \"90percentile\"".into()
    }
    fn from_value(value: &Value) -> Option<Self> {
        let text = value.as_str()?;
        if let Some(percent) = text.strip_suffix("percentile") {
            return percent.parse().ok().filter(|percent| *percent <= 100).map(SummaryOp::Percentile);
        }
        SummaryOp::ALL.into_iter().find(|op| op.name() == text)
    }
}

/// `numpy.nanmean` of a row or column.
fn nan_mean(values: &[f32]) -> f32 {
    let zeroed: Vec<f32> = values.iter().map(|x| if x.is_nan() { 0.0 } else { *x }).collect();
    pairwise_sum(&zeroed) / values.iter().filter(|x| !x.is_nan()).count() as f32
}

/// `numpy.sum` of contiguous values: eight partial sums in blocks of up to 128 values, which are added in pairs.
fn pairwise_sum(values: &[f32]) -> f32 {
    const BLOCK: usize = 128;
    match values.len() {
        0..8 => values.iter().sum(),
        8..=BLOCK => {
            let mut sums = [0f32; 8];
            sums.copy_from_slice(&values[..8]);
            let chunks = values[8..].chunks_exact(8);
            let rest = chunks.remainder();
            for chunk in chunks {
                sums.iter_mut().zip(chunk).for_each(|(sum, x)| *sum += x);
            }
            let [a, b, c, d, e, f, g, h] = sums;
            rest.iter().fold(((a + b) + (c + d)) + ((e + f) + (g + h)), |sum, x| sum + x)
        }
        n => {
            let half = n / 2 - n / 2 % 8;
            pairwise_sum(&values[..half]) + pairwise_sum(&values[half..])
        }
    }
}

/// `numpy.percentile(sorted, percent)` of f32 values.
fn percentile(sorted: &[f32], percent: u8) -> f32 {
    let position = (sorted.len() - 1) as f64 * (f64::from(percent) / 100.0);
    let below = position.floor() as usize;
    let (low, part) = (sorted[below], position - below as f64);
    let high = sorted.get(below + 1).unwrap_or(&low);
    // NaN for infinite values, also for a single one.
    let span = high - low;
    if part >= 0.5 { high - span * (1.0 - part) as f32 } else { low + span * part as f32 }
}

/// `str(numpy.float32(x))`.
fn float32_text(x: f32) -> String {
    if x.is_nan() {
        return "nan".into();
    }
    let scientific = format!("{x:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>().unwrap_or(0) {
        _ if x.is_infinite() => format!("{x}"),
        -4..16 => format!("{x:?}"),
        exponent => format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs()),
    }
}

/// Four decimals, as Python's `f"{x:.4f}"`.
fn rounded_text(x: f32) -> String {
    if x.is_nan() { "nan".into() } else { format!("{x:.4}") }
}

impl MetricDetails {
    fn columns(&self) -> usize {
        self.rows.first().map_or(0, Vec::len)
    }
    /// Values of one column, in the order of the cases.
    pub fn column(&self, column: usize) -> Vec<f32> {
        self.rows.iter().filter_map(|row| row.get(column).copied()).collect()
    }

    /// Text of `<metric>_raw.csv`: a line per case with the value of each class and their mean. `cases`: names of the
    /// rows; missing ones are numbered from 0.
    pub fn raw_csv(&self, cases: &[String], delimiter: &str) -> String {
        let header = (0..self.columns()).map(|class| format!("class{class}"));
        let mut lines = vec![line("filename".into(), header.chain(["mean".into()]), delimiter)];
        for (at, row) in self.rows.iter().enumerate() {
            let values = row.iter().copied().chain([nan_mean(row)]).map(float32_text);
            lines.push(line(cases.get(at).cloned().unwrap_or_else(|| at.to_string()), values, delimiter));
        }
        lines.concat()
    }

    /// Text of `<metric>_summary.csv`: a line per class with the given operations over the cases, and one for the means
    /// of the cases.
    pub fn summary_csv(&self, ops: &[SummaryOp], delimiter: &str) -> String {
        let mut lines = vec![line("class".into(), ops.iter().map(|op| op.name()), delimiter)];
        let mut add = |name: String, values: &[f32]| {
            lines.push(line(name, ops.iter().map(|op| rounded_text(op.apply(values))), delimiter));
        };
        for class in 0..self.columns() {
            add(format!("class{class}"), &self.column(class));
        }
        add("mean".into(), &self.rows.iter().map(|row| nan_mean(row)).collect::<Vec<_>>());
        lines.concat()
    }
}

fn line(first: String, rest: impl Iterator<Item = String>, delimiter: &str) -> String {
    let mut text = [first].into_iter().chain(rest).collect::<Vec<_>>().join(delimiter);
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `str(numpy.float32(x))` of NumPy 2.4.
    #[test]
    fn floats_are_written_as_numpy_writes_them() {
        for (x, text) in [
            (0.941_176_5, "0.9411765"),
            (1.0, "1.0"),
            (0.0, "0.0"),
            (1e-4, "0.0001"),
            (9.3e-5, "9.3e-05"),
            (1.25e17, "1.25e+17"),
            (f32::NAN, "nan"),
            (f32::INFINITY, "inf"),
        ] {
            assert_eq!(float32_text(x), text);
        }
    }

    #[test]
    fn a_percentile_is_a_number_from_0_to_100() {
        let op = |text: &str| SummaryOp::from_value(&text.into());
        assert_eq!(op("5percentile"), Some(SummaryOp::Percentile(5)));
        assert_eq!((op("101percentile"), op("percentile"), op("sum")), (None, None, None));
    }
}
