//! BorderPadd: pad by a given number of voxels on each side.
//!
//! Source: monai/transforms/croppad/dictionary.py and array.py of MONAI 1.6.1.

use super::support::{KeyList, PadModeArg, pad_modes};
use crate::bail;
use crate::component::{Accepted, Keys, OneOrMany};
use crate::contracts::{Sample, Step, Transform, TransformContext, applied_to_headers};
use crate::error::Result;
use crate::image::{PadMode, Window, crop_pad};
use std::sync::Arc;

component! {
    /// Pad images by a number of voxels on each side.
    pub static COMPONENT = dictionary "BorderPad" in "monai.transforms" / "croppad.dictionary";

    pub struct BorderPadArgs {
        /// Keys of the images to pad.
        keys: Keys,
        /// Number of voxels to add: one for all sides, one per axis, or before and after each axis (6 values). Negative
        /// values count as 0.
        spatial_border: OneOrMany<i64>,
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

    build: BorderPad::new,
}

struct BorderPad {
    keys: KeyList,
    /// Voxels to add before and after each axis X, Y, Z.
    border: [[usize; 2]; 3],
    modes: Vec<PadMode>,
}

impl BorderPad {
    fn new(args: BorderPadArgs) -> Result<Self> {
        let keys = KeyList::new(args.keys, args.allow_missing_keys);
        let modes = pad_modes(&args.mode, keys.len(), args.value, args.constant_values)?;
        let values = match args.spatial_border {
            OneOrMany::One(n) => vec![n],
            OneOrMany::Many(n) => n,
        };
        let values: Vec<usize> = values.into_iter().map(|n| usize::try_from(n).unwrap_or(0)).collect();
        let border = match values.as_slice() {
            [n] => [[*n; 2]; 3],
            [x, y, z] => [[*x; 2], [*y; 2], [*z; 2]],
            [a, b, c, d, e, f] => [[*a, *b], [*c, *d], [*e, *f]],
            values => bail!("`spatial_border` has {} values, expected 1, 3 or 6", values.len()),
        };
        if border.iter().flatten().any(|&n| n > 1 << 20) {
            bail!("`spatial_border` {border:?} is too large");
        }
        Ok(BorderPad { keys, border, modes })
    }
}

impl Transform for BorderPad {
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
            let window = Window {
                start: self.border.map(|[before, _]| -(before as isize)),
                shape: std::array::from_fn(|axis| shape[axis] + self.border[axis][0] + self.border[axis][1]),
            };
            crop_pad(volume, window, self.modes[at], COMPONENT.name)
        })
    }
    fn traced_keys(&self) -> &[Arc<str>] {
        &self.keys.keys
    }
}
