//! Transforms one after the other, and those at the beginning that need no voxels of their own: where they only read a
//! file, turn its axes and resample it, the file is resampled while it is read.

use super::{Item, Sample, Transform, TransformContext};
use crate::error::Result;
use std::sync::Arc;

/// What becomes of a sample whose voxels are still in their files: its images are header-only.
pub enum Unread<'a> {
    /// The transform works on voxels.
    NeedsVoxels,
    /// All is done, and the voxels are still in their files.
    Still(Sample),
    /// They can be read a few planes at a time, with the transform's work done on the way.
    Read(Reading<'a>),
}

/// Reads the files of a sample and does a transform's work on the way.
pub type Reading<'a> = Box<dyn FnOnce() -> Result<Sample> + 'a>;

/// Transforms one after the other. A file that is resampled while it is read is never in memory whole.
pub fn apply_all(steps: &[Arc<dyn Transform>], samples: Vec<Sample>, cx: &mut TransformContext) -> Result<Vec<Sample>> {
    let (mut steps, mut samples) = (steps, samples);
    if let [sample] = samples.as_slice()
        && let Some((at, read)) = read_on_the_way(steps, sample)?
    {
        let sample = read().map_err(|e| e.context(steps[at].name()))?;
        (steps, samples) = (&steps[at + 1..], vec![sample]);
    }
    for step in steps {
        cx.case.check()?;
        let mut after = Vec::with_capacity(samples.len());
        for sample in samples {
            after.extend(step.apply(sample, cx).map_err(|e| e.context(step.name()))?);
        }
        samples = after;
    }
    Ok(samples)
}

/// Which step reads the files of a sample of file names, and how, if those before it can leave the voxels there.
pub fn read_on_the_way<'a>(steps: &'a [Arc<dyn Transform>], names: &Sample) -> Result<Option<(usize, Reading<'a>)>> {
    if names.items.values().any(|item| !matches!(item, Item::Value(_))) {
        return Ok(None);
    }
    let mut sample = names.duplicate()?;
    for (at, step) in steps.iter().enumerate() {
        match step.unread(sample).map_err(|e| e.context(step.name()))? {
            Unread::NeedsVoxels => return Ok(None),
            Unread::Still(after) => sample = after,
            Unread::Read(read) => return Ok(Some((at, read))),
        }
    }
    Ok(None)
}
