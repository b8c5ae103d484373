//! Transforms for preprocessing, augmentation and postprocessing, one file per `_target_`.
//!
//! To add a transform, create a file with its `COMPONENT` and add two lines here. `support` holds code shared by all
//! transforms, `random` code shared by the random ones.

mod activations;
mod as_discrete;
mod border_pad;
mod cast_to_type;
mod center_spatial_crop;
mod compose;
mod crop_foreground;
mod divisible_pad;
mod ensure_channel_first;
mod ensure_type;
mod fill_holes;
mod gaussian_smooth;
mod invert;
mod items;
mod keep_largest_connected_component;
mod label_maps;
mod label_to_mask;
mod lambda;
mod load_image;
mod map_label_value;
mod normalize_intensity;
mod orientation;
mod output_name;
mod post;
mod rand_axis_flip;
mod rand_crop_by_pos_neg_label;
mod rand_flip;
mod rand_gaussian_noise;
mod rand_gaussian_smooth;
mod rand_rotate90;
mod rand_scale_intensity;
mod rand_shift_intensity;
mod rand_spatial_crop;
mod random;
mod remove_small_objects;
mod save_image;
mod save_labels;
mod save_preview;
mod save_statistics;
mod scale_intensity;
mod scale_intensity_range;
mod scale_intensity_range_percentiles;
mod spacing;
mod spatial_pad;
mod support;
mod to_tensor;

pub use compose::Compose;

use crate::component::Component;

/// Transforms that a config can name.
pub static COMPONENTS: &[&Component] = &[
    &activations::COMPONENT,
    &as_discrete::COMPONENT,
    &border_pad::COMPONENT,
    &cast_to_type::COMPONENT,
    &center_spatial_crop::COMPONENT,
    &compose::COMPONENT,
    &crop_foreground::COMPONENT,
    &divisible_pad::COMPONENT,
    &ensure_channel_first::COMPONENT,
    &ensure_type::COMPONENT,
    &fill_holes::COMPONENT,
    &gaussian_smooth::COMPONENT,
    &invert::COMPONENT,
    &items::copy::COMPONENT,
    &items::delete::COMPONENT,
    &items::select::COMPONENT,
    &keep_largest_connected_component::COMPONENT,
    &keep_largest_connected_component::OF_STRUCTURES,
    &label_to_mask::COMPONENT,
    &lambda::COMPONENT,
    &load_image::COMPONENT,
    &map_label_value::COMPONENT,
    &normalize_intensity::COMPONENT,
    &orientation::COMPONENT,
    &rand_axis_flip::COMPONENT,
    &rand_crop_by_pos_neg_label::COMPONENT,
    &rand_flip::COMPONENT,
    &rand_gaussian_noise::COMPONENT,
    &rand_gaussian_smooth::COMPONENT,
    &rand_rotate90::COMPONENT,
    &rand_scale_intensity::COMPONENT,
    &rand_shift_intensity::COMPONENT,
    &rand_spatial_crop::COMPONENT,
    &remove_small_objects::COMPONENT,
    &save_image::COMPONENT,
    &save_labels::COMPONENT,
    &save_preview::COMPONENT,
    &save_statistics::COMPONENT,
    &scale_intensity::COMPONENT,
    &scale_intensity_range::COMPONENT,
    &scale_intensity_range_percentiles::COMPONENT,
    &spacing::COMPONENT,
    &spatial_pad::COMPONENT,
    &to_tensor::COMPONENT,
];
