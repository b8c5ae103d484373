//! Rows of `metrics_by_structure.csv`, which MetricsSaver writes and reports read: a metric by structure over the cases.

use crate::text::count;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// A metric of one structure. Statistics are over the cases in which it has a finite value: Dice over those that contain
/// it, distances over those in which both prediction and label contain it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StructureScore {
    /// Name of the metric.
    pub metric: String,
    /// Number of the structure.
    pub label: u32,
    /// Name of the structure.
    pub structure: String,
    /// Number of cases with a finite value.
    pub cases: usize,
    /// Mean of the finite values.
    pub mean: Option<f32>,
    /// Median of the finite values.
    pub median: Option<f32>,
    /// Smallest finite value.
    pub min: Option<f32>,
    /// Largest finite value.
    pub max: Option<f32>,
    /// Which values are better.
    pub better: Better,
    /// Number of cases in which only one of prediction and label contains the structure, so that a distance is infinite.
    #[serde(default)]
    pub infinite: usize,
    /// Unit of the values; empty for scores without one.
    #[serde(default)]
    pub unit: String,
}

/// Direction of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// Higher values are better, as for Dice.
    Higher,
    /// Lower values are better, as for distances.
    Lower,
}

impl StructureScore {
    /// Mean, if it is finite. Files of earlier versions contain infinite ones.
    pub fn finite_mean(&self) -> Option<f32> {
        self.mean.filter(|mean| mean.is_finite())
    }
    /// Whether any case has a value.
    pub fn has_values(&self) -> bool {
        self.infinite > 0 || self.cases > 0 && self.mean.is_some()
    }
    /// Sorts the worst first; a structure that has no finite distance precedes all others.
    pub fn worst_first(&self, other: &StructureScore) -> Ordering {
        let goodness = |row: &StructureScore| match row.better {
            Better::Higher => row.mean.unwrap_or(f32::NEG_INFINITY),
            Better::Lower => -row.finite_mean().unwrap_or(f32::INFINITY),
        };
        goodness(self).total_cmp(&goodness(other)).then(other.infinite.cmp(&self.infinite))
    }
}

/// Describes the infinite distances among the rows of a metric: `3 infinite distances of 2 structures`; `None` if there
/// are none.
pub fn describe_infinite<'a>(rows: impl IntoIterator<Item = &'a StructureScore>) -> Option<String> {
    let infinite: Vec<usize> = rows.into_iter().map(|row| row.infinite).filter(|&infinite| infinite > 0).collect();
    let text =
        || format!("{} of {}", count(infinite.iter().sum(), "infinite distance"), count(infinite.len(), "structure"));
    (!infinite.is_empty()).then(text)
}
