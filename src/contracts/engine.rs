//! Engines, the events of their runs, and what handlers are told at each of them.
//!
//! A handler never changes its engine: it acts on the objects that its config gave it. What a config's own functions
//! (`$lambda engine: engine.state.metrics['val_mean_dice']`) read of an engine is a snapshot of its [`EngineState`].

use super::{CaseContext, EngineHandle, EngineStart, Explanation, HandlerHandle, Item, Score, Segmentation};
use crate::bail;
use crate::checkpoint::StateDict;
use crate::component::{Args, BuildContext, Dict, Key, Object, Value};
use crate::error::{Error, Result};
use crate::image::Voxels;
use crate::prediction::{PredictionState, volume_tensor};
use indexmap::IndexMap;
use parking_lot::Mutex;
use std::sync::Arc;
use tch::Tensor;

/// Something with a `run()`: SupervisedEvaluator, SupervisedTrainer.
pub trait Engine: Send + Sync {
    fn name(&self) -> &'static str;
    fn run(&self, start: &Arc<EngineStart>) -> Result<()>;
    /// A run in the middle of a training that is in this epoch: a validation.
    fn run_at(&self, _epoch: usize, start: &Arc<EngineStart>) -> Result<()> {
        self.run(start)
    }
    /// What [`Engine::run`] would do, from headers; nothing is written.
    fn explain(&self, start: &Arc<EngineStart>) -> Result<Explanation>;
    /// What keeps it from running, as far as that can be found without reading images.
    fn check(&self) -> Vec<Error> {
        vec![]
    }
    /// Checks the cases of a run by their headers and fills caches, before anything is computed.
    fn prepare(&self, _start: &EngineStart) -> Result<()> {
        Ok(())
    }
    /// Stop after this iteration.
    fn terminate(&self) {}
    /// Where it stands.
    fn state(&self) -> EngineState;
    /// What a training that goes on must know of it, its handlers included.
    fn save(&self) -> Result<StateDict> {
        Ok(StateDict::None)
    }
    /// Take over what [`Engine::save`] gave.
    fn load(&self, _saved: &StateDict) -> Result<()> {
        Ok(())
    }
}

/// Something that an engine's events reach: StatsHandler, CheckpointLoader.
pub trait Handler: Send + Sync {
    fn name(&self) -> &'static str;
    fn on(&self, event: Event, engine: &EngineState) -> Result<()>;
    /// Whether it looks at [`EngineState::output`], which is left empty if nobody does.
    fn wants_output(&self) -> bool {
        false
    }
    /// What will fail in a run, as far as that can be found beforehand: a file that does not exist.
    fn check(&self) -> Vec<Error> {
        vec![]
    }
    /// Prepares the engines that it runs, see [`Engine::prepare`].
    fn prepare(&self, _start: &EngineStart) -> Result<()> {
        Ok(())
    }
    /// What a training that goes on must know of it.
    fn save(&self) -> Result<StateDict> {
        Ok(StateDict::None)
    }
    /// Take over what [`Handler::save`] gave; comes after [`Event::Started`].
    fn load(&self, _saved: &StateDict) -> Result<()> {
        Ok(())
    }
    /// `set_trainer`, `set_validator`: tell it of another engine. False if it has no use for one.
    fn set_engine(&self, _engine: Arc<dyn Engine>) -> bool {
        false
    }
}

/// When a handler is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    Started,
    /// Forward, backward and step are done, the postprocessing too.
    IterationCompleted,
    /// The metrics of the epoch are there.
    EpochCompleted,
    Completed,
    /// The run ends with an error.
    Failed,
}

/// What a handler may know of its engine: ignite's `engine.state`.
#[derive(Debug, Clone, Default)]
pub struct EngineState {
    /// The engine's class name.
    pub engine: &'static str,
    /// What the engine was started with, for engines that a handler runs.
    pub start: Arc<EngineStart>,
    /// Whether it trains: its iterations are counted over all epochs, and go on in a resumed training.
    pub trains: bool,
    /// From 1.
    pub epoch: usize,
    pub max_epochs: usize,
    /// Since the run's start, from 1.
    pub iteration: usize,
    /// Iterations in an epoch.
    pub epoch_length: usize,
    /// The last epoch's, by name.
    pub metrics: IndexMap<Arc<str>, Score>,
    /// Which of the metrics decides what is best.
    pub key_metric: Option<Arc<str>>,
    /// Its best value so far and the epoch that had it.
    pub best_metric: Option<(f64, usize)>,
    /// Of the last iteration: a dict of `image`, `label`, `pred` and `loss` for each item.
    pub output: Vec<Value>,
}

impl EngineState {
    /// Python's `engine.state.best_metric`: -1 where there is none.
    pub fn best_value(&self) -> Value {
        self.best_metric.map_or(Value::Int(-1), |(best, _)| Value::Float(best))
    }
    /// Python's `engine.state.best_metric_epoch`: -1 where there is none.
    pub fn best_epoch(&self) -> i64 {
        self.best_metric.map_or(-1, |(_, epoch)| epoch as i64)
    }
    /// A Python attribute of the state by name; None where there is none.
    pub fn attribute(&self, name: &str) -> Value {
        StateView(Arc::new(self.clone())).attr(name).ok().flatten().unwrap_or(Value::None)
    }
    /// The engine as a config's function sees it.
    pub fn as_engine(&self) -> Value {
        Value::object(EngineView(Arc::new(self.clone())))
    }
}

impl Score {
    pub fn to_value(&self) -> Value {
        match self {
            Score::Number(x) => Value::Float(*x),
            Score::Numbers(all) => Value::list(all.iter().map(|&x| Value::Float(x))),
            Score::Named(all) => Value::Dict(Dict::new(all.iter().map(|(name, x)| (Key::str(name), Value::Float(*x))))),
        }
    }
}

/// A case's prediction, label or image in an engine's output; as a segmentation only once somebody asks for it.
pub struct Segmented(Mutex<Seen>);

enum Seen {
    Item(Box<Item>),
    Segmentation(Segmentation),
}

impl Segmented {
    pub fn new(item: Item) -> Segmented {
        Segmented(Mutex::new(Seen::Item(Box::new(item))))
    }
    pub fn with<T>(&self, case: &CaseContext, look: impl FnOnce(&Segmentation) -> Result<T>) -> Result<T> {
        let mut seen = self.0.lock();
        if let Seen::Item(item) = &mut *seen {
            let item = std::mem::replace(&mut **item, Item::Value(Value::None));
            *seen = Seen::Segmentation(segmentation(item, case)?);
        }
        match &*seen {
            Seen::Segmentation(segmentation) => look(segmentation),
            Seen::Item(_) => bail!("a prediction is not there any more"),
        }
    }
}

/// One-hot channels stay a label map.
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
        return Ok(Segmentation::Labels { map: map.f_view(shape)?, classes: *classes });
    }
    Ok(Segmentation::Channels(prediction.dense(case)?.0))
}

impl Object for Segmented {
    fn type_name(&self) -> &str {
        "Tensor"
    }
}

/// `engine` in a config's function: only its state.
struct EngineView(Arc<EngineState>);

impl Object for EngineView {
    fn type_name(&self) -> &str {
        self.0.engine
    }
    fn attr(&self, name: &str) -> Result<Option<Value>> {
        Ok((name == "state").then(|| Value::object(StateView(self.0.clone()))))
    }
    fn attr_names(&self) -> &[&str] {
        &["state"]
    }
}

/// `engine.state` in a config's function.
struct StateView(Arc<EngineState>);

impl Object for StateView {
    fn type_name(&self) -> &str {
        "State"
    }
    fn attr(&self, name: &str) -> Result<Option<Value>> {
        let state = &self.0;
        Ok(Some(match name {
            "epoch" => Value::Int(state.epoch as i64),
            "max_epochs" => Value::Int(state.max_epochs as i64),
            "iteration" => Value::Int(state.iteration as i64),
            "epoch_length" => Value::Int(state.epoch_length as i64),
            "metrics" => {
                Value::Dict(Dict::new(state.metrics.iter().map(|(name, score)| (Key::str(name), score.to_value()))))
            }
            "key_metric_name" => state.key_metric.as_deref().map_or(Value::None, Value::from),
            "best_metric" => state.best_value(),
            "best_metric_epoch" => state.best_epoch().into(),
            "output" => Value::list(state.output.iter().cloned()),
            _ => return Ok(None),
        }))
    }
    fn attr_names(&self) -> &[&str] {
        &[
            "epoch",
            "max_epochs",
            "iteration",
            "epoch_length",
            "metrics",
            "key_metric_name",
            "best_metric",
            "best_metric_epoch",
            "output",
        ]
    }
}

impl Object for EngineHandle {
    fn type_name(&self) -> &str {
        self.0.name()
    }
    fn attr(&self, name: &str) -> Result<Option<Value>> {
        Ok((name == "state").then(|| Value::object(StateView(Arc::new(self.0.state())))))
    }
    fn call_method(&self, name: &str, args: &mut Args, context: &mut BuildContext) -> Result<Option<Value>> {
        match name {
            "run" => {
                std::mem::take(args).expect("run", [])?;
                match context.is_dry_run() {
                    true => self.0.check().into_iter().for_each(|error| context.report(error)),
                    false => self.0.run(&Arc::new(context.engine_start()))?,
                }
            }
            "terminate" => {
                std::mem::take(args).expect("terminate", [])?;
                self.0.terminate();
            }
            _ => return Ok(None),
        }
        Ok(Some(Value::None))
    }
    fn attr_names(&self) -> &[&str] {
        &["run", "state", "terminate"]
    }
}

impl Object for HandlerHandle {
    fn type_name(&self) -> &str {
        self.0.name()
    }
    fn callable(&self) -> bool {
        true
    }
    /// `handler(engine)`: what upstream's initialize does to load a checkpoint.
    fn call(&self, args: Args, call: &mut BuildContext) -> Result<Value> {
        let [_engine] = args.expect(self.0.name(), ["engine"])?;
        if call.is_dry_run() {
            self.0.check().into_iter().for_each(|error| call.report(error));
            return Ok(Value::None);
        }
        self.0.on(Event::Started, &EngineState::default())?;
        Ok(Value::None)
    }
    fn call_method(&self, name: &str, args: &mut Args, _call: &mut BuildContext) -> Result<Option<Value>> {
        let argument = match name {
            "set_trainer" => "trainer",
            "set_validator" => "validator",
            _ => return Ok(None),
        };
        let [engine] = std::mem::take(args).expect(name, [argument])?;
        let Some(engine) = engine.downcast::<EngineHandle>() else {
            bail!("{name}(): expected an engine, found {}", engine.type_name());
        };
        Ok(self.0.set_engine(engine.0.clone()).then_some(Value::None))
    }
    fn attr_names(&self) -> &[&str] {
        &["set_trainer", "set_validator"]
    }
}
