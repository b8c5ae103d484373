//! CastToTyped: convert voxels to a data type.
//!
//! Source: monai/transforms/utility/dictionary.py and array.py of MONAI 1.6.1.

use super::support::{DTypeArg, KeyList, cast_items};
use crate::component::{Keys, OneOrMany};
use crate::contracts::{Sample, Step, Transform, TransformContext, applied_to_headers};
use crate::error::Result;

component! {
    /// Convert images to a data type.
    pub static COMPONENT = dictionary "CastToType" in "monai.transforms" / "utility.dictionary";

    pub struct CastToTypeArgs {
        /// Keys of the images to convert.
        keys: Keys,
        /// Data type, one or one per key. A float type keeps integers that it represents exactly; an integer type
        /// truncates.
        dtype: OneOrMany<DTypeArg> = "float32",
        /// Skip missing keys instead of raising an error.
        allow_missing_keys: bool = false,
    }

    build: CastToType::new,
}

struct CastToType {
    keys: KeyList,
    dtypes: Vec<DTypeArg>,
}

impl CastToType {
    fn new(args: CastToTypeArgs) -> Result<Self> {
        let keys = KeyList::new(args.keys, args.allow_missing_keys);
        Ok(CastToType { dtypes: args.dtype.repeat(keys.len(), "dtype")?, keys })
    }
}

impl Transform for CastToType {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn plan(&self, sample: Sample) -> Result<Step<'_>> {
        Ok(Step::exact(applied_to_headers(self, sample)?))
    }
    fn apply(&self, sample: Sample, _cx: &mut TransformContext) -> Result<Vec<Sample>> {
        cast_items(&self.keys, sample, |at| Some(self.dtypes[at].0))
    }
}
