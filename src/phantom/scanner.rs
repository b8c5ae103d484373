//! Effects of the scanner: correlated noise, and the blur of the reconstruction kernel.

use super::noise;
use super::person::Person;
use rayon::prelude::*;

/// Converts rendered HU [X,Y,Z] (x varies fastest) to the stored int16 values.
pub fn scan(hu: Vec<f32>, shape: [usize; 3], person: &Person) -> Vec<i16> {
    let [nx, ny, _] = shape;
    let slice = nx * ny;
    let seed = (person.seed >> 20) as u32;
    let mut grainy = hu;
    grainy.par_chunks_mut(slice).enumerate().for_each(|(z, values)| {
        for (i, value) in values.iter_mut().enumerate() {
            // Noise is low in air.
            let gain = if *value < -900.0 { 0.35 } else { 1.0 };
            *value += gain * person.noise_hu * noise::white(seed, z * slice + i);
        }
    });
    let mut blurred = vec![0.0; grainy.len()];
    for axis in 0..3 {
        blur(&grainy, &mut blurred, shape, axis, person.blur);
        std::mem::swap(&mut grainy, &mut blurred);
    }
    grainy.into_par_iter().map(|value| value.round().clamp(-1024.0, 3071.0) as i16).collect()
}

/// Spreads the fraction `share` of every voxel to each of its two neighbors along `axis`.
fn blur(from: &[f32], to: &mut [f32], shape: [usize; 3], axis: usize, share: f32) {
    let [nx, ny, nz] = shape;
    let slice = nx * ny;
    to.par_chunks_mut(slice).enumerate().for_each(|(z, out)| {
        for (i, value) in out.iter_mut().enumerate() {
            let at = z * slice + i;
            let (place, length, step) = [(i % nx, nx, 1), (i / nx, ny, nx), (z, nz, slice)][axis];
            let before = if place > 0 { at - step } else { at };
            let after = if place + 1 < length { at + step } else { at };
            *value = from[at] + share * (from[before] + from[after] - 2.0 * from[at]);
        }
    });
}
