//! FillHolesd: fill the holes of labels, masks or one-hot channels.
//!
//! Source: monai/transforms/post/dictionary.py and array.py, monai/transforms/utils.py (`fill_holes`) of MONAI 1.6.1.

use super::label_maps::{ChangeLabels, OnLabels, channel, connectivity, owned, reserve, within_channels};
use super::support::KeyList;
use crate::case_context::CaseContext;
use crate::component::{Keys, OneOrMany};
use crate::each_voxels;
use crate::error::Result;
use crate::image::Element;
use crate::image::components::{Class, Components, Neighborhood, class_of};
use crate::prediction::LabelVolume;
use std::sync::Arc;

component! {
    /// Fill the holes of each label: everything that it encloses, also other labels.
    pub static COMPONENT = dictionary "FillHoles" in "monai.transforms" / "post.dictionary";

    pub struct FillHolesArgs {
        /// Keys of the label maps, masks or predictions.
        keys: Keys,
        /// Labels, or numbers of one-hot channels, whose holes are filled, in ascending order; None is all but 0.
        applied_labels: Option<OneOrMany<i64>> = (),
        /// Number of axes along which neighboring voxels of a hole may differ by 1: in 3-D, 1 means 6 neighbors, 2 means
        /// 18 and 3 means 26; None is the number of axes.
        connectivity: Option<usize> = (),
        /// Skip missing keys instead of raising an error.
        allow_missing_keys: bool = false,
    }

    build: FillHoles::new,
}

struct FillHoles {
    labels: Option<Vec<i64>>,
    connectivity: Option<usize>,
}

impl FillHoles {
    fn new(args: FillHolesArgs) -> Result<OnLabels<Self>> {
        // Checked for three axes now, and for those of the image when it is known. MONAI takes 0 for None.
        let given = args.connectivity.filter(|connectivity| *connectivity > 0);
        connectivity(given, 3)?;
        let labels = match args.applied_labels {
            None | Some(OneOrMany::One(0)) => None,
            Some(labels) => Some(labels.as_slice().to_vec()).filter(|labels| !labels.is_empty()),
        };
        let sorted = labels.map(|mut labels| {
            labels.sort_unstable();
            labels.dedup();
            labels.retain(|label| *label != 0);
            labels
        });
        let change = FillHoles { labels: sorted, connectivity: given };
        Ok(OnLabels { keys: KeyList::new(args.keys, args.allow_missing_keys), change })
    }

    fn in_labels<T: Element>(
        &self,
        map: &mut Arc<[T]>,
        of: Neighborhood,
        dims: usize,
        case: &CaseContext,
    ) -> Result<()> {
        let class = |label: T| class_of(label.to_f64()).or(NAN);
        let components = Components::new(map, of, class, &reserve(case, of))?;
        let mut applied: Vec<f64> = match &self.labels {
            Some(labels) => labels.iter().map(|label| *label as f64).collect(),
            None => components.list.iter().map(|component| f64::from_bits(component.class)).collect(),
        };
        applied.sort_by(f64::total_cmp);
        applied.dedup();
        applied.retain(|label| *label != 0.0 && !label.is_nan());
        let classes: Vec<u64> = applied.into_iter().filter_map(class_of).collect();
        let after = components.enclosed(map, class, &classes, dims, &reserve(case, of))?;
        let filled =
            |at: usize| (after[at] != components.list[at].class).then(|| T::from_f64(f64::from_bits(after[at])));
        if (0..after.len()).any(|at| filled(at).is_some()) {
            components.rewrite(owned(map, case)?, class, filled);
        }
        Ok(())
    }
}

/// Class of NaN, which is no label.
const NAN: Class = Some(f64::NAN.to_bits());

/// Fills the holes of a mask, whose values other than 0 become 1.
fn in_mask<T: Element>(
    values: &mut Arc<[T]>,
    range: std::ops::Range<usize>,
    of: Neighborhood,
    dims: usize,
    case: &CaseContext,
) -> Result<()> {
    let class = |value: T| Some(u64::from(value != T::default()));
    let mask = &values[range.clone()];
    let components = Components::new(mask, of, class, &reserve(case, of))?;
    let after = components.enclosed(mask, class, &[1], dims, &reserve(case, of))?;
    let one = T::from_f64(1.0);
    if after.contains(&0) || mask.iter().any(|value| *value != one) {
        components.rewrite(&mut owned(values, case)?[range], class, |at| (after[at] == 1).then_some(one));
    }
    Ok(())
}

impl ChangeLabels for FillHoles {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn change(&self, labels: LabelVolume, case: &CaseContext) -> Result<LabelVolume> {
        let dims = labels.spatial_dims();
        let connectivity = connectivity(self.connectivity, dims)?;
        // A filled hole is in the channel of the label and stays in its own: channels may overlap.
        let mut volume = labels.into_channels(case)?;
        let of = within_channels(&volume, connectivity);
        if volume.channels() > 1 {
            let applied = self.labels.clone().unwrap_or_else(|| (1..volume.channels() as i64).collect());
            let voxels = of.shape.iter().product::<usize>();
            for label in applied {
                let start = channel(label, volume.channels(), "applied_labels")? * voxels;
                each_voxels!(&mut volume.voxels, values => in_mask(values, start..start + voxels, of, dims, case))?;
            }
        } else {
            each_voxels!(&mut volume.voxels, map => self.in_labels(map, of, dims, case))?;
        }
        Ok(LabelVolume { volume, onehot: None })
    }
}
