//! SplitMix64: a small random stream whose numbers are the same on every machine (Steele, Lea and Flood, OOPSLA 2014).
//!
//! No logarithm or cosine is used anywhere in the phantom, as libraries round these differently.

pub struct Stream(u64);

impl Stream {
    /// Streams of different `parts` (seed, case, slice …) are independent.
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
    /// In `low..high`.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }
    /// In `0..n`, n > 0.
    pub fn below(&mut self, n: usize) -> usize {
        (self.bits() % n as u64) as usize
    }
    /// Mean 0, standard deviation 1, never beyond ±3.5: the sum of four uniform numbers.
    pub fn bell(&mut self) -> f64 {
        let bits = self.bits();
        let sum: u64 = (0..4).map(|part| bits >> (16 * part) & 0xffff).sum();
        // A uniform number has variance 1/12, four of them 1/3.
        (sum as f64 / 65536.0 - 2.0) * 1.732_050_807_568_877_2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bell_has_mean_0_and_deviation_1() {
        let mut stream = Stream::new(&[1, 2]);
        let numbers: Vec<f64> = (0..100_000).map(|_| stream.bell()).collect();
        let mean = numbers.iter().sum::<f64>() / 1e5;
        let variance = numbers.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 1e5;
        // Five standard errors.
        assert!(mean.abs() < 0.016 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
    }

    /// The generator's first numbers from state 0, as its authors' C code prints them.
    #[test]
    fn stream_is_splitmix64() {
        let mut stream = Stream(0);
        assert_eq!([stream.bits(), stream.bits()], [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4]);
    }
}
