//! CenterSpatialCropd: crop the center of images.
//!
//! Source: monai/transforms/croppad/dictionary.py and array.py of MONAI 1.6.1.

use super::support::{KeyList, or_image, per_axis};
use crate::component::{Accepted, Keys, OneOrMany};
use crate::contracts::{Sample, Step, Transform, TransformContext, applied_to_headers};
use crate::error::Result;
use crate::image::{PadMode, Window, crop_pad};
use std::sync::Arc;

component! {
    /// Crop the center of images.
    pub static COMPONENT = dictionary "CenterSpatialCrop" in "monai.transforms" / "croppad.dictionary";

    pub struct CenterSpatialCropArgs {
        /// Keys of the images to crop.
        keys: Keys,
        /// Size of the crop in voxels, one value or one per axis; a non-positive or larger value keeps the image's
        /// size.
        roi_size: OneOrMany<i64>,
        /// Skip missing keys instead of raising an error.
        allow_missing_keys: bool = false,
        /// No effect: transforms are never lazy.
        lazy: Accepted = false,
    }

    build: CenterSpatialCrop::new,
}

struct CenterSpatialCrop {
    keys: KeyList,
    size: [i64; 3],
}

impl CenterSpatialCrop {
    fn new(args: CenterSpatialCropArgs) -> Result<Self> {
        Ok(CenterSpatialCrop {
            keys: KeyList::new(args.keys, args.allow_missing_keys),
            size: per_axis(&args.roi_size, "roi_size")?,
        })
    }
}

impl Transform for CenterSpatialCrop {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn image_keys(&self) -> &[Arc<str>] {
        &self.keys.keys
    }
    fn plan(&self, sample: Sample) -> Result<Step<'_>> {
        Ok(Step::exact(applied_to_headers(self, sample)?))
    }
    fn apply(&self, sample: Sample, _cx: &mut TransformContext) -> Result<Vec<Sample>> {
        self.keys.images(sample, |volume, _| {
            let shape = volume.layout.spatial();
            let size = or_image(self.size, shape);
            let start: [usize; 3] = std::array::from_fn(|axis| (shape[axis] / 2).saturating_sub(size[axis] / 2));
            let window = Window {
                start: start.map(|at| at as isize),
                shape: std::array::from_fn(|axis| size[axis].min(shape[axis] - start[axis])),
            };
            crop_pad(volume, window, PadMode::Constant(0.0), COMPONENT.name)
        })
    }
    fn traced_keys(&self) -> &[Arc<str>] {
        &self.keys.keys
    }
}
