//! What trainer and evaluator share: state, metrics, handlers (monai.engines.workflow of MONAI 1.6.1 over
//! ignite.engine of ignite 0.5.5), and the log lines of both.

use crate::bail;
use crate::checkpoint::{self, StateDict};
use crate::component::{Args, BuildContext, Dict, FromValue, Key, Value};
use crate::contracts::{
    Attached, CaseContext, EngineStart, EngineState, Event, Handler, Item, MetricParts, Network, Sample, Score,
    Segmentation, Segmented, Shared,
};
use crate::err;
use crate::error::{Error, Kind, Result};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub struct Workflow {
    /// As ignite names an engine's logger.
    pub logger: String,
    handlers: Vec<Arc<dyn Handler>>,
    metrics: Vec<(Arc<str>, Attached)>,
    /// `metric_cmp_fn`: whether the first value is better than the second; None compares by size.
    better: Value,
    state: Mutex<EngineState>,
    stop: AtomicBool,
}

/// The arguments of an engine that are about its metrics and handlers.
pub struct Parts {
    pub key_metric: Option<Dict>,
    pub additional_metrics: Option<Dict>,
    pub better: Value,
    pub handlers: Option<Vec<Arc<dyn Handler>>>,
}

/// Images are volumes: a network over slices has no place in an engine.
pub fn check_network(network: &Shared<dyn Network>) -> Result<()> {
    let network = network.lock();
    if network.spatial_dims() == 3 {
        return Ok(());
    }
    let (name, found) = (network.name(), network.spatial_dims());
    Err(err!("expected a network with spatial_dims 3, found {name} with spatial_dims {found}")
        .kind(Kind::Unsupported)
        .hint("engines and inferers apply a network to volumes; 2-D networks can be built, but not run yet"))
}

impl Workflow {
    pub fn new(engine: &'static str, parts: Parts) -> Result<Workflow> {
        let mut metrics: Vec<(Arc<str>, Attached)> = vec![];
        for (argument, given) in [("key metric", &parts.key_metric), ("additional_metrics", &parts.additional_metrics)]
        {
            for (key, value) in given.iter().flat_map(Dict::items) {
                let (Some(name), Some(metric)) = (key.as_str(), Attached::from_value(&value)) else {
                    return Err(err!("{argument}: expected a metric under each name, found {}", value.type_name())
                        .kind(Kind::Config));
                };
                metrics.retain(|(other, _)| **other != *name);
                metrics.push((name.into(), metric));
            }
        }
        // Additional metrics alone are never attached.
        let key_metric = parts
            .key_metric
            .as_ref()
            .and_then(|given| given.items().first().and_then(|(key, _)| key.as_str().map(Arc::from)));
        if key_metric.is_none() {
            metrics.clear();
        }
        let state = EngineState { engine, key_metric, ..EngineState::default() };
        Ok(Workflow {
            logger: format!("ignite.engine.engine.{engine}"),
            handlers: parts.handlers.unwrap_or_default(),
            metrics,
            better: parts.better,
            state: Mutex::new(state),
            stop: AtomicBool::new(false),
        })
    }

    pub fn state(&self) -> EngineState {
        self.state.lock().clone()
    }
    pub fn update(&self, change: impl FnOnce(&mut EngineState)) {
        change(&mut self.state.lock());
    }
    pub fn terminate(&self) {
        tracing::info!(
            logger = &*self.logger,
            "Terminate signaled. Engine will stop after current iteration is finished."
        );
        self.stop.store(true, Ordering::Relaxed);
    }
    /// Whether somebody has asked to stop; asked again it says no.
    pub fn take_stop(&self) -> bool {
        self.stop.swap(false, Ordering::Relaxed)
    }
    /// Whether there are metrics.
    pub fn is_measured(&self) -> bool {
        !self.metrics.is_empty()
    }
    /// Whether anybody looks at an iteration's output.
    pub fn wants_output(&self) -> bool {
        !self.metrics.is_empty() || self.handlers.iter().any(|handler| handler.wants_output())
    }

    pub fn fire(&self, event: Event) -> Result<()> {
        for handler in &self.handlers {
            let state = self.state();
            handler.on(event, &state).map_err(|error| error.context(handler.name()))?;
        }
        Ok(())
    }

    /// What the handlers will fail at.
    pub fn check(&self) -> Vec<Error> {
        self.handlers.iter().flat_map(|handler| handler.check()).collect()
    }
    /// Check the data of the engines that handlers run.
    pub fn prepare(&self, start: &EngineStart) -> Result<()> {
        self.handlers.iter().try_for_each(|handler| handler.prepare(start))
    }

    pub fn begin_epoch(&self) {
        self.metrics.iter().for_each(|(_, attached)| attached.metric.lock().reset());
    }

    /// An iteration is over: its items go to the metrics, then to the handlers.
    pub fn iteration(&self, samples: Vec<Sample>, case: &CaseContext) -> Result<()> {
        self.tell(self.measured(samples, None, case)?)
    }

    /// What an iteration gives, for [`Workflow::tell`]; the metrics have seen it. `loss` is the batch's.
    pub fn measured(&self, samples: Vec<Sample>, loss: Option<f64>, case: &CaseContext) -> Result<Vec<Value>> {
        let output = match self.wants_output() {
            true => samples.into_iter().map(|sample| output_item(sample, loss)).collect::<Result<Vec<_>>>()?,
            false => vec![],
        };
        for (name, attached) in &self.metrics {
            measure(attached, &output, case).map_err(|error| error.context(format_args!("metric {name}")))?;
        }
        Ok(output)
    }

    /// Tell the handlers that an iteration is over.
    pub fn tell(&self, output: Vec<Value>) -> Result<()> {
        self.update(|state| state.output = output);
        let result = self.fire(Event::IterationCompleted);
        self.update(|state| state.output = vec![]);
        result
    }

    /// The metrics of the epoch, and whether its key metric is the best so far; then the handlers.
    pub fn complete_epoch(&self) -> Result<()> {
        for (name, attached) in &self.metrics {
            let score = attached.metric.lock().value().map_err(|error| error.context(format_args!("metric {name}")))?;
            self.update(|state| drop(state.metrics.insert(name.clone(), score)));
        }
        let state = self.state();
        if let Some(key) = &state.key_metric {
            match state.metrics.get(key) {
                Some(Score::Number(new)) => {
                    let best = match state.best_metric {
                        Some((best, _)) => self.is_better(*new, best)?,
                        None => true,
                    };
                    if best {
                        let shown = Value::Float(*new);
                        tracing::info!(logger = &*self.logger, "Got new best metric of {key}: {shown}");
                        self.update(|state| state.best_metric = Some((*new, state.epoch)));
                    }
                }
                _ => tracing::warn!(
                    "the key metric {key} is no single number, so no epoch is the best; `reduction` \"mean\" gives one"
                ),
            }
        }
        self.fire(Event::EpochCompleted)
    }

    fn is_better(&self, new: f64, best: f64) -> Result<bool> {
        if self.better.is_none() {
            return Ok(new > best);
        }
        let args = Args::positional([Value::Float(new), Value::Float(best)]);
        Ok(self
            .better
            .call(args, &mut BuildContext::default())
            .map_err(|error| error.context("metric_cmp_fn"))?
            .truthy())
    }

    /// The state that a resumed training needs. `in_epoch`: in the middle of an epoch, metrics included.
    pub fn save(&self, in_epoch: bool) -> Result<StateDict> {
        let handlers = self.handlers.iter().map(|handler| handler.save()).collect::<Result<_>>()?;
        let metrics = self.metrics.iter().filter(|_| in_epoch).map(|(_, attached)| {
            let MetricParts { sums, rows } = attached.metric.lock().parts();
            (sums, rows)
        });
        let saved = SavedWorkflow { best: self.state.lock().best_metric, metrics: metrics.collect() };
        Ok(checkpoint::to_state(&saved)?.with("handlers", StateDict::List(handlers)))
    }

    /// Restores what [`Workflow::save`] gave; errors if metrics or handlers are others.
    pub fn load(&self, saved: &StateDict) -> Result<()> {
        let damaged = |error: crate::error::Error| {
            error.context(format_args!("the saved state of {} is damaged", self.state.lock().engine))
        };
        let SavedWorkflow { best, metrics } = checkpoint::from_state(saved).map_err(damaged)?;
        let Some(StateDict::List(handlers)) = saved.get("handlers") else {
            return Err(damaged(err!("missing field `handlers`")));
        };
        if handlers.len() != self.handlers.len() || !(metrics.is_empty() || metrics.len() == self.metrics.len()) {
            return Err(err!(
                "the saved training has {} handlers and {} metrics where the config has {} and {}",
                handlers.len(),
                metrics.len(),
                self.handlers.len(),
                self.metrics.len()
            )
            .hint("start anew without --resume, or with the config that the training began with"));
        }
        for ((_, attached), (sums, rows)) in self.metrics.iter().zip(metrics) {
            attached.metric.lock().set_parts(MetricParts { sums, rows });
        }
        for (handler, saved) in self.handlers.iter().zip(handlers) {
            handler.load(saved).map_err(|error| error.context(handler.name()))?;
        }
        self.update(|state| state.best_metric = best);
        Ok(())
    }
}

/// What a checkpoint of a training holds of an engine, beside its handlers.
#[derive(Serialize, Deserialize)]
struct SavedWorkflow {
    /// Best key metric and its epoch.
    best: Option<(f64, usize)>,
    /// Sums and rows of each metric in the middle of an epoch; empty between epochs.
    metrics: Vec<(Vec<i64>, Vec<Vec<f32>>)>,
}

/// The output of an iteration of which only the loss is left, for [`Workflow::tell`].
pub fn loss_alone(loss: f64) -> Result<Vec<Value>> {
    Ok(vec![output_item(Sample::default(), Some(loss))?])
}

/// One item of an iteration's output: a dict of `image`, `label`, `pred` and `loss`, as far as they are there.
fn output_item(mut sample: Sample, loss: Option<f64>) -> Result<Value> {
    let mut entries = vec![];
    for key in ["image", "label", "pred"].into_iter().filter(|key| sample.get(key).is_some()).collect::<Vec<_>>() {
        let value = match sample.take(key)? {
            Item::Value(value) => value,
            item => Value::object(Segmented::new(item)),
        };
        entries.push((Key::str(key), value));
    }
    entries.extend(loss.map(|loss| (Key::str("loss"), Value::Float(loss))));
    Ok(Value::Dict(Dict::new(entries)))
}

/// Give an iteration's items to a metric: what its `output_transform` picks is a pair, or a pair of lists.
fn measure(attached: &Attached, output: &[Value], case: &CaseContext) -> Result<()> {
    let whole = Value::list(output.iter().cloned());
    let picked = match &attached.output_transform {
        Some(transform) => transform.call(Args::positional([whole]), &mut BuildContext::default())?,
        None => whole,
    };
    let pair = picked.as_sequence().unwrap_or_default();
    let [predictions, targets] = pair.as_slice() else {
        return Err(err!(
            "its output_transform gives {}, expected a pair of predictions and labels",
            picked.type_name()
        )
        .hint("$monai.handlers.from_engine(['pred', 'label'])"));
    };
    let items = |value: &Value| value.as_sequence().unwrap_or_else(|| vec![value.clone()]);
    let (predictions, targets) = (items(predictions), items(targets));
    if predictions.len() != targets.len() {
        bail!("{} predictions and {} labels", predictions.len(), targets.len());
    }
    for (prediction, target) in predictions.iter().zip(&targets) {
        let (Some(prediction), Some(target)) = (prediction.downcast::<Segmented>(), target.downcast::<Segmented>())
        else {
            bail!("expected a prediction and a label, found {} and {}", prediction.type_name(), target.type_name());
        };
        if Arc::ptr_eq(&prediction, &target) {
            bail!("prediction and label are the same");
        }
        let update =
            |prediction: &Segmentation| target.with(case, |target| attached.metric.lock().update(prediction, target));
        prediction.with(case, update)?;
    }
    Ok(())
}

/// As ignite prints times: `00:01:02.345`.
pub fn clock(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    let minutes = (seconds / 60.0).floor();
    format!("{:02}:{:02}:{:06.3}", (minutes / 60.0).floor(), minutes % 60.0, seconds - minutes * 60.0)
}
