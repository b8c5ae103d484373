//! RemoveSmallObjectsd: remove small connected components of masks or one-hot channels.
//!
//! Source: monai/transforms/post/dictionary.py and array.py, monai/transforms/utils.py (`remove_small_objects`) of MONAI
//! 1.6.1, and skimage/morphology/misc.py of scikit-image 0.25.2.

use super::label_maps::{ChangeLabels, OnLabels, class_labels, owned, replace_components, within_channels};
use super::support::KeyList;
use crate::case_context::CaseContext;
use crate::component::{Accepted, Keys};
use crate::error::Result;
use crate::image::components::{Class, Components, Neighborhood, class_of};
use crate::image::{Affine, CHUNK, Element};
use crate::prediction::LabelVolume;
use crate::{bail, each_voxels, err};
use rayon::prelude::*;
use std::collections::HashMap;
use std::sync::Arc;

component! {
    /// Remove connected components that are smaller than a number of voxels or a volume.
    ///
    /// Expects masks or one-hot channels. In a label map with labels above 1, MONAI takes all voxels of a label for one
    /// object: use AsDiscreted with to_onehot before, and with argmax after it.
    pub static COMPONENT = dictionary "RemoveSmallObjects" in "monai.transforms" / "post.dictionary";

    pub struct RemoveSmallObjectsArgs {
        /// Keys of the masks or one-hot predictions.
        keys: Keys,
        /// Components that are smaller are removed: number of voxels, or mm³ if `by_measure` is True.
        min_size: f64 = 64,
        /// Number of axes, including that of the channels, along which neighboring voxels may differ by 1: in 3-D, 1
        /// means 6 neighbors.
        connectivity: usize = 1,
        /// Measure each value on its own; False measures components of all values above 0.
        independent_channels: bool = true,
        /// Whether `min_size` is a volume in mm³ (an area in 2-D), by the affine of the image or prediction.
        by_measure: bool = false,
        /// No effect: every image has an affine, from which MONAI takes the size of the voxels, too.
        pixdim: Accepted = (),
        /// Skip missing keys instead of raising an error.
        allow_missing_keys: bool = false,
    }

    differs: [
        "a component of exactly `min_size` is kept, as MONAI's documentation says; with scikit-image 0.26 MONAI removes it",
    ],
    build: RemoveSmall::new,
}

struct RemoveSmall {
    min_size: f64,
    connectivity: usize,
    independent: bool,
    by_measure: bool,
}

impl RemoveSmall {
    fn new(args: RemoveSmallObjectsArgs) -> Result<OnLabels<Self>> {
        if args.min_size.is_nan() || args.min_size < 0.0 {
            bail!("`min_size` is {}, expected at least 0", args.min_size);
        }
        if !(1..=4).contains(&args.connectivity) {
            bail!("`connectivity` is {}, expected 1 to 4", args.connectivity);
        }
        let change = RemoveSmall {
            min_size: args.min_size,
            connectivity: args.connectivity,
            independent: args.independent_channels,
            by_measure: args.by_measure,
        };
        Ok(OnLabels { keys: KeyList::new(args.keys, args.allow_missing_keys), change })
    }

    fn in_channels<T: Element>(
        &self,
        values: &mut Arc<[T]>,
        of: Neighborhood,
        min_voxels: f64,
        case: &CaseContext,
    ) -> Result<()> {
        let (zero, one) = (T::default(), T::from_f64(1.0));
        if values.first().is_none_or(|first| values.par_iter().with_min_len(CHUNK).all(|value| value == first)) {
            return Ok(());
        }
        let small = |components: &Components| too_small(components, min_voxels);
        let set_all = |values: &mut Arc<[T]>, to: fn(T) -> T| -> Result<()> {
            if values.par_iter().with_min_len(CHUNK).any(|value| to(*value) != *value) {
                owned(values, case)?.par_iter_mut().with_min_len(CHUNK).for_each(|value| *value = to(*value));
            }
            Ok(())
        };
        if !self.independent {
            set_all(values, |value| if value > T::default() { value } else { T::default() })?;
            return replace_components(values, of, |value: T| (value > zero).then_some(1), small, zero, case);
        }
        if values.par_iter().with_min_len(CHUNK).all(|value| *value <= one) {
            // Booleans in MONAI.
            set_all(values, |value| T::from_f64(f64::from(u8::from(value != T::default()))))?;
            return replace_components(values, of, |value: T| (value != zero).then_some(1), small, zero, case);
        }
        // Integers in MONAI: all voxels of a label are one object.
        set_all(values, |value| T::from_f64(value.to_f64().trunc()))?;
        let count = |mut counts: HashMap<u64, u64>, chunk: &[T]| {
            for run in chunk.chunk_by(|a, b| a == b) {
                *counts.entry(class_of(run[0].to_f64()).unwrap_or(u64::MAX)).or_default() += run.len() as u64;
            }
            counts
        };
        let counts = values.par_chunks(CHUNK).fold(HashMap::new, count).reduce(HashMap::new, |mut a, b| {
            b.into_iter().for_each(|(class, n)| *a.entry(class).or_default() += n);
            a
        });
        if counts.keys().any(|class| f64::from_bits(*class) < 0.0) {
            return Err(err!("expected masks, one-hot channels or labels of at least 0, found negative values"));
        }
        if counts.values().any(|n| (*n as f64) < min_voxels) {
            let is_small = |value: T| {
                class_of(value.to_f64()).and_then(|class| counts.get(&class)).is_some_and(|n| (*n as f64) < min_voxels)
            };
            owned(values, case)?.par_iter_mut().with_min_len(CHUNK).for_each(|value| {
                if is_small(*value) {
                    *value = zero;
                }
            });
        }
        Ok(())
    }
}

/// Removes small components of a label map that represents one-hot channels.
fn in_labels<T: Element>(
    map: &mut Arc<[T]>,
    of: Neighborhood,
    classes: usize,
    min_voxels: f64,
    no_channel: T,
    case: &CaseContext,
) -> Result<()> {
    let class = |label: T| -> Class {
        let number = label.to_f64();
        (number < classes as f64).then_some(number as u64)
    };
    replace_components(map, of, class, |components| too_small(components, min_voxels), no_channel, case)
}

/// Volume of a voxel in mm³, its area in mm² if `dims` is 2; an axis without extent counts as 1 (`affine_to_spacing`).
fn voxel_measure(affine: &Affine, dims: usize) -> f64 {
    let spacing = (0..dims).map(|axis| (0..dims).map(|row| affine.0[row][axis].powi(2)).sum::<f64>().sqrt());
    spacing.map(|mm| if mm == 0.0 { 1.0 } else { mm }).product()
}

fn too_small(components: &Components, min_voxels: f64) -> Vec<bool> {
    components.list.iter().map(|component| f64::from(component.voxels) < min_voxels).collect()
}

impl ChangeLabels for RemoveSmall {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn change(&self, labels: LabelVolume, case: &CaseContext) -> Result<LabelVolume> {
        let min_voxels = match self.by_measure {
            true => (self.min_size / voxel_measure(&labels.volume.affine, labels.spatial_dims())).ceil(),
            false => self.min_size,
        };
        // One-hot channels have no common voxels: without diagonal neighbors, components are in one channel.
        if let (Some(classes @ 2..), 1) = (labels.onehot, self.connectivity) {
            let mut labels = labels.with_no_channel()?;
            let of = within_channels(&labels.volume, 1);
            class_labels!(&mut labels.volume.voxels, (map, none) => in_labels(map, of, classes, min_voxels, none, case)?);
            return Ok(labels);
        }
        let mut volume = labels.into_channels(case)?;
        let of = Neighborhood { shape: volume.layout.shape, connectivity: self.connectivity };
        each_voxels!(&mut volume.voxels, values => self.in_channels(values, of, min_voxels, case))?;
        Ok(LabelVolume { volume, onehot: None })
    }
}
