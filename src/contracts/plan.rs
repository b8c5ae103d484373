//! Shape inference: applies transforms to file headers, and determines which transform reads the voxels.
//!
//! [`Transform::plan`] is called once for each transform and sample. `segbundle explain` shows the [`Plan`], the memory
//! check admits a case by it, and [`Plan::apply`] executes it. A file that is resampled slice by slice while it is read
//! is never held in memory as a whole.

use super::{CaseContext, Item, RngStates, Sample, Transform, TransformContext};
use crate::err;
use crate::error::{Error, Result};
use crate::image::Volume;
use crate::text;
use std::sync::Arc;
use std::time::Instant;

/// Result of a transform's shape inference: a sample whose images are header-only ([`Volume::is_header_only`]).
pub struct Step<'a> {
    /// The sample after the transform.
    pub sample: Sample,
    /// How well its shape and geometry are known.
    pub certainty: Certainty,
    /// What the transform does with the voxels.
    pub access: VoxelAccess<'a>,
}

/// How accurately shape, geometry and dtype of a transform's result follow from headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Certainty {
    /// The same as those of [`Transform::apply`].
    Exact,
    /// Upper bound of each axis; the result depends on voxels or random numbers.
    UpperBound,
    /// Unknown: the transform calls a function of the config. The shape is that of its input.
    Unknown,
}

/// Voxels that a transform needs.
pub enum VoxelAccess<'a> {
    /// The voxels must be in memory.
    InMemory,
    /// It changes only the header: the voxels can stay in their files.
    HeaderOnly,
    /// It can read the files itself, slice by slice, and process each slice.
    Streaming(StreamingRead<'a>),
}

/// Reads the files of a sample slice by slice and applies a transform.
pub type StreamingRead<'a> = Box<dyn FnOnce(&CaseContext) -> Result<Sample> + Send + 'a>;

impl Step<'_> {
    /// A transform that needs voxels, with an exactly known result.
    pub fn exact(sample: Sample) -> Self {
        Step { sample, certainty: Certainty::Exact, access: VoxelAccess::InMemory }
    }
    /// A transform that needs no voxels.
    pub fn header_only(sample: Sample) -> Self {
        Step { sample, certainty: Certainty::Exact, access: VoxelAccess::HeaderOnly }
    }
    /// A transform whose result depends on voxels or random numbers.
    pub fn at_most(sample: Sample) -> Self {
        Step { sample, certainty: Certainty::UpperBound, access: VoxelAccess::InMemory }
    }
    /// A transform that calls a function of the config.
    pub fn unknown(sample: Sample) -> Self {
        Step { sample, certainty: Certainty::Unknown, access: VoxelAccess::InMemory }
    }
}

/// Applies a transform whose `apply` handles header-only images.
pub fn applied_to_headers(transform: &dyn Transform, sample: Sample) -> Result<Sample> {
    let case = CaseContext::quiet();
    let mut cx = TransformContext { case: &case, writes: &mut vec![], rng: &mut RngStates::default() };
    let mut samples = transform.apply(sample, &mut cx)?;
    samples.pop().ok_or_else(|| err!("the transform leaves no sample"))
}

/// A step of a [`Plan`]: the state of the sample's `image`.
pub struct PlannedStep {
    /// Class name of the transform.
    pub name: &'static str,
    /// Header-only; `None` while the sample has no `image`.
    pub image: Option<Volume>,
    /// How well the image's shape and geometry are known.
    pub certainty: Certainty,
    /// Where the image's voxels are after the transform.
    pub voxels: VoxelLocation,
}

/// Where an image's voxels are after a transform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VoxelLocation {
    /// Still in the file: a later transform reads it.
    File,
    /// Read by this transform, slice by slice.
    Streamed,
    /// In host memory.
    Memory,
}

/// Planned application of transforms to one sample.
pub struct Plan<'a> {
    transforms: Vec<&'a dyn Transform>,
    /// The sample before all transforms.
    sample: Sample,
    /// The transforms whose results are known from headers, from the first on.
    pub steps: Vec<PlannedStep>,
    /// The error of the transform after the last step.
    pub error: Option<Error>,
    /// Index of the step that reads the files, and its reader.
    streaming: Option<(usize, StreamingRead<'a>)>,
}

impl<'a> Plan<'a> {
    /// Plans `transforms` from the headers of the files in `sample`.
    pub fn new(transforms: &'a [Arc<dyn Transform>], sample: Sample) -> Result<Plan<'a>> {
        let mut now = sample.duplicate()?;
        let mut plan = Plan { transforms: flattened(transforms), sample, steps: vec![], error: None, streaming: None };
        let mut in_files = plan.is_unloaded();
        for (at, transform) in plan.transforms.iter().enumerate() {
            let step = match transform.plan(now) {
                Ok(step) => step,
                Err(error) => {
                    plan.error = Some(error.context(transform.name()));
                    break;
                }
            };
            let voxels = match step.access {
                VoxelAccess::HeaderOnly if in_files => VoxelLocation::File,
                VoxelAccess::Streaming(read) if in_files => {
                    plan.streaming = Some((at, read));
                    VoxelLocation::Streamed
                }
                _ => VoxelLocation::Memory,
            };
            in_files = voxels == VoxelLocation::File;
            now = step.sample;
            let image = match now.get("image") {
                Some(Item::Image(volume)) => Some(volume.clone()),
                _ => None,
            };
            plan.steps.push(PlannedStep { name: transform.name(), image, certainty: step.certainty, voxels });
        }
        if plan.streaming.is_none() {
            plan.steps.iter_mut().for_each(|step| step.voxels = VoxelLocation::Memory);
        }
        Ok(plan)
    }

    /// Whether all transforms are planned.
    pub fn is_complete(&self) -> bool {
        self.steps.len() == self.transforms.len()
    }

    /// Applies the transforms.
    pub fn apply(self, cx: &mut TransformContext) -> Result<Vec<Sample>> {
        match self.streaming {
            None => apply_each(&self.transforms, vec![self.sample], cx),
            Some((at, read)) => {
                cx.case.check()?;
                let (name, start) = (self.transforms[at].name(), Instant::now());
                // A damaged file is an error of the transform that loads it.
                let loader = self.transforms[..at].iter().find(|transform| !transform.file_keys().is_empty());
                let sample = read(cx.case).map_err(|error| match loader.filter(|_| error.is_of_data()) {
                    Some(loader) => error.context(loader.name()),
                    None => error.context(name),
                })?;
                let path = sample.items.values().find_map(|item| match item {
                    Item::Image(image) => Some(image.header.path.display()),
                    _ => None,
                });
                if let Some(path) = path {
                    tracing::debug!("{name}, while {path} was read: {}", text::duration(start.elapsed()));
                }
                apply_each(&self.transforms[at + 1..], vec![sample], cx)
            }
        }
    }

    /// Whether the sample contains only file names and other values.
    fn is_unloaded(&self) -> bool {
        self.sample.items.values().all(|item| matches!(item, Item::Value(_)))
    }
}

/// Applies transforms in order; a single sample of file names is planned first.
pub fn apply_all(
    transforms: &[Arc<dyn Transform>],
    mut samples: Vec<Sample>,
    cx: &mut TransformContext,
) -> Result<Vec<Sample>> {
    match samples.pop() {
        Some(sample) if samples.is_empty() => {
            if sample.items.values().all(|item| matches!(item, Item::Value(_))) {
                return Plan::new(transforms, sample)?.apply(cx);
            }
            samples.push(sample);
        }
        last => samples.extend(last),
    }
    apply_each(&flattened(transforms), samples, cx)
}

/// Applies transforms to predictions and what belongs to them. A cancelled run ends within a transform, never between
/// two of them: the prediction is computed, and dropping it would waste the case.
pub fn apply_to_predictions(
    transforms: &[Arc<dyn Transform>],
    mut samples: Vec<Sample>,
    cx: &mut TransformContext,
) -> Result<Vec<Sample>> {
    for transform in flattened(transforms) {
        samples = apply_each_sample(transform, samples, cx)?;
    }
    Ok(samples)
}

fn apply_each(
    transforms: &[&dyn Transform],
    mut samples: Vec<Sample>,
    cx: &mut TransformContext,
) -> Result<Vec<Sample>> {
    for transform in transforms {
        cx.case.check()?;
        samples = apply_each_sample(*transform, samples, cx)?;
    }
    Ok(samples)
}

/// Applies a transform to each sample and logs its time.
fn apply_each_sample(
    transform: &dyn Transform,
    samples: Vec<Sample>,
    cx: &mut TransformContext,
) -> Result<Vec<Sample>> {
    let (mut after, start) = (Vec::with_capacity(samples.len()), Instant::now());
    for sample in samples {
        after.extend(transform.apply(sample, cx).map_err(|error| error.context(transform.name()))?);
    }
    tracing::debug!("{}: {}", transform.name(), text::duration(start.elapsed()));
    Ok(after)
}

/// All transforms, with every Compose replaced by its children.
pub fn flattened(transforms: &[Arc<dyn Transform>]) -> Vec<&dyn Transform> {
    let mut out = vec![];
    for transform in transforms {
        if transform.children().is_empty() {
            out.push(&**transform)
        } else {
            out.extend(flattened(transform.children()))
        }
    }
    out
}
