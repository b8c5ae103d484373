//! The traits that parts are made to, and the handles under which configs hold them. Read this second.

pub use crate::case_context::{CaseContext, Clock, NoProgress, Progress, Stage};
use crate::component::{Args, BuildContext, Effect, FromArc, FromShared, FromValue, Object, Value};
use crate::err;
use crate::error::{Kind, Result};
use crate::formats::digest::Digest;
use crate::image::Volume;
use crate::prediction::Prediction;
pub use crate::random::RngStates;
pub use crate::torch::TensorHandle;
use crate::torch::{Device, DeviceExt, array_from_tensor, guard, tensor_from_value};
use indexmap::IndexMap;
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tch::Tensor;

/// A part that a run changes: network, optimizer, metric.
pub type Shared<T> = Arc<Mutex<T>>;

// ---------------------------------------------------------------- samples and transforms

/// One case on its way: what the datalist says and what the transforms make of it, by key.
#[derive(Default)]
pub struct Sample {
    pub items: IndexMap<Arc<str>, Item>,
}

pub enum Item {
    /// A file name or anything else that is no image.
    Value(Value),
    Image(Volume),
    Prediction(Prediction),
}

impl Item {
    /// Another of the same; a prediction that waits to be computed has none.
    pub fn duplicate(&self) -> Result<Item> {
        match self {
            Item::Value(value) => Ok(Item::Value(value.clone())),
            Item::Image(volume) => Ok(Item::Image(volume.clone())),
            Item::Prediction(_) => {
                Err(err!("a prediction cannot be copied").hint("copy after SaveImaged, or save the image twice"))
            }
        }
    }
}

impl Sample {
    /// Another of the same, see [`Item::duplicate`].
    pub fn duplicate(&self) -> Result<Sample> {
        let mut out = Sample::default();
        for (key, item) in &self.items {
            out.set(key, item.duplicate()?);
        }
        Ok(out)
    }
    pub fn get(&self, key: &str) -> Option<&Item> {
        self.items.get(key)
    }
    /// Bytes of its images' voxels.
    pub fn bytes(&self) -> u64 {
        let of = |item: &Item| match item {
            Item::Image(volume) => volume.voxels.len() as u64 * volume.voxels.dtype().size_bytes() as u64,
            _ => 0,
        };
        self.items.values().map(of).sum()
    }
    /// The image under `key`, or an error that lists the keys there are.
    pub fn image(&self, key: &str) -> Result<&Volume> {
        match self.items.get(key) {
            Some(Item::Image(volume)) => Ok(volume),
            Some(Item::Prediction(_)) => Err(err!("`{key}` is a prediction, expected an image")),
            Some(Item::Value(value)) => {
                Err(err!("`{key}` is {value:?}, expected an image")
                    .hint("is LoadImaged missing before this transform?"))
            }
            None => Err(self.missing(key)),
        }
    }
    pub fn missing(&self, key: &str) -> crate::error::Error {
        let keys: Vec<&str> = self.items.keys().map(|key| &**key).collect();
        err!("the sample has no key `{key}` (it has {})", keys.join(", "))
    }
    /// Take the item under `key` out, leaving nothing; put it back with [`Sample::set`], which keeps its place.
    pub fn take(&mut self, key: &str) -> Result<Item> {
        let missing = self.missing(key);
        self.items.get_mut(key).map(|item| std::mem::replace(item, Item::Value(Value::None))).ok_or(missing)
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
    fn apply(&self, sample: Sample, cx: &mut TransformContext) -> Result<Vec<Sample>>;
    /// The transforms inside, for Compose.
    fn children(&self) -> &[Arc<dyn Transform>] {
        &[]
    }
    /// Whether it only applies its [`Transform::children`] in order: Compose.
    fn is_chain(&self) -> bool {
        false
    }
    /// Whether it draws random numbers (MONAI's Randomizable).
    fn is_random(&self) -> bool {
        false
    }
    /// `set_random_state(seed)`: start its random states, and those of the transforms inside, anew.
    fn seed(&self, _seed: u32, _streams: &mut RngStates) {}
    /// Keys whose geometry it changes and records in the trace; Invertd undoes these.
    fn traced_keys(&self) -> &[Arc<str>] {
        &[]
    }
    /// The files that this transform will write for a case read from `source` and for no other, so that clashes are found
    /// beforehand. `root`: see [`CaseContext::output_root`].
    fn output_paths(&self, _source: &Path, _root: Option<&Path>) -> Result<Vec<PathBuf>> {
        Ok(vec![])
    }
    /// What it makes of a sample whose images are header-only (shape and geometry, no voxels; see
    /// [`Volume::is_header_only`]), and whether its voxels can stay in their files meanwhile. A test holds it together with
    /// [`Transform::apply`]. Where `apply` handles header-only images, [`applied_to_headers`] gives the sample.
    fn plan(&self, sample: Sample) -> Result<Step<'_>>;
    /// What it does to a prediction.
    fn on_prediction(&self) -> OnPrediction {
        OnPrediction::Other
    }
    /// The folder that all its files are written below; the run's record goes there.
    fn output_folder(&self) -> Option<&Path> {
        None
    }
}

mod plan;

pub use plan::{
    Certainty, Plan, PlannedStep, Step, VoxelAccess, VoxelLocation, WithoutHeader, applied_to_headers, apply_all,
    flattened,
};

/// What a transform of the postprocessing needs of a prediction; decides what is computed together and how much memory
/// that takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnPrediction {
    /// Noted, and computed together with what comes next.
    Recorded,
    /// One class number per voxel, computed while the windows run.
    Labels,
    /// One byte per channel and voxel, computed while the windows run.
    Masks,
    /// Moved to another grid, voxel by voxel, once there are labels or masks.
    Moved,
    /// All channels at once, four bytes each.
    AllChannels,
    /// Written as it is.
    Written,
    /// Not known, or nothing.
    Other,
}

/// As MONAI's Compose seeds its transforms: a draw for each random one, in order.
pub fn seed_each(transforms: &[Arc<dyn Transform>], seed: u32, rng: &mut RngStates) {
    let mut random = crate::random::RandomState::new(seed);
    for transform in transforms.iter().filter(|transform| transform.is_random()) {
        transform.seed(random.next_u32(), rng);
    }
}

/// What a transform may use besides its sample.
pub struct TransformContext<'a> {
    pub case: &'a CaseContext,
    /// Where SaveImaged leaves what is to be written.
    pub writes: &'a mut Vec<WriteJob>,
    /// Where random transforms draw from.
    pub rng: &'a mut RngStates,
}

/// A file to be written behind the run; no half-written file ever carries its name.
pub struct WriteJob {
    pub path: PathBuf,
    /// Memory that `write` holds until it is done.
    pub bytes: u64,
    /// Writes the file; returns its digest.
    pub write: Box<dyn FnOnce() -> Result<Digest> + Send>,
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
pub struct NetworkState {
    pub tensors: IndexMap<String, Tensor>,
}

impl NetworkState {
    /// Names of the tensors with NaN or infinite values.
    pub fn not_finite(&self) -> Result<Vec<&str>> {
        let mut odd = vec![];
        for (name, tensor) in self.tensors.iter().filter(|(_, tensor)| tensor.is_floating_point()) {
            // A sum of finite f32 is finite in f64, and any other value stays in it.
            if !tensor.f_detach()?.f_sum(tch::Kind::Double)?.f_double_value(&[])?.is_finite() {
                odd.push(name.as_str());
            }
        }
        Ok(odd)
    }
}

/// A network. Contract: `forward == head ∘ features`.
pub trait Network: Send {
    /// MONAI's class name.
    fn name(&self) -> &str;
    /// Number of spatial axes of its input: 3, or 2 for `[N, C, X, Y]`.
    fn spatial_dims(&self) -> usize {
        3
    }
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
    fn state(&self) -> &NetworkState;
    /// The SHA-256 of the file that it is made of, where the tensors of [`Network::state`] do not say all: a program.
    fn file_sha256(&self) -> Option<&str> {
        None
    }
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
    /// x [1,C,X,Y,Z] f32 in host memory, `image` where it came from → a lazy prediction; nothing is computed yet.
    fn infer(
        &self,
        x: &Tensor,
        image: &Volume,
        network: &Shared<dyn Network>,
        case: &CaseContext,
    ) -> Result<Prediction>;
    /// Whether it runs the network once on the whole image, as an iteration of a training does.
    fn is_single_pass(&self) -> bool {
        false
    }
    /// How it would go over an image of `shape` [X,Y,Z]. `features`: the channels that the network's
    /// [`Network::features`] gives. Errors if that does not fit `budget_bytes`.
    fn plan(&self, shape: [usize; 3], features: usize, _budget_bytes: u64) -> Result<InferencePlan> {
        let stitch_bytes = 4 * features as u64 * shape.iter().map(|&n| n as u64).product::<u64>();
        Ok(InferencePlan { window: shape, windows: 1, runs: 1, strips: 1, batch: 1, stitch_bytes })
    }
}

/// How an inferer goes over an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InferencePlan {
    /// Window size in voxels.
    pub window: [usize; 3],
    pub windows: usize,
    /// Windows that run, those that run again to save memory included.
    pub runs: usize,
    /// Parts of the volume that are gone through one after the other; 1 unless memory is short.
    pub strips: usize,
    /// Windows per forward pass.
    pub batch: usize,
    /// Memory in which windows are blended.
    pub stitch_bytes: u64,
}

// ---------------------------------------------------------------- training

mod training;

pub use training::{Attached, Loss, Metric, MetricParts, Optimizer, ParamGroup, Schedule, Score, Segmentation};

// ---------------------------------------------------------------- engines

mod engine;

pub use engine::{Engine, EngineState, Event, Handler, Segmented};

// ---------------------------------------------------------------- data

/// Cases by number: what the datalist says of each, and its samples after the transforms.
pub trait Dataset: Send + Sync {
    fn name(&self) -> &'static str;
    fn len(&self) -> usize;
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The entry of the datalist, a dict.
    fn entry(&self, index: usize) -> Result<Value>;
    /// The transforms that [`Dataset::get`] applies, in order.
    fn transforms(&self) -> &[Arc<dyn Transform>] {
        &[]
    }
    /// Called before the first pass of an engine: a dataset that caches fills its cache.
    fn prepare(&self, _run: &RunContext) -> Result<()> {
        Ok(())
    }
    /// Case `index` before its transforms.
    fn sample(&self, index: usize) -> Result<Sample>;
    /// MONAI's `set_rnd(dataset, seed)`: seed the random transforms.
    fn seed(&self, _seed: u32, _streams: &mut RngStates) {}
    /// Whether [`Dataset::get`] reads the files of a case, instead of having its samples in memory.
    fn reads_files(&self) -> bool {
        true
    }
    /// Read and transform case `index`.
    fn get(&self, index: usize, cx: &mut TransformContext) -> Result<Vec<Sample>>;
}

/// How an engine goes through a dataset.
pub struct Loader {
    pub dataset: Arc<dyn Dataset>,
    pub batch_size: usize,
    /// Every pass in an order of its own.
    pub shuffle: bool,
    /// Leave out an incomplete last batch.
    pub drop_last: bool,
    /// Threads that read and transform cases; 0 does it when they are needed.
    pub num_workers: usize,
    /// Whether workers stay from pass to pass: their random states go on and are seeded only once.
    pub persistent: bool,
    /// Without workers: the random states of random transforms, which go on from pass to pass; those of the run.
    pub rng: Arc<Mutex<RngStates>>,
}

impl Loader {
    /// States of the dataset's random transforms outside of workers.
    pub fn rng_states(&self) -> RngStates {
        let mut states = RngStates::default();
        self.dataset.seed(0, &mut states);
        states.update_from(&self.rng.lock());
        states
    }
    /// Sets what [`Loader::rng_states`] gave.
    pub fn restore_rng_states(&self, states: RngStates) {
        self.rng.lock().extend(states);
    }
    /// Batches in a pass: Python's `len(loader)`.
    pub fn batches(&self) -> usize {
        let (cases, size) = (self.dataset.len(), self.batch_size.max(1));
        if self.drop_last { cases / size } else { cases.div_ceil(size) }
    }
}

// ---------------------------------------------------------------- the run

mod explanation;

pub use crate::run::{CaseFacts, CaseReport, CaseStatus, ConfigRecord, EngineStart, Observer, RunContext, RunOptions};
pub use explanation::{
    CaseExplanation, EvaluationExplanation, ExplainedInference, ExplainedStep, Explanation, TrainingExplanation,
};

// ---------------------------------------------------------------- handles: how a config holds a part

/// Define the object under which a config holds a component, and the conversion from a config's value.
macro_rules! handle {
    ($handle:ident(Arc<$inner:ty>) = $expected:literal) => {
        handle!(@define $handle, Arc<$inner>, FromArc for $inner, Arc<Self>, $expected);
    };
    ($handle:ident(Shared<$inner:ty>) = $expected:literal) => {
        handle!(@define $handle, Shared<$inner>, FromShared for $inner, Shared<Self>, $expected);
    };
    ($handle:ident($inner:ty) = $expected:literal) => {
        handle!(@define $handle, $inner, FromValue for $inner, Self, $expected);
    };
    (@define $handle:ident, $part:ty, $from:ident for $inner:ty, $made:ty, $expected:literal) => {
        #[derive(Clone)]
        pub struct $handle(pub $part);
        impl $from for $inner {
            fn expected() -> String {
                $expected.into()
            }
            fn from_value(value: &Value) -> Option<$made> {
                value.downcast::<$handle>().map(|handle| handle.0.clone())
            }
        }
    };
}

/// The named tensors of a state dict, as `torch.load` gives them.
fn tensors_of(state: &Value) -> Result<Vec<(String, Tensor)>> {
    let Value::Dict(state) = state else {
        return Err(err!("load_state_dict: expected dict of tensors, found {}", state.type_name()));
    };
    let items = state.items().into_iter().map(|(key, value)| match (key.as_str(), tensor_from_value(&value)) {
        (Some(name), Some(tensor)) => Ok((name.to_owned(), tensor)),
        _ => Err(err!("load_state_dict: expected a tensor under {:?}, found {}", key.to_value(), value.type_name())),
    });
    items.collect()
}

mod weights;

pub use weights::{Restored, Strictness, restore};

handle!(TransformHandle(Arc<dyn Transform>) = "transform");
handle!(InfererHandle(Arc<dyn Inferer>) = "inferer");
handle!(EngineHandle(Arc<dyn Engine>) = "engine");
handle!(HandlerHandle(Arc<dyn Handler>) = "handler");
handle!(NetworkHandle(Shared<dyn Network>) = "network");
handle!(DatasetHandle(Arc<dyn Dataset>) = "dataset");
handle!(LoaderHandle(Arc<Loader>) = "data loader");
handle!(LossHandle(Arc<dyn Loss>) = "loss");
handle!(MetricHandle(Attached) = "metric");
handle!(OptimizerHandle(Shared<dyn Optimizer>) = "optimizer");
handle!(ScheduleHandle(Shared<dyn Schedule>) = "learning-rate schedule");

/// One parameter of a network, as `network.parameters()` lists them: a shallow clone.
pub struct Parameter {
    name: Arc<str>,
    tensor: Mutex<Tensor>,
}

impl Parameter {
    pub fn new(name: &str, tensor: &Tensor) -> Parameter {
        Parameter { name: name.into(), tensor: Mutex::new(tensor.shallow_clone()) }
    }
    pub fn tensor(&self) -> Tensor {
        self.tensor.lock().shallow_clone()
    }
}

impl Object for Parameter {
    fn type_name(&self) -> &str {
        "Parameter"
    }
    fn repr(&self) -> String {
        format!("<Parameter {} {:?}>", self.name, self.tensor.lock().size())
    }
    fn attr(&self, name: &str) -> Result<Option<Value>> {
        let tensor = self.tensor.lock();
        Ok(match name {
            "requires_grad" => Some(tensor.requires_grad().into()),
            "shape" => Some(Value::tuple(tensor.size().into_iter().map(Value::Int))),
            "ndim" => Some(Value::Int(tensor.dim() as i64)),
            _ => None,
        })
    }
    fn attr_names(&self) -> &[&str] {
        &["requires_grad", "shape", "ndim", "numel"]
    }
    fn set_attr(&self, name: &str, value: Value) -> Result<()> {
        let (Some(on), "requires_grad") = (bool::from_value(&value), name) else {
            return Err(err!("attribute `{name}` of a parameter cannot be set to {value:?}"));
        };
        // A handle to the same tensor is changed.
        let _ = self.tensor.lock().set_requires_grad(on);
        Ok(())
    }
    fn call_method(&self, name: &str, args: &mut Args, _call: &mut BuildContext) -> Result<Option<Value>> {
        if name != "numel" {
            return Ok(None);
        }
        std::mem::take(args).expect("numel", [])?;
        Ok(Some(Value::Int(self.tensor.lock().numel() as i64)))
    }
}

/// The trained tensors of a network in PyTorch's order of `parameters()`, each once.
pub fn parameters(network: &dyn Network) -> Vec<(String, Tensor)> {
    let mut seen = std::collections::HashSet::new();
    let state =
        network.state().tensors.iter().filter(|(_, tensor)| tensor.requires_grad() && seen.insert(tensor.data_ptr()));
    state.map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect()
}

impl Object for OptimizerHandle {
    fn type_name(&self) -> &str {
        self.0.lock().name()
    }
}

impl Object for ScheduleHandle {
    fn type_name(&self) -> &str {
        self.0.lock().name()
    }
}

impl Object for MetricHandle {
    fn type_name(&self) -> &str {
        self.0.metric.lock().name()
    }
}

impl Object for LossHandle {
    fn type_name(&self) -> &str {
        self.0.name()
    }
}

/// An argument that is a tensor [N,C,X,Y,Z], as float32.
pub fn network_input(name: &str, value: &Value) -> Result<Tensor> {
    let tensor = tensor_from_value(value)
        .ok_or_else(|| err!("{name}: expected a tensor, found {}", value.type_name()).kind(Kind::Config))?;
    if tensor.dim() != 5 {
        return Err(err!("{name}: expected a tensor [N,C,X,Y,Z], found shape {:?}", tensor.size())
            .kind(Kind::Config)
            .hint("`x[None]` adds the batch axis"));
    }
    Ok(tensor.f_to_kind(tch::Kind::Float)?)
}

impl Object for NetworkHandle {
    fn effect(&self, method: &str) -> Effect {
        if method == "__call__" { Effect::Acts } else { Effect::Pure }
    }
    fn type_name(&self) -> &str {
        "network"
    }
    fn repr(&self) -> String {
        format!("<{}>", self.0.lock().name())
    }
    fn callable(&self) -> bool {
        true
    }
    /// `network(x)`: a forward pass on the network's device, as in evaluation and without gradients.
    fn call(&self, args: Args, call: &mut BuildContext) -> Result<Value> {
        let network = self.0.lock();
        let [x] = args.expect(network.name(), ["x"])?;
        let x = network_input(network.name(), &x)?.f_to_device(network.device().tch())?;
        let output = guard(|| tch::no_grad(|| network.forward(&x, Mode::EVAL)))?;
        Ok(Value::object(array_from_tensor(&output, call)?))
    }
    fn attr_names(&self) -> &[&str] {
        &["to", "eval", "train", "parameters", "named_parameters", "load_state_dict"]
    }
    fn call_method(&self, name: &str, args: &mut Args, call: &mut BuildContext) -> Result<Option<Value>> {
        match name {
            "to" => {
                let [device] = std::mem::take(args).expect("to", ["device"])?;
                let device = Device::from_value(&device)
                    .ok_or_else(|| err!("to(): expected {}, found {device:?}", Device::expected()))?;
                let device = device.check()?;
                if !call.is_dry_run() {
                    self.0.lock().to(device)?;
                }
            }
            "load_state_dict" => {
                let strict =
                    args.take("strict").or_else(|| (args.positional.len() == 2).then(|| args.positional.remove(1)));
                let [state] = std::mem::take(args).expect("load_state_dict", ["state_dict"])?;
                let mut network = self.0.lock();
                let names = strict.is_none_or(|strict| strict.truthy());
                restore(&mut *network, tensors_of(&state)?, Strictness { names, shapes: true })?
                    .report("the state dict");
            }
            "parameters" | "named_parameters" => {
                std::mem::take(args).expect(name, [])?;
                let all = parameters(&*self.0.lock());
                return Ok(Some(Value::list(all.iter().map(|(path, tensor)| {
                    let parameter = Value::object(Parameter::new(path, tensor));
                    if name == "parameters" { parameter } else { Value::tuple([Value::str(path), parameter]) }
                }))));
            }
            // The engine decides the mode of each forward pass.
            "eval" | "train" => drop(std::mem::take(args)),
            _ => return Ok(None),
        }
        Ok(Some(Value::object(self.clone())))
    }
}
