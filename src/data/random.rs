//! NumPy's `RandomState`: the MT19937 generator and the draws made from it, number for number.
//!
//! Source of the algorithms: Matsumoto and Nishimura's MT19937 (1998) and NumPy's legacy generator (`numpy.random.mtrand`).

/// MT19937.
#[derive(Clone)]
pub struct RandomState {
    state: [u32; N],
    at: usize,
}

const N: usize = 624;
const M: usize = 397;

impl RandomState {
    /// As `numpy.random.RandomState(seed)` for a seed of 32 bits.
    pub fn new(seed: u32) -> RandomState {
        let mut state = [0; N];
        state[0] = seed;
        for i in 1..N {
            let last: u32 = state[i - 1];
            state[i] = 1_812_433_253u32.wrapping_mul(last ^ (last >> 30)).wrapping_add(i as u32);
        }
        RandomState { state, at: N }
    }

    fn refill(&mut self) {
        for i in 0..N {
            let y = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % N] & 0x7fff_ffff);
            self.state[i] = self.state[(i + M) % N] ^ (y >> 1) ^ if y & 1 == 1 { 0x9908_b0df } else { 0 };
        }
        self.at = 0;
    }

    /// 32 uniform bits.
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

    /// 64 bits, the first draw in the upper half.
    pub fn next_u64(&mut self) -> u64 {
        u64::from(self.next_u32()) << 32 | u64::from(self.next_u32())
    }

    /// Uniform in [0, 1) with 53 bits: `random_sample()`.
    pub fn next_f64(&mut self) -> f64 {
        let (a, b) = (self.next_u32() >> 5, self.next_u32() >> 6);
        (f64::from(a) * 67_108_864.0 + f64::from(b)) / 9_007_199_254_740_992.0
    }

    /// Uniform in 0..=max: draws below the next power of two until one fits.
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

    /// `shuffle(x)`: Fisher-Yates from the end.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.interval(i as u64) as usize);
        }
    }

    /// `permutation(n)`.
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut items: Vec<usize> = (0..n).collect();
        self.shuffle(&mut items);
        items
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
}
