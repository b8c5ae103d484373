//! DivisiblePadd: pad until each axis is a multiple of `k`.
//!
//! Source: monai/transforms/croppad/dictionary.py and array.py of MONAI 1.6.1.

use super::spatial_pad::pad_to;
use super::support::{KeyList, MethodArg, PadModeArg, pad_modes, per_axis};
use crate::component::{Accepted, Keys, OneOrMany};
use crate::contracts::{Outline, Sample, Transform, TransformContext, outline_by_applying};
use crate::error::Result;
use crate::image::{PadMode, crop_pad};
use std::sync::Arc;

component! {
    /// Pad an image so that each axis is a multiple of k voxels.
    pub static COMPONENT = dictionary "DivisiblePad" in "monai.transforms" / "croppad.dictionary";

    pub struct DivisiblePadArgs {
        /// Keys of the images to pad.
        keys: Keys,
        /// The size in voxels of which each axis becomes a multiple; a value that is not positive keeps the axis.
        k: OneOrMany<i64>,
        /// What the pad holds, one or one for each key.
        mode: OneOrMany<PadModeArg> = "constant",
        /// "symmetric" pads both sides (the odd voxel at the end), "end" only after the end.
        method: MethodArg = "symmetric",
        /// Skip keys that a sample does not have.
        allow_missing_keys: bool = false,
        /// No effect: transforms are applied at once.
        lazy: Accepted = false,
        /// The constant of mode "constant" (torch's name); 0 if not given.
        value: Option<f64> = (),
        /// The constant of mode "constant" (NumPy's name).
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

/// Each size rounded up to a multiple of `k`, where that is positive (`compute_divisible_spatial_size`).
pub fn divisible(size: [usize; 3], k: [i64; 3]) -> [usize; 3] {
    std::array::from_fn(|axis| match usize::try_from(k[axis]) {
        Ok(k) if k > 0 => size[axis].div_ceil(k).saturating_mul(k),
        _ => size[axis],
    })
}

impl Transform for DivisiblePad {
    fn name(&self) -> &'static str {
        "DivisiblePadd"
    }
    fn outline(&self, sample: Sample) -> Result<Outline> {
        outline_by_applying(self, sample)
    }
    fn apply(&self, sample: Sample, _cx: &mut TransformContext) -> Result<Vec<Sample>> {
        self.keys.images(sample, |volume, at| {
            let shape = volume.layout.spatial();
            crop_pad(volume, pad_to(shape, divisible(shape, self.k), self.method), self.modes[at], "DivisiblePadd")
        })
    }
    fn traced_keys(&self) -> &[Arc<str>] {
        &self.keys.keys
    }
}
