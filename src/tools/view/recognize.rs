//! Tells label maps from images, by as little of a file as possible.

use crate::each_voxels;
use crate::error::Result;
use crate::formats::{nifti, reader};
use crate::image::{DType, Element, Volume};
use crate::tools::label_names;
use std::collections::BTreeMap;
use std::path::Path;

/// A map with more labels than these is taken for an image, unless its header or name says that it is a label map.
const MAX_LABELS: usize = 1024;
/// Labels of a map that may be as irregular as noise. Images have more values.
const FEW_LABELS: usize = 16;
/// Bytes of voxels that are read at a time.
const STEP_BYTES: usize = 256 << 10;
/// Pairs of neighboring voxels in the foreground after which the voxels are not read further.
const ENOUGH_PAIRS: usize = 10_000;
/// Smallest fraction of equal neighbors in the foreground of a label map. Structures are many voxels wide, whereas noise
/// makes the neighbors in an image differ.
const MIN_EQUAL: f64 = 0.7;

/// Whether a file is a label map. `header` is that of the file.
///
/// In this order: a header with names of labels or NIfTI's intent "label" says so; integers are labels in a file or folder
/// named as a segmentation, and images in a folder of nnU-Net's images. Otherwise slices are read until they tell: labels
/// are whole numbers from 0 of few different values, and mostly equal to their neighbors unless they are very few.
///
/// # Errors
/// The file cannot be read.
pub fn is_label_map(path: &Path, header: &Volume) -> Result<bool> {
    if path.is_dir() {
        return Ok(false);
    }
    let named = label_names::read(path).is_ok_and(|names| names.is_some());
    if named || nifti::has_label_intent(path).unwrap_or(false) {
        return Ok(true);
    }
    // MONAI saves label maps as float32, and scaled integers are read as float32: names do not tell about these.
    let is_integer = !matches!(header.voxels.dtype(), DType::F32 | DType::F64);
    match by_name(path).filter(|_| is_integer) {
        Some(is_label_map) => Ok(is_label_map),
        None => by_voxels(path),
    }
}

/// What the name of a file, or of its folder, says about its content.
fn by_name(path: &Path) -> Option<bool> {
    const LABELS: [&str; 7] = ["label", "labels", "labelmap", "mask", "masks", "seg", "segmentation"];
    let stem = super::cases::stem(path).to_lowercase();
    if stem.rsplit(['_', '-', '.']).next().is_some_and(|word| LABELS.contains(&word)) {
        return Some(true);
    }
    let folder = path.parent()?.file_name()?.to_str()?;
    let begins_with = |starts: &[&str]| starts.iter().any(|start| folder.starts_with(start));
    if begins_with(&["labels", "segmentations", "masks"]) {
        return Some(true);
    }
    begins_with(&["imagesTr", "imagesTs"]).then_some(false)
}

fn by_voxels(path: &Path) -> Result<bool> {
    let mut seen = Sample::default();
    let slices = if reader::has_slices(path) { nifti::SliceReader::with_room(path, None, STEP_BYTES)? } else { None };
    if let Some(mut slices) = slices {
        let plane = slices.shape()[0] * slices.shape()[1];
        while let Some((range, voxels)) = slices.advance()? {
            if let Some(is_label_map) = each_voxels!(voxels, voxels => seen.add(&voxels[..range.len() * plane], plane))
            {
                return Ok(is_label_map);
            }
        }
        return Ok(seen.resembles_labels());
    }
    let volume = reader::read(path, None)?;
    let plane = volume.layout.shape[1] * volume.layout.shape[2];
    Ok(each_voxels!(&volume.voxels, voxels => seen.add(voxels, plane)).unwrap_or_else(|| seen.resembles_labels()))
}

/// What was seen of an image.
#[derive(Default)]
struct Sample {
    /// Number of voxels in the current slice by label; the labels of earlier slices are kept.
    labels: BTreeMap<u32, usize>,
    /// Pairs of neighbors along the fastest axis of which none is background, and those of the same value.
    pairs: usize,
    equal: usize,
}

impl Sample {
    /// Adds slices of `plane` voxels up to a decision, which is returned.
    fn add<T: Element>(&mut self, voxels: &[T], plane: usize) -> Option<bool> {
        for slice in voxels.chunks(plane.max(1)) {
            let mut runs = vec![];
            for run in slice.chunk_by(|a, b| a == b) {
                // Negative, fractional or NaN: not a label.
                let Ok(label) = label_names::label(run[0].to_f64()) else { return Some(false) };
                *self.labels.entry(label).or_default() += run.len();
                if self.labels.len() > MAX_LABELS {
                    return Some(false);
                }
                runs.push((label, run.len()));
            }
            // The most frequent value, since the background of an image need not be 0.
            let background = self.labels.iter().max_by_key(|(_, count)| **count).map(|(label, _)| *label);
            let is_foreground = |(label, _): &(u32, usize)| Some(*label) != background;
            let equal: usize = runs.iter().filter(|run| is_foreground(run)).map(|(_, length)| length - 1).sum();
            let changes = runs.windows(2).filter(|pair| pair.iter().all(is_foreground)).count();
            self.equal += equal;
            self.pairs += equal + changes;
            self.labels.values_mut().for_each(|count| *count = 0);
            // Few irregular values may be the noise beside a body that follows.
            if self.pairs >= ENOUGH_PAIRS && (self.is_regular() || self.labels.len() > FEW_LABELS) {
                return Some(self.is_regular());
            }
        }
        None
    }

    /// The decision at the end of an image.
    fn resembles_labels(&self) -> bool {
        self.labels.len() <= FEW_LABELS || self.is_regular()
    }

    fn is_regular(&self) -> bool {
        self.equal as f64 >= MIN_EQUAL * self.pairs as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_label_maps_where_they_can() {
        for (name, expected) in [
            ("labelsTr/s1.nii.gz", Some(true)),
            ("s1/segmentations/liver.nii.gz", Some(true)),
            ("images/s1_seg.nii.gz", Some(true)),
            ("imagesTr/Segmentation.seg.nrrd", Some(true)),
            ("imagesTr/s1_0000.nii.gz", Some(false)),
            ("images/s1.nii.gz", None),
            ("s1_trans.nii.gz", None),
            ("unmasked.nii", None),
        ] {
            assert_eq!(by_name(Path::new(name)), expected, "{name}");
        }
    }

    /// Slices of 64×64 voxels by a function of x, y, and a random number below 2^32.
    fn slices(count: usize, value: impl Fn(usize, usize, u32) -> f32) -> Vec<f32> {
        let mut random = 1u32;
        (0..count * 64 * 64)
            .map(|i| {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                value(i % 64, i / 64 % 64, random)
            })
            .collect()
    }

    fn resembles_labels(voxels: &[f32]) -> bool {
        let mut seen = Sample::default();
        seen.add(voxels, 64 * 64).unwrap_or_else(|| seen.resembles_labels())
    }

    #[test]
    fn images_of_few_whole_values_are_no_label_maps() {
        let inside = |x: usize, y: usize| (10..50).contains(&x) && (10..50).contains(&y);
        // Noise of 8 values beside a background of 0, and of 255.
        for background in [0.0, 255.0] {
            let noise = |x: usize, y: usize, random: u32| {
                if inside(x, y) { (100 + x / 2) as f32 + (random >> 29) as f32 } else { background }
            };
            assert!(!resembles_labels(&slices(20, noise)), "{background}");
        }
        assert!(!resembles_labels(&slices(2, |_, _, random| (random >> 16) as f32)), "too many values");
        assert!(!resembles_labels(&slices(2, |x, y, _| if inside(x, y) { 0.5 } else { 0.0 })));
        assert!(!resembles_labels(&slices(2, |x, y, _| if inside(x, y) { -1.0 } else { 0.0 })));
        assert!(!resembles_labels(&[f32::NAN]));
    }

    #[test]
    fn label_maps_are_recognized_by_equal_neighbors() {
        let blocks = |x: usize, y: usize, _: u32| if x > 4 { (1 + x / 8 + 8 * (y / 8)) as f32 } else { 0.0 };
        assert!(resembles_labels(&slices(20, blocks)));
        // Vessels of two voxels, one label, after slices without any.
        let vessels = |x: usize, _: usize, _: u32| if x % 16 < 2 { 1.0 } else { 0.0 };
        assert!(resembles_labels(&[slices(5, |_, _, _| 0.0), slices(5, vessels)].concat()));
        assert!(resembles_labels(&slices(5, |_, _, _| 0.0)), "nothing found");
    }

    #[test]
    fn few_values_are_labels_unless_others_follow() {
        let noise = slices(20, |_, _, random| (random >> 29) as f32);
        assert!(resembles_labels(&noise));
        assert!(!resembles_labels(&[noise, slices(20, |_, _, random| (random >> 22) as f32)].concat()));
    }

    #[test]
    fn no_more_slices_are_read_than_are_needed() {
        let mut seen = Sample::default();
        let mut voxels = slices(20, |x, _, _| (x / 8) as f32);
        *voxels.last_mut().unwrap() = 0.5;
        assert_eq!(seen.add(&voxels, 64 * 64), Some(true));
    }
}
