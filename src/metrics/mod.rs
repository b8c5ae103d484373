//! Metrics. Segmentations are kept as label maps: overlaps are counted by pairs of labels instead of channel by channel,
//! and the surfaces of all classes are found in one pass.

#[macro_use]
mod by_case;

mod accuracy;
mod confusion_matrix;
mod dice;
mod mean_iou;
mod overlap;
mod reduction;
mod report;
mod surface;

use crate::component::Component;

pub use report::SummaryOp;

/// Metrics that a config can name.
pub static COMPONENTS: &[&Component] = &[
    &accuracy::COMPONENT,
    &by_case::COMPONENT,
    &confusion_matrix::METRIC,
    &confusion_matrix::HANDLER,
    &dice::DICE,
    &dice::MEAN_DICE,
    &mean_iou::METRIC,
    &mean_iou::HANDLER,
    &surface::HAUSDORFF,
    &surface::HAUSDORFF_HANDLER,
    &surface::DISTANCE,
    &surface::DISTANCE_HANDLER,
    &surface::DICE,
];
