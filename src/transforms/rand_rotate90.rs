//! RandRotate90d: rotate by a random multiple of 90° in a plane with a given probability (monai/transforms/spatial,
//! MONAI 1.6.1).

use super::rand_flip::{axis, turn};
use super::random::{Chance, seeded_by_chance};
use super::support::{KeyList, resized};
use crate::bail;
use crate::component::{Accepted, Keys};
use crate::contracts::{Sample, Step, Transform, TransformContext};
use crate::error::Result;

component! {
    /// Randomly rotate images by multiples of 90° in a plane.
    pub static COMPONENT = dictionary "RandRotate90" in "monai.transforms" / "spatial.dictionary";

    pub struct RandRotate90Args {
        /// Keys of the images to rotate, all by the same angle.
        keys: Keys,
        /// Probability of applying the transform.
        prob: f64 = 0.1,
        /// Maximum number of rotations by 90°.
        max_k: usize = 3,
        /// Two spatial axes that define the plane of rotation.
        spatial_axes: Vec<i64> = [0, 1],
        /// Skip missing keys instead of raising an error.
        allow_missing_keys: bool = false,
        /// No effect: transforms are never lazy.
        lazy: Accepted = false,
    }

    build: RandRotate90::new,
}

struct RandRotate90 {
    keys: KeyList,
    plane: [usize; 2],
    max_k: usize,
    chance: Chance,
}

impl RandRotate90 {
    fn new(args: RandRotate90Args) -> Result<Self> {
        let [a, b] = args.spatial_axes[..] else {
            bail!("`spatial_axes` has {} values, expected 2", args.spatial_axes.len())
        };
        let plane = [axis(a, "spatial_axes")?, axis(b, "spatial_axes")?];
        if plane[0] == plane[1] || args.max_k == 0 {
            bail!("expected two different axes and a `max_k` of at least 1");
        }
        Ok(RandRotate90 {
            keys: KeyList::new(args.keys, args.allow_missing_keys),
            plane,
            max_k: args.max_k,
            chance: Chance::new(args.prob),
        })
    }
}

/// `torch.rot90(x, k, plane)` as a permutation and flips of the axes.
fn quarter_turns(k: usize, [a, b]: [usize; 2]) -> ([usize; 3], [bool; 3]) {
    let (mut axes, mut flips) = ([0, 1, 2], [false; 3]);
    if k % 2 == 1 {
        axes.swap(a, b);
    }
    match k % 4 {
        1 => flips[a] = true,
        2 => (flips[a], flips[b]) = (true, true),
        3 => flips[b] = true,
        _ => {}
    }
    (axes, flips)
}

impl Transform for RandRotate90 {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn image_keys(&self) -> &[std::sync::Arc<str>] {
        &self.keys.keys
    }
    fn plan(&self, sample: Sample) -> Result<Step<'_>> {
        Ok(Step::at_most(resized(&self.keys, sample, |mut shape| {
            let [a, b] = self.plane;
            (shape[a], shape[b]) = (shape[a].max(shape[b]), shape[a].max(shape[b]));
            shape
        })?))
    }
    fn apply(&self, sample: Sample, cx: &mut TransformContext) -> Result<Vec<Sample>> {
        let k = self.chance.outer(cx.rng).randint(0, self.max_k as i64) as usize + 1;
        let happens = self.chance.happens(cx.rng);
        let (axes, flips) = quarter_turns(k, self.plane);
        self.keys
            .images(sample, |volume, _| Ok(if happens { turn(volume, axes, flips, COMPONENT.name) } else { volume }))
    }
    seeded_by_chance!();
}
