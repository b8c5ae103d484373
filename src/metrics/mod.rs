//! Metrics. Segmentations are kept as label maps: overlaps are counted by pairs of labels instead of channel by
//! channel.

mod accuracy;
mod dice;
mod overlap;
mod reduction;
mod report;

use crate::component::Component;

pub use report::SummaryOp;

/// Metrics that a config can name.
pub static COMPONENTS: &[&Component] = &[&accuracy::COMPONENT, &dice::DICE, &dice::MEAN_DICE];
