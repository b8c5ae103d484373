//! LabelToMaskd: convert labels to masks.
//!
//! Source: monai/transforms/utility/dictionary.py and array.py of MONAI 1.6.1.

use super::label_maps::{ChangeLabels, OnLabels, channel};
use super::support::KeyList;
use crate::case_context::CaseContext;
use crate::component::{Keys, OneOrMany};
use crate::error::Result;
use crate::image::{CHUNK, DType, Element, Layout, Volume, Voxels};
use crate::prediction::LabelVolume;
use crate::{bail, each_voxels};
use rayon::prelude::*;

component! {
    /// Convert labels to a mask: 1 where a voxel has one of the labels, or the selected one-hot channels.
    pub static COMPONENT = dictionary "LabelToMask" in "monai.transforms" / "utility.dictionary";

    pub struct LabelToMaskArgs {
        /// Keys of the label maps or predictions.
        keys: Keys,
        /// Labels, or numbers of one-hot channels.
        select_labels: OneOrMany<i64>,
        /// Merge the selected channels to one mask.
        merge_channels: bool = false,
        /// Skip missing keys instead of raising an error.
        allow_missing_keys: bool = false,
    }

    differs: ["masks are uint8, in MONAI bool"],
    build: LabelToMask::new,
}

struct LabelToMask {
    labels: Vec<i64>,
    merge: bool,
}

impl LabelToMask {
    fn new(args: LabelToMaskArgs) -> Result<OnLabels<Self>> {
        let labels = args.select_labels.as_slice().to_vec();
        if labels.is_empty() {
            bail!("`select_labels` is empty");
        }
        let change = LabelToMask { labels, merge: args.merge_channels };
        Ok(OnLabels { keys: KeyList::new(args.keys, args.allow_missing_keys), change })
    }

    /// The mask of a label map.
    fn mask(&self, volume: Volume, case: &CaseContext) -> Result<Volume> {
        case.reserve(volume.voxels.len() as u64, || format!("a mask of {} voxels", volume.voxels.len()))?;
        let labels: Vec<f64> = self.labels.iter().map(|label| *label as f64).collect();
        let mask: Vec<u8> = each_voxels!(&volume.voxels, map => {
            map.par_iter().with_min_len(CHUNK).map(|label| u8::from(labels.contains(&label.to_f64()))).collect()
        });
        Ok(as_mask(volume, mask.into()))
    }
}

fn as_mask(volume: Volume, mask: std::sync::Arc<[u8]>) -> Volume {
    let [_, x, y, z] = volume.layout.shape;
    Volume {
        voxels: Voxels::U8(mask),
        layout: Layout::contiguous([1, x, y, z]),
        integer_type: Some(DType::U8),
        ..volume
    }
}

/// Copies channels.
fn select(volume: Volume, channels: &[usize], case: &CaseContext) -> Result<Volume> {
    let [_, x, y, z] = volume.layout.shape;
    let (own, layout) = (x * y * z, Layout::contiguous([channels.len(), x, y, z]));
    fn copied<T: Element>(values: &[T], own: usize, channels: &[usize]) -> Voxels {
        T::wrap(channels.iter().flat_map(|channel| &values[channel * own..][..own]).copied().collect())
    }
    let bytes = (layout.len() * volume.voxels.dtype().size_bytes()) as u64;
    case.reserve(bytes, || format!("{} channels of {x}×{y}×{z} voxels", channels.len()))?;
    let voxels = each_voxels!(&volume.voxels, values => copied(values, own, channels));
    Ok(Volume { voxels, layout, ..volume })
}

/// 1 where any channel is not 0.
fn merged(volume: Volume) -> Result<Volume> {
    let [_, x, y, z] = volume.layout.shape;
    let own = x * y * z;
    fn any<T: Element>(values: &[T], own: usize) -> Vec<u8> {
        let set = |at: usize| u8::from(values[at..].iter().step_by(own).any(|value| *value != T::default()));
        (0..own).into_par_iter().with_min_len(CHUNK).map(set).collect()
    }
    let mask = each_voxels!(&volume.voxels, values => any(values, own));
    Ok(as_mask(volume, mask.into()))
}

impl ChangeLabels for LabelToMask {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn change(&self, labels: LabelVolume, case: &CaseContext) -> Result<LabelVolume> {
        let channels = labels.channels();
        let volume = if channels == 1 {
            // A single one-hot channel is an image of 0 and 1.
            self.mask(labels.into_channels(case)?, case)?
        } else {
            let numbers = self.labels.iter().map(|label| channel(*label, channels, "select_labels"));
            let numbers = numbers.collect::<Result<Vec<_>>>()?;
            let volume = match labels.onehot {
                Some(_) => labels.selected(&numbers, case)?,
                None => select(labels.volume, &numbers, case)?,
            };
            if self.merge { merged(volume)? } else { volume }
        };
        Ok(LabelVolume { volume, onehot: None })
    }
    fn planned(&self, volume: Volume) -> Volume {
        let [channels, x, y, z] = volume.layout.shape;
        if channels == 1 || self.merge {
            let planned = as_mask(volume, [].into());
            return Volume { voxels: Voxels::empty(DType::U8), ..planned };
        }
        Volume { layout: Layout::contiguous([self.labels.len(), x, y, z]), ..volume }
    }
}
