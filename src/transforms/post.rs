//! Code shared by the postprocessing transforms, which act on predictions, or on images treated as predictions.

use super::support::take_image;
use crate::bail;
use crate::case_context::CaseContext;
use crate::component::{Args, BuildContext, OneOrMany, Value};
use crate::contracts::{Item, Sample};
use crate::error::Result;
use crate::image::{DType, Layout, Volume, Voxels};
use crate::prediction::Prediction;
use crate::python::array::{Array, Flavor, Type};
use crate::torch::convert::to_f32;
use std::sync::Arc;
use tch::Tensor;

/// Applies `change(position of the key, prediction)` to the item of each key. An image is treated as a computed
/// prediction; if the sample has no prediction yet (before the network), the result is stored as an image again.
pub(super) fn on_predictions(
    mut sample: Sample,
    keys: &[Arc<str>],
    allow_missing: bool,
    case: &CaseContext,
    mut change: impl FnMut(usize, Prediction) -> Result<Prediction>,
) -> Result<Vec<Sample>> {
    let before_network = !sample.items.values().any(|item| matches!(item, Item::Prediction(_)));
    for (at, key) in keys.iter().enumerate() {
        if allow_missing && sample.get(key).is_none() {
            continue;
        }
        let prediction = match sample.take(key)? {
            Item::Prediction(prediction) => prediction,
            Item::Image(volume) => Prediction::from_volume(&volume)?,
            Item::Value(value) => return Err(crate::err!("`{key}` is {value:?}, expected a prediction or an image")),
        };
        let prediction = change(at, prediction)?;
        let item =
            if before_network { Item::Image(prediction.into_volume(case)?) } else { Item::Prediction(prediction) };
        sample.set(key, item);
    }
    Ok(vec![sample])
}

/// Shape inference for [`on_predictions`]: update the header-only images under `keys` with
/// `change(position of the key, channels)`, which returns the new number of channels and data type.
pub(super) fn planned_images(
    mut sample: Sample,
    keys: &[Arc<str>],
    allow_missing: bool,
    change: impl Fn(usize, usize) -> (usize, DType),
) -> Result<Sample> {
    for (at, key) in keys.iter().enumerate() {
        if allow_missing && sample.get(key).is_none() {
            continue;
        }
        let volume = take_image(&mut sample, key)?;
        let [channels, x, y, z] = volume.layout.shape;
        let (channels, dtype) = change(at, channels);
        let layout = Layout::contiguous([channels, x, y, z]);
        sample.set(key, Item::Image(Volume { voxels: Voxels::empty(dtype), layout, channel_first: true, ..volume }));
    }
    Ok(sample)
}

/// Expands an argument that is one function for all keys, or a list with one per key.
pub(super) fn per_key(functions: &Value, keys: usize, name: &str) -> Result<Vec<Value>> {
    match functions.as_sequence() {
        Some(each) => OneOrMany::Many(each),
        None => OneOrMany::One(functions.clone()),
    }
    .repeat(keys, name)
}

/// Calls a config's function on a tensor `[C, X, Y, Z]` (f32), which must return one.
pub(super) fn call_on(function: &Value, values: Tensor) -> Result<Tensor> {
    let shape: Vec<usize> = values.size().into_iter().map(|n| n as usize).collect();
    let numbers = to_f32(&values)?.into_iter().map(f64::from).collect();
    drop(values);
    let argument = Array::from_values(&shape, numbers, Type::F32, Flavor::Torch)?;
    // Operations on images cost more steps than those on a config's values: allow some hundred of them.
    let mut call = BuildContext::with_limits(10_000_000 + 16 * shape.iter().product::<usize>() as u64, 200);
    let result = function.call(Args::positional([Value::object(argument)]), &mut call)?;
    let Some(result) = result.downcast::<Array>() else {
        bail!("the function returned {}, expected a tensor", result.type_name());
    };
    let shape: Vec<i64> = result.shape().iter().map(|&n| n as i64).collect();
    let numbers: Vec<f32> = result.values().into_iter().map(|x| x as f32).collect();
    Ok(Tensor::f_from_slice(&numbers)?.f_view(shape.as_slice())?)
}
