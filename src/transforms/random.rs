//! What random transforms share: the chance, and factors for an image or its channels.
//!
//! MONAI's dictionary transforms hold a random state of their own for the chance and, where they wrap an array transform, a
//! second one inside it, seeded alike; the inner one draws a chance of 1 first (monai/transforms/transform.py, 1.6.1).

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
    pub fn new(prob: f64) -> Chance {
        Chance { prob: prob.clamp(0.0, 1.0), ..Chance::default() }
    }
    pub fn seed(&self, seed: u32, rng: &mut RngStates) {
        rng.seed(&self.outer, seed);
        rng.seed(&self.inner, seed);
    }
    /// Whether to go on.
    pub fn happens(&self, rng: &mut RngStates) -> bool {
        rng.of(&self.outer).next_f64() < self.prob
    }
    /// The outer random state, for what is drawn beside the chance.
    pub fn outer<'a>(&self, rng: &'a mut RngStates) -> &'a mut RandomState {
        rng.of(&self.outer)
    }
    /// The inner random state, after the draw of its own chance of 1.
    pub fn inner<'a>(&self, rng: &'a mut RngStates) -> &'a mut RandomState {
        let rng = rng.of(&self.inner);
        rng.next_f64();
        rng
    }
}

/// `factors` or `offsets`: a pair in any order, or x for ±x.
pub fn range(values: &OneOrMany<f64>, name: &str) -> Result<[f64; 2]> {
    Ok(match values {
        OneOrMany::One(x) => [x.min(-x), x.max(-x)],
        OneOrMany::Many(pair) => match pair.as_slice() {
            [a, b] => [a.min(*b), a.max(*b)],
            _ => bail!("`{name}` has {} values, expected a number or a pair", pair.len()),
        },
    })
}

/// One draw for all channels, or one for each.
pub fn draw(random: &mut RandomState, [low, high]: [f64; 2], channels: Option<usize>) -> Vec<f64> {
    (0..channels.unwrap_or(1)).map(|_| random.uniform(low, high)).collect()
}

/// `is_random` and `seed` of a transform with a field `chance`.
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
