//! DivisiblePadd: pad each axis to a multiple of `k`.
//!
//! Source: monai/transforms/croppad/dictionary.py and array.py of MONAI 1.6.1.

use super::spatial_pad::pad_to;
use super::support::{KeyList, MethodArg, PadModeArg, pad_modes, per_axis};
use crate::component::{Accepted, Keys, OneOrMany};
use crate::contracts::{Sample, Step, Transform, TransformContext, applied_to_headers};
use crate::error::Result;
use crate::image::{PadMode, crop_pad};
use std::sync::Arc;

component! {
    /// Pad images so that the size of each axis is divisible by k.
    pub static COMPONENT = dictionary "DivisiblePad" in "monai.transforms" / "croppad.dictionary";

    pub struct DivisiblePadArgs {
        /// Keys of the images to pad.
        keys: Keys,
        /// Divisor of the size in voxels, one value or one per axis; a non-positive value keeps the axis.
        k: OneOrMany<i64>,
        /// Padding mode, one or one per key: "constant", "edge", "reflect", "symmetric", "wrap".
        mode: OneOrMany<PadModeArg> = "constant",
        /// Padding method: "symmetric" pads both sides (an odd voxel at the end), "end" pads the end only.
        method: MethodArg = "symmetric",
        /// Skip missing keys instead of raising an error.
        allow_missing_keys: bool = false,
        /// No effect: transforms are never lazy.
        lazy: Accepted = false,
        /// Fill value of mode "constant" (PyTorch's name); default 0.
        value: Option<f64> = (),
        /// Fill value of mode "constant" (NumPy's name).
        constant_values: Option<f64> = (),
    }

    build: DivisiblePad::new,
}

struct DivisiblePad {
    keys: KeyList,
    k: [i64; 3],
    method: MethodArg,
    modes: Vec<PadMode>,
}

impl DivisiblePad {
    fn new(args: DivisiblePadArgs) -> Result<Self> {
        let keys = KeyList::new(args.keys, args.allow_missing_keys);
        let modes = pad_modes(&args.mode, keys.len(), args.value, args.constant_values)?;
        Ok(DivisiblePad { keys, k: per_axis(&args.k, "k")?, method: args.method, modes })
    }
}

/// Rounds each size up to a multiple of `k`; axes with a non-positive `k` are unchanged (MONAI's
/// `compute_divisible_spatial_size`).
pub fn divisible(size: [usize; 3], k: [i64; 3]) -> [usize; 3] {
    std::array::from_fn(|axis| match usize::try_from(k[axis]) {
        Ok(k) if k > 0 => size[axis].div_ceil(k).saturating_mul(k),
        _ => size[axis],
    })
}

impl Transform for DivisiblePad {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn image_keys(&self) -> &[Arc<str>] {
        &self.keys.keys
    }
    fn plan(&self, sample: Sample) -> Result<Step<'_>> {
        Ok(Step::exact(applied_to_headers(self, sample)?))
    }
    fn apply(&self, sample: Sample, _cx: &mut TransformContext) -> Result<Vec<Sample>> {
        self.keys.images(sample, |volume, at| {
            let shape = volume.layout.spatial();
            crop_pad(volume, pad_to(shape, divisible(shape, self.k), self.method), self.modes[at], COMPONENT.name)
        })
    }
    fn traced_keys(&self) -> &[Arc<str>] {
        &self.keys.keys
    }
}
