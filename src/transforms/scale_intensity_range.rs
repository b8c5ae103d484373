//! ScaleIntensityRanged: map [a_min, a_max] to [b_min, b_max].
//!
//! Source: monai/transforms/intensity/dictionary.py and array.py of MONAI 1.6.1.

use super::scale_intensity::each;
use super::support::{DTypeArg, KeyList, finish, in_f32};
use crate::component::Keys;
use crate::contracts::{Sample, Step, Transform, TransformContext};
use crate::err;
use crate::error::Result;

component! {
    /// Map intensities from [a_min, a_max] to [b_min, b_max].
    pub static COMPONENT = dictionary "ScaleIntensityRange" in "monai.transforms" / "intensity.dictionary";

    pub struct ScaleIntensityRangeArgs {
        /// Keys of the images to scale.
        keys: Keys,
        /// Intensity that is mapped to b_min, such as -1024 HU.
        a_min: f64,
        /// Intensity that is mapped to b_max.
        a_max: f64,
        /// Lower end of the output range; if b_min or b_max is None, the output is (x - a_min) / (a_max - a_min).
        b_min: Option<f64> = (),
        /// Upper end of the output range.
        b_max: Option<f64> = (),
        /// Clip the output to [b_min, b_max].
        clip: bool = false,
        /// Data type of the output; every float type is stored as float32.
        dtype: Option<DTypeArg> = "float32",
        /// Skip missing keys instead of raising an error.
        allow_missing_keys: bool = false,
    }

    build: ScaleIntensityRange::new,
}

struct ScaleIntensityRange {
    keys: KeyList,
    map: RangeMap,
    dtype: Option<DTypeArg>,
}

/// Linear mapping of a range of values, also used by ScaleIntensityRangePercentilesd.
#[derive(Debug, Clone, Copy)]
pub struct RangeMap {
    /// Intensity that is mapped to `b_min`.
    pub a_min: f64,
    /// Intensity that is mapped to `b_max`.
    pub a_max: f64,
    /// Lower end of the output range; if an end is `None`, the output range is [0, 1].
    pub b_min: Option<f64>,
    /// Upper end of the output range.
    pub b_max: Option<f64>,
    /// Clip the output to the ends of the output range that are given.
    pub clip: bool,
}

impl RangeMap {
    /// Checks the arguments.
    ///
    /// # Errors
    /// `clip` without `b_min` and `b_max`.
    pub fn check(&self) -> Result<()> {
        if self.clip && self.b_min.is_none() && self.b_max.is_none() {
            return Err(err!("expected `b_min` or `b_max` with `clip: true`, found neither")
                .arguments(&["b_min", "b_max", "clip"]));
        }
        Ok(())
    }
    /// Maps all values in place. If `a_min` equals `a_max`, values are shifted by `b_min - a_min`, with a warning.
    pub fn apply(&self, voxels: &mut [f32]) {
        let a_min = self.a_min as f32;
        if self.a_max - self.a_min == 0.0 {
            tracing::warn!("a_min equals a_max ({}): values are shifted, not scaled", self.a_min);
            let shift = self.b_min.unwrap_or(0.0) as f32;
            each(voxels, |x| x - a_min + shift);
            return;
        }
        let span = (self.a_max - self.a_min) as f32;
        let (scale, shift) = match (self.b_min, self.b_max) {
            (Some(low), Some(high)) => ((high - low) as f32, low as f32),
            _ => (1.0, 0.0),
        };
        let bound = |bound: Option<f64>, none: f32| if self.clip { bound.map_or(none, |b| b as f32) } else { none };
        let (low, high) = (bound(self.b_min, f32::NEG_INFINITY), bound(self.b_max, f32::INFINITY));
        each(voxels, |x| {
            let y = (x - a_min) / span * scale + shift;
            // NaN is kept, and the upper bound takes precedence, as in torch.clamp.
            let y = if y < low { low } else { y };
            if y > high { high } else { y }
        });
    }
}

impl ScaleIntensityRange {
    fn new(args: ScaleIntensityRangeArgs) -> Result<Self> {
        let map =
            RangeMap { a_min: args.a_min, a_max: args.a_max, b_min: args.b_min, b_max: args.b_max, clip: args.clip };
        map.check()?;
        Ok(ScaleIntensityRange { keys: KeyList::new(args.keys, args.allow_missing_keys), map, dtype: args.dtype })
    }
}

impl Transform for ScaleIntensityRange {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn image_keys(&self) -> &[std::sync::Arc<str>] {
        &self.keys.keys
    }
    fn plan(&self, sample: Sample) -> Result<Step<'_>> {
        Ok(Step::exact(in_f32(&self.keys, sample, self.dtype)?))
    }
    fn apply(&self, sample: Sample, _cx: &mut TransformContext) -> Result<Vec<Sample>> {
        self.keys.images(sample, |volume, _| finish(volume.map_f32(|voxels, _| self.map.apply(voxels))?, self.dtype))
    }
}
