//! ScaleIntensityRangePercentilesd: map the values between two percentiles to [b_min, b_max].
//!
//! Source: monai/transforms/intensity/dictionary.py and array.py of MONAI 1.6.1. Percentiles are interpolated linearly,
//! as in NumPy and torch.

use super::scale_intensity_range::RangeMap;
use super::support::{DTypeArg, KeyList, finish, in_f32};
use crate::component::Keys;
use crate::contracts::{Sample, Step, Transform, TransformContext};
use crate::error::Result;
use crate::{bail, err};

component! {
    /// Map intensities between two percentiles to [b_min, b_max].
    pub static COMPONENT = dictionary "ScaleIntensityRangePercentiles" in "monai.transforms" / "intensity.dictionary";

    pub struct ScaleIntensityRangePercentilesArgs {
        /// Keys of the images to scale.
        keys: Keys,
        /// Lower percentile, in [0, 100].
        lower: f64,
        /// Upper percentile, in [0, 100].
        upper: f64,
        /// Output value of the lower percentile.
        b_min: Option<f64>,
        /// Output value of the upper percentile.
        b_max: Option<f64>,
        /// Clip the output to [b_min, b_max].
        clip: bool = false,
        /// Map to the same percentiles of [b_min, b_max] instead of its ends.
        relative: bool = false,
        /// Process each channel separately.
        channel_wise: bool = false,
        /// Data type of the output; every float type is stored as float32.
        dtype: Option<DTypeArg> = "float32",
        /// Skip missing keys instead of raising an error.
        allow_missing_keys: bool = false,
    }

    build: Percentiles::new,
}

struct Percentiles {
    keys: KeyList,
    args: ScaleIntensityRangePercentilesArgs,
    b: [Option<f64>; 2],
}

impl Percentiles {
    fn new(args: ScaleIntensityRangePercentilesArgs) -> Result<Self> {
        for (name, value) in [("lower", args.lower), ("upper", args.upper)] {
            if !(0.0..=100.0).contains(&value) {
                bail!("`{name}` is {value}, expected a percentile from 0 to 100");
            }
        }
        let b = match (args.relative, args.b_min, args.b_max) {
            (false, low, high) => [low, high],
            (true, Some(low), Some(high)) => {
                [args.lower, args.upper].map(|percent| Some((high - low) * (percent / 100.0) + low))
            }
            (true, ..) => {
                return Err(err!("expected `b_min` and `b_max` with `relative: true`")
                    .arguments(&["b_min", "b_max", "relative"]));
            }
        };
        let map = RangeMap { a_min: 0.0, a_max: 1.0, b_min: b[0], b_max: b[1], clip: args.clip };
        map.check()?;
        Ok(Percentiles { keys: KeyList::new(args.keys.clone(), args.allow_missing_keys), args, b })
    }
    fn part(&self, voxels: &mut [f32]) {
        let mut copy = voxels.to_vec();
        let [a_min, a_max] = [self.args.lower, self.args.upper].map(|percent| percentile(&mut copy, percent));
        RangeMap { a_min, a_max, b_min: self.b[0], b_max: self.b[1], clip: self.args.clip }.apply(voxels);
    }
}

/// Percentile of `values`, which are reordered; NaN if any value is NaN.
fn percentile(values: &mut [f32], percent: f64) -> f64 {
    if values.is_empty() || values.iter().any(|x| x.is_nan()) {
        return f64::NAN;
    }
    let value = crate::percentile(values.len(), percent, |at| {
        let (_, low, above) = values.select_nth_unstable_by(at, f32::total_cmp);
        let low = f64::from(*low);
        (low, above.iter().copied().min_by(f32::total_cmp).map_or(low, f64::from))
    });
    // MONAI receives the percentile as f32.
    f64::from(value as f32)
}

impl Transform for Percentiles {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn image_keys(&self) -> &[std::sync::Arc<str>] {
        &self.keys.keys
    }
    fn plan(&self, sample: Sample) -> Result<Step<'_>> {
        Ok(Step::exact(in_f32(&self.keys, sample, self.args.dtype)?))
    }
    fn apply(&self, sample: Sample, _cx: &mut TransformContext) -> Result<Vec<Sample>> {
        self.keys.images(sample, |volume, _| {
            let volume = volume.map_f32(|voxels, per_channel| {
                if self.args.channel_wise {
                    voxels.chunks_exact_mut(per_channel.max(1)).for_each(|voxels| self.part(voxels));
                } else {
                    self.part(voxels);
                }
            })?;
            finish(volume, self.args.dtype)
        })
    }
}
