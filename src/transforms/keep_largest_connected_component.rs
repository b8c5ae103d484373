//! KeepLargestConnectedComponentd: keep the largest connected components of labels, masks or one-hot channels.
//!
//! Source: monai/transforms/post/dictionary.py and array.py, monai/transforms/utils.py
//! (`get_largest_connected_component_mask`) of MONAI 1.6.1.

use super::label_maps::{
    ChangeLabels, OnLabels, channel, class_labels, connectivity, owned, replace_components, reserve, within_channels,
};
use super::support::KeyList;
use crate::case_context::CaseContext;
use crate::component::{Keys, OneOrMany, Value};
use crate::error::Result;
use crate::image::components::{Class, Components, Neighborhood, class_of};
use crate::image::{CHUNK, Element};
use crate::prediction::LabelVolume;
use crate::tools::structures::{Names, Structures};
use crate::{bail, each_voxels, err};
use rayon::prelude::*;
use std::sync::Arc;

component! {
    /// Keep only the largest connected component of each label; the other voxels become 0.
    pub static COMPONENT = dictionary "KeepLargestConnectedComponent" in "monai.transforms" / "post.dictionary";

    pub struct KeepLargestConnectedComponentArgs {
        /// Keys of the label maps, masks or predictions.
        keys: Keys,
        /// Labels, or numbers of one-hot channels, to process; None processes all but 0.
        applied_labels: Option<OneOrMany<i64>> = (),
        /// Whether channels are one-hot; None: if there are several channels.
        is_onehot: Option<bool> = (),
        /// Process each label on its own; False processes the union of the labels.
        independent: bool = true,
        /// Number of axes along which neighboring voxels may differ by 1: in 3-D, 1 means 6 neighbors, 2 means 18 and 3
        /// means 26; None is the number of axes.
        connectivity: Option<usize> = (),
        /// Number of components to keep.
        num_components: usize = 1,
        /// Skip missing keys instead of raising an error.
        allow_missing_keys: bool = false,
    }

    differs: [
        "of equally large components, the one whose first voxel comes last is kept; in MONAI this depends on the processor",
    ],
    build: KeepLargest::new,
}

component! {
    /// Keep only the largest connected component of the named structures.
    pub static OF_STRUCTURES = transform "KeepLargestStructuresd" in "segbundle.transforms";

    pub struct KeepLargestStructuresArgs {
        /// Keys of the label maps or predictions.
        keys: Keys,
        /// Names by label, such as channel_def in metadata.json: {"1": "spleen"}, or a list that starts at label 0.
        names: Value,
        /// Names of the structures to process.
        structures: Names,
        /// Skip missing keys instead of raising an error.
        allow_missing_keys: bool = false,
    }

    build: |args| {
        let structures = Structures::from_value(&args.names)?.subset(&args.structures.0)?;
        let change = KeepLargest {
            labels: Some(structures.iter().map(|structure| i64::from(structure.id)).collect()),
            is_onehot: None,
            independent: true,
            connectivity: None,
            count: 1,
        };
        Ok(OnLabels { keys: KeyList::new(args.keys, args.allow_missing_keys), change })
    },
}

struct KeepLargest {
    labels: Option<Vec<i64>>,
    is_onehot: Option<bool>,
    independent: bool,
    connectivity: Option<usize>,
    count: usize,
}

impl KeepLargest {
    fn new(args: KeepLargestConnectedComponentArgs) -> Result<OnLabels<Self>> {
        if args.num_components == 0 {
            bail!("`num_components` is 0, expected at least 1");
        }
        // Checked for three axes now, and for those of the image when it is known.
        connectivity(args.connectivity, 3)?;
        let change = KeepLargest {
            labels: args.applied_labels.map(|labels| labels.as_slice().to_vec()),
            is_onehot: args.is_onehot,
            independent: args.independent,
            connectivity: args.connectivity,
            count: args.num_components,
        };
        Ok(OnLabels { keys: KeyList::new(args.keys, args.allow_missing_keys), change })
    }

    /// Numbers of the channels to process.
    fn channels(&self, all: usize) -> Result<Vec<i64>> {
        match &self.labels {
            None => Ok((1..all as i64).collect()),
            Some(labels) => {
                labels.iter().try_for_each(|label| channel(*label, all, "applied_labels").map(|_| ()))?;
                Ok(labels.clone())
            }
        }
    }

    /// Processes a label map: labels in `applied`, or all but 0 if it is `None`. Removed voxels become `by`.
    fn in_labels<T: Element>(
        &self,
        map: &mut Arc<[T]>,
        of: Neighborhood,
        applied: Option<&[i64]>,
        by: T,
        case: &CaseContext,
    ) -> Result<()> {
        let classes = |labels: &[i64]| {
            let mut classes: Vec<u64> = labels.iter().filter_map(|label| class_of(*label as f64)).collect();
            classes.sort_unstable();
            classes
        };
        let applied = applied.map(classes);
        let class = |label: T| -> Class {
            let class = class_of(label.to_f64())?;
            let applies = match &applied {
                None => label != T::default(),
                Some(applied) => applied.binary_search(&class).is_ok(),
            };
            applies.then_some(if self.independent { class } else { 0 })
        };
        replace_components(map, of, class, |components| self.removed(components), by, case)
    }

    /// Processes one-hot channels.
    fn in_channels<T: Element>(
        &self,
        channels: &mut Arc<[T]>,
        of: Neighborhood,
        applied: &[i64],
        case: &CaseContext,
    ) -> Result<()> {
        let voxels = of.shape[1..].iter().product::<usize>().max(1);
        let range = |channel: &i64| *channel as usize * voxels..(*channel as usize + 1) * voxels;
        let zero = T::default();
        if self.independent {
            for channel in applied {
                let class = |value: T| (value > zero).then_some(1);
                let components = Components::new(&channels[range(channel)], of, class, &reserve(case, of))?;
                let removed = self.removed(&components);
                if removed.contains(&true) {
                    let own = &mut owned(channels, case)?[range(channel)];
                    components.rewrite(own, class, |at| removed[at].then_some(zero));
                }
            }
            return Ok(());
        }
        reserve(case, of)(voxels as u64)?;
        let mut union = vec![0u8; voxels];
        for channel in applied {
            let values = &channels[range(channel)];
            union.par_iter_mut().zip(values).with_min_len(CHUNK).for_each(|(out, value)| {
                *out |= u8::from(value.to_f64() == 1.0);
            });
        }
        let class = |value: u8| (value != 0).then_some(1);
        let components = Components::new(&union, of, class, &reserve(case, of))?;
        let removed = self.removed(&components);
        if removed.contains(&true) {
            components.rewrite(&mut union, class, |at| removed[at].then_some(2));
            let all = owned(channels, case)?;
            for channel in applied {
                all[range(channel)].par_iter_mut().zip(&union).with_min_len(CHUNK).for_each(|(value, removed)| {
                    if *removed == 2 {
                        *value = zero;
                    }
                });
            }
        }
        Ok(())
    }

    fn removed(&self, components: &Components) -> Vec<bool> {
        components.largest(self.count).into_iter().map(|kept| !kept).collect()
    }
}

impl ChangeLabels for KeepLargest {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn change(&self, labels: LabelVolume, case: &CaseContext) -> Result<LabelVolume> {
        let connectivity = connectivity(self.connectivity, labels.spatial_dims())?;
        let one_hot = self.is_onehot.unwrap_or(labels.channels() > 1);
        if let (Some(classes), true) = (labels.onehot, one_hot) {
            let applied = self.channels(classes)?;
            let mut labels = labels.with_no_channel()?;
            let of = within_channels(&labels.volume, connectivity);
            class_labels!(&mut labels.volume.voxels, (map, none) => self.in_labels(map, of, Some(&applied), none, case)?);
            return Ok(labels);
        }
        let mut volume = labels.into_channels(case)?;
        let of = within_channels(&volume, connectivity);
        if one_hot {
            let applied = self.channels(volume.channels())?;
            each_voxels!(&mut volume.voxels, values => self.in_channels(values, of, &applied, case))?;
        } else {
            if volume.channels() != 1 {
                return Err(err!("expected one channel of labels, found {}", volume.channels())
                    .hint("`is_onehot: true` takes channels for one-hot"));
            }
            let applied = self.labels.as_deref();
            each_voxels!(&mut volume.voxels, map => self.in_labels(map, of, applied, Default::default(), case))?;
        }
        Ok(LabelVolume { volume, onehot: None })
    }
}
