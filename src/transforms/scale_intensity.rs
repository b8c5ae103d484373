//! ScaleIntensityd: map the range of values to [minv, maxv], or multiply by 1 + factor.
//!
//! Source: monai/transforms/intensity/dictionary.py, array.py and monai/transforms/utils.py (`rescale_array`) of MONAI
//! 1.6.1.

use super::support::{DTypeArg, KeyList, finish, in_f32};
use crate::component::Keys;
use crate::contracts::{Sample, Step, Transform, TransformContext};
use crate::error::Result;
use crate::image::CHUNK;
use rayon::prelude::*;

component! {
    /// Scale the intensity range of images to [minv, maxv].
    pub static COMPONENT = dictionary "ScaleIntensity" in "monai.transforms" / "intensity.dictionary";

    pub struct ScaleIntensityArgs {
        /// Keys of the images to scale.
        keys: Keys,
        /// Minimum of the output; if only one of minv and maxv is None, the output range is [0, 1].
        minv: Option<f64> = 0.0,
        /// Maximum of the output.
        maxv: Option<f64> = 1.0,
        /// Scale by v · (1 + factor) instead, if minv and maxv are both None.
        factor: Option<f64> = (),
        /// Process each channel separately.
        channel_wise: bool = false,
        /// Data type of the output; every float type is stored as float32.
        dtype: Option<DTypeArg> = "float32",
        /// Skip missing keys instead of raising an error.
        allow_missing_keys: bool = false,
    }

    build: ScaleIntensity::new,
}

struct ScaleIntensity {
    keys: KeyList,
    args: ScaleIntensityArgs,
}

impl ScaleIntensity {
    fn new(args: ScaleIntensityArgs) -> Result<Self> {
        Ok(ScaleIntensity { keys: KeyList::new(args.keys.clone(), args.allow_missing_keys), args })
    }
    fn part(&self, voxels: &mut [f32]) {
        let ScaleIntensityArgs { minv, maxv, factor, .. } = &self.args;
        if minv.is_none() && maxv.is_none() {
            if let Some(factor) = factor {
                let scale = (1.0 + factor) as f32;
                each(voxels, |x| x * scale);
            }
            return;
        }
        let (low, high) = range(voxels);
        if low == high {
            if let Some(minv) = minv {
                let minv = *minv as f32;
                each(voxels, |x| x * minv);
            }
            return;
        }
        let span = high - low;
        match (minv, maxv) {
            (Some(minv), Some(maxv)) => {
                let (scale, shift) = ((maxv - minv) as f32, *minv as f32);
                each(voxels, |x| (x - low) / span * scale + shift);
            }
            _ => each(voxels, |x| (x - low) / span),
        }
    }
}

/// Applies `map` to every value, in parallel.
pub fn each(voxels: &mut [f32], map: impl Fn(f32) -> f32 + Sync) {
    voxels.par_chunks_mut(CHUNK).for_each(|voxels| voxels.iter_mut().for_each(|x| *x = map(*x)));
}

/// Smallest and largest value; NaN if any value is NaN, as in torch.
pub fn range(voxels: &[f32]) -> (f32, f32) {
    let join = |a: (f32, f32, bool), b: (f32, f32, bool)| {
        (if b.0 < a.0 { b.0 } else { a.0 }, if b.1 > a.1 { b.1 } else { a.1 }, a.2 | b.2)
    };
    let empty = (f32::INFINITY, f32::NEG_INFINITY, false);
    let (low, high, nan) = voxels
        .par_chunks(CHUNK)
        .map(|voxels| {
            // Independent accumulators, so that the comparisons overlap.
            let mut lanes = [empty; 8];
            let chunks = voxels.chunks_exact(8);
            for &x in chunks.remainder() {
                lanes[0] = join(lanes[0], (x, x, x.is_nan()));
            }
            for chunk in chunks {
                for (lane, &x) in lanes.iter_mut().zip(chunk) {
                    *lane = join(*lane, (x, x, x.is_nan()));
                }
            }
            lanes.into_iter().fold(empty, join)
        })
        .reduce(|| empty, join);
    if nan { (f32::NAN, f32::NAN) } else { (low, high) }
}

impl Transform for ScaleIntensity {
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
