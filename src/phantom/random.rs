//! SplitMix64: a small random generator with the same numbers on every machine (Steele, Lea and Flood, OOPSLA 2014).

pub struct Stream(u64);

impl Stream {
    /// Creates a stream; streams of different `parts` (seed, case, purpose …) are independent.
    pub fn new(parts: &[u64]) -> Stream {
        let mut stream = Stream(0);
        for part in parts {
            stream.0 ^= part.wrapping_add(0x9e37_79b9_7f4a_7c15);
            stream.0 = stream.bits();
        }
        stream
    }
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// Uniform in `low..high`.
    pub fn uniform(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * (self.bits() >> 40) as f32 / (1u64 << 24) as f32
    }
    /// Uniform in `0..n`, n > 0.
    pub fn below(&mut self, n: usize) -> usize {
        (self.bits() % n as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// First numbers from state 0 as printed by the authors' C code.
    #[test]
    fn stream_is_splitmix64() {
        let mut stream = Stream(0);
        assert_eq!([stream.bits(), stream.bits()], [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4]);
    }

    #[test]
    fn uniform_numbers_fill_their_range() {
        let mut stream = Stream::new(&[1, 2]);
        let numbers: Vec<f32> = (0..1000).map(|_| stream.uniform(2.0, 5.0)).collect();
        assert!(numbers.iter().all(|x| (2.0..5.0).contains(x)));
        assert!(numbers.iter().any(|x| *x < 2.1) && numbers.iter().any(|x| *x > 4.9));
    }
}
