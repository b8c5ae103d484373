//! RandShiftIntensityd: add a random offset with a given probability (monai/transforms/intensity, MONAI 1.6.1).

use super::random::{Chance, draw, range, seeded_by_chance};
use super::scale_intensity::each;
use super::support::{KeyList, in_f32};
use crate::component::{Accepted, Keys, NotSupported, OneOrMany};
use crate::contracts::{Sample, Step, Transform, TransformContext};
use crate::error::Result;
use crate::image::DType;

component! {
    /// Randomly shift intensities by an offset.
    pub static COMPONENT = dictionary "RandShiftIntensity" in "monai.transforms" / "intensity.dictionary";

    pub struct RandShiftIntensityArgs {
        /// Keys of the images to shift, all by the same offset.
        keys: Keys,
        /// Range of the offset; a single value x is the range (-x, x).
        offsets: OneOrMany<f64>,
        /// Integer images: clip values out of the range of their type (True), or wrap them around (False).
        safe: bool = false,
        /// Key of a metadata value to multiply the offset by; not supported.
        factor_key: NotSupported = (),
        /// No effect: only used with factor_key.
        meta_keys: Accepted = (),
        /// No effect: only used with factor_key.
        meta_key_postfix: Accepted = "meta_dict",
        /// Probability of applying the transform.
        prob: f64 = 0.1,
        /// Sample an offset per channel.
        channel_wise: bool = false,
        /// Skip missing keys instead of raising an error.
        allow_missing_keys: bool = false,
    }

    build: RandShiftIntensity::new,
}

struct RandShiftIntensity {
    keys: KeyList,
    offsets: [f64; 2],
    channel_wise: bool,
    safe: bool,
    chance: Chance,
}

impl RandShiftIntensity {
    fn new(args: RandShiftIntensityArgs) -> Result<Self> {
        let offsets = range(&args.offsets, "offsets")?;
        let keys = KeyList::new(args.keys, args.allow_missing_keys);
        let (channel_wise, safe) = (args.channel_wise, args.safe);
        Ok(RandShiftIntensity { keys, offsets, channel_wise, safe, chance: Chance::new(args.prob) })
    }
}

/// Converts to an integer type as torch does: truncated, and wrapped around if out of range.
fn wrapped(x: f32, dtype: DType) -> f32 {
    let x = x as i64;
    match dtype {
        DType::U8 => f32::from(x as u8),
        DType::I8 => f32::from(x as i8),
        DType::U16 => f32::from(x as u16),
        DType::I16 => f32::from(x as i16),
        DType::U32 => x as u32 as f32,
        DType::I32 => x as i32 as f32,
        DType::U64 | DType::I64 | DType::F32 | DType::F64 => x as f32,
    }
}

impl Transform for RandShiftIntensity {
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
        let offsets = draw(self.chance.inner(cx.rng), self.offsets, self.channel_wise.then_some(channels));
        self.keys.images(sample, |volume, _| {
            let integer_type = volume.integer_type;
            let shifted = volume.map_f32(|voxels, per_channel| {
                for (channel, voxels) in voxels.chunks_exact_mut(per_channel.max(1)).enumerate() {
                    let offset = offsets[channel.min(offsets.len() - 1)] as f32;
                    each(voxels, |x| x + offset);
                }
            })?;
            match integer_type {
                None => Ok(shifted),
                Some(dtype) if self.safe => shifted.cast(dtype),
                Some(dtype) => shifted.map_f32(|voxels, _| each(voxels, |x| wrapped(x, dtype)))?.cast(dtype),
            }
        })
    }
    seeded_by_chance!();
}
