//! [`Workflow`]: state, metrics, handlers and log lines of an engine (monai.engines.workflow, MONAI 1.6.1;
//! ignite.engine, ignite 0.5.5).

use crate::bail;
use crate::checkpoint::{self, StateDict};
use crate::component::{Args, BuildContext, Dict, FromValue, Key, Value};
use crate::contracts::{
    Attached, CaseContext, EngineStart, EngineState, Event, Handler, Item, MetricParts, Network, Sample, Score,
    Segmentation, Segmented, Shared, logger_name,
};
use crate::distributed;
use crate::err;
use crate::error::{Error, Kind, Result};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Common base of trainer and evaluator.
pub struct Workflow {
    /// Name of the engine's logger in ignite.
    pub logger: String,
    handlers: Vec<Arc<dyn Handler>>,
    metrics: Vec<(Arc<str>, Attached)>,
    /// For each metric, the case of each of its rows: index in the dataset.
    rows: Mutex<Vec<Vec<usize>>>,
    /// Whether the first value is better than the second; None prefers larger values.
    metric_cmp_fn: Value,
    state: Mutex<EngineState>,
    stop: AtomicBool,
}

/// Arguments of an engine for its metrics and handlers.
pub struct WorkflowArgs {
    /// Metric that selects the best epoch, by name: a dict with one item.
    pub key_metric: Option<Dict>,
    /// Further metrics by name.
    pub additional_metrics: Option<Dict>,
    /// Function of (current, best) that returns whether the current value is better; None prefers larger values.
    pub metric_cmp_fn: Value,
    /// Handlers, in the order in which they are called.
    pub handlers: Option<Vec<Arc<dyn Handler>>>,
}

/// Checks that a network takes volumes.
///
/// # Errors
/// The network is 2-D.
pub fn check_network(network: &Shared<dyn Network>) -> Result<()> {
    let network = network.lock();
    if network.spatial_dims() == 3 {
        return Ok(());
    }
    let (name, found) = (network.name(), network.spatial_dims());
    Err(err!("expected a network with spatial_dims 3, found {name} with spatial_dims {found}")
        .kind(Kind::Unsupported)
        .hint("engines apply networks to volumes: set spatial_dims to 3"))
}

impl Workflow {
    /// Creates the workflow of the engine with the class name `engine`.
    ///
    /// # Errors
    /// A value among the metrics is not a metric.
    pub fn new(engine: &'static str, args: WorkflowArgs) -> Result<Workflow> {
        let mut metrics: Vec<(Arc<str>, Attached)> = vec![];
        for (argument, given) in [("key metric", &args.key_metric), ("additional_metrics", &args.additional_metrics)] {
            for (key, value) in given.iter().flat_map(Dict::items) {
                let (Some(name), Some(metric)) = (key.as_str(), Attached::from_value(&value)) else {
                    return Err(err!("{argument}: expected a metric under each name, found {}", value.type_name())
                        .kind(Kind::Config));
                };
                metrics.retain(|(other, _)| **other != *name);
                metrics.push((name.into(), metric));
            }
        }
        // MONAI attaches additional metrics only if there is a key metric.
        let key_metric = args
            .key_metric
            .as_ref()
            .and_then(|given| given.items().first().and_then(|(key, _)| key.as_str().map(Arc::from)));
        if key_metric.is_none() {
            metrics.clear();
        }
        let state = EngineState { engine, key_metric, ..EngineState::default() };
        Ok(Workflow {
            logger: logger_name(engine),
            handlers: args.handlers.unwrap_or_default(),
            rows: Mutex::new(vec![vec![]; metrics.len()]),
            metrics,
            metric_cmp_fn: args.metric_cmp_fn,
            state: Mutex::new(state),
            stop: AtomicBool::new(false),
        })
    }

    /// Returns a snapshot of the engine's state.
    pub fn state(&self) -> EngineState {
        self.state.lock().clone()
    }
    /// Changes the engine's state.
    pub fn update(&self, change: impl FnOnce(&mut EngineState)) {
        change(&mut self.state.lock());
    }
    /// Stops the engine after the current iteration.
    pub fn terminate(&self) {
        tracing::info!(
            logger = &*self.logger,
            "Terminate signaled. Engine will stop after current iteration is finished."
        );
        self.stop.store(true, Ordering::Relaxed);
    }
    /// Whether [`Workflow::terminate`] was called; resets it.
    pub fn take_stop(&self) -> bool {
        self.stop.swap(false, Ordering::Relaxed)
    }
    /// Whether there are metrics.
    pub fn has_metrics(&self) -> bool {
        !self.metrics.is_empty()
    }
    /// Whether a metric or handler uses the output of iterations.
    pub fn wants_output(&self) -> bool {
        !self.metrics.is_empty() || self.handlers.iter().any(|handler| handler.wants_output())
    }

    /// See [`Handler::output_folder`].
    pub fn output_folder(&self) -> Option<&Path> {
        self.handlers.iter().find_map(|handler| handler.output_folder())
    }

    /// Calls all handlers in order.
    pub fn fire(&self, event: Event) -> Result<()> {
        for handler in &self.handlers {
            let state = self.state();
            handler.on(event, &state).map_err(|error| error.context(handler.name()))?;
        }
        Ok(())
    }

    /// Errors that handlers would cause in a run.
    pub fn check(&self, start: &EngineStart) -> Vec<Error> {
        self.handlers.iter().flat_map(|handler| handler.check(start)).collect()
    }
    /// Prepares the engines that handlers run.
    pub fn prepare(&self, start: &EngineStart) -> Result<()> {
        self.handlers.iter().try_for_each(|handler| handler.prepare(start))
    }

    /// Resets the metrics.
    pub fn begin_epoch(&self) {
        self.metrics.iter().for_each(|(_, attached)| attached.metric.lock().reset());
        self.rows.lock().iter_mut().for_each(Vec::clear);
    }

    /// Ends an iteration: updates the metrics with its samples, then calls the handlers. If one of them fails, the
    /// metrics forget the iteration.
    pub fn iteration(&self, samples: Vec<Sample>, case: &CaseContext) -> Result<()> {
        let before: Vec<_> = self.metrics.iter().map(|(_, attached)| attached.metric.lock().extent()).collect();
        let result = self.update_metrics(samples, None, case).and_then(|output| self.complete_iteration(output));
        if result.is_err() {
            for (((_, attached), own), (sums, count)) in self.metrics.iter().zip(&mut *self.rows.lock()).zip(before) {
                own.truncate(count);
                let mut metric = attached.metric.lock();
                let mut rows = metric.parts().rows;
                rows.truncate(count);
                metric.set_parts(MetricParts { sums, rows });
            }
        }
        result
    }

    /// Updates the metrics; returns the output of the iteration for [`Workflow::complete_iteration`]. `loss`: that of
    /// the batch.
    pub fn update_metrics(&self, samples: Vec<Sample>, loss: Option<f64>, case: &CaseContext) -> Result<Vec<Value>> {
        let output = match self.wants_output() {
            true => samples.into_iter().map(|sample| output_item(sample, loss)).collect::<Result<Vec<_>>>()?,
            false => vec![],
        };
        let index = self.state.lock().case;
        for ((name, attached), own) in self.metrics.iter().zip(&mut *self.rows.lock()) {
            measure(attached, &output, case).map_err(|error| error.context(format_args!("metric {name}")))?;
            own.resize(attached.metric.lock().extent().1, index);
        }
        Ok(output)
    }

    /// Calls the handlers at the end of an iteration.
    pub fn complete_iteration(&self, output: Vec<Value>) -> Result<()> {
        self.update(|state| state.output = output);
        let result = self.fire(Event::IterationCompleted);
        self.update(|state| state.output = vec![]);
        result
    }

    /// Combines the metrics and the notes of handlers of all ranks. Rows are in the order of the dataset, those of one case
    /// in the order of the ranks.
    fn combine_ranks(&self) -> Result<()> {
        let Some(group) = distributed::group() else { return Ok(()) };
        let shared = |((_, attached), cases): (&(_, Attached), &Vec<usize>)| {
            let MetricParts { sums, rows } = attached.metric.lock().parts();
            let bits = rows.iter().map(|row| row.iter().map(|x| x.to_bits()).collect());
            SharedMetric { sums, rows: cases.iter().copied().zip(bits).collect() }
        };
        let metrics = self.metrics.iter().zip(&*self.rows.lock()).map(shared).collect();
        let notes = self.handlers.iter().filter_map(|handler| Some((handler.name().to_owned(), handler.note()?)));
        let all = group.gather("the end of an epoch", &SharedEpoch { metrics, notes: notes.collect() })?;
        for (at, (name, attached)) in self.metrics.iter().enumerate() {
            let mut combined = MetricParts::default();
            let mut rows = vec![];
            for shared in &all {
                let Some(SharedMetric { sums, rows: own }) = shared.metrics.get(at) else {
                    bail!("the metric {name} exists on some ranks only");
                };
                combined.sums.resize(sums.len().max(combined.sums.len()), 0);
                combined.sums.iter_mut().zip(sums).for_each(|(sum, own)| *sum += own);
                rows.extend(own);
            }
            rows.sort_by_key(|row: &&(usize, Vec<u32>)| row.0);
            combined.rows =
                rows.into_iter().map(|(_, bits)| bits.iter().map(|x| f32::from_bits(*x)).collect()).collect();
            attached.metric.lock().set_parts(combined);
        }
        for (at, handler) in self.handlers.iter().enumerate() {
            // Handlers of one class correspond in their order.
            let earlier = self.handlers[..at].iter().filter(|other| other.name() == handler.name()).count();
            let same = |shared: &SharedEpoch| {
                shared
                    .notes
                    .iter()
                    .filter(|(name, _)| name == handler.name())
                    .nth(earlier)
                    .map(|(_, note)| note.clone())
            };
            if handler.note().is_some() {
                handler.receive(all.iter().filter_map(same).collect())?;
            }
        }
        Ok(())
    }

    /// Ends an epoch: computes its metrics over all ranks, updates the best key metric, then calls the handlers.
    pub fn complete_epoch(&self) -> Result<()> {
        self.combine_ranks()?;
        for (name, attached) in &self.metrics {
            let score = attached.metric.lock().value().map_err(|error| error.context(format_args!("metric {name}")))?;
            let details = attached.save_details.then(|| attached.metric.lock().details()).flatten();
            self.update(|state| {
                state.metrics.insert(name.clone(), score);
                state.metric_details.extend(details.map(|details| (name.clone(), Arc::new(details))));
            });
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
                    "the key metric {key} is not a single number: no best epoch is selected; set `reduction` to \"mean\""
                ),
            }
        }
        self.fire(Event::EpochCompleted)
    }

    fn is_better(&self, new: f64, best: f64) -> Result<bool> {
        if self.metric_cmp_fn.is_none() {
            return Ok(new > best);
        }
        let args = Args::positional([Value::Float(new), Value::Float(best)]);
        Ok(self
            .metric_cmp_fn
            .call(args, &mut BuildContext::default())
            .map_err(|error| error.context("metric_cmp_fn"))?
            .truthy())
    }

    /// State that a resumed training restores; with the state of the metrics if `in_epoch`.
    pub fn save(&self, in_epoch: bool) -> Result<StateDict> {
        let handlers = self.handlers.iter().map(|handler| handler.save()).collect::<Result<_>>()?;
        let metrics = self.metrics.iter().filter(|_| in_epoch).map(|(_, attached)| {
            let MetricParts { sums, rows } = attached.metric.lock().parts();
            (sums, rows)
        });
        let names = self.handlers.iter().map(|handler| handler.name().to_owned()).collect();
        let saved = SavedWorkflow {
            best: self.state.lock().best_metric,
            metrics: metrics.collect(),
            names,
            ranks: distributed::world_size(),
        };
        Ok(checkpoint::to_state(&saved)?.with("handlers", StateDict::List(handlers)))
    }

    /// Restores the result of [`Workflow::save`]. If it was saved with another number of ranks, only the handlers are restored
    /// that the saved rank had.
    ///
    /// # Errors
    /// The number of metrics or handlers differs, or the state is damaged.
    pub fn load(&self, saved: &StateDict) -> Result<()> {
        let damaged = |error: crate::error::Error| {
            error.context(format_args!("the saved state of {} is damaged", self.state.lock().engine))
        };
        let SavedWorkflow { best, metrics, names, ranks } = checkpoint::from_state(saved).map_err(damaged)?;
        let Some(StateDict::List(handlers)) = saved.get("handlers") else {
            return Err(damaged(err!("missing field `handlers`")));
        };
        self.update(|state| state.best_metric = best);
        if ranks != distributed::world_size() {
            let mut known: Vec<_> = names.iter().zip(handlers).collect();
            for handler in &self.handlers {
                if let Some(at) = known.iter().position(|(name, _)| *name == handler.name()) {
                    handler.load(known.remove(at).1).map_err(|error| error.context(handler.name()))?;
                }
            }
            return Ok(());
        }
        if handlers.len() != self.handlers.len() || !(metrics.is_empty() || metrics.len() == self.metrics.len()) {
            return Err(err!(
                "the saved training has {} handlers and {} metrics where the config has {} and {}",
                handlers.len(),
                metrics.len(),
                self.handlers.len(),
                self.metrics.len()
            )
            .hint("start again without --resume, or restore the config of the saved training"));
        }
        for (((_, attached), own), (sums, rows)) in self.metrics.iter().zip(&mut *self.rows.lock()).zip(metrics) {
            own.resize(rows.len(), 0);
            attached.metric.lock().set_parts(MetricParts { sums, rows });
        }
        for (handler, saved) in self.handlers.iter().zip(handlers) {
            handler.load(saved).map_err(|error| error.context(handler.name()))?;
        }
        Ok(())
    }
}

/// State of an engine in the checkpoint of a training, besides its handlers.
#[derive(Serialize, Deserialize)]
struct SavedWorkflow {
    /// Best key metric and its epoch.
    best: Option<(f64, usize)>,
    /// Sums and rows of each metric within an epoch; empty between epochs.
    metrics: Vec<(Vec<i64>, Vec<Vec<f32>>)>,
    /// Class names of the handlers.
    #[serde(default)]
    names: Vec<String>,
    /// Number of ranks.
    #[serde(default = "one")]
    ranks: usize,
}

fn one() -> usize {
    1
}

/// What a rank knows of an epoch.
#[derive(Serialize, Deserialize)]
struct SharedEpoch {
    metrics: Vec<SharedMetric>,
    /// See [`Handler::note`], by class name.
    notes: Vec<(String, serde_json::Value)>,
}

/// The parts of a metric on one rank.
#[derive(Serialize, Deserialize)]
struct SharedMetric {
    sums: Vec<i64>,
    /// For each row its case and the bits of its values: JSON has no NaN.
    rows: Vec<(usize, Vec<u32>)>,
}

/// Output of an iteration of which only the loss is known, for [`Workflow::complete_iteration`].
pub fn loss_output(loss: f64) -> Result<Vec<Value>> {
    Ok(vec![output_item(Sample::default(), Some(loss))?])
}

/// One item of an iteration's output: a dict with those of `image`, `label`, `pred` and `loss` that exist.
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

/// Updates a metric with an iteration's items. Its `output_transform` returns a pair (predictions, labels), of tensors
/// or of lists.
fn measure(attached: &Attached, output: &[Value], case: &CaseContext) -> Result<()> {
    let whole = Value::list(output.iter().cloned());
    let picked = match &attached.output_transform {
        Some(transform) => transform.call(Args::positional([whole]), &mut BuildContext::default())?,
        None => whole,
    };
    let pair = picked.as_sequence().unwrap_or_default();
    let [predictions, targets] = pair.as_slice() else {
        return Err(err!("output_transform: expected a pair of predictions and labels, found {}", picked.type_name())
            .hint("use `$monai.handlers.from_engine(['pred', 'label'])`"));
    };
    let items = |value: &Value| value.as_sequence().unwrap_or_else(|| vec![value.clone()]);
    let (predictions, targets) = (items(predictions), items(targets));
    if predictions.len() != targets.len() {
        bail!("expected as many predictions as labels, found {} and {}", predictions.len(), targets.len());
    }
    for (prediction, target) in predictions.iter().zip(&targets) {
        let (Some(prediction), Some(target)) = (prediction.downcast::<Segmented>(), target.downcast::<Segmented>())
        else {
            bail!("expected a prediction and a label, found {} and {}", prediction.type_name(), target.type_name());
        };
        if Arc::ptr_eq(&prediction, &target) {
            bail!("prediction and label are the same tensor");
        }
        let update =
            |prediction: &Segmentation| target.with(case, |target| attached.metric.lock().update(prediction, target));
        prediction.with(case, update)?;
    }
    Ok(())
}

/// Formats a duration as ignite does: `00:01:02.345`.
pub fn clock(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    let minutes = (seconds / 60.0).floor();
    format!("{:02}:{:02}:{:06.3}", (minutes / 60.0).floor(), minutes % 60.0, seconds - minutes * 60.0)
}
