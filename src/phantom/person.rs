//! One person in one examination: differences from the average body, and the mapping from room to body coordinates.
//!
//! Anatomy is defined in the coordinates of the average body. A person is a smooth deformation of them, which preserves
//! the topology for every size and build.

use super::geometry::{Point, ramp};
use super::noise;
use super::random::Stream;
use super::tissue::Shades;

pub struct Person {
    pub seed: u64,
    /// Size relative to the average along x, y, z.
    pub scale: Point,
    /// Protrusion of the abdomen, as a fraction of its depth.
    pub belly: f32,
    /// Broad hips (positive) or broad shoulders (negative), as a fraction of the width.
    pub hips: f32,
    /// Thickness of the abdominal subcutaneous fat.
    pub fat_mm: f32,
    /// Size of the breasts; 0 for none.
    pub breast_mm: f32,
    pub arms_raised: bool,
    pub shades: Shades,
    /// Standard deviation of the noise, before the blur of the scanner.
    pub noise_hu: f32,
    /// Fraction of a voxel that is spread to each neighbor along an axis: a soft or a sharp kernel.
    pub blur: f32,
    pub has_table: bool,
}

impl Person {
    /// Creates person number `index` of the data set with this seed. `arms_raised`: arms above the head, as in most
    /// scans of the trunk.
    pub fn new(seed: u64, index: u64, arms_raised: bool) -> Person {
        let mut stream = Stream::new(&[seed, index]);
        let size = stream.uniform(0.93, 1.06);
        let female = stream.below(2) == 0;
        let build = stream.uniform(0.0, 1.0);
        let (arterial, venous) = match stream.below(4) {
            0 => (0.0, 0.0),
            1 => (stream.uniform(0.5, 1.0), stream.uniform(0.1, 0.35)),
            _ => (stream.uniform(0.0, 0.2), stream.uniform(0.6, 1.0)),
        };
        Person {
            seed: stream.bits(),
            scale: [
                size * stream.uniform(0.96, 1.04) * if female { 0.96 } else { 1.0 },
                size * stream.uniform(0.95, 1.05),
                size * stream.uniform(0.97, 1.03) * if female { 0.97 } else { 1.0 },
            ],
            belly: -0.04 + 0.2 * build * build,
            hips: if female { stream.uniform(0.0, 0.06) } else { stream.uniform(-0.04, 0.02) },
            fat_mm: 6.0 + 26.0 * build * stream.uniform(0.7, 1.0) + if female { 4.0 } else { 0.0 },
            breast_mm: if female { stream.uniform(16.0, 40.0) } else { 0.0 },
            arms_raised,
            shades: Shades {
                arterial,
                venous,
                bone: stream.uniform(0.8, 1.15),
                fatty_liver_hu: if stream.below(4) == 0 { stream.uniform(5.0, 30.0) } else { 0.0 },
                lung_hu: stream.uniform(-25.0, 45.0),
            },
            noise_hu: stream.uniform(9.0, 24.0),
            blur: stream.uniform(0.05, 0.17),
            has_table: stream.below(10) != 0,
        }
    }

    /// Maps room coordinates (mm, RAS+) to the average body.
    pub fn to_average(&self, world: Point) -> Point {
        let mut p: Point = std::array::from_fn(|axis| world[axis] / self.scale[axis]);
        let seed = self.seed as u32;
        // Individual lengths of chest, abdomen and neck; local variation of width and depth.
        p[2] += 9.0 * noise::smooth(seed ^ 1, [0.0, 0.0, p[2] / 210.0]);
        let z = p[2];
        let along = |salt: u32, mm: f32| noise::smooth(seed ^ salt, [0.5, 0.5, z / mm]);
        let hips = self.hips * (ramp(120.0, -40.0, z) - 0.6 * ramp(300.0, 420.0, z));
        p[0] /= 1.0 + 0.035 * along(2, 170.0) + hips;
        p[1] /= 1.0 + 0.03 * along(3, 190.0);
        if p[1] > -30.0 {
            let bulge = self.belly * ramp(-130.0, 30.0, z) * ramp(280.0, 110.0, z);
            p[1] = -30.0 + (p[1] + 30.0) / (1.0 + bulge);
        }
        let wide = p.map(|value| value / 105.0);
        let narrow = p.map(|value| value / 38.0);
        std::array::from_fn(|axis| {
            let salt = 16 + axis as u32;
            p[axis] + 4.5 * noise::smooth(seed ^ salt, wide) + 1.0 * noise::smooth(seed ^ (salt + 8), narrow)
        })
    }
}
