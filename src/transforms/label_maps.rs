//! Code shared by the transforms of label maps, which act on images, and on predictions without expanding one-hot
//! channels.

use super::support::KeyList;
use crate::bail;
use crate::case_context::CaseContext;
use crate::contracts::{Item, OnPrediction, Sample, Step, Transform, TransformContext};
use crate::error::Result;
use crate::image::components::{Class, Components, Neighborhood};
use crate::image::{Element, Layout, Volume};
use crate::prediction::LabelVolume;
use std::sync::Arc;

/// Changes label maps, masks or one-hot channels; [`OnLabels`] makes a transform of it.
pub(super) trait ChangeLabels: Send + Sync {
    /// Name of the transform.
    fn name(&self) -> &'static str;
    /// Changes the voxels.
    fn change(&self, labels: LabelVolume, case: &CaseContext) -> Result<LabelVolume>;
    /// What [`ChangeLabels::change`] makes of a header-only image.
    fn planned(&self, volume: Volume) -> Volume {
        volume
    }
}

/// The transform that changes the label maps under `keys`, as images or predictions.
pub(super) struct OnLabels<C> {
    pub keys: KeyList,
    pub change: C,
}

impl<C: ChangeLabels> Transform for OnLabels<C> {
    fn name(&self) -> &'static str {
        self.change.name()
    }
    fn on_prediction(&self) -> OnPrediction {
        OnPrediction::Relabeled
    }
    fn plan(&self, sample: Sample) -> Result<Step<'_>> {
        let planned = |volume: Volume, _| {
            Ok(self.change.planned(Volume { layout: Layout::contiguous(volume.layout.shape), ..volume }))
        };
        Ok(Step::exact(self.keys.images(sample, planned)?.pop().unwrap_or_default()))
    }
    fn apply(&self, mut sample: Sample, cx: &mut TransformContext) -> Result<Vec<Sample>> {
        let case = cx.case;
        let change = |labels: LabelVolume| self.change.change(labels, case);
        for (_, key) in self.keys.present(&sample)? {
            let item = match sample.take(&key)? {
                Item::Prediction(prediction) => prediction.map_labels(case, change).map(Item::Prediction),
                Item::Image(image) => image.contiguous().and_then(|volume| {
                    Ok(Item::Image(change(LabelVolume { volume, onehot: None })?.into_channels(case)?))
                }),
                Item::Value(value) => bail!("`{key}` is {value:?}, expected a label map or a prediction"),
            };
            sample.set(&key, item.map_err(|error| error.context(format_args!("`{key}`")))?);
        }
        Ok(vec![sample])
    }
}

/// Runs `$work` on the class labels `$map` that represent one-hot channels; `$none` is the value of voxels in no channel.
macro_rules! class_labels {
    ($voxels:expr, ($map:ident, $none:ident) => $work:expr) => {
        match $voxels {
            $crate::image::Voxels::U8($map) => {
                let $none = u8::MAX;
                $work
            }
            $crate::image::Voxels::U16($map) => {
                let $none = u16::MAX;
                $work
            }
            other => $crate::bail!("expected class labels of uint8 or uint16, found {}", other.dtype().name()),
        }
    };
}
pub(super) use class_labels;

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
