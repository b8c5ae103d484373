//! One item of an engine's output, as metrics and a config's functions get it.

use crate::component::{Dict, Key, Value};
use crate::contracts::{Item, Sample, Segmentation, Segmented, Work};
use crate::error::Result;
use crate::image::Voxels;
use crate::prediction::{Prediction, State, volume_tensor};
use parking_lot::Mutex;
use tch::{Kind, Tensor};

/// A dict of `image`, `label`, `pred` and `loss`, as far as they are there.
pub fn item(mut sample: Sample, loss: Option<f64>, work: &Work) -> Result<Value> {
    let mut entries = vec![];
    for key in ["image", "label", "pred"] {
        if sample.get(key).is_none() {
            continue;
        }
        let value = match sample.take(key)? {
            Item::Value(value) => value,
            Item::Image(volume) => segmented(Segmentation::Channels(volume_tensor(&volume)?)),
            Item::Prediction(prediction) => segmented(segmentation(prediction, work)?),
        };
        entries.push((Key::str(key), value));
    }
    entries.extend(loss.map(|loss| (Key::str("loss"), Value::Float(loss))));
    Ok(Value::Dict(Dict::new(entries)))
}

fn segmented(segmentation: Segmentation) -> Value {
    Value::object(Segmented(Mutex::new(segmentation)))
}

/// One-hot channels stay a label map.
fn segmentation(prediction: Prediction, work: &Work) -> Result<Segmentation> {
    if let State::Labels { map, grid, onehot: Some(classes) } = &prediction.state {
        let shape = grid.shape.map(|n| n as i64);
        let map = match map {
            Voxels::U16(map) => Tensor::f_from_slice(&map.iter().map(|&n| i32::from(n)).collect::<Vec<_>>())?,
            Voxels::U8(map) => Tensor::f_from_slice(map)?,
            other => crate::bail!("class numbers are {}, expected uint8 or uint16", other.dtype().name()),
        };
        return Ok(Segmentation::Labels { map: map.f_view(shape)?, classes: *classes });
    }
    let (values, _) = prediction.dense(work)?;
    Ok(Segmentation::Channels(values.f_to_kind(Kind::Float)?))
}
