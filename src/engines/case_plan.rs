//! [`CasePlan`]: preprocessing and memory of one case, planned from headers.
//!
//! [`CasePlan::new`] reads headers only. `explain` shows the plan with the estimated memory
//! ([`CasePlan::estimate`]). The pipeline rejects cases that do not fit in memory ([`CasePlan::admit`]; by a lower
//! bound, so that a case that could run is never rejected) and reads the others ([`CasePlan::read`]).

use crate::contracts::{
    Certainty, Dataset, OnPrediction, Plan, PlannedStep, Sample, Transform, TransformContext, VoxelLocation, flattened,
};
use crate::error::{Error, Result};
use crate::image::{Grid, Spatial, Volume};
use crate::prediction::{INTERPOLATED_ARGMAX_BYTES, INTERPOLATED_CHANNEL_BYTES};
use crate::text;
use std::sync::Arc;

/// Planned preprocessing of a case.
pub struct CasePlan<'a> {
    /// Result of each transform, from headers.
    pub preprocessing: Plan<'a>,
    /// Memory of the case's own data.
    pub memory: Memory,
}

/// Memory of a case's own data.
pub struct Memory {
    /// One phase per preprocessing transform with an image, then the network's input, then the label map after
    /// inversion, as far as known from headers.
    pub phases: Vec<Phase>,
    /// Size of the file's voxels, if they are in memory at once.
    file_bytes: u64,
    /// The file's grid.
    file: Option<Grid>,
}

/// Data that is in memory at the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phase {
    /// Description for messages.
    pub what: String,
    /// Size of the data.
    pub bytes: u64,
    /// Whether `bytes` is exact; otherwise it is an upper bound.
    pub certain: bool,
}

/// Memory that a case needs in addition to its own data.
pub struct ExtraMemory {
    /// Number of output channels of the network.
    pub classes: usize,
    /// Activations of the network for a batch of windows.
    pub activations: u64,
    /// Buffer in which windows are blended.
    pub stitch: u64,
    /// Whether the next case is prefetched.
    pub read_ahead: bool,
}

impl<'a> CasePlan<'a> {
    /// Plans case `index`. Errors of its files are part of the plan.
    ///
    /// # Errors
    /// The datalist's entry is not a valid case.
    pub fn new(dataset: &'a dyn Dataset, index: usize, postprocessing: &[Arc<dyn Transform>]) -> Result<CasePlan<'a>> {
        let preprocessing = Plan::new(dataset.transforms(), dataset.sample(index)?)?;
        let memory = Memory::of(&preprocessing, postprocessing);
        Ok(CasePlan { preprocessing, memory })
    }

    /// The network's input image, header-only; `None` if it is not known from headers.
    pub fn image(&self) -> Option<&Volume> {
        let last = self.preprocessing.steps.last().filter(|_| self.preprocessing.is_complete());
        last.and_then(|step| step.image.as_ref())
    }

    /// Lower bound of the memory: the largest phase of exact size; `None` if there is none.
    pub fn lower_bound(&self) -> Option<&Phase> {
        self.memory.phases.iter().filter(|phase| phase.certain).max_by_key(|phase| phase.bytes)
    }

    /// Checks that the case's own data fits in `budget_bytes`.
    ///
    /// # Errors
    /// The [lower bound](CasePlan::lower_bound) of its memory is larger.
    pub fn admit(&self, budget_bytes: u64) -> Result<()> {
        match self.lower_bound() {
            Some(phase) if phase.bytes > budget_bytes => Err(Error::memory(
                format!(
                    "needs at least {} of memory for {}, {} may be used",
                    text::bytes(phase.bytes),
                    phase.what,
                    text::bytes(budget_bytes)
                ),
                "use a larger pixdim",
            )),
            _ => Ok(()),
        }
    }

    /// Reads the case's files and applies its preprocessing.
    pub fn read(self, cx: &mut TransformContext) -> Result<Vec<Sample>> {
        self.preprocessing.apply(cx)
    }

    /// Estimate of the memory at its peak, by kind of data in bytes. `image`: see [`CasePlan::image`].
    pub fn estimate(
        &self,
        image: &Volume,
        postprocessing: &[Arc<dyn Transform>],
        extra: &ExtraMemory,
    ) -> Vec<(&'static str, u64)> {
        let file = self.memory.file.unwrap_or(image.grid());
        vec![
            ("program and weights", crate::env::resident_memory_bytes()),
            ("image", image.bytes().saturating_add(input_bytes(image))),
            ("next case", if extra.read_ahead { self.memory.file_bytes + image.bytes() } else { 0 }),
            ("network", extra.activations),
            ("blending", extra.stitch),
            ("result", result_bytes(postprocessing, &image.grid(), &file, extra.classes)),
        ]
    }

    /// Memory of the file's voxels while the image is read, in bytes; 0 if they are streamed.
    pub fn file_bytes(&self) -> u64 {
        self.memory.file_bytes
    }
}

impl Memory {
    fn of(plan: &Plan, postprocessing: &[Arc<dyn Transform>]) -> Memory {
        let mut memory = Memory { phases: vec![], file_bytes: 0, file: None };
        let streamed = plan.steps.iter().any(|step| step.voxels == VoxelLocation::Streamed);
        let mut before: Option<&Volume> = None;
        let mut certain = true;
        for step in &plan.steps {
            certain &= step.certainty == Certainty::Exact;
            let Some(image) = &step.image else { continue };
            if memory.file.is_none() {
                memory.file = Some(image.header.grid);
                memory.file_bytes = if streamed { 0 } else { image.bytes() };
            }
            let what = format!("{} in {}", shape_text(&image.grid()), step.name);
            memory.phases.push(Phase { what, bytes: step_bytes(before, step, image), certain });
            before = Some(image);
        }
        if let (Some(image), true) = (before, plan.is_complete()) {
            memory.after_preprocessing(image, postprocessing, certain);
        }
        memory
    }

    /// Adds the phases of inference: the image with the network's input, and with the label map after inversion.
    fn after_preprocessing(&mut self, image: &Volume, postprocessing: &[Arc<dyn Transform>], certain: bool) {
        let what = format!("{} as the network's input", shape_text(&image.grid()));
        self.phases.push(Phase { what, bytes: image.bytes().saturating_add(input_bytes(image)), certain });
        let moved = |step: &&dyn Transform| {
            matches!(step.on_prediction(), OnPrediction::Moved | OnPrediction::Interpolated | OnPrediction::AllChannels)
        };
        if !flattened(postprocessing).iter().any(moved) {
            return;
        }
        // It is not known which operations Invertd undoes: the smallest grid is a lower bound, with one byte per voxel.
        if let Some(grid) = image.trace.iter().map(|applied| applied.before).min_by_key(voxels) {
            let what = format!("the label map of {}", shape_text(&grid));
            self.phases.push(Phase { what, bytes: image.bytes().saturating_add(voxels(&grid)), certain });
        }
    }
}

/// Memory during a transform. Most transforms work in place or change only the layout.
fn step_bytes(before: Option<&Volume>, step: &PlannedStep, image: &Volume) -> u64 {
    let after = image.bytes();
    match (step.voxels, before) {
        (VoxelLocation::File, _) => 0,
        (VoxelLocation::Streamed, _) => {
            // At least two slices of the file in their stored dtype.
            let [x, y, z] = image.header.grid.shape.map(|n| n as u64);
            let stored = before.map_or(1, |before| before.voxels.dtype().size_bytes() as u64);
            after.saturating_add(x.saturating_mul(y).saturating_mul(z.min(2)).saturating_mul(stored))
        }
        (VoxelLocation::Memory, Some(before)) if is_resampled(before, image) => after.saturating_add(before.bytes()),
        (VoxelLocation::Memory, _) => after,
    }
}

fn is_resampled(before: &Volume, after: &Volume) -> bool {
    let last = after.trace.last().filter(|_| after.trace.len() > before.trace.len());
    last.is_some_and(|applied| matches!(applied.what, Spatial::Resample { .. }))
        && before.layout.shape != after.layout.shape
}

/// Size of the network's input in float32.
fn input_bytes(image: &Volume) -> u64 {
    voxels(&image.grid()).saturating_mul(4 * image.channels() as u64)
}

/// Peak size of the prediction: on the network's grid and, after inversion, on the file's grid.
fn result_bytes(postprocessing: &[Arc<dyn Transform>], network: &Grid, file: &Grid, classes: usize) -> u64 {
    let wide = if classes > 256 { 2 } else { 1 };
    let mut per_voxel = 4 * classes as u64;
    let (mut predicted, mut moved, mut interpolated) = (per_voxel.saturating_mul(voxels(network)), false, false);
    let (mut discrete, mut scratch) = (false, 0);
    for step in flattened(postprocessing) {
        match step.on_prediction() {
            OnPrediction::Interpolated => {
                (moved, interpolated) = (true, true);
                continue;
            }
            // All channels on the network's grid, one at a time on the file's: more than Relabeled needs later.
            OnPrediction::Labels if interpolated => {
                per_voxel = INTERPOLATED_ARGMAX_BYTES;
                break;
            }
            OnPrediction::Masks if interpolated => {
                per_voxel = classes as u64 + INTERPOLATED_CHANNEL_BYTES;
                break;
            }
            OnPrediction::Labels => (per_voxel, discrete) = (wide, true),
            OnPrediction::Masks => (per_voxel, discrete) = (classes as u64, true),
            // A number per run of equal labels.
            OnPrediction::Relabeled if discrete => {
                scratch = scratch.max(4u64.saturating_mul(voxels(if moved { file } else { network })));
            }
            OnPrediction::Moved => moved = true,
            OnPrediction::AllChannels | OnPrediction::Relabeled => {
                moved = true;
                break;
            }
            OnPrediction::Written => break,
            OnPrediction::Recorded | OnPrediction::Other => {}
        }
        predicted = per_voxel.saturating_mul(voxels(network));
    }
    let result = if moved { predicted.saturating_add(per_voxel.saturating_mul(voxels(file))) } else { predicted };
    result.saturating_add(scratch)
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
    use crate::component::{Args, BuildContext, Dict, FromValue, Key, Value};
    use crate::contracts::DatasetHandle;
    use crate::formats::nifti;
    use crate::image::{Affine, DType, Layout, Voxels};
    use std::path::Path;

    const GB: u64 = 1 << 30;

    /// Writes a sparse file with `shape` voxels of zeros.
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

    fn need(path: &Path, pixdim: f64) -> Phase {
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
        let dataset = dataset.downcast::<DatasetHandle>().unwrap();
        let plan = CasePlan::new(&*dataset.0, 0, &postprocessing).unwrap();
        assert!(plan.preprocessing.is_complete(), "{:?}", plan.preprocessing.error);
        plan.lower_bound().unwrap().clone()
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
        // Not resampled: float voxels and the network's input.
        image(&path, [700, 700, 1200], 3.0, DType::U8);
        assert_eq!(
            need(&path, 3.0),
            Phase {
                bytes: 700 * 700 * 1200 * 8,
                what: "700×700×1200 voxels as the network's input".into(),
                certain: true
            }
        );
        // Upsampled.
        image(&path, [40, 40, 40], 60.0, DType::I16);
        assert!(need(&path, 3.0).bytes > 3 * GB, "{:?}", need(&path, 3.0));
        // Downsampled; the label map is on the file's grid.
        image(&path, [20000, 20000, 4], 0.1, DType::U8);
        assert!(
            need(&path, 3.0).bytes > 1_600_000_000
                && need(&path, 3.0).what.starts_with("the label map of 20000×20000×4"),
            "{:?}",
            need(&path, 3.0)
        );
    }

    #[test]
    fn a_mask_of_labels_takes_one_byte_per_voxel_and_not_one_per_class() {
        let grid = Grid { shape: [10; 3], affine: Affine::IDENTITY };
        let transform = |name: &str, more: (&str, Value)| {
            Arc::<dyn Transform>::from_value(&build(name, vec![("keys", "pred".into()), more])).unwrap()
        };
        let mask = || transform("LabelToMaskd", ("select_labels", Value::list([Value::Int(1), Value::Int(2)])));
        let argmax = transform("AsDiscreted", ("argmax", Value::Bool(true)));
        // The labels, and four bytes per voxel while they are changed.
        assert_eq!(result_bytes(&[argmax, mask()], &grid, &grid, 105), 1000 + 4000);
        // Without argmax, the values of all channels before and after.
        assert_eq!(result_bytes(&[mask()], &grid, &grid, 105), 2 * 4 * 105 * 1000);
    }

    #[test]
    fn a_case_of_any_format_is_admitted_by_its_header() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("x.raw"), vec![0; 60]).unwrap();
        let nhdr = "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 3 4 5\nencoding: raw\ndata file: x.raw\n\n";
        std::fs::write(folder.path().join("x.nhdr"), nhdr).unwrap();
        let mhd = "NDims = 3\nDimSize = 3 4 5\nElementType = MET_UCHAR\nElementDataFile = x.raw\n";
        std::fs::write(folder.path().join("x.mhd"), mhd).unwrap();
        let load = build("LoadImaged", vec![("keys", "image".into())]);
        let dicom = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/dicom/explicit");
        for (path, bytes) in
            [(folder.path().join("x.nhdr"), 60), (folder.path().join("x.mhd"), 60), (dicom, 4 * 6 * 4 * 5)]
        {
            let case = Value::Dict(Dict::new([(Key::str("image"), path.to_str().unwrap().into())]));
            let dataset = build("Dataset", vec![("data", Value::list([case])), ("transform", load.clone())]);
            let dataset = dataset.downcast::<DatasetHandle>().unwrap();
            let plan = CasePlan::new(&*dataset.0, 0, &[]).unwrap();
            assert!(plan.preprocessing.error.is_none(), "{:?}", plan.preprocessing.error);
            assert_eq!(plan.file_bytes(), bytes, "{}", path.display());
            assert!(plan.admit(bytes - 1).unwrap_err().message().contains("of memory"));
        }
    }
}
