//! NormalizeIntensityd: subtract the mean and divide by the standard deviation.
//!
//! Source: monai/transforms/intensity/dictionary.py and array.py of MONAI 1.6.1. Sums are accumulated in f64 (MONAI's
//! mean in f32), in an order that does not depend on the number of threads.

use super::support::{DTypeArg, KeyList, finish, in_f32};
use crate::bail;
use crate::component::{Keys, OneOrMany};
use crate::contracts::{Sample, Step, Transform, TransformContext};
use crate::error::Result;
use crate::image::{CHUNK, Volume};
use rayon::prelude::*;

component! {
    /// Normalize images: subtract the mean and divide by the standard deviation.
    pub static COMPONENT = dictionary "NormalizeIntensity" in "monai.transforms" / "intensity.dictionary";

    pub struct NormalizeIntensityArgs {
        /// Keys of the images to normalize.
        keys: Keys,
        /// Value to subtract; None is the mean. With channel_wise a list with one per channel.
        subtrahend: Option<OneOrMany<f64>> = (),
        /// Value to divide by, where 0 counts as 1; None is the (population) standard deviation. With channel_wise a
        /// list with one per channel.
        divisor: Option<OneOrMany<f64>> = (),
        /// Normalize non-zero voxels only.
        nonzero: bool = false,
        /// Process each channel separately.
        channel_wise: bool = false,
        /// Data type of the output; every float type is stored as float32, in which MONAI computes.
        dtype: Option<DTypeArg> = "float32",
        /// Skip missing keys instead of raising an error.
        allow_missing_keys: bool = false,
    }

    differs: [
        "Mean and deviation are summed in float64; they differ from MONAI's by less than 1e-6 of their size.",
        "An array of the image's shape as `subtrahend` or `divisor` is an error.",
    ],
    build: NormalizeIntensity::new,
}

struct NormalizeIntensity {
    keys: KeyList,
    subtrahend: Option<OneOrMany<f64>>,
    divisor: Option<OneOrMany<f64>>,
    nonzero: bool,
    channel_wise: bool,
    dtype: Option<DTypeArg>,
}

impl NormalizeIntensity {
    fn new(args: NormalizeIntensityArgs) -> Result<Self> {
        for (name, value) in [("subtrahend", &args.subtrahend), ("divisor", &args.divisor)] {
            match value {
                Some(OneOrMany::Many(values)) if !args.channel_wise && values.len() != 1 => {
                    bail!("`{name}` has {} values, expected one number unless `channel_wise` is true", values.len())
                }
                Some(OneOrMany::One(_)) if args.channel_wise => {
                    bail!("`{name}` is one number, expected a list with one value per channel (`channel_wise` is true)")
                }
                _ => {}
            }
        }
        let NormalizeIntensityArgs { keys, subtrahend, divisor, nonzero, channel_wise, dtype, allow_missing_keys } =
            args;
        Ok(NormalizeIntensity {
            keys: KeyList::new(keys, allow_missing_keys),
            subtrahend,
            divisor,
            nonzero,
            channel_wise,
            dtype,
        })
    }
    fn normalized(&self, volume: Volume) -> Result<Volume> {
        let channels = volume.channels();
        for (name, values) in [("subtrahend", &self.subtrahend), ("divisor", &self.divisor)] {
            if let Some(OneOrMany::Many(values)) = values
                && self.channel_wise
                && values.len() != channels
            {
                bail!("the image has {channels} channels, `{name}` has {} values", values.len());
            }
        }
        let volume = volume.map_f32(|voxels, per_channel| {
            if self.channel_wise {
                voxels
                    .chunks_exact_mut(per_channel.max(1))
                    .enumerate()
                    .for_each(|(channel, voxels)| self.part(voxels, channel));
            } else {
                self.part(voxels, 0);
            }
        })?;
        finish(volume, self.dtype)
    }
    fn part(&self, voxels: &mut [f32], channel: usize) {
        let given = |values: &Option<OneOrMany<f64>>| match values {
            None => None,
            Some(OneOrMany::One(value)) => Some(*value),
            Some(OneOrMany::Many(values)) => values.get(channel).copied(),
        };
        let (subtrahend, divisor) = (given(&self.subtrahend), given(&self.divisor));
        let moments = if subtrahend.is_none() || divisor.is_none() {
            Moments::of(voxels, self.nonzero)
        } else {
            Moments::default()
        };
        if moments.count == 0.0 && (subtrahend.is_none() || divisor.is_none()) {
            return;
        }
        let subtrahend = subtrahend.unwrap_or(moments.mean) as f32;
        // The deviation is f32 as in torch, so that a value which underflows there is 0 here, too.
        let divisor = divisor.unwrap_or((moments.squares / moments.count).sqrt()) as f32;
        let divisor = if divisor == 0.0 { 1.0 } else { divisor };
        let nonzero = self.nonzero;
        voxels.par_chunks_mut(CHUNK).for_each(|voxels| {
            for x in voxels {
                let y = (*x - subtrahend) / divisor;
                *x = if nonzero && *x == 0.0 { *x } else { y };
            }
        });
    }
}

/// Count, mean and sum of squared deviations.
#[derive(Debug, Clone, Copy, Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn of(voxels: &[f32], nonzero: bool) -> Moments {
        let parts: Vec<Moments> = voxels.par_chunks(CHUNK).map(|voxels| Moments::of_chunk(voxels, nonzero)).collect();
        parts.into_iter().fold(Moments::default(), Moments::joined)
    }
    /// Two passes over a chunk that fits the cache, with eight independent accumulators for instruction-level
    /// parallelism.
    fn of_chunk(voxels: &[f32], nonzero: bool) -> Moments {
        let count = if nonzero { voxels.iter().filter(|&&x| x != 0.0).count() } else { voxels.len() } as f64;
        if count == 0.0 {
            return Moments::default();
        }
        // Zeros do not change the sum, whether counted or not.
        let mean = lanes(voxels, f64::from) / count;
        let squares = lanes(voxels, |x| {
            let d = f64::from(x) - mean;
            if nonzero && x == 0.0 { 0.0 } else { d * d }
        });
        Moments { count, mean, squares }
    }
    /// Combines the moments of two disjoint sets (Chan et al. 1979).
    fn joined(self, other: Moments) -> Moments {
        if other.count == 0.0 {
            return self;
        }
        let count = self.count + other.count;
        let shift = other.mean - self.mean;
        Moments {
            count,
            mean: self.mean + shift * other.count / count,
            squares: self.squares + other.squares + shift * shift * self.count * other.count / count,
        }
    }
}

fn lanes(voxels: &[f32], term: impl Fn(f32) -> f64) -> f64 {
    let mut sums = [0.0; 8];
    let chunks = voxels.chunks_exact(8);
    let rest: f64 = chunks.remainder().iter().map(|&x| term(x)).sum();
    for chunk in chunks {
        for (sum, &x) in sums.iter_mut().zip(chunk) {
            *sum += term(x);
        }
    }
    sums.iter().sum::<f64>() + rest
}

impl Transform for NormalizeIntensity {
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
        self.keys.images(sample, |volume, _| self.normalized(volume))
    }
}
