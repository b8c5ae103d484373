//! Engines, their events, and the handlers that these call.
//!
//! A handler never changes the engine that calls it: it acts on the objects in its arguments. Functions in a config
//! (`$lambda engine: engine.state.metrics['val_mean_dice']`) read a snapshot of the [`EngineState`].

use super::{
    CaseContext, CaseReport, EngineHandle, EngineStart, Explanation, HandlerHandle, Item, MetricDetails, RunOptions,
    Score, Segmentation,
};
use crate::checkpoint::StateDict;
use crate::component::Member::{self, Attribute, Method};
use crate::component::{Args, BuildContext, Dict, Key, Object, Value};
use crate::error::{Error, Kind, Result};
use crate::image::{Affine, ImageHeader, Voxels};
use crate::prediction::{PredictionState, volume_tensor};
use crate::python::array::{Array, Flavor, Type};
use crate::python::logging::Logger;
use crate::{bail, err, members};
use indexmap::IndexMap;
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tch::Tensor;

/// An ignite engine: SupervisedEvaluator, SupervisedTrainer.
pub trait Engine: Send + Sync {
    /// Class name in MONAI.
    fn name(&self) -> &'static str;
    /// Runs all epochs and calls the handlers.
    fn run(&self, start: &Arc<EngineStart>) -> Result<()>;
    /// Runs a validation within epoch `_epoch` of a training.
    fn run_at(&self, _epoch: usize, start: &Arc<EngineStart>) -> Result<()> {
        self.run(start)
    }
    /// Describes what [`Engine::run`] would do, from file headers alone; nothing is written.
    fn explain(&self, start: &Arc<EngineStart>) -> Result<Explanation>;
    /// Returns the errors that would prevent a run, found from the headers of files; nothing is written.
    fn check(&self, _start: &EngineStart) -> Vec<Error> {
        vec![]
    }
    /// Checks the headers of all cases and fills caches, before anything is computed.
    fn prepare(&self, _start: &EngineStart) -> Result<()> {
        Ok(())
    }
    /// Given options of the run that have no effect on this engine, each with the reason.
    fn unused_options(&self, _options: &RunOptions) -> Vec<(&'static str, &'static str)> {
        vec![]
    }
    /// Checks that the engine can process a part of its cases (`--part`).
    ///
    /// # Errors
    /// The engine needs all cases.
    fn check_part(&self) -> Result<()> {
        Err(err!("`--part` is for inference: {} needs all cases", self.name()))
    }
    /// Starts the engine for single cases that are not in its dataset (`segbundle worker`).
    ///
    /// # Errors
    /// The engine is not one of inference; a failed handler.
    fn serve<'a>(&'a self, _start: &Arc<EngineStart>) -> Result<Box<ServeCase<'a>>> {
        Err(err!("a worker needs an engine of inference, found {}", self.name()).kind(Kind::Config))
    }
    /// Stops after the current iteration.
    fn terminate(&self) {}
    /// Returns a snapshot of the engine's state.
    fn state(&self) -> EngineState;
    /// Returns the state that a resumed training restores, including that of the handlers.
    fn save(&self) -> Result<StateDict> {
        Ok(StateDict::None)
    }
    /// Restores the result of [`Engine::save`].
    fn load(&self, _saved: &StateDict) -> Result<()> {
        Ok(())
    }
}

/// A case that is not in a dataset.
pub struct CaseRequest {
    /// Entry of the case, as in a datalist.
    pub entry: Value,
    /// Folder of its results instead of the first writer's `output_dir`.
    pub output_dir: Option<PathBuf>,
}

/// Processes a case; a failure of the case is part of its report.
pub type ServeCase<'a> = dyn FnMut(CaseRequest) -> Result<CaseReport> + 'a;

/// Name of the logger of an engine in ignite, by the engine's class name.
pub fn logger_name(engine: &str) -> String {
    format!("ignite.engine.engine.{engine}")
}

/// Warns of the options that have no effect on an engine.
///
/// # Errors
/// The engine cannot run with an option.
pub fn check_options(engine: &dyn Engine, options: &RunOptions) -> Result<()> {
    for (option, why) in engine.unused_options(options) {
        tracing::warn!("`{option}` has no effect on {}: {why}", engine.name());
    }
    options.part.map_or(Ok(()), |_| engine.check_part().map_err(|error| error.kind(Kind::Config)))
}

/// Reacts to the events of an engine: StatsHandler, CheckpointLoader.
pub trait Handler: Send + Sync {
    /// Class name in MONAI.
    fn name(&self) -> &'static str;
    /// Reacts to an event of `engine`.
    fn on(&self, event: Event, engine: &EngineState) -> Result<()>;
    /// Whether the handler reads [`EngineState::output`], which stays empty if no handler does.
    fn wants_output(&self) -> bool {
        false
    }
    /// Folder to which the handler writes results of an evaluation; `run.json` is written there if no transform writes
    /// files.
    fn output_folder(&self) -> Option<&Path> {
        None
    }
    /// Returns the errors that would occur in a run, such as a missing file.
    fn check(&self, _start: &EngineStart) -> Vec<Error> {
        vec![]
    }
    /// Prepares the engines that the handler runs, see [`Engine::prepare`].
    fn prepare(&self, _start: &EngineStart) -> Result<()> {
        Ok(())
    }
    /// What the handlers of this class on other ranks need to know at the end of an epoch.
    fn note(&self) -> Option<serde_json::Value> {
        None
    }
    /// Receives the notes of all ranks that have this handler, in their order, before [`Event::EpochCompleted`].
    fn receive(&self, _notes: Vec<serde_json::Value>) -> Result<()> {
        Ok(())
    }
    /// Returns the state that a resumed training restores.
    fn save(&self) -> Result<StateDict> {
        Ok(StateDict::None)
    }
    /// Restores the result of [`Handler::save`]; called before [`Event::Started`] and again after it.
    fn load(&self, _saved: &StateDict) -> Result<()> {
        Ok(())
    }
    /// `set_trainer`, `set_validator`: sets the engine that the handler acts on. Returns false if it does not act on
    /// one.
    fn set_engine(&self, _engine: Arc<dyn Engine>) -> bool {
        false
    }
}

/// An event at which handlers are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Before the first epoch.
    Started,
    /// After forward, backward, optimizer step and postprocessing of a batch.
    IterationCompleted,
    /// The metrics of the epoch are computed.
    EpochCompleted,
    /// After the last epoch, or after an early stop.
    Completed,
    /// The run ended with an error.
    Failed,
}

/// ignite's `engine.state`, as handlers receive it.
#[derive(Debug, Clone, Default)]
pub struct EngineState {
    /// The engine's class name.
    pub engine: &'static str,
    /// Context that the engine was started with; a handler starts its own engine with the same.
    pub start: Arc<EngineStart>,
    /// Whether the engine is a trainer: iterations are counted over all epochs, including those before resuming.
    pub trains: bool,
    /// Current epoch, from 1; 0 before the first.
    pub epoch: usize,
    /// Last epoch of the run (`max_epochs`).
    pub max_epochs: usize,
    /// Iterations since the start of the run, from 1; 0 before the first.
    pub iteration: usize,
    /// Iterations in an epoch.
    pub epoch_length: usize,
    /// In an evaluation, the case of the last iteration: its index in the dataset.
    pub case: usize,
    /// Metrics of the last completed epoch by name.
    pub metrics: IndexMap<Arc<str>, Score>,
    /// Values of these metrics by case, for the metrics that keep them.
    pub metric_details: IndexMap<Arc<str>, Arc<MetricDetails>>,
    /// Name of the metric that selects the best epoch.
    pub key_metric: Option<Arc<str>>,
    /// Best value of the key metric so far, and its epoch.
    pub best_metric: Option<(f64, usize)>,
    /// Output of the last iteration: for each item a dict with `image`, `label`, `pred` and `loss`.
    pub output: Vec<Value>,
}

impl EngineState {
    /// Python's `engine.state.batch`: for each item a dict with `image` and `label`, after the postprocessing.
    pub fn batch(&self) -> Value {
        let item = |item: &Value| match item {
            Value::Dict(dict) => {
                let own = |(key, _): &(Key, Value)| !matches!(key.as_str(), Some("pred" | "loss"));
                Value::Dict(Dict::new(dict.items().into_iter().filter(own)))
            }
            other => other.clone(),
        };
        Value::list(self.output.iter().map(item))
    }
    /// Python's `engine.state.best_metric`: -1 before the first metric.
    pub fn best_value(&self) -> Value {
        self.best_metric.map_or(Value::Int(-1), |(best, _)| Value::Float(best))
    }
    /// Python's `engine.state.best_metric_epoch`: -1 before the first metric.
    pub fn best_epoch(&self) -> i64 {
        self.best_metric.map_or(-1, |(_, epoch)| epoch as i64)
    }
    /// A Python attribute of the state by name; None if it does not exist.
    pub fn attribute(&self, name: &str) -> Value {
        StateView(Arc::new(self.clone())).attr(name).ok().flatten().unwrap_or(Value::None)
    }
    /// The engine as an argument of a function in the config.
    pub fn as_engine(&self) -> Value {
        Value::object(EngineView(Arc::new(self.clone())))
    }
}

impl Score {
    /// Converts the score to a float, a list of floats, or a dict of floats.
    pub fn to_value(&self) -> Value {
        match self {
            Score::Number(x) => Value::Float(*x),
            Score::Numbers(all) => Value::list(all.iter().map(|&x| Value::Float(x))),
            Score::Named(all) => Value::Dict(Dict::new(all.iter().map(|(name, x)| (Key::str(name), Value::Float(*x))))),
        }
    }
}

/// A prediction, label or image in an engine's output; converted to a [`Segmentation`] on first use.
pub struct Segmented {
    state: Mutex<SegmentedState>,
    /// Header of the file that it was read or computed from, and its affine.
    origin: Option<(Arc<ImageHeader>, Affine)>,
}

enum SegmentedState {
    Item(Box<Item>),
    Segmentation(Segmentation),
}

impl Segmented {
    /// Wraps an image or a prediction, without computing anything.
    pub fn new(item: Item) -> Segmented {
        let origin = match &item {
            Item::Value(_) => None,
            Item::Image(volume) => Some((volume.header.clone(), volume.affine)),
            Item::Prediction(prediction) => Some((prediction.header.clone(), prediction.grid().affine)),
        };
        Segmented { state: Mutex::new(SegmentedState::Item(Box::new(item))), origin }
    }
    /// Passes the segmentation to `look`.
    ///
    /// # Errors
    /// The item is not an image or prediction, or the prediction cannot be computed.
    pub fn with<T>(&self, case: &CaseContext, look: impl FnOnce(&Segmentation) -> Result<T>) -> Result<T> {
        let mut state = self.state.lock();
        if let SegmentedState::Item(item) = &mut *state {
            let item = std::mem::replace(&mut **item, Item::Value(Value::None));
            *state = SegmentedState::Segmentation(segmentation(item, case)?);
        }
        match &*state {
            SegmentedState::Segmentation(segmentation) => look(segmentation),
            SegmentedState::Item(_) => bail!("the prediction could not be computed"),
        }
    }
}

/// Converts an item; one-hot channels stay a label map.
fn segmentation(item: Item, case: &CaseContext) -> Result<Segmentation> {
    let prediction = match item {
        Item::Value(value) => bail!("expected an image or a prediction, found {}", value.type_name()),
        Item::Image(volume) => return Ok(Segmentation::Channels(volume_tensor(&volume)?)),
        Item::Prediction(prediction) => prediction,
    };
    if let PredictionState::Labels { map, grid, onehot: Some(classes) } = &prediction.state {
        let shape = grid.shape.map(|n| n as i64);
        let map = match map {
            Voxels::U16(map) => Tensor::f_from_slice(&map.iter().map(|&n| i32::from(n)).collect::<Vec<_>>())?,
            Voxels::U8(map) => Tensor::f_from_slice(map)?,
            other => bail!("expected class labels of uint8 or uint16, found {}", other.dtype().name()),
        };
        let (map, classes) = (map.f_view(shape)?, *classes);
        let unassigned = map.numel() > 0 && map.f_max()?.f_int64_value(&[])? >= classes as i64;
        return Ok(Segmentation::Labels { map, classes, unassigned });
    }
    Ok(Segmentation::Channels(prediction.dense(case)?.0))
}

static SEGMENTED: &[Member<Segmented>] = &[Attribute("meta", |image| match &image.origin {
    Some((header, affine)) => image_meta(header, affine),
    None => Ok(Value::None),
})];

impl Object for Segmented {
    fn type_name(&self) -> &str {
        "MetaTensor"
    }
    members!(SEGMENTED);
}

/// MONAI's `meta` of an image: its file with the grid that is stored there, and the affine of the tensor.
pub fn image_meta(header: &ImageHeader, affine: &Affine) -> Result<Value> {
    Ok(Value::Dict(Dict::new([
        (Key::str("filename_or_obj"), header.path.display().to_string().into()),
        (Key::str("affine"), matrix(affine)?),
        (Key::str("original_affine"), matrix(&header.grid.affine)?),
        (Key::str("spatial_shape"), Value::list(header.grid.shape.map(|n| Value::Int(n as i64)))),
    ])))
}

/// Converts an affine to a 4×4 float64 tensor.
pub fn matrix(affine: &Affine) -> Result<Value> {
    let values = affine.0.iter().flatten().copied().collect();
    Ok(Value::object(Array::from_values(&[4, 4], values, Type::F64, Flavor::Torch)?))
}

/// `engine` in a function of the config; its only attribute is `state`.
struct EngineView(Arc<EngineState>);

static ENGINE_VIEW: &[Member<EngineView>] =
    &[Attribute("state", |engine| Ok(Value::object(StateView(engine.0.clone()))))];

impl Object for EngineView {
    fn type_name(&self) -> &str {
        self.0.engine
    }
    members!(ENGINE_VIEW);
}

/// `engine.state` in a function of the config.
struct StateView(Arc<EngineState>);

static STATE: &[Member<StateView>] = &[
    Attribute("epoch", |state| Ok(Value::Int(state.0.epoch as i64))),
    Attribute("max_epochs", |state| Ok(Value::Int(state.0.max_epochs as i64))),
    Attribute("iteration", |state| Ok(Value::Int(state.0.iteration as i64))),
    Attribute("epoch_length", |state| Ok(Value::Int(state.0.epoch_length as i64))),
    Attribute("metrics", |state| {
        known_after_run("metrics")?;
        let metrics = state.0.metrics.iter().map(|(name, score)| (Key::str(name), score.to_value()));
        Ok(Value::Dict(Dict::new(metrics)))
    }),
    Attribute("metric_details", |state| {
        known_after_run("metric_details")?;
        let tensor = |(name, details): (&Arc<str>, &Arc<MetricDetails>)| {
            let shape = [details.rows.len(), details.rows.first().map_or(0, Vec::len)];
            let values = details.rows.iter().flatten().map(|&x| f64::from(x)).collect();
            Ok((Key::str(name), Value::object(Array::from_values(&shape, values, Type::F32, Flavor::Torch)?)))
        };
        let details = state.0.metric_details.iter().map(tensor).collect::<Result<Vec<_>>>()?;
        Ok(Value::Dict(Dict::new(details)))
    }),
    Attribute("key_metric_name", |state| Ok(state.0.key_metric.as_deref().map_or(Value::None, Value::from))),
    Attribute("best_metric", |state| Ok(state.0.best_value())),
    Attribute("best_metric_epoch", |state| Ok(state.0.best_epoch().into())),
    Attribute("batch", |state| Ok(state.0.batch())),
    Attribute("output", |state| Ok(Value::list(state.0.output.iter().cloned()))),
];

/// # Errors
/// In a dry run, in which no engine computes metrics.
fn known_after_run(what: &str) -> Result<()> {
    match BuildContext::with_lent(|context| context.is_dry_run()) {
        true => Err(err!("`{what}` of an engine are known after its run").kind(Kind::Withheld)),
        false => Ok(()),
    }
}

impl Object for StateView {
    fn type_name(&self) -> &str {
        "State"
    }
    members!(STATE);
}

static ENGINE: &[Member<EngineHandle>] = &[
    Attribute("state", |engine| Ok(Value::object(StateView(Arc::new(engine.0.state()))))),
    Attribute("logger", |engine| Ok(Value::object(Logger::named(&logger_name(engine.0.name()))))),
    Method("run", |engine, args, context| {
        args.expect("run", [])?;
        match context.is_dry_run() {
            true => {
                let start = context.engine_start();
                engine.0.check(&start).into_iter().for_each(|error| context.report(error))
            }
            false => {
                let start = Arc::new(context.engine_start());
                check_options(&*engine.0, &start.run.options)?;
                engine.0.run(&start)?
            }
        }
        Ok(Value::None)
    }),
    Method("terminate", |engine, args, _| {
        args.expect("terminate", [])?;
        engine.0.terminate();
        Ok(Value::None)
    }),
];

impl Object for EngineHandle {
    fn type_name(&self) -> &str {
        self.0.name()
    }
    members!(ENGINE);
}

static HANDLER: &[Member<HandlerHandle>] = &[
    Method("set_trainer", |handler, args, _| set_engine(handler, "set_trainer", "trainer", args)),
    Method("set_validator", |handler, args, _| set_engine(handler, "set_validator", "validator", args)),
];

/// Sets the engine that a handler acts on.
fn set_engine(handler: &HandlerHandle, method: &str, argument: &str, args: Args) -> Result<Value> {
    let [engine] = args.expect(method, [argument])?;
    let Some(engine) = engine.downcast::<EngineHandle>() else {
        bail!("{method}(): expected an engine, found {}", engine.type_name());
    };
    match handler.0.set_engine(engine.0.clone()) {
        true => Ok(Value::None),
        false => Err(err!("'{}' object has no attribute `{method}`", handler.0.name()).kind(Kind::Config)),
    }
}

impl Object for HandlerHandle {
    fn type_name(&self) -> &str {
        self.0.name()
    }
    fn callable(&self) -> bool {
        true
    }
    /// `handler(engine)`: runs the handler's start event, for bundles that load a checkpoint in `initialize`.
    fn call(&self, args: Args, context: &mut BuildContext) -> Result<Value> {
        let [_engine] = args.expect(self.0.name(), ["engine"])?;
        if context.is_dry_run() {
            let start = context.engine_start();
            self.0.check(&start).into_iter().for_each(|error| context.report(error));
            return Ok(Value::None);
        }
        self.0.on(Event::Started, &EngineState::default())?;
        Ok(Value::None)
    }
    members!(HANDLER);
}
