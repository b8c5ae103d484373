//! Orientationd: permute and flip the axes. Only strides change, no voxel is moved.
//!
//! Source: monai/transforms/spatial/dictionary.py and array.py of MONAI 1.6.1.

use super::support::KeyList;
use crate::component::{Accepted, FromValue, Keys, OneOrMany, Value};
use crate::contracts::{Sample, Step, Transform, TransformContext, applied_to_headers};
use crate::error::Result;
use crate::image::orient::{default_labels, turn_affine, turn_layout};
use crate::image::{Applied, Orientation, Spatial};
use crate::{bail, err};
use std::sync::Arc;

component! {
    /// Reorient images, for example to RAS.
    pub static COMPONENT = dictionary "Orientation" in "monai.transforms" / "spatial.dictionary";

    pub struct OrientationArgs {
        /// Keys of the images to reorient.
        keys: Keys,
        /// Target orientation, such as "RAS": the direction of each voxel axis.
        axcodes: Option<Codes> = (),
        /// Reorient to the closest canonical (RAS) orientation and ignore axcodes.
        as_closest_canonical: bool = false,
        /// Labels of the two ends of each world axis; None is (("L", "R"), ("P", "A"), ("I", "S")).
        labels: Option<Vec<Vec<String>>> = (),
        /// Skip missing keys instead of raising an error.
        allow_missing_keys: bool = false,
        /// No effect: transforms are never lazy.
        lazy: Accepted = false,
    }

    differs: ["Voxels are not copied: only the strides change."],
    build: Turn::new,
}

/// Value of `axcodes`: a string such as "RAS", or a list of labels.
pub struct Codes(Vec<String>);

impl FromValue for Codes {
    fn expected() -> String {
        "str such as \"RAS\"".into()
    }
    fn from_value(value: &Value) -> Option<Self> {
        Some(Codes(match OneOrMany::<String>::from_value(value)? {
            OneOrMany::One(text) => text.chars().map(String::from).collect(),
            OneOrMany::Many(codes) => codes,
        }))
    }
}

struct Turn {
    keys: KeyList,
    target: Orientation,
}

impl Turn {
    fn new(args: OrientationArgs) -> Result<Self> {
        let labels = match args.labels {
            None => default_labels(),
            Some(labels) => {
                let pairs: Vec<[String; 2]> =
                    labels.into_iter().filter_map(|ends| <[String; 2]>::try_from(ends).ok()).collect();
                match <[[String; 2]; 3]>::try_from(pairs) {
                    Ok(labels) => labels,
                    Err(_) => {
                        bail!("`labels`: expected three pairs such as ((\"L\", \"R\"), (\"P\", \"A\"), (\"I\", \"S\"))")
                    }
                }
            }
        };
        let target = match (args.as_closest_canonical, args.axcodes) {
            (true, _) => Orientation::RAS,
            (false, Some(codes)) => Orientation::from_codes(&codes.0, &labels)?,
            (false, None) => {
                return Err(err!("Orientationd needs `axcodes` or `as_closest_canonical: true`")
                    .arguments(&["axcodes", "as_closest_canonical"]));
            }
        };
        Ok(Turn { keys: KeyList::new(args.keys, args.allow_missing_keys), target })
    }
}

impl Transform for Turn {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn image_keys(&self) -> &[Arc<str>] {
        &self.keys.keys
    }
    fn plan(&self, sample: Sample) -> Result<Step<'_>> {
        Ok(Step::header_only(applied_to_headers(self, sample)?))
    }
    fn apply(&self, sample: Sample, _cx: &mut TransformContext) -> Result<Vec<Sample>> {
        self.keys.images(sample, |mut volume, _| {
            let before = volume.grid();
            let what = Orientation::of(&volume.affine)?.turn_to(&self.target);
            if let Spatial::Orient { axes, flips } = what {
                volume.layout = turn_layout(&volume.layout, axes, flips);
                volume.affine = volume.affine.updated(&turn_affine(axes, flips, before.shape));
            }
            let after = volume.grid();
            volume.trace.push(Arc::new(Applied { by: COMPONENT.name, before, after, what }));
            Ok(volume)
        })
    }
    fn traced_keys(&self) -> &[Arc<str>] {
        &self.keys.keys
    }
}
