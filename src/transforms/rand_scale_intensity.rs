//! RandScaleIntensityd: multiply by 1 + a random factor with a given probability (monai/transforms/intensity,
//! MONAI 1.6.1).

use super::random::{Chance, draw, range, seeded_by_chance};
use super::scale_intensity::each;
use super::support::{DTypeArg, KeyList, finish, in_f32};
use crate::component::{Keys, OneOrMany};
use crate::contracts::{Sample, Step, Transform, TransformContext};
use crate::error::Result;

component! {
    /// Randomly scale intensities: v · (1 + factor).
    pub static COMPONENT = dictionary "RandScaleIntensity" in "monai.transforms" / "intensity.dictionary";

    pub struct RandScaleIntensityArgs {
        /// Keys of the images to scale, all by the same factor.
        keys: Keys,
        /// Range of the factor; a single value x is the range (-x, x).
        factors: OneOrMany<f64>,
        /// Probability of applying the transform.
        prob: f64 = 0.1,
        /// Sample a factor per channel.
        channel_wise: bool = false,
        /// Data type of the output; every float type is stored as float32.
        dtype: Option<DTypeArg> = "float32",
        /// Skip missing keys instead of raising an error.
        allow_missing_keys: bool = false,
    }

    build: RandScaleIntensity::new,
}

struct RandScaleIntensity {
    keys: KeyList,
    factors: [f64; 2],
    channel_wise: bool,
    dtype: Option<DTypeArg>,
    chance: Chance,
}

impl RandScaleIntensity {
    fn new(args: RandScaleIntensityArgs) -> Result<Self> {
        let factors = range(&args.factors, "factors")?;
        let keys = KeyList::new(args.keys, args.allow_missing_keys);
        Ok(RandScaleIntensity {
            keys,
            factors,
            channel_wise: args.channel_wise,
            dtype: args.dtype,
            chance: Chance::new(args.prob),
        })
    }
}

impl Transform for RandScaleIntensity {
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
        let channels = sample.image(first)?.channels();
        let factors = draw(self.chance.inner(cx.rng), self.factors, self.channel_wise.then_some(channels));
        self.keys.images(sample, |volume, _| {
            let volume = volume.map_f32(|voxels, per_channel| {
                for (channel, voxels) in voxels.chunks_exact_mut(per_channel.max(1)).enumerate() {
                    let scale = (1.0 + factors[channel.min(factors.len() - 1)]) as f32;
                    each(voxels, |x| x * scale);
                }
            })?;
            finish(volume, self.dtype)
        })
    }
    seeded_by_chance!();
}
