//! RandFlipd: flip along axes with a given probability (monai/transforms/spatial, MONAI 1.6.1). Only strides change, no
//! voxel is moved.

use super::random::{Chance, seeded_by_chance};
use super::support::KeyList;
use crate::component::{Accepted, Keys, OneOrMany};
use crate::contracts::{Sample, Step, Transform, TransformContext};
use crate::err;
use crate::error::Result;
use crate::image::orient::{turn_affine, turn_layout};
use crate::image::{Applied, Spatial, Volume};
use std::sync::Arc;

component! {
    /// Randomly flip images along axes.
    pub static COMPONENT = dictionary "RandFlip" in "monai.transforms" / "spatial.dictionary";

    pub struct RandFlipArgs {
        /// Keys of the images to flip together.
        keys: Keys,
        /// Probability of applying the transform.
        prob: f64 = 0.1,
        /// Spatial axes to flip, 0 to 2 or negative from the end; None flips all.
        spatial_axis: Option<OneOrMany<i64>> = (),
        /// Skip missing keys instead of raising an error.
        allow_missing_keys: bool = false,
        /// No effect: transforms are never lazy.
        lazy: Accepted = false,
    }

    build: RandFlip::new,
}

struct RandFlip {
    keys: KeyList,
    flips: [bool; 3],
    chance: Chance,
}

/// Index of a spatial axis from 0 to 2; negative numbers count from the end.
pub fn axis(number: i64, name: &str) -> Result<usize> {
    let at = if number < 0 { number + 3 } else { number };
    usize::try_from(at)
        .ok()
        .filter(|at| *at < 3)
        .ok_or_else(|| err!("`{name}` is {number}, expected an axis from 0 to 2 (or -3 to -1)"))
}

/// Permutes and flips the spatial axes: output axis `i` is input axis `axes[i]`, reversed if `flips[i]`.
pub fn turn(mut volume: Volume, axes: [usize; 3], flips: [bool; 3], by: &'static str) -> Volume {
    let before = volume.grid();
    volume.layout = turn_layout(&volume.layout, axes, flips);
    volume.affine = volume.affine.updated(&turn_affine(axes, flips, before.shape));
    let after = volume.grid();
    volume.trace.push(Arc::new(Applied { by, before, after, what: Spatial::Orient { axes, flips } }));
    volume
}

impl RandFlip {
    fn new(args: RandFlipArgs) -> Result<Self> {
        let mut flips = [args.spatial_axis.is_none(); 3];
        let given = match args.spatial_axis {
            None => vec![],
            Some(OneOrMany::One(axis)) => vec![axis],
            Some(OneOrMany::Many(axes)) => axes,
        };
        for number in given {
            flips[axis(number, "spatial_axis")?] = true;
        }
        Ok(RandFlip { keys: KeyList::new(args.keys, args.allow_missing_keys), flips, chance: Chance::new(args.prob) })
    }
}

impl Transform for RandFlip {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn image_keys(&self) -> &[Arc<str>] {
        &self.keys.keys
    }
    fn plan(&self, sample: Sample) -> Result<Step<'_>> {
        Ok(Step::at_most(sample))
    }
    fn apply(&self, sample: Sample, cx: &mut TransformContext) -> Result<Vec<Sample>> {
        let happens = self.chance.happens(cx.rng);
        self.keys.images(sample, |volume, _| {
            Ok(if happens { turn(volume, [0, 1, 2], self.flips, COMPONENT.name) } else { volume })
        })
    }
    seeded_by_chance!();
}
