//! Checks from file headers that the label of each case covers the same region as its image, before a training begins.
//!
//! MONAI does not compare them: it trains with a mirrored or shifted label, or fails at the first crop beyond its
//! bounds. The check compares positions in world coordinates (mm). The voxel grids may differ (a label at another
//! resolution that Spacingd resamples), and so may the order and direction of the axes.

use crate::component::Value;
use crate::contracts::{Dataset, Item, Sample, flattened};
use crate::err;
use crate::error::{Error, Kind, Result};
use crate::image::ImageHeader;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Number of cases that an error lists; the others are counted.
const NAMED: usize = 10;

/// Compares image and label of all cases. Cases without both keys and unreadable files are skipped; the latter fail when
/// the case is read.
///
/// # Errors
/// Labels that are not aligned with their images, each with both files and the distance in mm; cancellation.
pub fn check(dataset: &dyn Dataset, cancel: &AtomicBool) -> Result<()> {
    let mut apart = vec![];
    for index in 0..dataset.len() {
        if cancel.load(Ordering::Relaxed) {
            return Err(err!("interrupted").kind(Kind::Cancelled));
        }
        apart.extend(check_case(dataset, index).err());
    }
    let (first, more) = match apart.as_slice() {
        [] => return Ok(()),
        [first, more @ ..] => (first, more),
    };
    let mut text = first.message().to_owned();
    for error in more.iter().take(NAMED - 1) {
        text += &format!("\n{}", error.message());
    }
    if more.len() >= NAMED {
        text += &format!("\nand {} more", more.len() + 1 - NAMED);
    }
    if !more.is_empty() {
        text = format!("{} of {} labels are not aligned with their images\n{text}", more.len() + 1, dataset.len());
    }
    Err(hinted(Error::new(text)))
}

/// Labels that have the file name of another case's image: lists of files are paired by position, and a file that only
/// one of them has shifts the others.
pub fn paired_with_others(dataset: &dyn Dataset) -> Option<String> {
    let entries: Vec<Value> = (0..dataset.len()).filter_map(|index| dataset.entry(index).ok()).collect();
    let path = |entry: &Value, key: &str| match entry {
        Value::Dict(dict) => match dict.get(key) {
            Some(Value::Str(path)) => Some(PathBuf::from(&*path)),
            _ => None,
        },
        _ => None,
    };
    let pairs: Vec<[PathBuf; 2]> =
        entries.iter().filter_map(|entry| Some([path(entry, "image")?, path(entry, "label")?])).collect();
    let images: HashSet<&OsStr> = pairs.iter().filter_map(|[image, _]| image.file_name()).collect();
    let of_another = |[image, label]: &&[PathBuf; 2]| {
        image.file_name() != label.file_name() && label.file_name().is_some_and(|name| images.contains(name))
    };
    let wrong: Vec<_> = pairs.iter().filter(of_another).collect();
    let [image, label] = wrong.first()?;
    Some(format!(
        "{} of {} labels have the file name of another case's image: {} is paired with {}; check that there is one label \
         for each image, in the same order",
        wrong.len(),
        pairs.len(),
        label.display(),
        image.display()
    ))
}

/// Compares image and label of one case of a dataset, see [`check`].
///
/// # Errors
/// The label is not aligned with its image.
pub fn check_case(dataset: &dyn Dataset, index: usize) -> Result<()> {
    match dataset.sample(index).ok().and_then(|sample| headers(dataset, sample)) {
        Some(sample) => check_sample(&sample),
        None => Ok(()),
    }
}

/// Compares image and label of one sample by the headers of their files; `Ok` if the sample lacks one of them.
///
/// # Errors
/// The volumes are not aligned, see [`Grid::distance_mm`](crate::image::Grid::distance_mm).
pub fn check_sample(sample: &Sample) -> Result<()> {
    let (Some(Item::Image(image)), Some(Item::Image(label))) = (sample.get("image"), sample.get("label")) else {
        return Ok(());
    };
    let (image, label) = (&*image.header, &*label.header);
    match image.grid.distance_mm(&label.grid) {
        None => Ok(()),
        Some(distance_mm) => {
            let shown = |header: &ImageHeader| {
                let [x, y, z] = header.grid.shape;
                let [dx, dy, dz] = header.grid.affine.spacing_mm().map(|mm| (mm * 1000.0).round() / 1000.0);
                format!("{x}×{y}×{z} voxels of {dx}×{dy}×{dz} mm")
            };
            let name = |path: &Path| path.display().to_string();
            Err(hinted(err!(
                "the label {} is not aligned with the image {}: their corners are {distance_mm:.1} mm apart ({}; {})",
                name(&label.path),
                name(&image.path),
                shown(label),
                shown(image)
            )))
        }
    }
}

fn hinted(error: Error) -> Error {
    error.hint(
        "save a label with the affine of its image (nibabel: Nifti1Image(label, image.affine)), \
         or resample it onto the image",
    )
}

/// The header-only sample after the transforms that load image and label; `None` if a header cannot be read.
fn headers(dataset: &dyn Dataset, mut sample: Sample) -> Option<Sample> {
    let keys = ["image", "label"];
    if !keys.iter().all(|key| sample.items.contains_key(*key)) {
        return None;
    }
    for transform in flattened(dataset.transforms()) {
        sample = transform.plan(sample).ok()?.sample;
        if keys.iter().all(|key| matches!(sample.get(key), Some(Item::Image(_)))) {
            return Some(sample);
        }
    }
    None
}
