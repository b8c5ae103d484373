//! Core traits that components implement, and the handles under which configs hold components. Read this second.
//!
//! - [`Transform`] maps a [`Sample`] to samples; `Transform::plan` does the same for headers only.
//! - [`Network`] and [`Inferer`] compute a prediction; [`Loss`], [`Optimizer`], [`Schedule`] and [`Metric`] train and
//!   measure.
//! - [`Dataset`] and [`Loader`] provide cases; an [`Engine`] processes them and calls its [`Handler`]s.
//! - [`TransformContext`] and [`CaseContext`] carry everything else that a component may use.

pub use crate::case_context::{CaseContext, Clock, NoProgress, OutputRules, Progress, Stage};
use crate::component::Member::{self, Attribute, Method};
use crate::component::{Args, BuildContext, Effect, FromArc, FromShared, FromValue, Object, Value};
use crate::error::{Kind, Result};
use crate::formats::digest::{Digest, FileDigests};
use crate::image::Volume;
use crate::prediction::Prediction;
pub use crate::random::RngStates;
pub use crate::torch::TensorHandle;
use crate::torch::{Device, DeviceExt, array_from_tensor, guard, tensor_from_value};
use crate::{err, members};
use indexmap::IndexMap;
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tch::Tensor;

/// A component with mutable state: network, optimizer, schedule, metric.
pub type Shared<T> = Arc<Mutex<T>>;

// ---------------------------------------------------------------- samples and transforms

/// One case in the pipeline: entries of the datalist and results of transforms by key, MONAI's `data` dict.
#[derive(Default)]
pub struct Sample {
    /// Items by key, in the order in which the keys were added.
    pub items: IndexMap<Arc<str>, Item>,
}

/// A value of a [`Sample`].
pub enum Item {
    /// A file name or anything else that is not an image.
    Value(Value),
    /// An image in memory, or header-only during shape inference.
    Image(Volume),
    /// Output of an [`Inferer`], computed when it is needed.
    Prediction(Prediction),
}

impl Item {
    /// Copies the item.
    ///
    /// # Errors
    /// Predictions cannot be copied: they are computed once.
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
    /// Copies the sample, see [`Item::duplicate`].
    pub fn duplicate(&self) -> Result<Sample> {
        let mut out = Sample::default();
        for (key, item) in &self.items {
            out.set(key, item.duplicate()?);
        }
        Ok(out)
    }
    /// Returns the item under `key`, if there is one.
    pub fn get(&self, key: &str) -> Option<&Item> {
        self.items.get(key)
    }
    /// Size of the voxels of all images in bytes.
    pub fn bytes(&self) -> u64 {
        let of = |item: &Item| match item {
            Item::Image(volume) => volume.voxels.len() as u64 * volume.voxels.dtype().size_bytes() as u64,
            _ => 0,
        };
        self.items.values().map(of).sum()
    }
    /// Returns the image under `key`.
    ///
    /// # Errors
    /// The key is missing, with a list of the available keys, or its item is not an image.
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
    /// The error of a missing key, with a list of the available keys.
    pub fn missing(&self, key: &str) -> crate::error::Error {
        let keys: Vec<&str> = self.items.keys().map(|key| &**key).collect();
        err!("the sample has no key `{key}` (it has {})", keys.join(", "))
    }
    /// Removes and returns the item under `key`, leaving `None` there: [`Sample::set`] then keeps the order of keys.
    ///
    /// # Errors
    /// The key is missing.
    pub fn take(&mut self, key: &str) -> Result<Item> {
        let missing = self.missing(key);
        self.items.get_mut(key).map(|item| std::mem::replace(item, Item::Value(Value::None))).ok_or(missing)
    }
    /// Stores an item under `key`; an existing key keeps its position.
    pub fn set(&mut self, key: &str, item: Item) {
        self.items.insert(key.into(), item);
    }
}

/// A step of pre- or postprocessing.
pub trait Transform: Send + Sync {
    /// MONAI's class name: `Spacingd`.
    fn name(&self) -> &'static str;
    /// Applies the transform; random crops can return several samples.
    fn apply(&self, sample: Sample, cx: &mut TransformContext) -> Result<Vec<Sample>>;
    /// The transforms of a Compose.
    fn children(&self) -> &[Arc<dyn Transform>] {
        &[]
    }
    /// Whether the transform applies its [`Transform::children`] in order and does nothing else (Compose).
    fn is_chain(&self) -> bool {
        false
    }
    /// Whether the transform draws random numbers (MONAI's `Randomizable`).
    fn is_random(&self) -> bool {
        false
    }
    /// MONAI's `set_random_state(seed)`: seeds the random states of the transform and its children in `_rng`.
    fn seed(&self, _seed: u32, _rng: &mut RngStates) {}
    /// Keys under which the transform expects names of files to read.
    fn file_keys(&self) -> &[Arc<str>] {
        &[]
    }
    /// Keys whose geometry the transform changes and records in the trace for Invertd.
    fn traced_keys(&self) -> &[Arc<str>] {
        &[]
    }
    /// Keys under which a prediction is an error: transforms that need an image in memory.
    fn image_keys(&self) -> &[Arc<str>] {
        &[]
    }
    /// Paths of the files that the transform will write for the case read from `_source`; clashes between cases are
    /// found before the run.
    fn output_paths(&self, _source: &Path, _rules: &OutputRules) -> Result<Vec<PathBuf>> {
        Ok(vec![])
    }
    /// Shape inference: the result for a sample whose images are header-only (shape and geometry without voxels, see
    /// [`Volume::is_header_only`]), and whether the voxels can stay in their files. A test compares it with
    /// [`Transform::apply`]. Where `apply` handles header-only images, [`applied_to_headers`] returns the sample.
    fn plan(&self, sample: Sample) -> Result<Step<'_>>;
    /// Effect of the transform on a prediction.
    fn on_prediction(&self) -> OnPrediction {
        OnPrediction::Other
    }
    /// Folder below which the transform writes all its files; `run.json` is written there.
    fn output_folder(&self) -> Option<&Path> {
        None
    }
}

mod plan;

pub use plan::{
    Certainty, Plan, PlannedStep, Step, VoxelAccess, VoxelLocation, applied_to_headers, apply_all,
    apply_to_predictions, flattened,
};

/// Effect of a postprocessing transform on a prediction; determines which operations are computed together and how
/// much memory they need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnPrediction {
    /// Recorded, and computed together with the next operation.
    Recorded,
    /// One class index per voxel, computed during inference.
    Labels,
    /// One byte per channel and voxel, computed during inference.
    Masks,
    /// Labels or masks are changed where they are, with up to four more bytes per voxel during the change; one-hot
    /// channels that are changed to masks take one byte each. Values that are not discrete yet need all channels.
    Relabeled,
    /// Labels or masks are moved to another voxel grid.
    Moved,
    /// All channels in float32 are kept on the network's grid; the next operation interpolates them one at a time.
    Interpolated,
    /// Needs all channels of the volume at once, in float32.
    AllChannels,
    /// Written unchanged.
    Written,
    /// Unknown, or no effect.
    Other,
}

/// Seeds each random transform with a draw, in order, as MONAI's Compose does.
pub fn seed_each(transforms: &[Arc<dyn Transform>], seed: u32, rng: &mut RngStates) {
    let mut random = crate::random::RandomState::new(seed);
    for transform in transforms.iter().filter(|transform| transform.is_random()) {
        transform.seed(random.next_u32(), rng);
    }
}

/// Context of a transform's application to a sample.
pub struct TransformContext<'a> {
    /// Device, cancellation, memory budget and timings of the case.
    pub case: &'a CaseContext,
    /// Files to write in the background, queued by SaveImaged.
    pub writes: &'a mut Vec<WriteJob>,
    /// Random states of the random transforms.
    pub rng: &'a mut RngStates,
}

/// A file to write in the background. Writing is atomic: an incomplete file never has the final name.
pub struct WriteJob {
    /// Final path of the file.
    pub path: PathBuf,
    /// Memory that `write` holds until it returns, in bytes.
    pub bytes: u64,
    /// Writes the file and returns its digest.
    pub write: Box<dyn FnOnce() -> Result<Digest> + Send>,
}

// ---------------------------------------------------------------- networks and inferers

/// Mode of a forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode {
    /// Training: dropout is active, batch norms update their statistics, gradients are recorded.
    pub train: bool,
    /// Autocast dtype (`amp`); `None` computes in float32.
    pub autocast: Option<tch::Kind>,
}

impl Mode {
    /// Evaluation in float32.
    pub const EVAL: Mode = Mode { train: false, autocast: None };
}

/// A final 1×1×1 convolution: weight `[K, F]`, bias `[K]`.
pub struct Linear {
    /// Weight, float32 `[K, F]`.
    pub weight: Tensor,
    /// Bias, float32 `[K]`.
    pub bias: Option<Tensor>,
}

/// Parameters and buffers of a network by name, in the order of PyTorch's `state_dict()`.
#[derive(Default)]
pub struct NetworkState {
    /// Tensors by name; a tensor may be listed under several names.
    pub tensors: IndexMap<String, Tensor>,
}

impl NetworkState {
    /// Names of the tensors that contain NaN or infinite values.
    pub fn not_finite(&self) -> Result<Vec<&str>> {
        let mut odd = vec![];
        for (name, tensor) in self.tensors.iter().filter(|(_, tensor)| tensor.is_floating_point()) {
            // The sum of finite float32 values is finite in float64; NaN and infinity propagate.
            if !tensor.f_detach()?.f_sum(tch::Kind::Double)?.f_double_value(&[])?.is_finite() {
                odd.push(name.as_str());
            }
        }
        Ok(odd)
    }
}

/// A network. Invariant: `forward == head ∘ features`.
pub trait Network: Send {
    /// MONAI's class name.
    fn name(&self) -> &str;
    /// Number of spatial dimensions of the input: 3, or 2 for `[N, C, X, Y]`.
    fn spatial_dims(&self) -> usize {
        3
    }
    /// What the size of each spatial axis of the input must be a multiple of.
    fn multiples(&self) -> Vec<i64> {
        vec![1; self.spatial_dims()]
    }
    /// Checks the sizes of the input's spatial axes.
    ///
    /// # Errors
    /// A size is not a positive multiple of that in [`Network::multiples`].
    fn check_size(&self, size: &[i64]) -> Result<()> {
        let multiples = self.multiples();
        if size.iter().zip(&multiples).all(|(n, multiple)| *n > 0 && n % multiple == 0) {
            return Ok(());
        }
        let expected = match &multiples[..] {
            [first, rest @ ..] if rest.iter().all(|multiple| multiple == first) => first.to_string(),
            _ => format!("{multiples:?}"),
        };
        Err(err!("{}: expected axes that are multiples of {expected}, found {size:?}", self.name()).hint(
            "set the size of crops and windows (`roi_size`, `spatial_size`) to multiples of it; pad smaller images with SpatialPadd or DivisiblePadd",
        ))
    }
    /// Number of channels of the input.
    fn in_channels(&self) -> usize;
    /// Number of channels K of the output: classes of a segmentation.
    fn out_channels(&self) -> usize;
    /// Forward pass: `x` `[N, in_channels, X, Y, Z]` float32 → `[N, out_channels, X, Y, Z]`. Plain torch operations,
    /// bit-identical to MONAI at the same number of threads.
    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor>;
    /// Forward pass without the [`Network::head`]: `x` `[N, in_channels, X, Y, Z]` float32 → `[N, F, X, Y, Z]`. May use
    /// fused kernels in evaluation.
    fn features(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        self.forward(x, mode)
    }
    /// The last layer, if it is linear per voxel and nothing follows it.
    fn head(&self) -> Option<Linear> {
        None
    }
    /// Number of channels F of [`Network::features`].
    fn feature_channels(&self) -> usize {
        self.out_channels()
    }
    /// Parameters and buffers.
    fn state(&self) -> &NetworkState;
    /// Prefix of the names of its tensors in Python's `named_parameters()`: `module.` for a wrapper.
    fn prefix(&self) -> &'static str {
        ""
    }
    /// Sets whether the next passes of a training average their gradients over all ranks; off to accumulate them. Returns
    /// false if the network cannot (DistributedDataParallel can).
    fn average_gradients(&mut self, _on: bool) -> bool {
        false
    }
    /// Copies the buffers of rank 0 to all ranks, for a network that is trained on several.
    fn synchronize(&self) -> Result<()> {
        Ok(())
    }
    /// SHA-256 of the file that defines the network, where its state alone does not (TorchScript).
    fn file_sha256(&self) -> Option<&str> {
        None
    }
    /// Copies `tensors` into the parameters and buffers of the same names, as `load_state_dict(strict=True)`.
    ///
    /// # Errors
    /// Missing and unexpected names and shape mismatches, all in one error.
    fn load(&mut self, tensors: &[(String, Tensor)]) -> Result<()>;
    /// Moves the network to a device.
    fn to(&mut self, device: Device) -> Result<()>;
    /// Device of the parameters.
    fn device(&self) -> Device;
}

/// Applies a network to an image.
pub trait Inferer: Send + Sync {
    /// MONAI's class name.
    fn name(&self) -> &'static str;
    /// Returns a lazy prediction; nothing is computed yet. `x`: `[1, C, X, Y, Z]` float32 in host memory, the voxels of
    /// `image`.
    fn infer(
        &self,
        x: &Tensor,
        image: &Volume,
        network: &Shared<dyn Network>,
        case: &CaseContext,
    ) -> Result<Prediction>;
    /// Checks the arguments that depend on the network.
    ///
    /// # Errors
    /// The network cannot process the inferer's windows.
    fn check(&self, _network: &dyn Network) -> Result<()> {
        Ok(())
    }
    /// Whether the inferer runs the network once on the whole image, as a training iteration does (SimpleInferer).
    fn is_single_pass(&self) -> bool {
        false
    }
    /// Plans the inference of an image of `shape` `[X, Y, Z]` (in voxels). `features`: see [`Network::feature_channels`].
    ///
    /// # Errors
    /// The inference does not fit in the memory budget.
    fn plan(&self, shape: [usize; 3], features: usize, _budget_bytes: u64) -> Result<InferencePlan> {
        let stitch_bytes = 4 * features as u64 * shape.iter().map(|&n| n as u64).product::<u64>();
        Ok(InferencePlan { window: shape, windows: 1, runs: 1, strips: 1, batch: 1, stitch_bytes })
    }
}

/// Windows and memory of an inference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InferencePlan {
    /// Window size in voxels.
    pub window: [usize; 3],
    /// Number of windows that cover the image.
    pub windows: usize,
    /// Forward passes of windows, including windows that are recomputed to save memory.
    pub runs: usize,
    /// Strips of the volume that are processed one after the other; 1 if the whole fits in memory.
    pub strips: usize,
    /// Windows per forward pass.
    pub batch: usize,
    /// Size of the buffer in which windows are blended, in bytes.
    pub stitch_bytes: u64,
}

// ---------------------------------------------------------------- training

mod training;

pub use training::{
    Attached, Loss, Metric, MetricDetails, MetricParts, Optimizer, ParamGroup, Schedule, Score, Segmentation,
};

// ---------------------------------------------------------------- engines

mod engine;

pub use engine::{
    CaseRequest, Engine, EngineState, Event, Handler, Segmented, ServeCase, check_options, image_meta, logger_name,
    matrix,
};

// ---------------------------------------------------------------- data

/// An indexed list of cases: entries of the datalist, and their samples after the transforms.
pub trait Dataset: Send + Sync {
    /// Class name in MONAI.
    fn name(&self) -> &'static str;
    /// Number of cases.
    fn len(&self) -> usize;
    /// Whether there are no cases.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The case's entry in the datalist, a dict.
    fn entry(&self, index: usize) -> Result<Value>;
    /// The transforms that [`Dataset::get`] applies, in order.
    fn transforms(&self) -> &[Arc<dyn Transform>] {
        &[]
    }
    /// Called before the first pass of an engine; a CacheDataset fills its cache. `_digests`: collects the digests of the
    /// files that are read, for the record of results that are made of them.
    fn prepare(&self, _run: &RunContext, _digests: Option<&FileDigests>) -> Result<()> {
        Ok(())
    }
    /// Case `index` before its transforms.
    fn sample(&self, index: usize) -> Result<Sample>;
    /// MONAI's `set_rnd(dataset, seed)`: seeds the random transforms.
    fn seed(&self, _seed: u32, _rng: &mut RngStates) {}
    /// Whether [`Dataset::get`] reads the files of a case; false if samples are cached in memory.
    fn reads_files(&self) -> bool {
        true
    }
    /// Reads and transforms case `index`.
    fn get(&self, index: usize, cx: &mut TransformContext) -> Result<Vec<Sample>>;
}

/// Selects the cases of a pass over a dataset: those of one rank among several.
pub trait Sampler: Send + Sync {
    /// Class name in MONAI.
    fn name(&self) -> &'static str;
    /// Number of cases in a pass of a training.
    fn len(&self) -> usize;
    /// Whether a pass has no cases.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Seed of the order in an epoch; `None` if the order is always the same.
    fn order_seed(&self, epoch: usize) -> Option<u64>;
    /// Indices of the cases in a pass of a training, in the order of a seed.
    fn order(&self, seed: Option<u64>) -> Result<Vec<usize>>;
    /// Indices of the cases to evaluate, in the order of the dataset; no case is in the shares of two ranks.
    fn share(&self) -> Vec<usize>;
}

/// Iterates over a dataset in batches.
pub struct Loader {
    /// Dataset that provides the samples.
    pub dataset: Arc<dyn Dataset>,
    /// Number of cases per batch.
    pub batch_size: usize,
    /// Shuffle the cases in every pass.
    pub shuffle: bool,
    /// Selects the cases; `None` is all of them.
    pub sampler: Option<Arc<dyn Sampler>>,
    /// Drop an incomplete last batch.
    pub drop_last: bool,
    /// Number of threads that read and transform cases in the background; 0 loads each case when it is needed.
    pub num_workers: usize,
    /// `persistent_workers`: workers keep their random states from pass to pass and are seeded only once.
    pub persistent: bool,
    /// Random states of the transforms without workers: those of the run, kept from pass to pass.
    pub rng: Arc<Mutex<RngStates>>,
}

impl Loader {
    /// Random states of the dataset's transforms outside of workers.
    pub fn rng_states(&self) -> RngStates {
        let mut states = RngStates::default();
        self.dataset.seed(0, &mut states);
        states.update_from(&self.rng.lock());
        states
    }
    /// Restores the result of [`Loader::rng_states`].
    pub fn restore_rng_states(&self, states: RngStates) {
        self.rng.lock().extend(states);
    }
    /// Number of cases in a pass of a training.
    pub fn cases(&self) -> usize {
        self.sampler.as_ref().map_or_else(|| self.dataset.len(), |sampler| sampler.len())
    }
    /// Number of batches in a pass: Python's `len(loader)`.
    pub fn batches(&self) -> usize {
        let (cases, size) = (self.cases(), self.batch_size.max(1));
        if self.drop_last { cases / size } else { cases.div_ceil(size) }
    }
}

// ---------------------------------------------------------------- the run

mod explanation;

pub use crate::run::{CaseFacts, CaseReport, CaseStatus, ConfigRecord, EngineStart, Observer, RunContext, RunOptions};
pub use explanation::{
    CaseExplanation, EvaluationExplanation, ExplainedInference, ExplainedStep, Explanation, TrainingExplanation,
};

// ---------------------------------------------------------------- handles: how a config holds a component

/// Defines the object under which a config holds a component, and the conversion from a config value.
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
        #[doc = concat!("The object under which a config holds a component: ", $expected, ".")]
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

/// The named tensors of a state dict from `torch.load`.
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

pub use weights::{Restored, Shapes, Strictness, check_fit, compare, restore, shapes};

handle!(TransformHandle(Arc<dyn Transform>) = "transform");
handle!(InfererHandle(Arc<dyn Inferer>) = "inferer");
handle!(EngineHandle(Arc<dyn Engine>) = "engine");
handle!(HandlerHandle(Arc<dyn Handler>) = "handler");
handle!(NetworkHandle(Shared<dyn Network>) = "network");
handle!(DatasetHandle(Arc<dyn Dataset>) = "dataset");
handle!(SamplerHandle(Arc<dyn Sampler>) = "sampler");
handle!(LoaderHandle(Arc<Loader>) = "data loader");
handle!(LossHandle(Arc<dyn Loss>) = "loss");
handle!(MetricHandle(Attached) = "metric");
handle!(OptimizerHandle(Shared<dyn Optimizer>) = "optimizer");
handle!(ScheduleHandle(Shared<dyn Schedule>) = "learning-rate schedule");

/// An item of `network.parameters()`: a shallow clone of a network's parameter.
pub struct Parameter {
    name: Arc<str>,
    tensor: Mutex<Tensor>,
}

impl Parameter {
    /// Creates the item for a parameter `tensor` of a network.
    pub fn new(name: &str, tensor: &Tensor) -> Parameter {
        Parameter { name: name.into(), tensor: Mutex::new(tensor.shallow_clone()) }
    }
    /// Returns a shallow clone of the parameter, which shares values and gradient.
    pub fn tensor(&self) -> Tensor {
        self.tensor.lock().shallow_clone()
    }
}

static PARAMETER: &[Member<Parameter>] = &[
    Attribute("requires_grad", |parameter| Ok(parameter.tensor.lock().requires_grad().into())),
    Attribute("shape", |parameter| Ok(Value::tuple(parameter.tensor.lock().size().into_iter().map(Value::Int)))),
    Attribute("ndim", |parameter| Ok(Value::Int(parameter.tensor.lock().dim() as i64))),
    Method("numel", |parameter, args, _| {
        args.expect("numel", [])?;
        Ok(Value::Int(parameter.tensor.lock().numel() as i64))
    }),
];

impl Object for Parameter {
    fn type_name(&self) -> &str {
        "Parameter"
    }
    fn repr(&self) -> String {
        format!("<Parameter {} {:?}>", self.name, self.tensor.lock().size())
    }
    members!(PARAMETER);
    fn set_attr(&self, name: &str, value: Value) -> Result<()> {
        let (Some(on), "requires_grad") = (bool::from_value(&value), name) else {
            return Err(err!("attribute `{name}` of a parameter cannot be set to {value:?}"));
        };
        // The returned tensor is a handle to the same tensor.
        let _ = self.tensor.lock().set_requires_grad(on);
        Ok(())
    }
}

/// The trainable tensors of a network in the order of PyTorch's `parameters()`, without duplicates.
pub fn parameters(network: &dyn Network) -> Vec<(String, Tensor)> {
    let mut seen = std::collections::HashSet::new();
    let state =
        network.state().tensors.iter().filter(|(_, tensor)| tensor.requires_grad() && seen.insert(tensor.data_ptr()));
    state.map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect()
}

impl Object for SamplerHandle {
    fn type_name(&self) -> &str {
        self.0.name()
    }
    fn length(&self) -> Option<usize> {
        Some(self.0.len())
    }
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

/// Converts an argument to a float32 tensor `[N, C, X, Y, Z]`.
///
/// # Errors
/// The value is not a tensor of five dimensions.
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

static NETWORK: &[Member<NetworkHandle>] = &[
    Method("to", |network, args, context| {
        let [device] = args.expect("to", ["device"])?;
        let device = Device::from_value(&device).ok_or_else(|| {
            Device::refusal(&device).unwrap_or_else(|| err!("to(): expected {}, found {device:?}", Device::expected()))
        })?;
        let device = device.check()?;
        if !context.is_dry_run() {
            network.0.lock().to(device)?;
        }
        Ok(Value::object(network.clone()))
    }),
    // No effect: the engine sets the mode of each forward pass.
    Method("eval", |network, _, _| Ok(Value::object(network.clone()))),
    Method("train", |network, _, _| Ok(Value::object(network.clone()))),
    Method("parameters", |network, args, _| {
        args.expect("parameters", [])?;
        let all = parameters(&*network.0.lock());
        Ok(Value::list(all.iter().map(|(path, tensor)| Value::object(Parameter::new(path, tensor)))))
    }),
    Method("named_parameters", |network, args, _| {
        args.expect("named_parameters", [])?;
        let (all, prefix) = (parameters(&*network.0.lock()), network.0.lock().prefix());
        let pair = |(path, tensor): &(String, Tensor)| {
            (Value::str(format!("{prefix}{path}")), Value::object(Parameter::new(path, tensor)))
        };
        Ok(Value::list(all.iter().map(pair).map(|(path, parameter)| Value::tuple([path, parameter]))))
    }),
    Method("load_state_dict", |network, mut args, _| {
        let strict = args.take("strict").or_else(|| (args.positional.len() == 2).then(|| args.positional.remove(1)));
        let [state] = args.expect("load_state_dict", ["state_dict"])?;
        let strictness = Strictness { names: strict.is_none_or(|strict| strict.truthy()), shapes: true };
        restore(&mut *network.0.lock(), tensors_of(&state)?, strictness)?.report("the state dict");
        Ok(Value::object(network.clone()))
    }),
];

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
    /// `network(x)`: a forward pass on the network's device, in evaluation mode and without gradients.
    fn call(&self, args: Args, context: &mut BuildContext) -> Result<Value> {
        let network = self.0.lock();
        let [x] = args.expect(network.name(), ["x"])?;
        let x = network_input(network.name(), &x)?.f_to_device(network.device().tch())?;
        let output = guard(|| tch::no_grad(|| network.forward(&x, Mode::EVAL)))?;
        Ok(Value::object(array_from_tensor(&output, context)?))
    }
    members!(NETWORK);
}
