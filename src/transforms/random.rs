//! Code shared by the random transforms: the probability of being applied, and factors per image or channel.
//!
//! MONAI's dictionary transforms hold a random state for the probability and, where they wrap an array transform, a
//! second one inside it with the same seed; the inner one first draws for a probability of 1
//! (monai/transforms/transform.py, 1.6.1).

use crate::bail;
use crate::component::OneOrMany;
use crate::error::Result;
use crate::random::{RandomState, RngId, RngStates};

/// The random states of a dictionary transform around an array transform.
#[derive(Default)]
pub struct Chance {
    outer: RngId,
    inner: RngId,
    prob: f64,
}

impl Chance {
    /// Creates random states for a transform that is applied with probability `prob`, clipped to [0, 1].
    pub fn new(prob: f64) -> Chance {
        Chance { prob: prob.clamp(0.0, 1.0), ..Chance::default() }
    }
    /// Seeds both random states.
    pub fn seed(&self, seed: u32, rng: &mut RngStates) {
        rng.seed(&self.outer, seed);
        rng.seed(&self.inner, seed);
    }
    /// Draws whether the transform is applied.
    pub fn happens(&self, rng: &mut RngStates) -> bool {
        rng.of(&self.outer).next_f64() < self.prob
    }
    /// The outer random state, for values drawn in addition to the probability.
    pub fn outer<'a>(&self, rng: &'a mut RngStates) -> &'a mut RandomState {
        rng.of(&self.outer)
    }
    /// The inner random state, after its draw for a probability of 1.
    pub fn inner<'a>(&self, rng: &'a mut RngStates) -> &'a mut RandomState {
        let rng = rng.of(&self.inner);
        rng.next_f64();
        rng
    }
}

/// Range of `factors` or `offsets`: a pair in any order, or `x` for `(-x, x)`.
pub fn range(values: &OneOrMany<f64>, name: &str) -> Result<[f64; 2]> {
    Ok(match values {
        OneOrMany::One(x) => [x.min(-x), x.max(-x)],
        OneOrMany::Many(pair) => match pair.as_slice() {
            [a, b] => [a.min(*b), a.max(*b)],
            _ => bail!("`{name}` has {} values, expected a number or a pair", pair.len()),
        },
    })
}

/// Draws one value for all channels, or one per channel if `channels` is given.
pub fn draw(random: &mut RandomState, [low, high]: [f64; 2], channels: Option<usize>) -> Vec<f64> {
    (0..channels.unwrap_or(1)).map(|_| random.uniform(low, high)).collect()
}

/// Implements `is_random` and `seed` for a transform with a field `chance`.
macro_rules! seeded_by_chance {
    () => {
        fn is_random(&self) -> bool {
            true
        }
        fn seed(&self, seed: u32, rng: &mut $crate::random::RngStates) {
            self.chance.seed(seed, rng);
        }
    };
}
pub(super) use seeded_by_chance;
