//! Renders structures to HU and labels on a voxel grid.
//!
//! The grid is divided into blocks. In each block, the structures that intersect it are composited from last to first
//! until every voxel is covered; voxels at surfaces get a mixture (partial volume effect). Voxels are independent of
//! each other.

use super::geometry::{Bounds, Point, length, mix, mix_points, ramp, sub};
use super::noise;
use super::person::Person;
use super::solid::FAR;
use super::structure::{LabelOp, Structure};
use super::tissue::{AIR_HU, Paint};
use rayon::prelude::*;
use segbundle_image::Grid;

/// Edge length of a block in voxels.
const BLOCK: usize = 8;
/// The mapping to the average body is computed at every fourth voxel along each axis (a post) and interpolated linearly
/// in between.
const STRIDE: usize = 4;
const POSTS: usize = BLOCK / STRIDE + 1;

/// Computes noise-free HU and labels; x varies fastest.
pub struct Painted {
    pub hu: Vec<f32>,
    pub labels: Vec<u8>,
}

pub struct Scene<'a> {
    pub person: &'a Person,
    pub structures: &'a [Structure],
    pub bounds: Vec<Bounds>,
    /// Upper surface of the table at its center, y in room coordinates.
    pub table_y: Option<f32>,
}

impl<'a> Scene<'a> {
    pub fn new(person: &'a Person, structures: &'a [Structure]) -> Scene<'a> {
        let bounds = structures.iter().map(|structure| structure.solid.bounds()).collect();
        let back = -119.0 - 0.95 * person.fat_mm;
        Scene { person, structures, bounds, table_y: person.has_table.then(|| back * person.scale[1] - 3.0) }
    }

    pub fn paint(&self, grid: &Grid) -> Painted {
        let [nx, ny, nz] = grid.shape;
        let mut hu = vec![AIR_HU; nx * ny * nz];
        let mut labels = vec![0; nx * ny * nz];
        let slab = nx * ny * BLOCK;
        hu.par_chunks_mut(slab).zip(labels.par_chunks_mut(slab)).enumerate().for_each(|(row, (hu, labels))| {
            for y in (0..ny).step_by(BLOCK) {
                for x in (0..nx).step_by(BLOCK) {
                    self.paint_block(grid, [x, y, row * BLOCK], hu, labels);
                }
            }
        });
        Painted { hu, labels }
    }

    /// Renders one block into its slab of the volume.
    fn paint_block(&self, grid: &Grid, first: [usize; 3], hu: &mut [f32], labels: &mut [u8]) {
        let spacing_mm = grid.affine.spacing_mm();
        let soft_mm = ((spacing_mm[0] + spacing_mm[1] + spacing_mm[2]) / 3.0) as f32;
        let posts = self.posts(grid, first);
        // Margin for the error of the linear interpolation between posts.
        let place = Bounds::of(posts.iter().copied()).grown(1.0);
        let middle = mix_points(place.low, place.high, 0.5);
        let radius = 0.5 * length(sub(place.high, place.low));
        let mut open: Vec<Voxel> = voxels(grid.shape, first, &posts);
        let margin = soft_mm + 1.0;
        for (structure, bounds) in self.structures.iter().zip(&self.bounds).rev() {
            if !bounds.meets(&place.grown(margin)) {
                continue;
            }
            let Some(solid) = structure.solid.near(&place, margin) else { continue };
            if solid.distance(middle) > FAR * radius + margin {
                continue;
            }
            for voxel in &mut open {
                let depth = -solid.distance(voxel.p);
                voxel.composite(structure, depth, soft_mm);
            }
            open.retain(|voxel| {
                let done = voxel.transparency <= 0.0 && voxel.label.is_some();
                if done {
                    voxel.store(self, grid, hu, labels);
                }
                !done
            });
            if open.is_empty() {
                return;
            }
        }
        open.iter().for_each(|voxel| voxel.store(self, grid, hu, labels));
    }

    /// Computes the average-body coordinates of every fourth voxel.
    fn posts(&self, grid: &Grid, first: [usize; 3]) -> Vec<Point> {
        let at = |post: usize, axis: usize| (first[axis] + STRIDE * post) as f64;
        (0..POSTS * POSTS * POSTS)
            .map(|i| {
                self.person
                    .to_average(world(grid, [at(i % POSTS, 0), at(i / POSTS % POSTS, 1), at(i / (POSTS * POSTS), 2)]))
            })
            .collect()
    }

    /// Returns the HU outside of the body: air and the table, a flat foam-filled trough with a hard shell and a mat on
    /// top.
    fn room_hu(&self, p: Point, soft_mm: f32) -> f32 {
        let Some(table_y) = self.table_y else { return AIR_HU };
        let surface = table_y + 0.000_55 * p[0] * p[0];
        let depth = surface - p[1];
        let inside = |low: f32, high: f32| {
            let edge = (depth - low).min(high - depth).min(215.0 - p[0].abs());
            (0.5 + edge / soft_mm).clamp(0.0, 1.0)
        };
        let mut hu = mix(AIR_HU, -930.0, inside(0.0, 9.0));
        hu = mix(hu, 160.0, inside(9.0, 38.0));
        mix(hu, -940.0, inside(12.5, 34.5))
    }
}

/// A voxel during compositing.
struct Voxel {
    /// Index in the slab.
    index: usize,
    at: [usize; 3],
    /// Position in the average body.
    p: Point,
    /// Accumulated HU.
    hu: f32,
    /// Remaining transparency, 0 to 1.
    transparency: f32,
    label: Option<u8>,
}

impl Voxel {
    /// Composites one structure below those already composited.
    fn composite(&mut self, structure: &Structure, depth: f32, soft_mm: f32) {
        let cover = (0.5 + depth / soft_mm).clamp(0.0, 1.0);
        if cover <= 0.0 {
            return;
        }
        if depth > 0.0 && self.label.is_none() {
            self.label = match structure.label_op {
                LabelOp::Set(id) => Some(id),
                LabelOp::Clear => Some(0),
                LabelOp::Keep => None,
            };
        }
        if let (Some(paint), true) = (&structure.paint, self.transparency > 0.0) {
            self.hu += self.transparency * cover * shade(paint, self.p, depth, soft_mm);
            self.transparency *= 1.0 - cover;
            if self.transparency < 0.004 {
                self.transparency = 0.0;
            }
        }
    }
    fn store(&self, scene: &Scene, grid: &Grid, hu: &mut [f32], labels: &mut [u8]) {
        let behind = match self.transparency > 0.0 {
            true => {
                let spacing_mm = grid.affine.spacing_mm()[1] as f32;
                self.transparency * scene.room_hu(world(grid, self.at.map(|n| n as f64)), spacing_mm)
            }
            false => 0.0,
        };
        hu[self.index] = self.hu + behind + streaks(scene.person, self.p) * (1.0 - self.transparency);
        labels[self.index] = self.label.unwrap_or(0);
    }
}

fn world(grid: &Grid, voxel: [f64; 3]) -> Point {
    std::array::from_fn(|row| {
        let [a, b, c, origin] = grid.affine.0[row];
        (a * voxel[0] + b * voxel[1] + c * voxel[2] + origin) as f32
    })
}

fn voxels(shape: [usize; 3], first: [usize; 3], posts: &[Point]) -> Vec<Voxel> {
    let end: [usize; 3] = std::array::from_fn(|axis| BLOCK.min(shape[axis] - first[axis]));
    let mut out = Vec::with_capacity(end[0] * end[1] * end[2]);
    for z in 0..end[2] {
        for y in 0..end[1] {
            for x in 0..end[0] {
                let at = [first[0] + x, first[1] + y, first[2] + z];
                let index = (z * shape[1] + at[1]) * shape[0] + at[0];
                out.push(Voxel { index, at, p: between(posts, [x, y, z]), hu: 0.0, transparency: 1.0, label: None });
            }
        }
    }
    out
}

/// Interpolates linearly between the eight posts around a voxel of the block.
fn between(posts: &[Point], at: [usize; 3]) -> Point {
    let [x, y, z] = at.map(|n| n / STRIDE);
    let [u, v, w] = at.map(|n| (n % STRIDE) as f32 / STRIDE as f32);
    let post = |dx: usize, dy: usize, dz: usize, axis: usize| posts[((z + dz) * POSTS + y + dy) * POSTS + x + dx][axis];
    std::array::from_fn(|axis| {
        let line = |dy: usize, dz: usize| mix(post(0, dy, dz, axis), post(1, dy, dz, axis), u);
        mix(mix(line(0, 0), line(1, 0), v), mix(line(0, 1), line(1, 1), v), w)
    })
}

/// Returns the HU of `paint` at a point `depth` mm below the surface.
fn shade(paint: &Paint, p: Point, depth: f32, soft_mm: f32) -> f32 {
    let mut hu = paint.core_hu - paint.sink_hu_per_mm * p[1];
    if paint.mottle_hu > 0.0 {
        hu += paint.mottle_hu * noise::smooth(0x51ed, p.map(|value| value / paint.mottle_mm));
    }
    if paint.septa_mm > 0.0 {
        // Septa lie at the zero crossings of smooth noise.
        let place = [p[0] / paint.septa_mm, p[1] / paint.septa_mm, p[2] / (2.5 * paint.septa_mm)];
        hu = mix(hu, -90.0, 0.8 * (1.0 - noise::smooth(0x5e97, place).abs() / 0.075).max(0.0));
    }
    if let Some(level) = paint.gas_from_y {
        hu = mix(hu, AIR_HU, (0.5 + (p[1] - level) / soft_mm).clamp(0.0, 1.0));
    }
    if paint.rind_mm > 0.0 {
        hu = mix(hu, paint.rind_hu, (0.5 + (paint.rind_mm - depth) / soft_mm).clamp(0.0, 1.0));
    }
    hu
}

/// Horizontal streak artifacts at shoulders and hips, where attenuation is strongest.
fn streaks(person: &Person, p: Point) -> f32 {
    let starved = ramp(405.0, 440.0, p[2]) * ramp(500.0, 475.0, p[2])
        + 0.7 * ramp(-125.0, -100.0, p[2]) * ramp(-45.0, -70.0, p[2]);
    if starved <= 0.0 {
        return 0.0;
    }
    0.9 * person.noise_hu * starved * noise::smooth(person.seed as u32 ^ 77, [p[0] / 140.0, p[1] / 3.5, p[2] / 4.0])
}
