//! RandCropByPosNegLabeld: crop boxes centered on random foreground and background voxels, in a given ratio
//! (monai/transforms/croppad, monai/transforms/utils.py, MONAI 1.6.1).
//!
//! MONAI builds lists of the voxels of both classes; here they are counted and the drawn one is looked up, with the
//! same result. Deliberate difference: MONAI treats every voxel of a label stored as uint8 as background (`~1` is 254);
//! here the data type does not matter.

use super::support::{KeyList, or_image, per_axis, resized};
use crate::bail;
use crate::component::{Accepted, Keys, NotSupported, OneOrMany};
use crate::contracts::{Item, Sample, Step, Transform, TransformContext};
use crate::error::Result;
use crate::image::{PadMode, Window, crop_pad};
use crate::random::{RngId, RngStates};
use std::sync::Arc;

component! {
    /// Randomly crop boxes centered at foreground or background voxels.
    pub static COMPONENT = dictionary "RandCropByPosNegLabel" in "monai.transforms" / "croppad.dictionary";

    pub struct RandCropByPosNegLabelArgs {
        /// Keys of the images to crop.
        keys: Keys,
        /// Key of the label image; values other than 0 are foreground.
        label_key: Arc<str>,
        /// Size of the crop in voxels, one value or one per axis; a non-positive value keeps the image's size.
        spatial_size: OneOrMany<i64>,
        /// Weight of foreground centers: their fraction is pos / (pos + neg).
        pos: f64 = 1.0,
        /// Weight of background centers.
        neg: f64 = 1.0,
        /// Number of crops per sample.
        num_samples: usize = 1,
        /// Key of an image that limits background centers to voxels above image_threshold; None allows all.
        image_key: Option<Arc<str>> = (),
        /// Threshold for image_key.
        image_threshold: f64 = 0.0,
        /// Key of precomputed foreground indices; not supported.
        fg_indices_key: NotSupported = (),
        /// Key of precomputed background indices; not supported.
        bg_indices_key: NotSupported = (),
        /// Allow smaller crops where the image is smaller than spatial_size.
        allow_smaller: bool = false,
        /// Skip missing keys instead of raising an error.
        allow_missing_keys: bool = false,
        /// No effect: transforms are never lazy.
        lazy: Accepted = false,
    }

    differs: ["background is everything that is not foreground, also for uint8 labels"],
    build: RandCrop::new,
}

struct RandCrop {
    keys: KeyList,
    size: [i64; 3],
    args: RandCropByPosNegLabelArgs,
    rng: RngId,
}

impl RandCrop {
    fn new(args: RandCropByPosNegLabelArgs) -> Result<Self> {
        if !(args.pos >= 0.0 && args.neg >= 0.0 && args.pos + args.neg > 0.0) {
            bail!("`pos` and `neg` must be at least 0 and not both 0, found {} and {}", args.pos, args.neg);
        }
        let keys = KeyList::new(args.keys.clone(), args.allow_missing_keys);
        Ok(RandCrop { keys, size: per_axis(&args.spatial_size, "spatial_size")?, args, rng: RngId::default() })
    }

    /// Class of each voxel in C order of [X, Y, Z]: 1 foreground, 2 eligible background, 0 neither; and the shape.
    fn classes(&self, sample: &Sample) -> Result<(Vec<u8>, [usize; 3])> {
        let label = sample.image(&self.args.label_key)?;
        let (shape, channels) = (label.layout.spatial(), label.layout.channels());
        let voxels: usize = shape.iter().product();
        let values = label.to_f32_vec()?;
        // The first channel of a one-hot label is the background.
        let first = usize::from(channels > 1);
        let mut out: Vec<u8> =
            (0..voxels).map(|v| if (first..channels).any(|c| values[c * voxels + v] != 0.0) { 1 } else { 2 }).collect();
        if let Some(key) = &self.args.image_key {
            let image = sample.image(key)?;
            if image.layout.spatial() != shape {
                bail!(
                    "`{key}` has {:?} voxels, expected the shape {shape:?} of `{}`",
                    image.layout.spatial(),
                    self.args.label_key
                );
            }
            let values = image.to_f32_vec()?;
            let threshold = self.args.image_threshold as f32;
            for (v, class) in out.iter_mut().enumerate().filter(|(_, class)| **class == 2) {
                *class = if (0..image.layout.channels()).any(|c| values[c * voxels + v] > threshold) { 2 } else { 0 };
            }
        }
        Ok((out, shape))
    }

    /// Draws the centers of the boxes.
    fn centers(&self, sample: &Sample, rng: &mut RngStates) -> Result<Vec<[i64; 3]>> {
        let (classes, shape) = self.classes(sample)?;
        let count = |class| classes.iter().filter(|c| **c == class).count();
        let counts = [count(1), count(2)];
        let mut ratio = self.args.pos / (self.args.pos + self.args.neg);
        match counts {
            [0, 0] => bail!("`{}` has neither foreground nor eligible background voxels", self.args.label_key),
            [0, _] | [_, 0] => {
                ratio = f64::from(u8::from(counts[0] > 0));
                tracing::warn!(
                    "RandCropByPosNegLabeld: found {} foreground and {} background voxels, all crops are centered on one class",
                    counts[0],
                    counts[1]
                );
            }
            _ => {}
        }
        let mut size = or_image(self.size, shape);
        if (0..3).any(|axis| size[axis] > shape[axis]) {
            if !self.args.allow_smaller {
                bail!(
                    "spatial_size {size:?} is larger than the label image {shape:?}; `allow_smaller: true` permits smaller crops"
                );
            }
            size = std::array::from_fn(|axis| size[axis].min(shape[axis]));
        }
        let random = rng.of(&self.rng);
        let mut out = vec![];
        for _ in 0..self.args.num_samples {
            let class = if random.next_f64() < ratio { 1 } else { 2 };
            let number = random.randint(0, counts[usize::from(class == 2)] as i64) as usize;
            let at = classes.iter().enumerate().filter(|(_, c)| **c == class).nth(number).map_or(0, |(at, _)| at);
            let center = [at / (shape[1] * shape[2]), at / shape[2] % shape[1], at % shape[2]];
            out.push(std::array::from_fn(|axis| {
                let first = (size[axis] / 2) as i64;
                let mut end = ((shape[axis] + 1) as f64 - size[axis] as f64 / 2.0) as i64;
                if first == end {
                    end += 1;
                }
                (center[axis] as i64).max(first).min(end - 1)
            }));
        }
        Ok(out)
    }
}

impl Transform for RandCrop {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn image_keys(&self) -> &[Arc<str>] {
        &self.keys.keys
    }
    fn plan(&self, sample: Sample) -> Result<Step<'_>> {
        Ok(Step::at_most(resized(&self.keys, sample, |shape| {
            let size = or_image(self.size, shape);
            std::array::from_fn(|axis| size[axis].min(shape[axis]))
        })?))
    }
    fn apply(&self, mut sample: Sample, cx: &mut TransformContext) -> Result<Vec<Sample>> {
        self.keys.one_grid(&sample)?;
        let centers = self.centers(&sample, cx.rng)?;
        let last = centers.len();
        let mut out = vec![];
        for (at, center) in centers.into_iter().enumerate() {
            let mut one = Sample::default();
            if at + 1 == last {
                one = std::mem::take(&mut sample);
            } else {
                for (key, item) in &sample.items {
                    let copy: Item = item.duplicate()?;
                    one.set(key, copy);
                }
            }
            out.extend(self.keys.images(one, |volume, _| {
                let shape = volume.layout.spatial();
                let size = or_image(self.size, shape);
                let start: [usize; 3] =
                    std::array::from_fn(|axis| (center[axis] - (size[axis] / 2) as i64).max(0) as usize);
                let inside = std::array::from_fn(|axis| size[axis].min(shape[axis].saturating_sub(start[axis])));
                let window = Window { start: start.map(|x| x as isize), shape: inside };
                crop_pad(volume, window, PadMode::Constant(0.0), COMPONENT.name)
            })?);
        }
        Ok(out)
    }
    fn is_random(&self) -> bool {
        true
    }
    fn seed(&self, seed: u32, rng: &mut RngStates) {
        rng.seed(&self.rng, seed);
    }
    fn traced_keys(&self) -> &[Arc<str>] {
        &self.keys.keys
    }
}
