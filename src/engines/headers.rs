//! The preprocessing of a case as far as headers tell: the image after each transform, without its voxels.

use crate::contracts::{Dataset, Item, Sample, Transform, read_on_the_way};
use crate::error::Result;
use crate::image::Volume;
use std::sync::Arc;

/// What a transform of the preprocessing makes of the image.
pub struct Step<'a> {
    pub name: &'static str,
    /// Hollow.
    pub image: &'a Volume,
    /// False where the real shape depends on voxels; then it is at most this.
    pub exact: bool,
    pub voxels: VoxelsAre,
}

/// Where the image's voxels are after a transform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VoxelsAre {
    /// Still in the file: a later transform reads it.
    InFile,
    /// Read by this transform, which works while it reads: those of the file are never in memory whole.
    ReadHere,
    InMemory,
}

/// Go through the preprocessing of case `index`. Formats without a header to be read alone are read whole.
pub fn walk(dataset: &dyn Dataset, index: usize, each: &mut dyn FnMut(Step)) -> Result<()> {
    let mut sample = dataset.sample(index)?;
    let steps = dataset.transforms();
    // As the case will be read: a Compose is a list of its own.
    let inside = match steps {
        [one] if !one.children().is_empty() => one.children(),
        steps => steps,
    };
    let on_the_way = read_on_the_way(inside, &sample)?.map(|(at, _)| &*inside[at]);
    let mut voxels = if on_the_way.is_some() { VoxelsAre::InFile } else { VoxelsAre::InMemory };
    for transform in flattened(steps) {
        let after = transform.outline(sample).map_err(|error| error.context(transform.name()))?;
        sample = after.sample;
        if on_the_way.is_some_and(|reader| std::ptr::addr_eq(reader, transform)) {
            voxels = VoxelsAre::ReadHere;
        } else if voxels == VoxelsAre::ReadHere {
            voxels = VoxelsAre::InMemory;
        }
        if let Some(image) = image_of(&sample) {
            each(Step { name: transform.name(), image, exact: after.exact && !transform.is_random(), voxels });
        }
    }
    Ok(())
}

/// All transforms without the Composes around them.
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

fn image_of(sample: &Sample) -> Option<&Volume> {
    match sample.get("image") {
        Some(Item::Image(volume)) => Some(volume),
        _ => None,
    }
}
