//! [`ByCase`]: metrics that keep one row of values per case and reduce them at the end of an epoch, and the handler that
//! attaches them to an engine.

use crate::bail;
use crate::component::{Accepted, NotSupported, Value};
use crate::contracts::{Attached, Metric, MetricDetails, MetricParts, Score, Segmentation};
use crate::error::Result;
use parking_lot::Mutex;
use std::sync::Arc;

/// Declares a metric of `monai.metrics` and its handler in `monai.handlers`. Both have the arguments of the struct; then
/// the metric has those under `metric only`, and the handler `output_transform` and `save_details`. `build` is a
/// `fn(name, arguments of the metric, output_transform, save_details) -> Result<Attached>`.
macro_rules! metric_and_handler {
    (
        $(#[doc = $doc:literal])*
        metric $metric:ident = $name:literal in $module:literal;

        $(#[doc = $handler_doc:literal])*
        handler $handler:ident = $handler_name:literal in $handler_module:literal;

        struct $args:ident, $handler_args:ident {
            $($(#[doc = $field_doc:literal])* $field:ident: $ty:ty = $default:expr,)*
        }
        metric only {
            $($(#[doc = $only_doc:literal])* $only:ident: $only_ty:ty = $only_default:expr,)*
        }

        differs: [$($difference:expr),* $(,)?],
        build: $build:path,
    ) => {
        component! {
            $(#[doc = $doc])*
            pub static $metric = metric $name in "monai.metrics" / $module;

            pub struct $args {
                $($(#[doc = $field_doc])* $field: $ty = $default,)*
                $($(#[doc = $only_doc])* $only: $only_ty = $only_default,)*
            }

            differs: [$($difference),*],
            build: |args| $build($metric.name, args, Value::None, true),
        }

        component! {
            $(#[doc = $handler_doc])*
            pub static $handler = metric $handler_name in "monai.handlers" / $handler_module;

            pub struct $handler_args {
                $($(#[doc = $field_doc])* $field: $ty = $default,)*
                /// Function that extracts prediction and label from the engine's output:
                /// `$monai.handlers.from_engine(['pred', 'label'])`.
                output_transform: Value = (),
                /// Keep the values of each case for reports.
                save_details: bool = true,
            }

            differs: [$($difference),*],
            build: |args| {
                let defaults = <$args as $crate::component::Declared>::parse($metric.name, Default::default())?;
                let own = $args { $($field: args.$field,)* ..defaults };
                $build($handler.name, own, args.output_transform, args.save_details)
            },
        }
    };
}

component! {
    /// Attach a metric to an engine.
    pub static COMPONENT = metric "IgniteMetricHandler" in "monai.handlers" / "ignite_metric";

    pub struct IgniteMetricHandlerArgs {
        /// The metric, such as SurfaceDiceMetric, which has no handler of its own.
        metric_fn: Option<Attached> = (),
        /// Use a loss as the metric; not supported.
        loss_fn: NotSupported = (),
        /// Function that extracts prediction and label from the engine's output: `$monai.handlers.from_engine(['pred',
        /// 'label'])`.
        output_transform: Value = (),
        /// Keep the values of each case for reports.
        save_details: bool = true,
        /// No effect: an argument for `loss_fn`.
        reduction: Accepted = "mean",
        /// No effect: an argument for `loss_fn`.
        get_not_nans: Accepted = false,
    }

    build: |args| {
        let Some(Attached { metric, .. }) = args.metric_fn else { bail!("`metric_fn`: expected a metric, found None") };
        Ok(Attached { metric, output_transform: given(args.output_transform), save_details: args.save_details })
    },
}

fn given(output_transform: Value) -> Option<Value> {
    Some(output_transform).filter(|value| !value.is_none())
}

/// What a [`ByCase`] computes for a case, and how it combines the cases.
pub trait CaseMetric: Send {
    /// Class name in MONAI.
    fn name(&self) -> &'static str;
    /// Whether channel 0 is included.
    fn include_background(&self) -> bool;
    /// Values of a case; of the same number for each case.
    fn measure(&mut self, prediction: &Segmentation, target: &Segmentation) -> Result<Vec<f32>>;
    /// Value over all cases, of which there is at least one.
    fn score(&self, rows: &[Vec<f32>]) -> Result<Score>;
    /// The values of a case by channel, for reports.
    fn by_channel(&self, row: &[f32]) -> Vec<f32> {
        row.to_vec()
    }
    /// See [`MetricDetails::lower_is_better`].
    fn lower_is_better(&self) -> bool {
        false
    }
    /// Unit of distances, whose values are infinite where only one of prediction and target has the channel.
    fn unit(&self) -> Option<&'static str> {
        None
    }
    /// First channel to measure. Like MONAI, a single channel is measured even if the background is excluded.
    fn first_channel(&self, channels: usize) -> usize {
        usize::from(!self.include_background() && channels > 1)
    }
}

/// A metric with one row of values per case.
pub struct ByCase<M> {
    metric: M,
    rows: Vec<Vec<f32>>,
}

impl<M: CaseMetric + 'static> ByCase<M> {
    /// A metric that receives what `output_transform` selects; None: the engine's output itself.
    pub fn attached(metric: M, output_transform: Value, save_details: bool) -> Attached {
        let metric = Arc::new(Mutex::new(ByCase { metric, rows: vec![] }));
        Attached { metric, output_transform: given(output_transform), save_details }
    }
}

impl<M: CaseMetric> Metric for ByCase<M> {
    fn name(&self) -> &'static str {
        self.metric.name()
    }
    fn reset(&mut self) {
        self.rows.clear();
    }
    fn update(&mut self, prediction: &Segmentation, target: &Segmentation) -> Result<()> {
        let row = self.metric.measure(prediction, target).map_err(|error| error.context(self.name()))?;
        if row.is_empty() {
            bail!("{}: the prediction has no channels", self.name());
        }
        if let Some(first) = self.rows.first().filter(|first| first.len() != row.len()) {
            let [expected, found] = [first, &row].map(|row| self.metric.by_channel(row).len());
            bail!("{}: expected {expected} channels as in the cases before, found {found}", self.name());
        }
        self.rows.push(row);
        Ok(())
    }
    fn value(&self) -> Result<Score> {
        if self.rows.is_empty() {
            bail!("{}: cannot compute a value before the first case", self.name());
        }
        self.metric.score(&self.rows)
    }
    fn details(&self) -> Option<MetricDetails> {
        let unit = self.metric.unit();
        let columns = if unit.is_some() { self.rows.first().map_or(0, Vec::len) } else { 0 };
        let infinite = |column: usize| self.rows.iter().filter(|row| row[column].is_infinite()).count();
        Some(MetricDetails {
            rows: self.rows.iter().map(|row| self.metric.by_channel(row)).collect(),
            first_channel: usize::from(!self.metric.include_background()),
            lower_is_better: self.metric.lower_is_better(),
            unit,
            infinite: (0..columns).map(infinite).collect(),
        })
    }
    fn parts(&self) -> MetricParts {
        MetricParts { sums: vec![], rows: self.rows.clone() }
    }
    fn extent(&self) -> (Vec<i64>, usize) {
        (vec![], self.rows.len())
    }
    fn set_parts(&mut self, parts: MetricParts) {
        self.rows = parts.rows;
    }
}
