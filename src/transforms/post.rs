//! What the postprocessing transforms share: they act on predictions, or on images seen as such.

use crate::component::Value;
use crate::contracts::{Item, Sample};
use crate::error::Result;
use crate::prediction::Prediction;
use std::sync::Arc;
use tch::Tensor;

/// Apply `change(position of the key, prediction)` to the item of each key; an image counts as a computed prediction.
pub(super) fn on_predictions(
    mut sample: Sample,
    keys: &[Arc<str>],
    allow_missing: bool,
    mut change: impl FnMut(usize, Prediction) -> Result<Prediction>,
) -> Result<Vec<Sample>> {
    for (at, key) in keys.iter().enumerate() {
        if allow_missing && sample.get(key).is_none() {
            continue;
        }
        let prediction = match sample.take(key)? {
            Item::Prediction(prediction) => prediction,
            Item::Image(volume) => Prediction::from_volume(&volume)?,
            Item::Value(value) => return Err(crate::err!("`{key}` is {value:?}, expected a prediction or an image")),
        };
        sample.set(key, Item::Prediction(change(at, prediction)?));
    }
    Ok(vec![sample])
}

/// A config's function of a tensor, [C,X,Y,Z] → the same.
pub(super) fn call_on(_function: &Value, _values: Tensor) -> Result<Tensor> {
    Err(crate::err!("not there"))
}
