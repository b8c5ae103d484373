//! Metrics of the distance between surfaces (monai.metrics.hausdorff_distance, surface_distance and surface_dice, and
//! their handlers, MONAI 1.6.1).
//!
//! Distances count voxels of the grid on which prediction and label are compared: MONAI's handlers pass no spacing.
//! Resampled to 1 mm they are in mm. A channel that is absent from both has the value NaN, which means leave out. One that
//! is absent from either has the Dice 0 and an infinite distance, which MONAI replaces by NaN for a Hausdorff distance
//! with a `percentile`.

use super::by_case::{ByCase, CaseMetric};
use super::overlap::{check_labels, check_same, kept};
use super::reduction::{Reduction, score};
use crate::bail;
use crate::component::{FromValue, Value};
use crate::contracts::{Attached, Score, Segmentation};
use crate::error::Result;
use crate::image::{self, Surface, cell_surfaces, distances, voxel_surfaces};
use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

/// Difference from MONAI of all surface metrics.
const LABEL_MAPS: &str =
    "surfaces are found in label maps instead of one-hot channels; the warning of absent channels is given once";

metric_and_handler! {
    /// Hausdorff distance between prediction and label, in voxels, of each case and channel.
    metric HAUSDORFF = "HausdorffDistanceMetric" in "hausdorff_distance";

    /// Hausdorff distance between prediction and label, in voxels, over the cases of an engine.
    handler HAUSDORFF_HANDLER = "HausdorffDistance" in "hausdorff_distance";

    struct HausdorffDistanceMetricArgs, HausdorffDistanceArgs {
        /// Include channel 0, the background.
        include_background: bool = false,
        /// "euclidean", "chessboard" or "taxicab".
        distance_metric: DistanceMetric = "euclidean",
        /// Percentile of the distances from 0 to 100, such as 95; None and 0 use the largest.
        percentile: Option<f64> = (),
        /// Measure from the prediction to the label only.
        directed: bool = false,
        /// Reduction over cases and channels, such as "mean" or "mean_batch".
        reduction: Reduction = "mean",
    }
    metric only {
        /// Also return the number of valid cases; engines record the distances only.
        get_not_nans: bool = false,
        /// Label to ignore: its voxels in the target are excluded.
        ignore_index: Option<i64> = (),
    }

    differs: [LABEL_MAPS],
    build: hausdorff,
}

fn hausdorff(
    name: &'static str,
    args: HausdorffDistanceMetricArgs,
    output_transform: Value,
    save_details: bool,
) -> Result<Attached> {
    if let Some(percentile) = args.percentile.filter(|percentile| !(0.0..=100.0).contains(percentile)) {
        bail!("`percentile` is {percentile}, expected a number from 0 to 100");
    }
    let metric = SurfaceMetric {
        name,
        measure: Measure::Hausdorff { percentile: args.percentile.unwrap_or(0.0), directed: args.directed },
        include_background: args.include_background,
        distance_metric: args.distance_metric.0,
        reduction: args.reduction,
        ignore_index: args.ignore_index,
        warned: false,
    };
    Ok(ByCase::attached(metric, output_transform, save_details))
}

metric_and_handler! {
    /// Average surface distance from prediction to label, in voxels, of each case and channel.
    metric DISTANCE = "SurfaceDistanceMetric" in "surface_distance";

    /// Average surface distance from prediction to label, in voxels, over the cases of an engine.
    handler DISTANCE_HANDLER = "SurfaceDistance" in "surface_distance";

    struct SurfaceDistanceMetricArgs, SurfaceDistanceArgs {
        /// Include channel 0, the background.
        include_background: bool = false,
        /// Average the distances from the prediction to the label and from the label to the prediction.
        symmetric: bool = false,
        /// "euclidean", "chessboard" or "taxicab".
        distance_metric: DistanceMetric = "euclidean",
        /// Reduction over cases and channels, such as "mean" or "mean_batch".
        reduction: Reduction = "mean",
    }
    metric only {
        /// Also return the number of valid cases; engines record the distances only.
        get_not_nans: bool = false,
        /// Label to ignore: its voxels in the target are excluded.
        ignore_index: Option<i64> = (),
    }

    differs: [LABEL_MAPS],
    build: surface_distance,
}

fn surface_distance(
    name: &'static str,
    args: SurfaceDistanceMetricArgs,
    output_transform: Value,
    save_details: bool,
) -> Result<Attached> {
    let metric = SurfaceMetric {
        name,
        measure: Measure::Average { symmetric: args.symmetric },
        include_background: args.include_background,
        distance_metric: args.distance_metric.0,
        reduction: args.reduction,
        ignore_index: args.ignore_index,
        warned: false,
    };
    Ok(ByCase::attached(metric, output_transform, save_details))
}

component! {
    /// Normalized surface Dice of each case and channel: the part of both surfaces within a tolerance of the other one.
    ///
    /// MONAI has no handler for it: give it to IgniteMetricHandler as `metric_fn`.
    pub static DICE = metric "SurfaceDiceMetric" in "monai.metrics" / "surface_dice";

    pub struct SurfaceDiceMetricArgs {
        /// Tolerated distance of each included channel, in voxels.
        class_thresholds: Vec<f64>,
        /// Include channel 0, the background.
        include_background: bool = false,
        /// "euclidean", "chessboard" or "taxicab".
        distance_metric: DistanceMetric = "euclidean",
        /// Reduction over cases and channels, such as "mean" or "mean_batch".
        reduction: Reduction = "mean",
        /// Also return the number of valid cases; engines record the scores only.
        get_not_nans: bool = false,
        /// Weight points by the area of the surface between the voxels, instead of counting surface voxels.
        use_subvoxels: bool = false,
        /// Label to ignore: its voxels in the target are excluded.
        ignore_index: Option<i64> = (),
    }

    differs: [LABEL_MAPS],
    build: surface_dice,
}

fn surface_dice(args: SurfaceDiceMetricArgs) -> Result<Attached> {
    if let Some(odd) = args.class_thresholds.iter().find(|threshold| !(0.0..f64::INFINITY).contains(*threshold)) {
        bail!("`class_thresholds` contains {odd}, expected finite numbers of at least 0");
    }
    let metric = SurfaceMetric {
        name: DICE.name,
        measure: Measure::Dice {
            thresholds: args.class_thresholds.iter().map(|&threshold| threshold as f32).collect(),
            subvoxels: args.use_subvoxels,
        },
        include_background: args.include_background,
        distance_metric: args.distance_metric.0,
        reduction: args.reduction,
        ignore_index: args.ignore_index,
        warned: false,
    };
    Ok(ByCase::attached(metric, Value::None, true))
}

/// `distance_metric`.
struct DistanceMetric(image::DistanceMetric);

impl FromValue for DistanceMetric {
    fn expected() -> String {
        "\"euclidean\", \"chessboard\" or \"taxicab\"".into()
    }
    fn from_value(value: &Value) -> Option<Self> {
        Some(DistanceMetric(match value.as_str()? {
            "euclidean" => image::DistanceMetric::Euclidean,
            "chessboard" => image::DistanceMetric::Chessboard,
            "taxicab" => image::DistanceMetric::Taxicab,
            _ => return None,
        }))
    }
}

struct SurfaceMetric {
    name: &'static str,
    measure: Measure,
    include_background: bool,
    distance_metric: image::DistanceMetric,
    reduction: Reduction,
    ignore_index: Option<i64>,
    /// Whether the warning of absent channels was given.
    warned: bool,
}

/// What is computed from the distances between two surfaces.
enum Measure {
    Hausdorff { percentile: f64, directed: bool },
    Average { symmetric: bool },
    Dice { thresholds: Vec<f32>, subvoxels: bool },
}

impl CaseMetric for SurfaceMetric {
    fn name(&self) -> &'static str {
        self.name
    }
    fn include_background(&self) -> bool {
        self.include_background
    }
    fn measure(&mut self, prediction: &Segmentation, target: &Segmentation) -> Result<Vec<f32>> {
        check_same(prediction, target)?;
        let (channels, spatial) = (target.channels(), target.spatial());
        let first = self.first_channel(channels);
        let subvoxels = match &self.measure {
            Measure::Dice { thresholds, .. } if thresholds.len() != channels - first => {
                bail!(
                    "`class_thresholds` has {} values, expected {}, one per included channel",
                    thresholds.len(),
                    channels - first
                )
            }
            Measure::Dice { subvoxels, .. } => *subvoxels,
            _ => false,
        };
        let [x, y, z] = spatial[..] else { bail!("expected volumes [X, Y, Z], found {spatial:?}") };
        let shape = [x, y, z].map(|n| n as usize);
        let keep = self.ignore_index.map(|index| kept(target, index)).transpose()?;
        let of = |segmentation: &Segmentation, what: &str| {
            surfaces(segmentation, shape, first, keep.as_ref(), subvoxels, what)
        };
        let (prediction, target) = (of(prediction, "prediction")?, of(target, "target")?);
        let grid = if subvoxels { shape.map(|n| n + 1) } else { shape };
        let ignored = self.ignore_index.map(|index| index - i64::from(!self.include_background));
        let of_channel = |(channel, (prediction, target)): (usize, (&Surface, &Surface))| {
            let ignored = ignored == Some(channel as i64);
            match &self.measure {
                Measure::Hausdorff { .. } if ignored => f32::NAN,
                measure => measure.of_surfaces(channel, prediction, target, grid, self.distance_metric),
            }
        };
        let pairs: Vec<_> = prediction.iter().zip(&target).enumerate().collect();
        let row = pairs.par_iter().map(|&pair| of_channel(pair)).collect();
        let absent = pairs.iter().any(|(_, (a, b))| a.points.is_empty() != b.points.is_empty());
        if absent && !std::mem::replace(&mut self.warned, true) {
            tracing::warn!(
                "{}: some structures are in the label but not in the prediction of a case, or the reverse: {}",
                self.name,
                self.measure.of_absent()
            );
        }
        Ok(row)
    }
    fn score(&self, rows: &[Vec<f32>]) -> Result<Score> {
        score(&rows.iter().map(|row| self.by_channel(row)).collect::<Vec<_>>(), self.reduction)
    }
    fn by_channel(&self, row: &[f32]) -> Vec<f32> {
        let left_out = |distance: f32| self.measure.has_percentile() && distance.is_infinite();
        row.iter().map(|&distance| if left_out(distance) { f32::NAN } else { distance }).collect()
    }
    fn lower_is_better(&self) -> bool {
        self.unit().is_some()
    }
    fn unit(&self) -> Option<&'static str> {
        (!matches!(self.measure, Measure::Dice { .. })).then_some("voxels")
    }
}

/// Surfaces of the channels from `first` on. Voxels where `keep` is false belong to no channel.
fn surfaces(
    segmentation: &Segmentation,
    shape: [usize; 3],
    first: usize,
    keep: Option<&Tensor>,
    subvoxels: bool,
    what: &str,
) -> Result<Vec<Surface>> {
    let find = if subvoxels { cell_surfaces } else { voxel_surfaces };
    let find = |labels: Tensor, classes: std::ops::Range<i16>| {
        let labels = match keep {
            Some(keep) => labels.f_masked_fill(&keep.f_logical_not()?, -1)?,
            None => labels,
        };
        find(&Vec::try_from(&labels.f_to_device(Device::Cpu)?.f_reshape([-1])?)?, shape, classes)
    };
    let channels = segmentation.channels();
    match segmentation {
        Segmentation::Labels { map, unassigned, .. } => {
            check_labels(map, channels as i64, *unassigned, what)?;
            let Ok(end) = i16::try_from(channels) else {
                bail!("the {what} has {channels} channels, expected at most {}", i16::MAX)
            };
            find(map.f_to_kind(Kind::Int16)?, first as i16..end)
        }
        Segmentation::Channels(_) => {
            let of_channel = |c: usize| find(segmentation.channel(c)?.f_to_kind(Kind::Int16)?, 1..2);
            Ok((first..channels).map(of_channel).collect::<Result<Vec<_>>>()?.concat())
        }
    }
}

impl Measure {
    fn of_surfaces(
        &self,
        channel: usize,
        prediction: &Surface,
        target: &Surface,
        shape: [usize; 3],
        metric: image::DistanceMetric,
    ) -> f32 {
        let measured = |from: &Surface, to: &Surface| match from.points.as_slice() {
            // Like MONAI, as many as there are points to reach.
            [] => vec![f32::INFINITY; to.points.len()],
            points => distances(points, &to.points, shape, metric, [1.0; 3]),
        };
        match self {
            Measure::Hausdorff { percentile, directed } => {
                let mut farthest = percentile_of(measured(prediction, target), *percentile);
                if !directed {
                    let back = percentile_of(measured(target, prediction), *percentile);
                    farthest = if farthest.is_nan() || back.is_nan() { f32::NAN } else { farthest.max(back) };
                }
                farthest
            }
            Measure::Average { symmetric } => {
                let mut all = measured(prediction, target);
                if *symmetric {
                    all.extend(measured(target, prediction));
                }
                (all.iter().map(|&distance| f64::from(distance)).sum::<f64>() / all.len() as f64) as f32
            }
            Measure::Dice { thresholds, subvoxels } => {
                let near = |distance: f32| distance <= thresholds[channel];
                if prediction.points.is_empty() || target.points.is_empty() {
                    let both = prediction.points.is_empty() && target.points.is_empty();
                    return if both { f32::NAN } else { 0.0 };
                }
                let sums = [(prediction, target), (target, prediction)].map(|(from, to)| {
                    let found = measured(from, to);
                    if !subvoxels {
                        return (found.iter().filter(|&&distance| near(distance)).count() as f64, found.len() as f64);
                    }
                    let areas = from.areas.iter().map(|&area| f64::from(area));
                    let correct = areas.clone().zip(&found).filter(|(_, distance)| near(**distance));
                    (correct.map(|(area, _)| area).sum(), areas.sum())
                });
                let [(a, of_a), (b, of_b)] = sums;
                (a + b) as f32 / (of_a + of_b) as f32
            }
        }
    }

    /// Whether MONAI replaces infinite distances by NaN.
    fn has_percentile(&self) -> bool {
        matches!(self, Measure::Hausdorff { percentile, .. } if *percentile > 0.0)
    }

    /// Value of a channel that is absent from either prediction or target, for the warning.
    fn of_absent(&self) -> &'static str {
        match self {
            _ if self.has_percentile() => {
                "with a percentile their infinite distance is NaN and does not count, as in MONAI"
            }
            Measure::Hausdorff { .. } | Measure::Average { .. } => {
                "their distance is infinite, and so is a mean over them"
            }
            Measure::Dice { .. } => "their surface Dice is 0",
        }
    }
}

/// `torch.quantile` of f32 values, all finite or all infinite; 0 gives the largest. NaN without values.
fn percentile_of(mut values: Vec<f32>, percentile: f64) -> f32 {
    if values.is_empty() {
        return f32::NAN;
    }
    if percentile == 0.0 {
        return values.into_iter().fold(f32::NEG_INFINITY, f32::max);
    }
    let rank = (percentile / 100.0) as f32 * (values.len() - 1) as f32;
    let below = rank as usize;
    let (_, low, above) = values.select_nth_unstable_by(below, f32::total_cmp);
    let (low, weight) = (*low, rank - below as f32);
    if low.is_infinite() {
        return low;
    }
    let high = above.iter().copied().min_by(f32::total_cmp).filter(|_| weight > 0.0).unwrap_or(low);
    if weight < 0.5 { low + weight * (high - low) } else { high - (high - low) * (1.0 - weight) }
}
