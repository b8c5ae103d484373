//! RandSpatialCropd: crop a box at a random position (monai/transforms/croppad, MONAI 1.6.1).

use super::support::{KeyList, or_image, per_axis, resized};
use crate::bail;
use crate::component::{Accepted, Keys, OneOrMany};
use crate::contracts::{Sample, Step, Transform, TransformContext};
use crate::error::Result;
use crate::image::{PadMode, Window, crop_pad};
use crate::random::{RngId, RngStates};
use std::sync::Arc;

component! {
    /// Randomly crop a box.
    pub static COMPONENT = dictionary "RandSpatialCrop" in "monai.transforms" / "croppad.dictionary";

    pub struct RandSpatialCropArgs {
        /// Keys of the images to crop, all at the same position.
        keys: Keys,
        /// Size of the crop in voxels, the minimum with random_size; a non-positive value keeps the image's size.
        roi_size: OneOrMany<i64>,
        /// Maximum size with random_size; None is the image's size.
        max_roi_size: Option<OneOrMany<i64>> = (),
        /// Crop at a random position; False crops the center.
        random_center: bool = true,
        /// Sample the size between roi_size and max_roi_size.
        random_size: bool = false,
        /// Skip missing keys instead of raising an error.
        allow_missing_keys: bool = false,
        /// No effect: transforms are never lazy.
        lazy: Accepted = false,
    }

    build: RandSpatialCrop::new,
}

struct RandSpatialCrop {
    keys: KeyList,
    size: [i64; 3],
    largest: Option<[i64; 3]>,
    random_center: bool,
    random_size: bool,
    rng: RngId,
}

impl RandSpatialCrop {
    fn new(args: RandSpatialCropArgs) -> Result<Self> {
        let largest = args.max_roi_size.as_ref().map(|size| per_axis(size, "max_roi_size")).transpose()?;
        let size = per_axis(&args.roi_size, "roi_size")?;
        let keys = KeyList::new(args.keys, args.allow_missing_keys);
        let (random_center, random_size) = (args.random_center, args.random_size);
        Ok(RandSpatialCrop { keys, size, largest, random_center, random_size, rng: RngId::default() })
    }
    fn window(&self, shape: [usize; 3], rng: &mut RngStates) -> Result<Window> {
        let random = rng.of(&self.rng);
        let mut size = or_image(self.size, shape);
        if self.random_size {
            let largest = self.largest.map_or(shape, |largest| or_image(largest, shape));
            if (0..3).any(|axis| size[axis] > largest[axis]) {
                bail!(
                    "roi_size {size:?} is larger than the largest size {largest:?} (max_roi_size or the image's {shape:?})"
                );
            }
            size = std::array::from_fn(|axis| random.randint(size[axis] as i64, largest[axis] as i64 + 1) as usize);
        }
        let fits: [usize; 3] = std::array::from_fn(|axis| size[axis].min(shape[axis]));
        if self.random_center {
            let start = std::array::from_fn(|axis| match shape[axis] - fits[axis] {
                0 => 0,
                free => random.randint(0, free as i64 + 1) as isize,
            });
            return Ok(Window { start, shape: fits });
        }
        let start = std::array::from_fn(|axis| (shape[axis] / 2).saturating_sub(size[axis] / 2) as isize);
        Ok(Window { start, shape: std::array::from_fn(|axis| size[axis].min(shape[axis] - start[axis] as usize)) })
    }
}

impl Transform for RandSpatialCrop {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn image_keys(&self) -> &[Arc<str>] {
        &self.keys.keys
    }
    fn plan(&self, sample: Sample) -> Result<Step<'_>> {
        Ok(Step::at_most(resized(&self.keys, sample, |shape| {
            let size = match (self.random_size, self.largest) {
                (true, Some(largest)) => or_image(largest, shape),
                (true, None) => shape,
                (false, _) => or_image(self.size, shape),
            };
            std::array::from_fn(|axis| size[axis].min(shape[axis]))
        })?))
    }
    fn apply(&self, sample: Sample, cx: &mut TransformContext) -> Result<Vec<Sample>> {
        let present = self.keys.present(&sample)?;
        let Some((_, first)) = present.first() else { return Ok(vec![sample]) };
        self.keys.one_grid(&sample)?;
        let shape = sample.image(first)?.layout.spatial();
        let window = self.window(shape, cx.rng)?;
        self.keys.images(sample, |volume, _| {
            let own = volume.layout.spatial();
            // Clamped as a Python slice, in case the image of another key is smaller.
            let inside = Window {
                start: window.start,
                shape: std::array::from_fn(|a| window.shape[a].min(own[a].saturating_sub(window.start[a] as usize))),
            };
            crop_pad(volume, inside, PadMode::Constant(0.0), COMPONENT.name)
        })
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
