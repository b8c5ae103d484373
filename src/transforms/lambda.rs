//! Lambdad: apply a function that the config defines to images or other values.
//!
//! Source: monai/transforms/utility/dictionary.py and array.py of MONAI 1.6.1. The function receives an image as a
//! float32 tensor `[C, X, Y, Z]`; before EnsureChannelFirstd in the stored order, `[X, Y, Z]` or `[X, Y, Z, C]`.

use super::support::{KeyList, called_on, take_image};
use crate::component::{Accepted, Args, BuildContext, FromValue, Keys, NotSupported, OneOrMany, Value};
use crate::contracts::{Item, Sample, Step, Transform, TransformContext};
use crate::error::Result;
use crate::image::{ImageHeader, Layout, Volume, Voxels};
use crate::{bail, err};
use std::sync::Arc;

component! {
    /// Apply a function to items.
    pub static COMPONENT = dictionary "Lambda" in "monai.transforms" / "utility.dictionary";

    pub struct LambdaArgs {
        /// Keys of the items to apply the function to.
        keys: Keys,
        /// Function of one argument, one or one per key.
        func: Value,
        /// Inverse function; not supported: Invertd inverts spatial transforms only.
        inv_func: NotSupported = (),
        /// No effect: images always keep their metadata.
        track_meta: Accepted = true,
        /// True replaces the item, False discards the result, a str is the key to store it under; one or one per key.
        overwrite: OneOrMany<Overwrite> = true,
        /// Skip missing keys instead of raising an error.
        allow_missing_keys: bool = false,
    }

    differs: [
        "The function receives an image as float32, whatever its data type, and computes in float64.",
        "A function that removes the channel axis of a channel-first image is an error.",
        "`inv_func` is not supported: Invertd inverts spatial transforms only.",
    ],
    build: Lambda::new,
}

/// Value of `overwrite`: the key that receives the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Overwrite {
    /// Replaces the item by the result.
    Replace,
    /// Discards the result and keeps the item.
    Drop,
    /// Stores the result under another key and keeps the item.
    Key(Arc<str>),
}

impl FromValue for Overwrite {
    fn expected() -> String {
        "bool or str".into()
    }
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Str(key) => Some(Overwrite::Key(key.clone())),
            value => bool::from_value(value).map(|replace| if replace { Overwrite::Replace } else { Overwrite::Drop }),
        }
    }
}

struct Lambda {
    keys: KeyList,
    functions: Vec<Value>,
    overwrite: Vec<Overwrite>,
}

impl Lambda {
    fn new(args: LambdaArgs) -> Result<Self> {
        let keys = KeyList::new(args.keys, args.allow_missing_keys);
        let functions = match args.func.as_sequence() {
            Some(functions) => OneOrMany::Many(functions),
            None => OneOrMany::One(args.func),
        };
        let functions = functions.repeat(keys.len(), "func")?;
        if let Some(other) = functions.iter().find(|function| !function.callable()) {
            bail!("`func` is {other:?}, expected a function of one argument");
        }
        Ok(Lambda { overwrite: args.overwrite.repeat(keys.len(), "overwrite")?, functions, keys })
    }
    /// The function's result; an array returned for an image becomes an image.
    fn result(&self, sample: &mut Sample, key: &str, at: usize) -> Result<Item> {
        let function = &self.functions[at];
        match sample.get(key) {
            Some(Item::Value(value)) => {
                Ok(Item::Value(function.call(Args::positional([value.clone()]), &mut BuildContext::default())?))
            }
            Some(Item::Image(_)) => {
                let keep = self.overwrite[at] != Overwrite::Replace;
                let volume = if keep { sample.image(key)?.clone() } else { take_image(sample, key)? };
                let (layout, seen) = as_seen(&volume);
                Ok(match called_on(function, Volume { layout, ..volume.clone() }, &seen)? {
                    Ok((voxels, shape)) => Item::Image(of_result(volume, &seen, voxels, &shape)?),
                    Err(value) => Item::Value(value),
                })
            }
            Some(Item::Prediction(_)) => {
                bail!("expected an image or a value, found a prediction: functions of predictions are not supported")
            }
            None => Err(sample.missing(key)),
        }
    }
}

/// Layout and shape of MONAI's tensor for an image: channels first after EnsureChannelFirstd; before it, channels last
/// (as NiBabel reads them) if the file has any. An image with two spatial dimensions has no third axis.
fn as_seen(volume: &Volume) -> (Layout, Vec<usize>) {
    let Layout { offset, shape: [c, x, y, z], strides: [cs, xs, ys, zs] } = volume.layout;
    let spatial = &[x, y, z][..volume.header.spatial_dims.clamp(1, 3)];
    let last = Layout { offset, shape: [x, y, z, c], strides: [xs, ys, zs, cs] };
    match (volume.channel_first, volume.header.channels) {
        (true, _) => (volume.layout, [&[c], spatial].concat()),
        (false, None) => (volume.layout, spatial.to_vec()),
        (false, Some(_)) => (last, [spatial, &[c]].concat()),
    }
}

/// Converts a function's result for the image `before`, which it received in the shape `seen`, to an image. The function
/// may add a channel axis, and may remove one that EnsureChannelFirstd has not moved yet; after EnsureChannelFirstd
/// later transforms rely on the channel axis.
fn of_result(before: Volume, seen: &[usize], voxels: Voxels, shape: &[usize]) -> Result<Volume> {
    let dims = before.header.spatial_dims.clamp(1, 3);
    let spatial = |shape: &[usize]| std::array::from_fn::<usize, 3, _>(|axis| shape.get(axis).copied().unwrap_or(1));
    let channels_last = !before.channel_first && before.header.channels.is_some();
    let (layout, channel_first, channels) = match shape {
        [spatial_shape @ .., c] if channels_last && shape.len() == dims + 1 => {
            let [x, y, z] = spatial(spatial_shape);
            let steps = [1, y * z * c, z * c, *c].map(|step| step as isize);
            (Layout { offset: 0, shape: [*c, x, y, z], strides: steps }, false, Some(*c))
        }
        [c, spatial_shape @ ..] if shape.len() == dims + 1 => {
            let [x, y, z] = spatial(spatial_shape);
            (Layout::contiguous([*c, x, y, z]), true, Some(*c))
        }
        _ if shape.len() == dims && !before.channel_first => {
            let [x, y, z] = spatial(shape);
            (Layout::contiguous([1, x, y, z]), false, None)
        }
        _ => {
            let error = err!(
                "`func` returned an array of shape {shape:?} for an image of shape {seen:?}, expected as many axes"
            );
            return Err(match shape.len() < seen.len() {
                true => error.hint("keep the channel axis: x[:1] instead of x[0], keepdim=True in a reduction"),
                false => error,
            });
        }
    };
    let header = match channels == before.header.channels || before.channel_first {
        true => before.header.clone(),
        false => Arc::new(ImageHeader { channels, ..(*before.header).clone() }),
    };
    Ok(Volume { voxels, layout, channel_first, header, ..before })
}

impl Transform for Lambda {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn image_keys(&self) -> &[Arc<str>] {
        &self.keys.keys
    }
    fn plan(&self, sample: Sample) -> Result<Step<'_>> {
        Ok(Step::unknown(sample))
    }
    fn apply(&self, mut sample: Sample, _cx: &mut TransformContext) -> Result<Vec<Sample>> {
        for (at, key) in self.keys.present(&sample)? {
            let item = self.result(&mut sample, &key, at).map_err(|e| e.context(format_args!("`{key}`")))?;
            match &self.overwrite[at] {
                Overwrite::Replace => sample.set(&key, item),
                Overwrite::Drop => {}
                Overwrite::Key(other) => sample.set(other, item),
            }
        }
        Ok(vec![sample])
    }
}
