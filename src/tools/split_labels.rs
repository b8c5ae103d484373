//! Splits a label map into one binary mask file per structure.

use super::structures::{Structure, Structures};
use crate::error::Result;
use crate::formats::digest::Digest;
use crate::formats::nifti;
use crate::image::{DType, Element, Layout, Volume, Voxels};
use crate::{bail, each_voxels, err};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Writes a mask `folder/name.nii.gz` for each of `structures` on the grid of `labels` `[1,X,Y,Z]` and returns the
/// paths. Structures without voxels get an empty mask, so that every case has the same files.
pub fn split_labels(labels: &Volume, structures: &Structures, folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    if labels.layout.channels() != 1 {
        bail!("expected a label map of one channel, found {} channels", labels.layout.channels());
    }
    let write = |structure: &Structure| {
        let path = mask_path(folder, structure, extension);
        write_mask(labels, structure, &path)?;
        Ok(path)
    };
    structures.iter().map(write).collect()
}

/// Returns the path to which [`split_labels`] writes a structure.
pub fn mask_path(folder: &Path, structure: &Structure, extension: &str) -> PathBuf {
    folder.join(format!("{}{extension}", structure.name))
}

/// Writes the mask (u8) of one structure and returns the digest of the file. The mask is 1 where a label map
/// `[1,X,Y,Z]` equals the id, or it is the channel with this index of (possibly overlapping) masks `[C,X,Y,Z]`.
pub fn write_mask(labels: &Volume, structure: &Structure, path: &Path) -> Result<Digest> {
    let options = nifti::Options { space: labels.header.space, ..nifti::Options::default() };
    if labels.channels() > 1 {
        let layout = channel(&labels.layout, structure.id as usize);
        return nifti::write(path, &labels.voxels, &layout, &labels.affine, DType::U8, options);
    }
    let id = f64::from(structure.id);
    let mask =
        each_voxels!(&labels.voxels, buffer => buffer.iter().map(|&value| u8::from(value.to_f64() == id)).collect());
    nifti::write(path, &Voxels::U8(mask), &labels.layout, &labels.affine, DType::U8, options)
}

fn channel(layout: &Layout, at: usize) -> Layout {
    let [_, x, y, z] = layout.shape;
    Layout {
        offset: layout.offset.wrapping_add_signed(layout.strides[0] * at as isize),
        shape: [1, x, y, z],
        ..*layout
    }
}

/// Checks that `labels` is a label map, or masks with a channel for each id in `structures`.
pub fn check_channels(labels: &Volume, structures: &Structures) -> Result<()> {
    let (channels, dtype) = (labels.channels(), labels.voxels.dtype());
    if channels == 1 {
        return Ok(());
    }
    if dtype != DType::U8 {
        return Err(err!(
            "expected a label map of one channel or masks of uint8, found {channels} channels of {}",
            dtype.name()
        )
        .hint("set `argmax` or `threshold` of AsDiscreted"));
    }
    match structures.iter().find(|structure| structure.id as usize >= channels) {
        Some(beyond) => Err(err!(
            "`{}` is channel {}, but the prediction has {channels} channels, numbered from 0",
            beyond.name,
            beyond.id
        )
        .hint("use the names of the network's output channels")),
        None => Ok(()),
    }
}

/// Sets labels (or mask channels) outside `structures` to background.
pub fn keep_only(labels: &Volume, structures: &Structures) -> Result<Volume> {
    fn filter<T: Element>(buffer: &[T], kept: &BTreeSet<u32>) -> Voxels {
        // Neighboring voxels mostly have the same label: look up only changes.
        let (mut last, mut keep) = (T::default(), true);
        T::wrap(
            buffer
                .iter()
                .map(|&value| {
                    if value != last {
                        (last, keep) = (value, kept.contains(&(value.to_f64() as u32)));
                    }
                    if keep { value } else { T::default() }
                })
                .collect(),
        )
    }
    fn mask<T: Element>(buffer: &[T], per_channel: usize, kept: &BTreeSet<u32>) -> Voxels {
        let channels = buffer.chunks_exact(per_channel.max(1)).zip(0..);
        let kept = channels.flat_map(|(values, at)| {
            let keep = kept.contains(&at);
            values.iter().map(move |&value| if keep { value } else { T::default() })
        });
        T::wrap(kept.collect())
    }
    let kept = structures.iter().map(|structure| structure.id).collect();
    if labels.channels() == 1 {
        return Ok(Volume { voxels: each_voxels!(&labels.voxels, buffer => filter(buffer, &kept)), ..labels.clone() });
    }
    let labels = labels.clone().contiguous()?;
    let per_channel = labels.layout.spatial().iter().product();
    Ok(Volume { voxels: each_voxels!(&labels.voxels, buffer => mask(buffer, per_channel, &kept)), ..labels })
}
