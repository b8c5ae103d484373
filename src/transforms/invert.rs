//! Invertd: undo the preprocessing's geometry on a prediction.
//!
//! Source: monai/transforms/post/dictionary.py of MONAI 1.6.1. Nearest-neighbor inversion of a prediction that is not
//! computed yet is only recorded; see [`crate::prediction`].

use super::post::{call_on, per_key};
use crate::component::{Accepted, Keys, OneOrMany, Value};
use crate::contracts::{Item, OnPrediction, Sample, Step, Transform, TransformContext};
use crate::error::Result;
use crate::image::{Inverse, Trace};
use crate::prediction::Prediction;
use crate::{bail, err};
use std::sync::Arc;

component! {
    /// Invert the preprocessing: resample a prediction to the grid of the input file.
    pub static COMPONENT = dictionary "Invert" in "monai.transforms" / "post.dictionary";

    pub struct InvertArgs {
        /// Keys of the predictions to invert.
        keys: Keys,
        /// Preprocessing to invert, such as `@preprocessing`.
        transform: Arc<dyn Transform>,
        /// Keys of the images that the preprocessing was applied to, one or one per key; None is `keys`.
        orig_keys: Option<Keys> = (),
        /// No effect: images always keep their metadata.
        meta_keys: Accepted = (),
        /// No effect: images always keep their metadata.
        orig_meta_keys: Accepted = (),
        /// No effect: images always keep their metadata.
        meta_key_postfix: Accepted = "meta_dict",
        /// Use nearest-neighbor interpolation; False uses the mode of the transform. One value or one per key.
        nearest_interp: OneOrMany<bool> = true,
        /// No effect: results are always tensors.
        to_tensor: Accepted = true,
        /// No effect: results are in host memory.
        device: Accepted = (),
        /// Function to apply to the inverted values; one or one per key.
        post_func: Value = (),
        /// Skip missing keys instead of raising an error.
        allow_missing_keys: bool = false,
    }

    differs: [
        "nearest-neighbor inversion is deferred until the values are discrete, which gives the same labels in less memory",
    ],
    build: Invert::new,
}

struct Invert {
    keys: Vec<Arc<str>>,
    transform: Arc<dyn Transform>,
    orig_keys: Vec<Arc<str>>,
    nearest: Vec<bool>,
    post_func: Vec<Value>,
    allow_missing: bool,
}

impl Invert {
    fn new(args: InvertArgs) -> Result<Self> {
        let n = args.keys.0.len();
        let orig_keys = match args.orig_keys {
            None => args.keys.0.clone(),
            Some(Keys(keys)) if keys.len() == 1 => vec![keys[0].clone(); n],
            Some(Keys(keys)) if keys.len() == n => keys,
            Some(Keys(keys)) => bail!("`orig_keys` has {} values, expected 1 or {n}", keys.len()),
        };
        Ok(Invert {
            keys: args.keys.0,
            transform: args.transform,
            orig_keys,
            nearest: args.nearest_interp.repeat(n, "nearest_interp")?,
            post_func: per_key(&args.post_func, n, "post_func")?,
            allow_missing: args.allow_missing_keys,
        })
    }
}

impl Transform for Invert {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn on_prediction(&self) -> OnPrediction {
        match self.post_func.iter().all(Value::is_none) {
            true if self.nearest.iter().all(|nearest| *nearest) => OnPrediction::Moved,
            true => OnPrediction::Interpolated,
            false => OnPrediction::AllChannels,
        }
    }
    fn plan(&self, sample: Sample) -> Result<Step<'_>> {
        Ok(Step::unknown(sample))
    }
    fn apply(&self, mut sample: Sample, cx: &mut TransformContext) -> Result<Vec<Sample>> {
        for (at, key) in self.keys.iter().enumerate() {
            if self.allow_missing && sample.get(key).is_none() {
                continue;
            }
            let orig = &self.orig_keys[at];
            let (trace, header) = match sample.get(orig) {
                Some(Item::Image(image)) => (image.trace.clone(), image.header.clone()),
                Some(Item::Prediction(prediction)) => (prediction.trace.clone(), prediction.header.clone()),
                _ => return Err(sample.missing(orig).hint("`orig_keys` must name the preprocessed image")),
            };
            let prediction = match sample.take(key)? {
                Item::Prediction(prediction) => prediction,
                Item::Image(volume) => Prediction::from_volume(&volume)?,
                Item::Value(value) => return Err(err!("`{key}` is {value:?}, expected a prediction or an image")),
            };
            let undo = self.to_undo(orig, &trace)?;
            let mut prediction = if undo.is_empty() {
                prediction
            } else {
                let inverse = Arc::new(Inverse::new(&undo)?);
                if inverse.from_grid().shape != prediction.grid().shape {
                    bail!(
                        "`{key}` has shape {:?}, but `{orig}` left the preprocessing with {:?}",
                        prediction.grid().shape,
                        inverse.from_grid().shape
                    );
                }
                prediction.invert(&inverse, self.nearest[at], cx.case)?
            };
            prediction.header = header;
            prediction.trace = trace[..trace.len() - undo.len()].to_vec();
            if !self.post_func[at].is_none() {
                prediction = prediction.map_dense(cx.case, |values| call_on(&self.post_func[at], values))?;
            }
            sample.set(key, Item::Prediction(prediction));
        }
        Ok(vec![sample])
    }
}

impl Invert {
    /// The operations that `transform` applied to `key`, oldest first; they must be the last entries of the trace.
    fn to_undo(&self, key: &Arc<str>, trace: &Trace) -> Result<Trace> {
        let mut names = vec![];
        collect(&*self.transform, key, &mut names);
        let mut from = trace.len();
        for name in names.iter().rev() {
            match from.checked_sub(1).map(|last| &trace[last]) {
                Some(applied) if applied.by == *name => from -= 1,
                // A transform that did not change this case records nothing.
                _ => continue,
            }
        }
        if from > 0 && from == trace.len() && !names.is_empty() {
            let applied: Vec<&str> = trace.iter().map(|applied| applied.by).collect();
            bail!("Invertd: expected `{key}` to end with {}, found {}", names.join(", "), applied.join(", "));
        }
        Ok(trace[from..].to_vec())
    }
}

/// Appends the names of the transforms that change the geometry of `key`, in order.
fn collect(transform: &dyn Transform, key: &Arc<str>, names: &mut Vec<&'static str>) {
    for child in transform.children() {
        collect(&**child, key, names);
    }
    if transform.traced_keys().contains(key) {
        names.push(transform.name());
    }
}
