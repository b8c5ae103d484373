//! EnsureTyped: convert images to `dtype`, if given. Images are tensors already.
//!
//! Source: monai/transforms/utility/dictionary.py and array.py of MONAI 1.6.1.

use super::support::{DTypeArg, KeyList, cast_items};
use crate::bail;
use crate::component::{Accepted, Keys, OneOrMany};
use crate::contracts::{Item, Sample, Step, Transform, TransformContext, applied_to_headers};
use crate::error::Result;
use crate::image::DType;

component! {
    /// Convert images to a tensor of a data type.
    pub static COMPONENT = dictionary "EnsureType" in "monai.transforms" / "utility.dictionary";

    pub struct EnsureTypeArgs {
        /// Keys of the images.
        keys: Keys,
        /// Output type: "tensor" or "numpy"; images are stored alike for both.
        data_type: String = "tensor",
        /// Data type, one or one per key; None keeps the type. A float type keeps integers that it represents exactly.
        dtype: OneOrMany<Option<DTypeArg>> = (),
        /// No effect: images stay in host memory and are moved to the engine's device for the network.
        device: Accepted = (),
        /// No effect: lists of numbers stay lists.
        wrap_sequence: Accepted = true,
        /// No effect: images always keep their metadata.
        track_meta: Accepted = (),
        /// Skip missing keys instead of raising an error.
        allow_missing_keys: bool = false,
    }

    build: EnsureType::new,
}

struct EnsureType {
    keys: KeyList,
    dtypes: Vec<Option<DType>>,
}

impl EnsureType {
    fn new(args: EnsureTypeArgs) -> Result<Self> {
        if !matches!(args.data_type.to_ascii_lowercase().as_str(), "tensor" | "numpy") {
            bail!("`data_type` is \"{}\", expected \"tensor\" or \"numpy\"", args.data_type);
        }
        let keys = KeyList::new(args.keys, args.allow_missing_keys);
        let dtypes = args
            .dtype
            .repeat(keys.len(), "dtype")?
            .into_iter()
            .map(|dtype| dtype.map(|DTypeArg(dtype)| dtype))
            .collect();
        Ok(EnsureType { keys, dtypes })
    }
}

impl Transform for EnsureType {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn plan(&self, sample: Sample) -> Result<Step<'_>> {
        // Header-only images pass if no data type changes; otherwise the stored values would be rounded a second time,
        // after the conversion in LoadImaged.
        let keeps = self.keys.present(&sample)?.iter().all(|(at, key)| match (self.dtypes[*at], sample.get(key)) {
            (Some(dtype), Some(Item::Image(volume))) => {
                volume.voxels.clone().cast(dtype).is_ok_and(|cast| cast.dtype() == volume.voxels.dtype())
            }
            _ => true,
        });
        if keeps {
            return Ok(Step::header_only(sample));
        }
        Ok(Step::exact(applied_to_headers(self, sample)?))
    }
    fn apply(&self, sample: Sample, _cx: &mut TransformContext) -> Result<Vec<Sample>> {
        cast_items(&self.keys, sample, |at| self.dtypes[at])
    }
}
