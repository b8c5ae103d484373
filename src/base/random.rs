//! NumPy's `RandomState`: the MT19937 generator and its distributions, with exactly NumPy's values.
//!
//! Source of the algorithms: Matsumoto and Nishimura's MT19937 (1998) and NumPy's legacy generator (`numpy.random.mtrand`).

use indexmap::IndexMap;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

/// An MT19937 generator with the methods of `numpy.random.RandomState`.
#[derive(Clone, PartialEq)]
pub struct RandomState {
    state: [u32; N],
    at: usize,
    /// Cached second value of the last pair of normal values.
    gauss: Option<f64>,
}

const N: usize = 624;
const M: usize = 397;

impl RandomState {
    /// `numpy.random.RandomState(seed)` for a 32-bit seed.
    pub fn new(seed: u32) -> RandomState {
        let mut state = [0; N];
        state[0] = seed;
        for i in 1..N {
            let last: u32 = state[i - 1];
            state[i] = 1_812_433_253u32.wrapping_mul(last ^ (last >> 30)).wrapping_add(i as u32);
        }
        RandomState { state, at: N, gauss: None }
    }

    fn refill(&mut self) {
        for i in 0..N {
            let y = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % N] & 0x7fff_ffff);
            self.state[i] = self.state[(i + M) % N] ^ (y >> 1) ^ if y & 1 == 1 { 0x9908_b0df } else { 0 };
        }
        self.at = 0;
    }

    /// Returns 32 uniform bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.at == N {
            self.refill();
        }
        let mut y = self.state[self.at];
        self.at += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// Returns 64 uniform bits; the first draw becomes the upper half.
    pub fn next_u64(&mut self) -> u64 {
        u64::from(self.next_u32()) << 32 | u64::from(self.next_u32())
    }

    /// `random_sample()`: uniform in [0, 1) with 53 bits.
    pub fn next_f64(&mut self) -> f64 {
        let (a, b) = (self.next_u32() >> 5, self.next_u32() >> 6);
        (f64::from(a) * 67_108_864.0 + f64::from(b)) / 9_007_199_254_740_992.0
    }

    /// Uniform in 0..=max, by rejection of draws below the next power of two.
    pub fn interval(&mut self, max: u64) -> u64 {
        if max == 0 {
            return 0;
        }
        let mask = u64::MAX >> max.leading_zeros();
        loop {
            let value = if max <= u64::from(u32::MAX) { u64::from(self.next_u32()) } else { self.next_u64() } & mask;
            if value <= max {
                return value;
            }
        }
    }

    /// `shuffle(x)`: Fisher–Yates from the end.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.interval(i as u64) as usize);
        }
    }

    /// `randint(low, high)`: uniform in low..high, which must not be empty.
    pub fn randint(&mut self, low: i64, high: i64) -> i64 {
        low.wrapping_add(self.interval((high - low - 1).max(0) as u64) as i64)
    }

    /// `uniform(low, high)`: uniform in [low, high).
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.next_f64()
    }

    /// `normal(mean, std)`, by Marsaglia's polar method.
    pub fn normal(&mut self, mean: f64, std: f64) -> f64 {
        let value = self.gauss.take().unwrap_or_else(|| {
            loop {
                let (a, b) = (2.0 * self.next_f64() - 1.0, 2.0 * self.next_f64() - 1.0);
                let square = a * a + b * b;
                if square < 1.0 && square != 0.0 {
                    let factor = (-2.0 * square.ln() / square).sqrt();
                    self.gauss = Some(factor * a);
                    return factor * b;
                }
            }
        });
        mean + std * value
    }

    /// `get_state()`: the key, the position in it, and the cached normal value.
    pub fn state(&self) -> (&[u32], usize, Option<f64>) {
        (&self.state, self.at, self.gauss)
    }

    /// `set_state()`: restores a state returned by [`RandomState::state`]; `None` if the key length or the position is
    /// invalid.
    pub fn from_state(key: &[u32], at: usize, gauss: Option<f64>) -> Option<RandomState> {
        Some(RandomState { state: key.try_into().ok()?, at, gauss }).filter(|random| random.at <= N)
    }

    /// `permutation(n)`.
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut items: Vec<usize> = (0..n).collect();
        self.shuffle(&mut items);
        items
    }
}

/// Identifies the generator of one random transform.
#[derive(Clone, Default)]
pub struct RngId(Arc<u8>);

/// Generator states of all random transforms, owned by one worker. A clone is a snapshot.
#[derive(Clone, Default)]
pub struct RngStates(IndexMap<usize, (RngId, RandomState)>);

impl RngStates {
    /// Seeds a generator: `set_random_state(seed)`.
    pub fn seed(&mut self, id: &RngId, seed: u32) {
        self.0.insert(Arc::as_ptr(&id.0) as usize, (id.clone(), RandomState::new(seed)));
    }
    /// Returns the generator of `id`. Without a seed it starts from a random state, as in MONAI.
    pub fn of(&mut self, id: &RngId) -> &mut RandomState {
        let begin = || {
            let anywhere = std::collections::hash_map::RandomState::new().build_hasher().finish();
            (id.clone(), RandomState::new(anywhere as u32))
        };
        &mut self.0.entry(Arc::as_ptr(&id.0) as usize).or_insert_with(begin).1
    }
    /// Iterates over the states in the order of first seeding or use, for checkpoints.
    pub fn states(&self) -> impl Iterator<Item = &RandomState> {
        self.0.values().map(|(_, state)| state)
    }
    /// Updates the states that also exist in `other`; other entries of `other` are ignored.
    pub fn update_from(&mut self, other: &RngStates) {
        for (id, own) in &mut self.0 {
            if let Some(state) = other.0.get(id) {
                own.clone_from(state);
            }
        }
    }
    /// Adds or replaces the states of `other`.
    pub fn extend(&mut self, other: RngStates) {
        self.0.extend(other.0);
    }
    /// Restores saved states in the order of [`RngStates::states`]. Returns false and changes nothing if their number
    /// differs.
    pub fn restore(&mut self, states: Vec<RandomState>) -> bool {
        let fits = states.len() == self.0.len();
        if fits {
            self.0.values_mut().zip(states).for_each(|((_, own), state)| *own = state);
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::RandomState;

    fn check(seed: u32, shuffled: &[usize], next: f64) {
        let mut random = RandomState::new(seed);
        assert_eq!(random.permutation(shuffled.len()), shuffled);
        assert_eq!(random.next_f64(), next);
    }

    // rs = np.random.RandomState(S); x = list(range(N)); rs.shuffle(x); print(x, rs.random_sample())
    #[test]
    fn shuffles_as_numpy() {
        check(0, &[2, 8, 4, 9, 1, 6, 7, 3, 0, 5], 0.4375872112626925);
        check(123, &[4, 9, 16, 8, 5, 7, 0, 10, 11, 3, 1, 6, 15, 12, 2, 14, 13], 0.7290497073840416);
        check(4294967295, &[4, 1, 0, 2, 3], 0.78903530185164);
    }

    // r = np.random.RandomState(42); print([r.randint(0, n) for n in (10, 1000, 2**31)], r.uniform(-2, 3),
    //   [r.normal(1, 2) for _ in range(3)], r.randint(2**32, dtype="uint32"), r.rand())
    #[test]
    fn draws_as_numpy() {
        let mut random = RandomState::new(42);
        assert_eq!([10, 1000, 1 << 31].map(|n| random.randint(0, n)), [6, 435, 1935803228]);
        assert_eq!(random.uniform(-2.0, 3.0), -1.0828260506691811);
        assert_eq!(
            [(); 3].map(|()| random.normal(1.0, 2.0)),
            [1.947721667489646, 3.73690024653151, -0.8336536876367437]
        );
        let (key, at, gauss) = random.state();
        let mut copy = RandomState::from_state(key, at, gauss).unwrap();
        for random in [&mut random, &mut copy] {
            assert_eq!(random.next_u32(), 1972458954);
            assert_eq!(random.next_f64(), 0.8661761457749352);
        }
        assert!(RandomState::from_state(&[1, 2], 0, None).is_none());
    }
}
