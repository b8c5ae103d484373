//! Code shared by the transforms of label maps, which act on images, and on predictions without expanding one-hot
//! channels.

use super::support::KeyList;
use crate::bail;
use crate::case_context::CaseContext;
use crate::contracts::{Item, Sample};
use crate::error::Result;
use crate::image::components::{Class, Components, Neighborhood};
use crate::image::{Element, Layout, Volume};
use crate::prediction::LabelVolume;
use std::sync::Arc;

/// Replaces the values under each key by the result of `change`.
pub(super) fn on_labels(
    mut sample: Sample,
    keys: &KeyList,
    case: &CaseContext,
    change: impl Fn(LabelVolume) -> Result<LabelVolume>,
) -> Result<Vec<Sample>> {
    for (_, key) in keys.present(&sample)? {
        let item = match sample.take(&key)? {
            Item::Prediction(prediction) => prediction.map_labels(case, &change).map(Item::Prediction),
            Item::Image(image) => image
                .contiguous()
                .and_then(|volume| Ok(Item::Image(change(LabelVolume { volume, onehot: None })?.into_channels(case)?))),
            Item::Value(value) => bail!("`{key}` is {value:?}, expected a label map or a prediction"),
        };
        sample.set(&key, item.map_err(|error| error.context(format_args!("`{key}`")))?);
    }
    Ok(vec![sample])
}

/// Shape inference for [`on_labels`]: `planned` changes header-only images.
pub(super) fn planned_labels(keys: &KeyList, sample: Sample, planned: impl Fn(Volume) -> Volume) -> Result<Sample> {
    let planned = |volume: Volume, _| Ok(planned(Volume { layout: Layout::contiguous(volume.layout.shape), ..volume }));
    Ok(keys.images(sample, planned)?.pop().unwrap_or_default())
}

/// Checks `connectivity`; None is that of all axes.
pub(super) fn connectivity(given: Option<usize>, dims: usize) -> Result<usize> {
    match given {
        None => Ok(dims),
        Some(connectivity) if (1..=dims).contains(&connectivity) => Ok(connectivity),
        Some(connectivity) => {
            bail!("`connectivity` is {connectivity}, expected 1 to {dims} for an image of {dims} axes")
        }
    }
}

/// Neighbors within each channel of `volume`.
pub(super) fn within_channels(volume: &Volume, connectivity: usize) -> Neighborhood {
    let [_, x, y, z] = volume.layout.shape;
    Neighborhood { shape: [1, x, y, z], connectivity }
}

/// Checks that a label is the number of a channel.
pub(super) fn channel(label: i64, channels: usize, argument: &str) -> Result<usize> {
    match usize::try_from(label) {
        Ok(channel) if channel < channels => Ok(channel),
        _ => bail!("`{argument}` contains {label}, expected numbers of channels from 0 to {}", channels - 1),
    }
}

/// Finds the connected components of `values` and replaces the voxels of those that `replaced` selects by `by`; the
/// buffer is copied only if it is shared and something is replaced.
pub(super) fn replace_components<T: Element>(
    values: &mut Arc<[T]>,
    of: Neighborhood,
    class: impl Fn(T) -> Class + Sync,
    replaced: impl FnOnce(&Components) -> Vec<bool>,
    by: T,
    case: &CaseContext,
) -> Result<()> {
    let components = Components::new(values, of, &class, &reserve(case, of))?;
    let replaced = replaced(&components);
    if replaced.contains(&true) {
        let owned = owned(values, case)?;
        components.rewrite(owned, &class, |at| replaced[at].then_some(by));
    }
    Ok(())
}

/// The buffer for writing, copied if it is shared.
///
/// # Errors
/// The copy exceeds the memory budget.
pub(super) fn owned<'a, T: Element>(values: &'a mut Arc<[T]>, case: &CaseContext) -> Result<&'a mut [T]> {
    if Arc::get_mut(values).is_none() {
        case.reserve(size_of_val(&**values) as u64, || format!("a copy of {} voxels", values.len()))?;
    }
    Ok(Arc::make_mut(values))
}

/// Memory check for [`Components`], which also ends them after an interrupt.
pub(super) fn reserve(case: &CaseContext, of: Neighborhood) -> impl Fn(u64) -> Result<()> + Sync {
    move |bytes| {
        case.check()?;
        case.reserve(bytes, || {
            let [c, x, y, z] = of.shape;
            let channels = if c == 1 { String::new() } else { format!("{c} channels of ") };
            format!("the connected components of {channels}{x}×{y}×{z} voxels")
        })
    }
}
