//! One file per structure: 1 where it is, 0 elsewhere.

use super::structures::{Structure, Structures};
use crate::error::Result;
use crate::formats::nifti;
use crate::image::{DType, Element, Volume, Voxels};
use crate::{bail, each_voxels};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Write `folder/name.nii.gz` for each of `structures`, on the grid of `labels` [1,X,Y,Z]; a structure that does not occur
/// gives an empty mask, so that each case has the same files. Returns the paths.
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

/// Where [`split_labels`] writes a structure.
pub fn mask_path(folder: &Path, structure: &Structure, extension: &str) -> PathBuf {
    folder.join(format!("{}{extension}", structure.name))
}

/// Write one structure's mask, u8.
pub fn write_mask(labels: &Volume, structure: &Structure, path: &Path) -> Result<()> {
    let id = f64::from(structure.id);
    let mask = each_voxels!(&labels.voxels, buffer => buffer.iter().map(|&value| u8::from(value.to_f64() == id)).collect());
    let options = nifti::Options { space: labels.header.space, ..nifti::Options::default() };
    nifti::write(path, &Voxels::U8(mask), &labels.layout, &labels.affine, DType::U8, options)
}

/// Labels outside `structures` become background.
pub fn keep_only(labels: &Volume, structures: &Structures) -> Volume {
    fn filter<T: Element>(buffer: &[T], kept: &BTreeSet<u32>) -> Voxels {
        // Neighbours are mostly alike.
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
    let kept = structures.iter().map(|structure| structure.id).collect();
    Volume { voxels: each_voxels!(&labels.voxels, buffer => filter(buffer, &kept)), ..labels.clone() }
}
