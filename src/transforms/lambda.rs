//! Lambdad: a function of the config's on images or other values.
//!
//! Source: monai/transforms/utility/dictionary.py and array.py of MONAI 1.6.1. The function sees an image as a float32
//! tensor [C,X,Y,Z].

use super::support::{KeyList, called_on, take_image};
use crate::bail;
use crate::component::{Accepted, Args, BuildContext, FromValue, Keys, NotSupported, OneOrMany, Value};
use crate::contracts::{Item, Outline, Sample, Transform, TransformContext};
use crate::error::Result;
use crate::image::{Layout, Volume};
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
        "The function sees an image as float32, whatever type it was cast to, and works on a copy in float64.",
        "`inv_func` is an error: Invertd undoes geometry only.",
    ],
    build: Lambda::new,
}

/// Where the result goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Overwrite {
    Replace,
    Drop,
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
    /// The function's result; an array that it makes of an image is an image again.
    fn result(&self, sample: &mut Sample, key: &str, at: usize) -> Result<Item> {
        let function = &self.functions[at];
        match sample.get(key) {
            Some(Item::Value(value)) => {
                Ok(Item::Value(function.call(Args::positional([value.clone()]), &mut BuildContext::default())?))
            }
            Some(Item::Image(_)) => {
                let keep = self.overwrite[at] != Overwrite::Replace;
                let volume = if keep { sample.image(key)?.clone() } else { take_image(sample, key)? };
                let (result, volume) = called_on(function, volume)?;
                Ok(match result {
                    Ok((voxels, shape)) => {
                        let (channel_first, shape) = match shape[..] {
                            [c, x, y, z] => (true, [c, x, y, z]),
                            [x, y, z] => (false, [1, x, y, z]),
                            _ => bail!("`func` made an array of shape {shape:?} of an image, expected [C,X,Y,Z]"),
                        };
                        Item::Image(Volume { voxels, layout: Layout::contiguous(shape), channel_first, ..volume })
                    }
                    Err(value) => Item::Value(value),
                })
            }
            Some(Item::Prediction(_)) => bail!("a function on a prediction is not supported"),
            None => Err(sample.missing(key)),
        }
    }
}

impl Transform for Lambda {
    fn name(&self) -> &'static str {
        "Lambdad"
    }
    fn outline(&self, sample: Sample) -> Result<Outline> {
        // Only the voxels tell.
        Ok(Outline { sample, exact: false })
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
