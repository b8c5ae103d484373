//! SpatialPadd: pad to a minimum size.
//!
//! Source: monai/transforms/croppad/dictionary.py and array.py of MONAI 1.6.1.

use super::support::{KeyList, MethodArg, PadModeArg, or_image, pad_modes, per_axis};
use crate::component::{Accepted, Keys, OneOrMany};
use crate::contracts::{Sample, Step, Transform, TransformContext, applied_to_headers};
use crate::error::Result;
use crate::image::{PadMode, Window, crop_pad};
use std::sync::Arc;

component! {
    /// Pad images to a minimum size.
    pub static COMPONENT = dictionary "SpatialPad" in "monai.transforms" / "croppad.dictionary";

    pub struct SpatialPadArgs {
        /// Keys of the images to pad.
        keys: Keys,
        /// Size in voxels, one value or one per axis; a non-positive or smaller value keeps the image's size.
        spatial_size: OneOrMany<i64>,
        /// Padding method: "symmetric" pads both sides (an odd voxel at the end), "end" pads the end only.
        method: MethodArg = "symmetric",
        /// Padding mode, one or one per key: "constant", "edge", "reflect", "symmetric", "wrap".
        mode: OneOrMany<PadModeArg> = "constant",
        /// Skip missing keys instead of raising an error.
        allow_missing_keys: bool = false,
        /// No effect: transforms are never lazy.
        lazy: Accepted = false,
        /// Fill value of mode "constant" (PyTorch's name); default 0.
        value: Option<f64> = (),
        /// Fill value of mode "constant" (NumPy's name).
        constant_values: Option<f64> = (),
    }

    build: SpatialPad::new,
}

struct SpatialPad {
    keys: KeyList,
    size: [i64; 3],
    method: MethodArg,
    modes: Vec<PadMode>,
}

impl SpatialPad {
    fn new(args: SpatialPadArgs) -> Result<Self> {
        let keys = KeyList::new(args.keys, args.allow_missing_keys);
        let modes = pad_modes(&args.mode, keys.len(), args.value, args.constant_values)?;
        Ok(SpatialPad { keys, size: per_axis(&args.spatial_size, "spatial_size")?, method: args.method, modes })
    }
}

/// The window that pads an image of `shape` to at least `size`.
pub fn pad_to(shape: [usize; 3], size: [usize; 3], method: MethodArg) -> Window {
    let missing = |axis: usize| size[axis].saturating_sub(shape[axis]);
    Window {
        start: std::array::from_fn(
            |axis| if method == MethodArg::Symmetric { -((missing(axis) / 2) as isize) } else { 0 },
        ),
        shape: std::array::from_fn(|axis| shape[axis] + missing(axis)),
    }
}

impl Transform for SpatialPad {
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
            let window = pad_to(shape, or_image(self.size, shape), self.method);
            crop_pad(volume, window, self.modes[at], COMPONENT.name)
        })
    }
    fn traced_keys(&self) -> &[Arc<str>] {
        &self.keys.keys
    }
}
