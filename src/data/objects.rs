//! Datasets, loaders, transforms, inferers and networks as objects of an expression: `len(@dataset)`, `@dataset[0]`,
//! `next(iter(@loader))`, `@preprocessing({...})`, `@inferer(x, @network)`, `@network(x)`.
//!
//! An image of a sample is an [`ImageValue`]. Differences from MONAI:
//! - A random transform called in an expression draws from a new generator each time; indexing does not advance the
//!   random states of datasets and loaders.
//! - A network runs in evaluation mode, without gradients.
//! - SaveImaged called in an expression writes its files before the call returns.

use crate::bundle::expr::values::iter::{Iter, Step};
use crate::case_context::CaseContext;
use crate::component::Member::{self, Attribute};
use crate::component::{Args, BuildContext, Dict, Effect, FromValue, Key, Object, Value, members};
use crate::contracts::{
    Dataset, DatasetHandle, InfererHandle, Item, Loader, LoaderHandle, Network, RunContext, Sample, Shared,
    TransformContext, TransformHandle, image_meta, matrix, network_input,
};
use crate::data::batches::{Batch, Batches};
use crate::error::{Kind, Result};
use crate::image::{Affine, Layout, Volume};
use crate::prediction::volume_tensor;
use crate::python::array::{Array, Flavor, Type, joined};
use crate::random::RngStates;
use crate::torch::{array_from_tensor, guard};
use crate::{bail, err, members};
use std::sync::{Arc, OnceLock};

/// An image as MONAI's `MetaTensor`: a tensor `[C, X, Y, Z]` with `affine`, `meta` and `pixdim`.
struct ImageValue {
    volume: Volume,
    /// Copy of the voxels, made on first use.
    array: OnceLock<Result<Array>>,
}

impl ImageValue {
    fn value(volume: Volume) -> Value {
        Value::object(ImageValue { volume, array: OnceLock::new() })
    }
    fn array(&self) -> Result<Array> {
        let read = || {
            let array = BuildContext::with_lent(|context| {
                let array = Array::from_volume(&self.volume, context)?;
                // Integer voxels of files are kept in their stored dtype; MONAI reads them as float32.
                let floats = self.volume.integer_type.is_none() && !array.ty.is_float();
                if floats { array.cast(Type::F32, context) } else { Ok(array) }
            })?;
            match array.shape() {
                // Before EnsureChannelFirstd the tensor has no channel axis.
                [1, shape @ ..] if !self.volume.channel_first => {
                    Array::from_values(shape, array.values(), array.ty, Flavor::Torch)
                }
                _ => Ok(array),
            }
        };
        self.array.get_or_init(read).clone()
    }
    /// An attribute that every tensor has.
    fn array_attribute(&self, name: &str) -> Result<Value> {
        Ok(self.array()?.attr(name)?.unwrap_or_default())
    }
}

static IMAGE: &[Member<ImageValue>] = &[
    Attribute("affine", |image| matrix(&image.volume.affine)),
    Attribute("meta", |image| image_meta(&image.volume.header, &image.volume.affine)),
    Attribute("pixdim", |image| {
        let spacing = image.volume.affine.spacing_mm().to_vec();
        Ok(Value::object(Array::from_values(&[3], spacing, Type::F64, Flavor::Torch)?))
    }),
    // The shape with a channel axis is known without reading the voxels.
    Attribute("shape", |image| match image.volume.channel_first {
        true => Ok(Value::tuple(image.volume.layout.shape.map(|n| Value::Int(n as i64)))),
        false => image.array_attribute("shape"),
    }),
    Attribute("dtype", |image| image.array_attribute("dtype")),
    Attribute("ndim", |image| image.array_attribute("ndim")),
];

impl Object for ImageValue {
    fn type_name(&self) -> &str {
        "MetaTensor"
    }
    fn repr(&self) -> String {
        self.array().map_or_else(|error| format!("<MetaTensor: {}>", error.message()), |array| array.repr())
    }
    fn attr_names(&self) -> Vec<&'static str> {
        members::names(IMAGE)
    }
    /// Attributes of [`IMAGE`], or else of the tensor.
    fn attr(&self, name: &str) -> Result<Option<Value>> {
        match members::attribute(self, IMAGE, name)? {
            Some(value) => Ok(Some(value)),
            None => self.array()?.attr(name),
        }
    }
    fn call_method(&self, name: &str, args: &mut Args, context: &mut BuildContext) -> Result<Option<Value>> {
        self.array()?.call_method(name, args, context)
    }
    fn index(&self, index: &Value) -> Result<Value> {
        self.array()?.index(index)
    }
    fn iterate(&self) -> Option<Result<Vec<Value>>> {
        self.array().map_or_else(|error| Some(Err(error)), |array| array.iterate())
    }
    fn length(&self) -> Option<usize> {
        self.array().ok()?.length()
    }
    fn truthy(&self) -> bool {
        self.array().is_ok_and(|array| array.truthy())
    }
    fn operator(&self, op: &str, other: &Value, reflected: bool, context: &mut BuildContext) -> Result<Option<Value>> {
        self.array()?.operator(op, &plain(other)?, reflected, context)
    }
}

/// The tensor of an image; any other value unchanged.
fn plain(value: &Value) -> Result<Value> {
    value.downcast::<ImageValue>().map_or_else(|| Ok(value.clone()), |image| Ok(Value::object(image.array()?)))
}

/// Converts a sample to MONAI's dict; predictions are computed.
fn sample_value(sample: Sample, case: &CaseContext) -> Result<Value> {
    let mut pairs = vec![];
    for (key, item) in sample.items {
        let value = match item {
            Item::Value(value) => value,
            Item::Image(volume) => ImageValue::value(volume),
            Item::Prediction(prediction) => ImageValue::value(prediction.into_volume(case)?),
        };
        pairs.push((Key::Str(key), value));
    }
    Ok(Value::Dict(Dict::new(pairs)))
}

/// The inverse of [`sample_value`]; a tensor `[C, X, Y, Z]` becomes an image with the identity affine.
fn value_sample(value: &Value) -> Result<Sample> {
    let Value::Dict(dict) = value else {
        return Err(
            err!("expected a dict such as {{'image': 'a.nii.gz'}}, found {}", value.type_name()).kind(Kind::Config)
        );
    };
    let mut sample = Sample::default();
    for (key, value) in dict.items() {
        let Some(name) = key.as_str() else { bail!("a sample's keys must be strings, found {:?}", key.to_value()) };
        let array = value.downcast::<Array>().filter(|array| array.shape().len() == 4);
        let item = match (value.downcast::<ImageValue>(), array) {
            (Some(image), _) => Item::Image(image.volume.clone()),
            (None, Some(array)) => Item::Image(volume_of(&array)?),
            (None, None) => Item::Value(value),
        };
        sample.set(name, item);
    }
    Ok(sample)
}

/// Converts a tensor `[C, X, Y, Z]` to an image with 1 mm voxels.
fn volume_of(array: &Array) -> Result<Volume> {
    let (voxels, shape) = array.to_voxels();
    let Ok(shape) = <[usize; 4]>::try_from(shape) else {
        bail!("expected a tensor [C,X,Y,Z], found shape {:?}", array.shape())
    };
    Ok(Volume::new("tensor", voxels, Layout::contiguous(shape), Affine::IDENTITY))
}

/// Calls `make` in `run`, writes the files that it queued, and returns its sample as a dict, or several samples as a list.
fn made(run: &RunContext, make: impl FnOnce(&mut TransformContext) -> Result<Vec<Sample>>) -> Result<Value> {
    let case = CaseContext::in_run(run);
    let (mut writes, mut rng) = (vec![], RngStates::default());
    let samples = guard(|| make(&mut TransformContext { case: &case, writes: &mut writes, rng: &mut rng }))?;
    for job in writes {
        (job.write)()?;
    }
    let mut values = samples.into_iter().map(|sample| sample_value(sample, &case)).collect::<Result<Vec<_>>>()?;
    Ok(if values.len() == 1 { values.remove(0) } else { Value::list(values) })
}

/// Calls and indexing may read or write images or take long: a dry run skips them.
fn effect_of_use(method: &str) -> Effect {
    if matches!(method, "__call__" | "__getitem__") { Effect::Acts } else { Effect::Pure }
}

static TRANSFORM: &[Member<TransformHandle>] = &[Attribute("transforms", |transform| {
    Ok(Value::list(transform.0.children().iter().map(|child| Value::object(TransformHandle(child.clone())))))
})];

impl Object for TransformHandle {
    fn effect(&self, method: &str) -> Effect {
        effect_of_use(method)
    }
    fn type_name(&self) -> &str {
        self.0.name()
    }
    members!(TRANSFORM);
    fn callable(&self) -> bool {
        true
    }
    fn call(&self, args: Args, context: &mut BuildContext) -> Result<Value> {
        let run = context.run();
        let [data] = args.expect(self.0.name(), ["data"])?;
        let apply = |data: &Value| {
            let sample = value_sample(data).map_err(|error| error.context(self.0.name()))?;
            made(&run, |cx| self.0.apply(sample, cx))
        };
        // A Compose maps over a list of samples.
        match data.as_sequence() {
            Some(list) => Ok(Value::list(list.iter().map(apply).collect::<Result<Vec<_>>>()?)),
            None => apply(&data),
        }
    }
}

fn position(index: &Value, len: usize, name: &str) -> Result<usize> {
    let Some(at) = i64::from_value(index) else {
        return Err(err!("{name}: expected an int as index, found {}", index.type_name()).kind(Kind::Config));
    };
    let from_start = if at < 0 { at + len as i64 } else { at };
    usize::try_from(from_start)
        .ok()
        .filter(|at| *at < len)
        .ok_or_else(|| err!("{name}: index {at} is out of range for {len} cases").kind(Kind::Config))
}

static DATASET: &[Member<DatasetHandle>] = &[Attribute("data", |dataset| {
    (0..dataset.0.len()).map(|at| dataset.0.entry(at)).collect::<Result<Vec<_>>>().map(Value::list)
})];

impl Object for DatasetHandle {
    fn effect(&self, method: &str) -> Effect {
        effect_of_use(method)
    }
    fn type_name(&self) -> &str {
        self.0.name()
    }
    members!(DATASET);
    fn length(&self) -> Option<usize> {
        Some(self.0.len())
    }
    /// Case `index` with all transforms applied.
    fn index(&self, index: &Value) -> Result<Value> {
        let at = position(index, self.0.len(), self.0.name())?;
        made(&BuildContext::with_lent(|context| context.run()), |cx| self.0.get(at, cx))
    }
    fn iterator(&self) -> Option<Result<Value>> {
        Some(Ok(Iter::value("dataset_iterator", Cases { dataset: self.0.clone(), next: 0 })))
    }
}

/// Iterator over the cases of a dataset.
struct Cases {
    dataset: Arc<dyn Dataset>,
    next: usize,
}

impl Step for Cases {
    fn step(&mut self, context: &mut BuildContext) -> Result<Option<Value>> {
        context.permit(Effect::Acts, "iteration of a dataset")?;
        let at = self.next;
        self.next += 1;
        (at < self.dataset.len()).then(|| made(&context.run(), |cx| self.dataset.get(at, cx))).transpose()
    }
}

static LOADER: &[Member<LoaderHandle>] = &[
    Attribute("dataset", |loader| Ok(Value::object(DatasetHandle(loader.0.dataset.clone())))),
    Attribute("batch_size", |loader| Ok(Value::Int(loader.0.batch_size as i64))),
];

impl Object for LoaderHandle {
    fn type_name(&self) -> &str {
        "DataLoader"
    }
    members!(LOADER);
    fn length(&self) -> Option<usize> {
        Some(self.0.batches())
    }
    /// A pass, which begins with the first batch and draws from torch's generator as MONAI's loader does.
    fn iterator(&self) -> Option<Result<Value>> {
        Some(Ok(Iter::value("DataLoaderIter", Pass { loader: self.0.clone(), batches: None })))
    }
}

/// Iterator over the batches of a pass.
struct Pass {
    loader: Arc<Loader>,
    batches: Option<Batches>,
}

impl Step for Pass {
    fn step(&mut self, context: &mut BuildContext) -> Result<Option<Value>> {
        context.permit(Effect::Acts, "iteration of a data loader")?;
        let batches = match &mut self.batches {
            Some(batches) => batches,
            None => self.batches.insert(Batches::begin(&self.loader, 0, None, &CaseContext::in_run(&context.run()))?),
        };
        batches.next_batch().map(|batch| collated(batch?, context)).transpose()
    }
}

/// Collates a batch as MONAI's `list_data_collate`: stacks tensors to `[N, C, X, Y, Z]`, converts numbers to tensors,
/// and lists other values.
fn collated(batch: Batch, context: &mut BuildContext) -> Result<Value> {
    let case = CaseContext::in_run(&context.run());
    let samples: Vec<Value> =
        batch.samples.into_iter().map(|sample| sample_value(sample, &case)).collect::<Result<_>>()?;
    let Some(Value::Dict(first)) = samples.first() else { return Ok(Value::list(samples)) };
    let mut pairs = vec![];
    for (key, _) in first.items() {
        let column = samples.iter().map(|sample| match sample {
            Value::Dict(sample) => sample.get(key.as_str().unwrap_or_default()),
            _ => None,
        });
        let column: Vec<Value> = column
            .collect::<Option<_>>()
            .ok_or_else(|| err!("the samples of a batch have different keys: {:?} is not in all", key.to_value()))?;
        let arrays: Option<Vec<Array>> = column
            .iter()
            .map(|value| match value {
                Value::Int(_) | Value::Float(_) | Value::Bool(_) => {
                    Array::of("collate", value, Flavor::Torch, context).ok()
                }
                value => plain(value).ok()?.downcast::<Array>().map(|array| (*array).clone()),
            })
            .collect();
        let value = match arrays {
            Some(arrays) => Value::object(joined("collate", &arrays, 0, true, context)?),
            None => Value::list(column),
        };
        pairs.push((key, value));
    }
    Ok(Value::Dict(Dict::new(pairs)))
}

impl Object for InfererHandle {
    fn effect(&self, method: &str) -> Effect {
        effect_of_use(method)
    }
    fn type_name(&self) -> &str {
        self.0.name()
    }
    fn callable(&self) -> bool {
        true
    }
    /// `inferer(inputs, network)`: the whole output `[N, K, X, Y, Z]`.
    fn call(&self, args: Args, context: &mut BuildContext) -> Result<Value> {
        let name = self.0.name();
        let [inputs, network] = args.expect(name, ["inputs", "network"])?;
        let x = network_input(name, &plain(&inputs)?)?;
        let network = Shared::<dyn Network>::from_value(&network)
            .ok_or_else(|| err!("{name}: expected a network, found {}", network.type_name()).kind(Kind::Config))?;
        let case = CaseContext { device: network.lock().device(), ..CaseContext::in_run(&context.run()) };
        let mut outputs = vec![];
        for at in 0..x.size()[0] {
            let one = x.f_narrow(0, at, 1)?;
            let image = volume_of(&array_from_tensor(&one.f_squeeze_dim(0)?, context)?)?;
            let prediction = guard(|| self.0.infer(&one, &image, &network, &case))?;
            outputs.push(volume_tensor(&prediction.into_volume(&case)?)?);
        }
        let output = tch::Tensor::f_stack(&outputs, 0)?;
        Ok(Value::object(array_from_tensor(&output, context)?))
    }
}
