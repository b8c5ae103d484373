//! ToTensord: convert images to `dtype`, if given, and clear the trace of applied transforms. Images are tensors
//! already.
//!
//! Source: monai/transforms/utility/dictionary.py and array.py of MONAI 1.6.1.

use super::support::{DTypeArg, KeyList, cast_items};
use crate::component::{Accepted, Keys};
use crate::contracts::{Item, Sample, Step, Transform, TransformContext, applied_to_headers};
use crate::error::Result;
use crate::image::DType;

component! {
    /// Convert images to tensors; transforms applied before can no longer be inverted, as in MONAI.
    pub static COMPONENT = dictionary "ToTensor" in "monai.transforms" / "utility.dictionary";

    pub struct ToTensorArgs {
        /// Keys of the images.
        keys: Keys,
        /// Data type; None keeps the type. A float type keeps integers that it represents exactly.
        dtype: Option<DTypeArg> = (),
        /// No effect: images stay in host memory and are moved to the engine's device for the network.
        device: Accepted = (),
        /// No effect: lists of numbers stay lists.
        wrap_sequence: Accepted = true,
        /// No effect: images always keep their metadata.
        track_meta: Accepted = (),
        /// Skip missing keys instead of raising an error.
        allow_missing_keys: bool = false,
    }

    build: ToTensor::new,
}

struct ToTensor {
    keys: KeyList,
    dtype: Option<DType>,
}

impl ToTensor {
    fn new(args: ToTensorArgs) -> Result<Self> {
        Ok(ToTensor {
            keys: KeyList::new(args.keys, args.allow_missing_keys),
            dtype: args.dtype.map(|DTypeArg(dtype)| dtype),
        })
    }
}

impl Transform for ToTensor {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn plan(&self, sample: Sample) -> Result<Step<'_>> {
        Ok(Step::exact(applied_to_headers(self, sample)?))
    }
    fn apply(&self, sample: Sample, _cx: &mut TransformContext) -> Result<Vec<Sample>> {
        let mut samples = cast_items(&self.keys, sample, |_| self.dtype)?;
        for sample in &mut samples {
            for key in &self.keys.keys {
                if let Some(Item::Image(volume)) = sample.items.get_mut(key) {
                    volume.trace.clear();
                }
            }
        }
        Ok(samples)
    }
}
