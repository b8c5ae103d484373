//! The memory that a case takes at least, from its headers: a case that cannot fit is one error before the memory is
//! taken, not the end of the run.
//!
//! Only what certainly is in memory at one time counts. What `explain` says is an estimate from above; this is one from
//! below, and no case that could run is refused.

use super::explain::bytes_text;
use super::headers::{self, Step, VoxelsAre, flattened};
use crate::component::{FromValue, OneOrMany};
use crate::contracts::{Dataset, Item, OnPrediction, Sample, Transform};
use crate::err;
use crate::error::Result;
use crate::formats::reader::has_readable_header;
use crate::image::{Grid, Spatial, Volume};
use std::path::PathBuf;
use std::sync::Arc;

/// Memory, and what takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    pub bytes: u64,
    pub what: String,
}

/// An error if case `index` needs more than `budget_bytes` for its own values. What a header alone does not tell, or what
/// is wrong with it, is left to the reader.
pub fn check(
    dataset: &dyn Dataset,
    index: usize,
    postprocessing: &[Arc<dyn Transform>],
    budget_bytes: u64,
) -> Result<()> {
    match at_least(dataset, index, postprocessing) {
        Some(need) if need.bytes > budget_bytes => Err(err!(
            "needs at least {} of memory for {}, {} may be used",
            bytes_text(need.bytes),
            need.what,
            bytes_text(budget_bytes)
        )
        .hint("raise --max-memory or use a larger pixdim")),
        _ => Ok(()),
    }
}

/// The most that case `index` certainly has in memory at one time; `None` where its headers do not tell.
pub fn at_least(dataset: &dyn Dataset, index: usize, postprocessing: &[Arc<dyn Transform>]) -> Option<Need> {
    // A cache has its cases in memory; other formats would be read twice.
    if dataset.name() == "CacheDataset" || !dataset.sample(index).is_ok_and(|sample| has_headers(&sample)) {
        return None;
    }
    let mut most = Need { bytes: 0, what: String::new() };
    let mut before: Option<Volume> = None;
    let mut exact = true;
    let walked = headers::walk(dataset, index, &mut |step| {
        exact &= step.exact;
        if exact {
            most.raise(step_bytes(before.as_ref(), &step), || {
                format!("{} in {}", shape_text(&step.image.grid()), step.name)
            });
            before = Some(step.image.clone());
        }
    });
    // An error is the reader's to tell; what is known before a shape that depends on voxels stays true.
    if let (Ok(()), true, Some(image)) = (walked, exact, before) {
        after_preprocessing(&image, postprocessing, &mut most);
    }
    Some(most)
}

impl Need {
    fn raise(&mut self, bytes: u64, what: impl FnOnce() -> String) {
        if bytes > self.bytes {
            *self = Need { bytes, what: what() };
        }
    }
}

/// Whether all files of a sample can be asked for their headers alone.
fn has_headers(sample: &Sample) -> bool {
    sample.items.values().all(|item| match item {
        Item::Value(value) => match OneOrMany::<PathBuf>::from_value(value) {
            Some(OneOrMany::One(path)) => has_readable_header(path),
            Some(OneOrMany::Many(paths)) => paths.iter().all(has_readable_header),
            None => true,
        },
        _ => true,
    })
}

/// What is in memory while a transform works. Most work in place or only change how voxels are counted off.
fn step_bytes(before: Option<&Volume>, step: &Step) -> u64 {
    let after = step.image.bytes();
    match (step.voxels, before) {
        (VoxelsAre::InFile, _) => 0,
        (VoxelsAre::ReadHere, _) => {
            // Two planes of the file at least, as they are stored.
            let [x, y, z] = step.image.header.grid.shape.map(|n| n as u64);
            let stored = before.map_or(1, |before| before.voxels.dtype().size_bytes() as u64);
            after.saturating_add(x.saturating_mul(y).saturating_mul(z.min(2)).saturating_mul(stored))
        }
        (VoxelsAre::InMemory, Some(before)) if is_resampled(before, step.image) => after.saturating_add(before.bytes()),
        (VoxelsAre::InMemory, _) => after,
    }
}

fn is_resampled(before: &Volume, after: &Volume) -> bool {
    let last = after.trace.last().filter(|_| after.trace.len() > before.trace.len());
    last.is_some_and(|applied| matches!(applied.what, Spatial::Resample { .. }))
        && before.layout.shape != after.layout.shape
}

/// The image beside the network's input, and beside the label map on the grid that an inversion leads to.
fn after_preprocessing(image: &Volume, postprocessing: &[Arc<dyn Transform>], most: &mut Need) {
    let values = voxels(&image.grid()).saturating_mul(4 * image.channels() as u64);
    most.raise(image.bytes().saturating_add(values), || {
        format!("{} as the network's input", shape_text(&image.grid()))
    });
    let moved = |step: &&dyn Transform| matches!(step.on_prediction(), OnPrediction::Moved | OnPrediction::AllChannels);
    if !flattened(postprocessing).iter().any(moved) {
        return;
    }
    // Which of the operations are undone is not known here; the label map has one byte per voxel at least.
    if let Some(grid) = image.trace.iter().map(|applied| applied.before).min_by_key(voxels) {
        let map = voxels(&grid);
        most.raise(image.bytes().saturating_add(map), || format!("the label map of {}", shape_text(&grid)));
    }
}

fn voxels(grid: &Grid) -> u64 {
    grid.shape.iter().fold(1, |product, &n| product.saturating_mul(n as u64))
}

fn shape_text(grid: &Grid) -> String {
    let [x, y, z] = grid.shape;
    format!("{x}×{y}×{z} voxels")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::{Args, BuildContext, Dict, Key, Value};
    use crate::contracts::DatasetHandle;
    use crate::formats::nifti;
    use crate::image::{Affine, DType, Layout, Voxels};
    use std::path::Path;

    const GB: u64 = 1 << 30;

    /// A file of `shape` voxels of zeros, which takes no room.
    fn image(path: &Path, shape: [u16; 3], mm: f64, dtype: DType) {
        let one = Voxels::U8(vec![0].into());
        let affine = Affine([[mm, 0.0, 0.0, 0.0], [0.0, mm, 0.0, 0.0], [0.0, 0.0, mm, 0.0], [0.0, 0.0, 0.0, 1.0]]);
        nifti::write(path, &one, &Layout::contiguous([1; 4]), &affine, dtype, nifti::Options::default()).unwrap();
        let mut bytes = std::fs::read(path).unwrap();
        bytes[42..48].copy_from_slice(&shape.map(u16::to_le_bytes).concat());
        std::fs::write(path, bytes).unwrap();
        let voxels: u64 = shape.iter().map(|&n| u64::from(n)).product();
        std::fs::OpenOptions::new()
            .write(true)
            .open(path)
            .unwrap()
            .set_len(352 + voxels * dtype.size_bytes() as u64)
            .unwrap();
    }

    fn build(name: &str, args: Vec<(&str, Value)>) -> Value {
        let args = Args::named(args.into_iter().map(|(key, value)| (key.into(), value)));
        (crate::registry::table().component(name).unwrap().build)(args, &mut BuildContext::default()).unwrap()
    }

    fn need(path: &Path, pixdim: f64) -> Need {
        let transform =
            |name: &str, more: Vec<(&str, Value)>| build(name, [vec![("keys", "image".into())], more].concat());
        let steps = [
            transform("LoadImaged", vec![]),
            transform("EnsureChannelFirstd", vec![]),
            transform("Orientationd", vec![("axcodes", "RAS".into())]),
            transform("Spacingd", vec![("pixdim", Value::Float(pixdim))]),
            transform("NormalizeIntensityd", vec![]),
        ];
        let preprocessing = build("Compose", vec![("transforms", Value::list(steps))]);
        let case = Value::Dict(Dict::new([(Key::str("image"), path.to_str().unwrap().into())]));
        let dataset = build("Dataset", vec![("data", Value::list([case])), ("transform", preprocessing.clone())]);
        let invert = transform("Invertd", vec![("transform", preprocessing)]);
        let postprocessing = [Arc::<dyn Transform>::from_value(&invert).unwrap()];
        at_least(&*dataset.downcast::<DatasetHandle>().unwrap().0, 0, &postprocessing).unwrap()
    }

    #[test]
    fn usual_cases_need_little_and_oversized_ones_more_than_there_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.nii");
        image(&path, [512, 512, 397], 0.9, DType::I16);
        assert!(need(&path, 3.0).bytes < GB / 8, "{:?}", need(&path, 3.0));
        assert!(need(&path, 1.5).bytes < GB / 2, "{:?}", need(&path, 1.5));
        image(&path, [1024, 1024, 1000], 0.5, DType::I16);
        assert!(need(&path, 3.0).bytes < 5 * GB / 4, "{:?}", need(&path, 3.0));
        // Not resampled: as floats, and once more as the network's input.
        image(&path, [700, 700, 1200], 3.0, DType::U8);
        assert_eq!(
            need(&path, 3.0),
            Need { bytes: 700 * 700 * 1200 * 8, what: "700×700×1200 voxels as the network's input".into() }
        );
        // Few voxels that become many.
        image(&path, [40, 40, 40], 60.0, DType::I16);
        assert!(need(&path, 3.0).bytes > 3 * GB, "{:?}", need(&path, 3.0));
        // Many that become few, and are labelled one by one.
        image(&path, [20000, 20000, 4], 0.1, DType::U8);
        assert!(
            need(&path, 3.0).bytes > 1_600_000_000
                && need(&path, 3.0).what.starts_with("the label map of 20000×20000×4"),
            "{:?}",
            need(&path, 3.0)
        );
    }

    #[test]
    fn files_without_a_header_of_their_own_are_left_to_the_reader() {
        let folder = tempfile::tempdir().unwrap();
        let sample = |path: &Path| {
            let mut sample = Sample::default();
            sample.set("image", Item::Value(path.to_str().unwrap().into()));
            has_headers(&sample)
        };
        assert!(
            !sample(folder.path()) && !sample(&folder.path().join("x.nrrd")) && sample(&folder.path().join("x.nii.gz"))
        );
    }
}
