//! The traits that parts are made to, and the handles under which configs hold them. Read this second.

use crate::component::{Args, Call, FromValue, Object, Value};
use crate::err;
use crate::error::Result;
use crate::image::Volume;
use crate::prediction::Prediction;
use crate::torch::Device;
use indexmap::IndexMap;
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tch::Tensor;

/// A part that a run changes: network, optimizer, metric.
pub type Shared<T> = Arc<Mutex<T>>;

// ---------------------------------------------------------------- samples and transforms

/// One case on its way: what the datalist says and what the transforms make of it, by key.
#[derive(Clone, Default)]
pub struct Sample {
    pub items: IndexMap<Arc<str>, Item>,
}

#[derive(Clone)]
pub enum Item {
    /// A file name or anything else that is no image.
    Value(Value),
    Image(Volume),
    Prediction(Arc<Mutex<Option<Prediction>>>),
}

impl Sample {
    pub fn get(&self, key: &str) -> Option<&Item> {
        self.items.get(key)
    }
    /// The image under `key`, or an error that lists the keys there are.
    pub fn image(&self, key: &str) -> Result<&Volume> {
        match self.items.get(key) {
            Some(Item::Image(volume)) => Ok(volume),
            Some(Item::Prediction(_)) => Err(err!("`{key}` is a prediction, expected an image")),
            Some(Item::Value(value)) => {
                Err(err!("`{key}` is {value:?}, expected an image").hint("is LoadImaged missing before this transform?"))
            }
            None => Err(self.missing(key)),
        }
    }
    pub fn missing(&self, key: &str) -> crate::error::Error {
        let keys: Vec<&str> = self.items.keys().map(|key| &**key).collect();
        err!("the sample has no key `{key}` (it has {})", keys.join(", "))
    }
    pub fn set(&mut self, key: &str, item: Item) {
        self.items.insert(key.into(), item);
    }
}

/// One step of pre- or postprocessing.
pub trait Transform: Send + Sync {
    /// MONAI's class name: `Spacingd`.
    fn name(&self) -> &'static str;
    /// A sample in, samples out (crops can give several).
    fn apply(&self, sample: Sample, cx: &mut Cx) -> Result<Vec<Sample>>;
    /// The transforms inside, for Compose.
    fn children(&self) -> &[Arc<dyn Transform>] {
        &[]
    }
    /// Keys whose geometry it changes and records in the trace; Invertd undoes these.
    fn traced_keys(&self) -> &[Arc<str>] {
        &[]
    }
}

/// What a transform may use besides its sample.
pub struct Cx<'a> {
    pub work: &'a Work,
    /// Where SaveImaged leaves what is to be written.
    pub writes: &'a mut Vec<WriteJob>,
}

/// A file to be written behind the run: `write` makes it under a temporary name beside `path`, then it is renamed.
pub struct WriteJob {
    pub path: PathBuf,
    pub write: Box<dyn FnOnce(&std::path::Path) -> Result<()> + Send>,
}

// ---------------------------------------------------------------- networks and inferers

/// How a network is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode {
    pub train: bool,
    /// Autocast type (`amp`); `None` computes in f32.
    pub autocast: Option<tch::Kind>,
}

impl Mode {
    pub const EVAL: Mode = Mode { train: false, autocast: None };
}

/// A 1×1×1 convolution that ends a network: weight [K,F], bias [K].
pub struct Linear {
    pub weight: Tensor,
    pub bias: Option<Tensor>,
}

/// A network's tensors by name, in PyTorch's order of parameters and buffers.
#[derive(Default)]
pub struct State {
    pub tensors: IndexMap<String, Tensor>,
}

/// A network. Contract: `forward == head ∘ features`.
pub trait Network: Send {
    /// MONAI's class name.
    fn name(&self) -> &str;
    fn in_channels(&self) -> usize;
    fn out_channels(&self) -> usize;
    /// x [N,Cin,X,Y,Z] f32 → [N,K,X,Y,Z]; plain torch operations, bit-equal to MONAI at equal threads.
    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor>;
    /// x [N,Cin,X,Y,Z] f32 → [N,F,X,Y,Z]: all but [`Network::head`]; may be fused, in evaluation.
    fn features(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        self.forward(x, mode)
    }
    /// The last layer, if it is linear per voxel with nothing after it.
    fn head(&self) -> Option<Linear> {
        None
    }
    /// The channels that [`Network::features`] gives.
    fn feature_channels(&self) -> usize {
        self.out_channels()
    }
    fn state(&self) -> &State;
    /// Copy `tensors` into the parameters of the same names, strictly: missing, unexpected and wrong-shaped names are
    /// listed in one error.
    fn load(&mut self, tensors: &[(String, Tensor)]) -> Result<()>;
    /// Move to a device.
    fn to(&mut self, device: Device) -> Result<()>;
    fn device(&self) -> Device;
}

/// Turns images into predictions with a network.
pub trait Inferer: Send + Sync {
    fn name(&self) -> &'static str;
    /// x [N,C,X,Y,Z] f32 in host memory → one lazy prediction per item; nothing is computed yet.
    fn infer(&self, x: &Tensor, network: &Shared<dyn Network>, work: &Work) -> Result<Vec<Prediction>>;
}

// ---------------------------------------------------------------- engines

/// Something with a `run()`: SupervisedEvaluator, SupervisedTrainer.
pub trait Engine: Send + Sync {
    fn name(&self) -> &'static str;
    fn run(&self) -> Result<()>;
}

/// Something that an engine's events reach: StatsHandler, CheckpointLoader.
pub trait Handler: Send + Sync {
    fn name(&self) -> &'static str;
    fn on(&self, event: Event, engine: &EngineState) -> Result<()>;
}

/// What a handler may know of its engine.
#[derive(Debug, Clone, Default)]
pub struct EngineState {
    pub epoch: usize,
    pub max_epochs: usize,
    pub iteration: usize,
    pub epoch_length: usize,
}

/// When a handler is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    Started,
    IterationCompleted,
    EpochCompleted,
    Completed,
}

// ---------------------------------------------------------------- the run's surroundings

/// What the engine knows of the run: device and autocast, cancelling, progress, and the clock that stages report to.
#[derive(Clone)]
pub struct Work {
    pub device: Device,
    pub autocast: Option<tch::Kind>,
    pub cancel: Arc<AtomicBool>,
    pub progress: Arc<dyn Progress>,
    pub clock: Clock,
}

impl Work {
    /// An error of kind Cancelled once the user has interrupted.
    pub fn check(&self) -> Result<()> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(err!("interrupted").kind(crate::error::Kind::Cancelled));
        }
        Ok(())
    }
}

/// Where a case stands, for whoever watches.
pub trait Progress: Send + Sync {
    fn windows(&self, _total: usize) {}
    fn window_done(&self) {}
}

/// For tests and quiet runs.
pub struct NoProgress;
impl Progress for NoProgress {}

/// Busy time by stage.
#[derive(Clone, Default)]
pub struct Clock(Arc<Mutex<IndexMap<Stage, Duration>>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    Pre,
    Inferer,
    Invert,
    Post,
    Write,
}

impl Clock {
    pub fn add(&self, stage: Stage, elapsed: Duration) {
        *self.0.lock().entry(stage).or_default() += elapsed;
    }
    pub fn time<T>(&self, stage: Stage, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        self.add(stage, start.elapsed());
        result
    }
    pub fn get(&self, stage: Stage) -> Duration {
        self.0.lock().get(&stage).copied().unwrap_or_default()
    }
}

// ---------------------------------------------------------------- handles: how a config holds a part

/// Define the object under which a config holds an `Arc` of a trait, and the conversion from a config's value.
macro_rules! handle {
    ($(#[$meta:meta])* $handle:ident($part:ty) = $expected:literal) => {
        $(#[$meta])*
        #[derive(Clone)]
        pub struct $handle(pub $part);
        impl FromValue for $part {
            fn expected() -> String {
                $expected.into()
            }
            fn from_value(value: &Value) -> Option<Self> {
                value.downcast::<$handle>().map(|handle| handle.0.clone())
            }
        }
    };
}

handle!(TransformHandle(Arc<dyn Transform>) = "transform");
handle!(InfererHandle(Arc<dyn Inferer>) = "inferer");
handle!(EngineHandle(Arc<dyn Engine>) = "engine");
handle!(HandlerHandle(Arc<dyn Handler>) = "handler");
handle!(NetworkHandle(Shared<dyn Network>) = "network");

impl Object for TransformHandle {
    fn type_name(&self) -> &str {
        self.0.name()
    }
    fn attr(&self, name: &str) -> Result<Option<Value>> {
        Ok((name == "transforms").then(|| Value::list(self.0.children().iter().map(|child| Value::object(TransformHandle(child.clone()))))))
    }
    fn attr_names(&self) -> &[&str] {
        &["transforms"]
    }
}

impl Object for InfererHandle {
    fn type_name(&self) -> &str {
        self.0.name()
    }
}

impl Object for EngineHandle {
    fn type_name(&self) -> &str {
        self.0.name()
    }
    fn call_method(&self, name: &str, args: &mut Args, _call: &mut Call) -> Result<Option<Value>> {
        match name {
            "run" => {
                std::mem::take(args).expect("run", [])?;
                self.0.run()?;
                Ok(Some(Value::None))
            }
            _ => Ok(None),
        }
    }
    fn attr_names(&self) -> &[&str] {
        &["run"]
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
    fn call(&self, args: Args, _call: &mut Call) -> Result<Value> {
        let [_engine] = args.expect(self.0.name(), ["engine"])?;
        self.0.on(Event::Started, &EngineState::default())?;
        Ok(Value::None)
    }
}

impl Object for NetworkHandle {
    fn type_name(&self) -> &str {
        "network"
    }
    fn repr(&self) -> String {
        format!("<{}>", self.0.lock().name())
    }
    fn attr_names(&self) -> &[&str] {
        &["to", "eval", "train", "parameters"]
    }
    fn call_method(&self, name: &str, args: &mut Args, _call: &mut Call) -> Result<Option<Value>> {
        match name {
            "to" => {
                let [device] = std::mem::take(args).expect("to", ["device"])?;
                let device = Device::from_value(&device).ok_or_else(|| err!("to(): expected {}, found {device:?}", Device::expected()))?;
                self.0.lock().to(device)?;
            }
            // The engine decides the mode of each forward pass.
            "eval" | "train" => drop(std::mem::take(args)),
            _ => return Ok(None),
        }
        Ok(Some(Value::object(self.clone())))
    }
}
