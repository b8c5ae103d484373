//! What random transforms share: the chance, and factors for an image or its channels.
//!
//! MONAI's dictionary transforms hold a stream of their own for the chance and, where they wrap an array transform, a
//! second one inside it, seeded alike; the inner one draws a chance of 1 first (monai/transforms/transform.py, 1.6.1).

use crate::bail;
use crate::component::OneOrMany;
use crate::error::Result;
use crate::random::{RandomState, StreamId, Streams};

/// The streams of a dictionary transform around an array transform.
#[derive(Default)]
pub struct Chance {
    outer: StreamId,
    inner: StreamId,
    prob: f64,
}

impl Chance {
    pub fn new(prob: f64) -> Chance {
        Chance { prob: prob.clamp(0.0, 1.0), ..Chance::default() }
    }
    pub fn seed(&self, seed: u32, streams: &mut Streams) {
        streams.seed(&self.outer, seed);
        streams.seed(&self.inner, seed);
    }
    /// Whether to go on.
    pub fn happens(&self, streams: &mut Streams) -> bool {
        streams.of(&self.outer).next_f64() < self.prob
    }
    /// The outer stream, for what is drawn beside the chance.
    pub fn outer<'a>(&self, streams: &'a mut Streams) -> &'a mut RandomState {
        streams.of(&self.outer)
    }
    /// The inner stream, after the draw of its own chance of 1.
    pub fn inner<'a>(&self, streams: &'a mut Streams) -> &'a mut RandomState {
        let stream = streams.of(&self.inner);
        stream.next_f64();
        stream
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
        fn seed(&self, seed: u32, streams: &mut $crate::random::Streams) {
            self.chance.seed(seed, streams);
        }
    };
}
pub(super) use seeded_by_chance;
