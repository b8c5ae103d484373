//! Transforms: from file names to what the network sees, and back. One file per `_target_`.
//!
//! Adding one is a file with its `COMPONENT` and two lines here. [`support`] has what they share.

mod border_pad;
mod cast_to_type;
mod center_spatial_crop;
mod compose;
mod crop_foreground;
mod divisible_pad;
mod ensure_channel_first;
mod ensure_type;
mod gaussian_smooth;
mod items;
mod lambda;
mod load_image;
mod normalize_intensity;
mod orientation;
mod scale_intensity;
mod scale_intensity_range;
mod scale_intensity_range_percentiles;
mod spacing;
mod spatial_pad;
mod support;
mod to_tensor;

pub use compose::Compose;

use crate::component::Component;

pub const COMPONENTS: &[&Component] = &[
    &border_pad::COMPONENT,
    &cast_to_type::COMPONENT,
    &center_spatial_crop::COMPONENT,
    &compose::COMPONENT,
    &crop_foreground::COMPONENT,
    &divisible_pad::COMPONENT,
    &ensure_channel_first::COMPONENT,
    &ensure_type::COMPONENT,
    &gaussian_smooth::COMPONENT,
    &items::copy::COMPONENT,
    &items::delete::COMPONENT,
    &items::select::COMPONENT,
    &lambda::COMPONENT,
    &load_image::COMPONENT,
    &normalize_intensity::COMPONENT,
    &orientation::COMPONENT,
    &scale_intensity::COMPONENT,
    &scale_intensity_range::COMPONENT,
    &scale_intensity_range_percentiles::COMPONENT,
    &spacing::COMPONENT,
    &spatial_pad::COMPONENT,
    &to_tensor::COMPONENT,
];
