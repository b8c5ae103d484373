//! RandAxisFlipd: flip along a random axis with a given probability (monai/transforms/spatial, MONAI 1.6.1).

use super::rand_flip::turn;
use super::random::{Chance, seeded_by_chance};
use super::support::KeyList;
use crate::component::{Accepted, Keys};
use crate::contracts::{Sample, Step, Transform, TransformContext};
use crate::error::Result;

component! {
    /// Randomly flip images along a random axis.
    pub static COMPONENT = dictionary "RandAxisFlip" in "monai.transforms" / "spatial.dictionary";

    pub struct RandAxisFlipArgs {
        /// Keys of the images to flip, all along the same axis.
        keys: Keys,
        /// Probability of applying the transform.
        prob: f64 = 0.1,
        /// Skip missing keys instead of raising an error.
        allow_missing_keys: bool = false,
        /// No effect: transforms are never lazy.
        lazy: Accepted = false,
    }

    build: RandAxisFlip::new,
}

struct RandAxisFlip {
    keys: KeyList,
    chance: Chance,
}

impl RandAxisFlip {
    fn new(args: RandAxisFlipArgs) -> Result<Self> {
        Ok(RandAxisFlip { keys: KeyList::new(args.keys, args.allow_missing_keys), chance: Chance::new(args.prob) })
    }
}

impl Transform for RandAxisFlip {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn image_keys(&self) -> &[std::sync::Arc<str>] {
        &self.keys.keys
    }
    fn plan(&self, sample: Sample) -> Result<Step<'_>> {
        Ok(Step::at_most(sample))
    }
    fn apply(&self, sample: Sample, cx: &mut TransformContext) -> Result<Vec<Sample>> {
        if self.keys.present(&sample)?.is_empty() {
            return Ok(vec![sample]);
        }
        let happens = self.chance.happens(cx.rng);
        // MONAI draws the axis whether or not it is used.
        let axis = self.chance.inner(cx.rng).randint(0, 3);
        let flips = std::array::from_fn(|at| at as i64 == axis);
        self.keys.images(sample, |volume, _| {
            Ok(if happens { turn(volume, [0, 1, 2], flips, COMPONENT.name) } else { volume })
        })
    }
    seeded_by_chance!();
}
