//! Smooth noise: random values at lattice points, interpolated between them (value noise).

use super::geometry::Point;

/// Hashes three lattice coordinates to 32 bits (finalized by Wellons' `lowbias32`).
#[inline]
fn lattice(seed: u32, x: i32, y: i32, z: i32) -> u32 {
    let mut bits = seed
        ^ (x as u32).wrapping_mul(0x9e37_79b1)
        ^ (y as u32).wrapping_mul(0x85eb_ca77).rotate_left(11)
        ^ (z as u32).wrapping_mul(0xc2b2_ae3d).rotate_left(22);
    bits ^= bits >> 16;
    bits = bits.wrapping_mul(0x7feb_352d);
    bits ^= bits >> 15;
    bits = bits.wrapping_mul(0x846c_a68b);
    bits ^ (bits >> 16)
}

#[inline]
fn value(seed: u32, x: i32, y: i32, z: i32) -> f32 {
    (lattice(seed, x, y, z) >> 8) as f32 / (1u32 << 23) as f32 - 1.0
}

/// Returns smooth noise in -1..1 that varies over about one unit of `p`.
#[inline]
pub fn smooth(seed: u32, p: Point) -> f32 {
    let base = p.map(f32::floor);
    let [x, y, z] = base.map(|value| value as i32);
    let [u, v, w] = std::array::from_fn(|axis| {
        let t = p[axis] - base[axis];
        t * t * (3.0 - 2.0 * t)
    });
    let along_x = |y: i32, z: i32| {
        let (a, b) = (value(seed, x, y, z), value(seed, x.wrapping_add(1), y, z));
        a + (b - a) * u
    };
    let along_y = |z: i32| {
        let (a, b) = (along_x(y, z), along_x(y.wrapping_add(1), z));
        a + (b - a) * v
    };
    let (a, b) = (along_y(z), along_y(z.wrapping_add(1)));
    a + (b - a) * w
}

/// Returns white noise of a voxel: mean 0, standard deviation 1, within ±3.5.
#[inline]
pub fn white(seed: u32, index: usize) -> f32 {
    let (low, high) = (index as i32, (index >> 32) as i32);
    let (a, b) = (lattice(seed, low, high, 1), lattice(seed, low, high, 2));
    let sum = (a & 0xffff) + (a >> 16) + (b & 0xffff) + (b >> 16);
    // A uniform number has variance 1/12, the sum of four 1/3.
    (sum as f32 / 65536.0 - 2.0) * 1.732_050_8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_noise_has_mean_0_and_deviation_1() {
        let numbers: Vec<f64> = (0..100_000).map(|index| f64::from(white(7, index))).collect();
        let mean = numbers.iter().sum::<f64>() / 1e5;
        let variance = numbers.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 1e5;
        // Tolerance: five standard errors.
        assert!(mean.abs() < 0.016 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
    }

    #[test]
    fn smooth_noise_is_continuous_and_varies() {
        let line: Vec<f32> = (0..5000).map(|i| smooth(3, [i as f32 * 0.01 - 20.0, 0.3, 0.7])).collect();
        assert!(line.windows(2).all(|pair| (pair[0] - pair[1]).abs() < 0.05));
        let (low, high) = line.iter().fold((1.0f32, -1.0f32), |(low, high), x| (low.min(*x), high.max(*x)));
        assert!(low < -0.3 && high > 0.3, "{low} {high}");
    }
}
