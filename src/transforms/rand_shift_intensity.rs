//! RandShiftIntensityd: add a random offset, by chance (monai/transforms/intensity, MONAI 1.6.1).

use super::random::{Chance, draw, range, seeded_by_chance};
use super::scale_intensity::each;
use super::support::KeyList;
use crate::bail;
use crate::component::{Accepted, Keys, OneOrMany, Value};
use crate::contracts::{Sample, Transform, TransformContext};
use crate::error::Result;

component! {
    /// Add a random offset to an image, by chance.
    pub static COMPONENT = dictionary "RandShiftIntensity" in "monai.transforms" / "intensity.dictionary";

    pub struct RandShiftIntensityArgs {
        /// Keys of the images to shift, all by one offset.
        keys: Keys,
        /// Range of the offset; x is -x to x.
        offsets: OneOrMany<f64>,
        /// No effect: results are float32 and do not overflow.
        safe: Accepted = false,
        /// A value of the metadata to multiply the offset by; not supported, must be None.
        factor_key: Value = (),
        /// No effect without factor_key.
        meta_keys: Accepted = (),
        /// No effect without factor_key.
        meta_key_postfix: Accepted = "meta_dict",
        /// The chance.
        prob: f64 = 0.1,
        /// An offset for each channel.
        channel_wise: bool = false,
        /// Skip keys that a sample does not have.
        allow_missing_keys: bool = false,
    }

    build: RandShiftIntensity::new,
}

struct RandShiftIntensity {
    keys: KeyList,
    offsets: [f64; 2],
    channel_wise: bool,
    chance: Chance,
}

impl RandShiftIntensity {
    fn new(args: RandShiftIntensityArgs) -> Result<Self> {
        if !args.factor_key.is_none() {
            bail!("RandShiftIntensityd: argument `factor_key` is not supported, expected None");
        }
        let offsets = range(&args.offsets, "offsets")?;
        let keys = KeyList::new(args.keys, args.allow_missing_keys);
        Ok(RandShiftIntensity { keys, offsets, channel_wise: args.channel_wise, chance: Chance::new(args.prob) })
    }
}

impl Transform for RandShiftIntensity {
    fn name(&self) -> &'static str {
        "RandShiftIntensityd"
    }
    fn apply(&self, sample: Sample, cx: &mut TransformContext) -> Result<Vec<Sample>> {
        let happens = self.chance.happens(cx.rng);
        let present = self.keys.present(&sample)?;
        let Some((_, first)) = present.first().filter(|_| happens) else { return Ok(vec![sample]) };
        let channels = sample.image(first)?.channels();
        let offsets = draw(self.chance.inner(cx.rng), self.offsets, self.channel_wise.then_some(channels));
        self.keys.images(sample, |volume, _| {
            volume.map_f32(|voxels, per_channel| {
                for (channel, voxels) in voxels.chunks_exact_mut(per_channel.max(1)).enumerate() {
                    let offset = offsets[channel.min(offsets.len() - 1)] as f32;
                    each(voxels, |x| x + offset);
                }
            })
        })
    }
    seeded_by_chance!();
}
