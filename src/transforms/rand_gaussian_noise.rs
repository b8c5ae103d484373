//! RandGaussianNoised: add Gaussian noise with a given probability (monai/transforms/intensity, MONAI 1.6.1).

use super::random::{Chance, seeded_by_chance};
use super::support::{DTypeArg, KeyList, finish, in_f32};
use crate::bail;
use crate::component::Keys;
use crate::contracts::{Sample, Step, Transform, TransformContext};
use crate::error::Result;

component! {
    /// Randomly add Gaussian noise to images.
    pub static COMPONENT = dictionary "RandGaussianNoise" in "monai.transforms" / "intensity.dictionary";

    pub struct RandGaussianNoiseArgs {
        /// Keys of the images; all get the same noise.
        keys: Keys,
        /// Probability of applying the transform.
        prob: f64 = 0.1,
        /// Mean of the noise.
        mean: f64 = 0.0,
        /// Standard deviation of the noise; the maximum with sample_std.
        std: f64 = 0.1,
        /// Data type of the output; every float type is stored as float32.
        dtype: Option<DTypeArg> = "float32",
        /// Skip missing keys instead of raising an error.
        allow_missing_keys: bool = false,
        /// Sample the standard deviation uniformly from [0, std].
        sample_std: bool = true,
    }

    build: RandGaussianNoise::new,
}

struct RandGaussianNoise {
    keys: KeyList,
    args: RandGaussianNoiseArgs,
    chance: Chance,
}

impl RandGaussianNoise {
    fn new(args: RandGaussianNoiseArgs) -> Result<Self> {
        if !(0.0..).contains(&args.std) {
            bail!("`std` is {}, expected at least 0", args.std);
        }
        Ok(RandGaussianNoise {
            keys: KeyList::new(args.keys.clone(), args.allow_missing_keys),
            chance: Chance::new(args.prob),
            args,
        })
    }
}

impl Transform for RandGaussianNoise {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn image_keys(&self) -> &[std::sync::Arc<str>] {
        &self.keys.keys
    }
    fn plan(&self, sample: Sample) -> Result<Step<'_>> {
        Ok(Step::at_most(in_f32(&self.keys, sample, None)?))
    }
    fn apply(&self, sample: Sample, cx: &mut TransformContext) -> Result<Vec<Sample>> {
        let happens = self.chance.happens(cx.rng);
        let present = self.keys.present(&sample)?;
        let Some((_, first)) = present.first().filter(|_| happens) else { return Ok(vec![sample]) };
        let shape = sample.image(first)?.layout.shape;
        let random = self.chance.inner(cx.rng);
        let std = if self.args.sample_std { random.uniform(0.0, self.args.std) } else { self.args.std };
        // Drawn in C order of [C, X, Y, Z], independent of the image's memory layout.
        let noise: Vec<f32> = (0..shape.iter().product()).map(|_| random.normal(self.args.mean, std) as f32).collect();
        self.keys.images(sample, |volume, _| {
            if volume.layout.shape != shape {
                bail!(
                    "the image has shape {:?}, expected {shape:?} as under the first key: all keys receive the same noise",
                    volume.layout.shape
                );
            }
            let volume = volume
                .contiguous()?
                .map_f32(|voxels, _| voxels.iter_mut().zip(&noise).for_each(|(x, noise)| *x += noise))?;
            finish(volume, self.args.dtype)
        })
    }
    seeded_by_chance!();
}
