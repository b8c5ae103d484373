//! Resampling: three passes along the axes where the grids are parallel, a gather of eight neighbours otherwise.
//!
//! Values are computed in f64 and rounded once to f32, as MONAI's Spacing with its default dtype does. The passes sum in
//! another order than torch's eight products; the difference is some 1e-16 of the summands and survives the rounding to
//! f32 in about one voxel of 10^8. Where the summands cancel it would show, and whether a value is exactly zero decides
//! what NormalizeIntensity(nonzero=True) does with it: there the eight products are summed as torch sums them.

use super::gather::{Source, gather};
use super::sampling::{LinearAxis, Sampler};
use super::{Element, Interpolation, Layout, Volume, Voxels, filled};
use crate::each_voxels;
use crate::error::Result;
use rayon::prelude::*;

/// Output z per slab where the source's planes lie along Z: one cache line of f32.
const SLAB: usize = 16;

/// Below this a sum may have lost the digits that tell it from zero: rounding errors are some 1e-12 for voxels of some
/// thousand HU.
const CANCELLED: f64 = 1e-6;

/// All channels of `volume` through `sampler`, in C order [C,X,Y,Z]: f32 for [`Interpolation::Linear`], the same type
/// for [`Interpolation::Nearest`].
pub fn resample(volume: &Volume, sampler: &Sampler, interpolation: Interpolation) -> Result<Voxels> {
    fn run<T: Element>(buffer: &[T], layout: &Layout, sampler: &Sampler, interpolation: Interpolation) -> Result<Voxels> {
        let per_channel: usize = sampler.to.iter().product();
        let n = layout.channels() * per_channel;
        Ok(match interpolation {
            Interpolation::Linear => f32::wrap(filled(n, |out| {
                for (channel, out) in out.chunks_exact_mut(per_channel.max(1)).enumerate() {
                    linear(Source::channel(buffer, layout, channel), sampler, out);
                }
            })?),
            Interpolation::Nearest => T::wrap(filled(n, |out| {
                for (channel, out) in out.chunks_exact_mut(per_channel.max(1)).enumerate() {
                    nearest(Source::channel(buffer, layout, channel), sampler, T::default(), out);
                }
            })?),
        })
    }
    each_voxels!(&volume.voxels, slice => run(slice, &volume.layout, sampler, interpolation))
}

/// Nearest neighbours of one channel; `fill` where zeros are padded.
pub fn nearest<T: Copy + Send + Sync>(source: Source<T>, sampler: &Sampler, fill: T, out: &mut [T]) {
    if sampler.is_separable() {
        let tables: [Vec<u32>; 3] = std::array::from_fn(|axis| sampler.nearest_axis(axis));
        return gather(source, [&tables[0], &tables[1], &tables[2]], fill, out);
    }
    by_rows(sampler, out, |coordinates, row| {
        sampler.nearest_row(coordinates, source.strides, |z, at| {
            row[z] = at.map_or(fill, |at| source.buffer[(source.offset + at) as usize]);
        });
    });
}

/// Linear interpolation of one channel.
pub fn linear<T: Element>(source: Source<T>, sampler: &Sampler, out: &mut [f32]) {
    if sampler.is_nearly_separable() {
        let axes = std::array::from_fn(|axis| sampler.linear_axis(axis));
        return passes(source, &axes, out);
    }
    by_rows(sampler, out, |[x, y, z], row| {
        for (i, out) in row.iter_mut().enumerate() {
            *out = eight(&source, [x[i], y[i], z[i]]) as f32;
        }
    });
}

/// Calls `each(input coordinates by axis, row along z)` for all rows of the output, in parallel.
fn by_rows<T: Send>(sampler: &Sampler, out: &mut [T], each: impl Fn([&[f64]; 3], &mut [T]) + Sync) {
    let [_, ny, nz] = sampler.to;
    if out.is_empty() {
        return;
    }
    let lines = sampler.lines();
    out.par_chunks_mut(ny * nz).enumerate().for_each_with(lines, |lines, (x, plane)| {
        for (y, row) in plane.chunks_exact_mut(nz).enumerate() {
            each(sampler.row(lines, x, y), row);
        }
    });
}

fn position<T>(source: &Source<T>, at: [usize; 3]) -> usize {
    let [sx, sy, sz] = source.strides;
    (source.offset + at[0] as isize * sx + at[1] as isize * sy + at[2] as isize * sz) as usize
}

/// Trilinear interpolation; neighbours outside count nothing.
fn eight<T: Element>(source: &Source<T>, at: [f64; 3]) -> f64 {
    let floor = at.map(f64::floor);
    let mut sum = 0.0;
    for corner in 0..8 {
        let mut weight = 1.0;
        let mut index = [0; 3];
        let mut inside = true;
        // torch multiplies the weights of its fastest axis first.
        for axis in [2, 1, 0] {
            // The bits of `corner` from high to low are z, y, x: torch's order of the neighbours.
            let up = f64::from(u8::from(corner >> axis_bit(axis) & 1 == 1));
            let i = floor[axis] + up;
            weight *= if up == 1.0 { at[axis] - floor[axis] } else { floor[axis] + 1.0 - at[axis] };
            inside &= i >= 0.0 && i < source.shape[axis] as f64;
            index[axis] = i as usize;
        }
        if inside {
            sum += source.buffer[position(source, index)].to_f64() * weight;
        }
    }
    sum
}

/// torch's fastest axis (our Z) varies first.
fn axis_bit(axis: usize) -> usize {
    2 - axis
}

/// Linear interpolation along the three axes in turn. Axes are named by their place in memory: `a` is the fastest of
/// the source, `c` the slowest. Each task makes some planes of constant output x, which lie together in `out`.
fn passes<T: Element>(source: Source<T>, axes: &[LinearAxis; 3], out: &mut [f32]) {
    let shape: [usize; 3] = std::array::from_fn(|axis| axes[axis].low.len());
    if out.is_empty() {
        return;
    }
    let mut order = [2, 1, 0];
    order.sort_by_key(|&axis| source.strides[axis].unsigned_abs());
    // Enough rows of x that what neighbouring tasks both read is little; enough tasks to keep threads busy.
    let rows = shape[0].div_ceil(rayon::current_num_threads() * 3).clamp(1, 64);
    out.par_chunks_mut(rows * shape[1] * shape[2]).enumerate().for_each(|(task, out)| {
        let x0 = task * rows;
        let count = out.len() / (shape[1] * shape[2]);
        let x_axis = axes[0].part(x0, count);
        let axes = [&x_axis, &axes[1], &axes[2]];
        Passes::new(source, order, axes).run(out, [count, shape[1], shape[2]]);
    });
}

impl LinearAxis {
    fn part(&self, start: usize, count: usize) -> LinearAxis {
        LinearAxis {
            low: self.low[start..start + count].to_vec(),
            high: self.high[start..start + count].to_vec(),
            weights: self.weights[start..start + count].to_vec(),
        }
    }
    /// The source indices used: first and one past the last.
    fn range(&self) -> (usize, usize) {
        let ends = self.low.iter().chain(&self.high);
        (ends.clone().min().map_or(0, |&i| i as usize), ends.max().map_or(0, |&i| i as usize + 1))
    }
}

/// One task's state: two planes of the source at a time, resampled within the plane.
struct Passes<'a, T> {
    source: Source<'a, T>,
    /// Axes a, b, c.
    order: [usize; 3],
    axes: [&'a LinearAxis; 3],
    /// [b', a'] in f64, and the source index along c that each holds.
    planes: [(Option<u32>, Vec<f64>); 2],
    /// One source row along a, after interpolation along b.
    row: Vec<f64>,
}

impl<'a, T: Element> Passes<'a, T> {
    fn new(source: Source<'a, T>, order: [usize; 3], axes: [&'a LinearAxis; 3]) -> Self {
        let size = axes[order[0]].low.len() * axes[order[1]].low.len();
        Passes { source, order, axes, planes: [(None, vec![0.0; size]), (None, vec![0.0; size])], row: Vec::new() }
    }
    /// `shape`: of `out`, [X,Y,Z].
    fn run(mut self, out: &mut [f32], shape: [usize; 3]) {
        let [a, b, c] = self.order;
        let strides = [shape[1] * shape[2], shape[2], 1];
        let (na, nb, nc) = (shape[a], shape[b], shape[c]);
        // Along Z, several planes are gathered so that `out` is written in whole cache lines.
        let depth = if c == 2 { SLAB } else { 1 };
        let mut slab = vec![0.0f32; depth * na * nb];
        for c0 in (0..nc).step_by(depth) {
            let count = depth.min(nc - c0);
            for (i, plane) in slab.chunks_exact_mut(na * nb).take(count).enumerate() {
                self.blend(c0 + i, plane);
            }
            if c == 2 {
                for ib in 0..nb {
                    for ia in 0..na {
                        let start = ib * strides[b] + ia * strides[a] + c0;
                        for (i, out) in out[start..start + count].iter_mut().enumerate() {
                            *out = slab[(i * nb + ib) * na + ia];
                        }
                    }
                }
            } else if a == 2 {
                for (ib, row) in slab.chunks_exact(na).enumerate() {
                    let start = ib * strides[b] + c0 * strides[c];
                    out[start..start + na].copy_from_slice(row);
                }
            } else {
                for ia in 0..na {
                    let start = ia * strides[a] + c0 * strides[c];
                    for (ib, out) in out[start..start + nb].iter_mut().enumerate() {
                        *out = slab[ib * na + ia];
                    }
                }
            }
        }
    }
    /// The output plane at c', rounded to f32.
    fn blend(&mut self, at: usize, out: &mut [f32]) {
        let line = self.axes[self.order[2]];
        let (low, high, [wl, wh]) = (line.low[at], line.high[at], line.weights[at]);
        if wl == 0.0 && wh == 0.0 {
            out.fill(0.0);
            return;
        }
        let first = self.plane(low, high);
        let second = self.plane(high, low);
        let (low, high) = (&self.planes[first].1, &self.planes[second].1);
        for (i, ((out, l), h)) in out.iter_mut().zip(low).zip(high).enumerate() {
            let value = l * wl + h * wh;
            *out = if value.abs() < CANCELLED { self.eight(i, at) } else { value } as f32;
        }
    }
    /// Voxel `i` of the output plane at c', as torch sums it.
    fn eight(&self, i: usize, at_c: usize) -> f64 {
        let [a, b, c] = self.order;
        let na = self.axes[a].low.len();
        let mut place = [0; 3];
        (place[a], place[b], place[c]) = (i % na, i / na, at_c);
        let line = |axis: usize, up: usize| {
            let (line, at) = (self.axes[axis], place[axis]);
            (if up == 0 { line.low[at] } else { line.high[at] } as usize, line.weights[at][up])
        };
        let mut sum = 0.0;
        for corner in 0..8 {
            let [(x, wx), (y, wy), (z, wz)] = [line(0, corner >> 2 & 1), line(1, corner >> 1 & 1), line(2, corner & 1)];
            let weight = wz * wy * wx;
            // Outside stays zero even next to an infinity.
            if weight != 0.0 {
                sum += self.source.buffer[position(&self.source, [x, y, z])].to_f64() * weight;
            }
        }
        sum
    }
    /// Which slot holds the source plane `at`; made now if none does, leaving the slot of `keep` alone.
    fn plane(&mut self, at: u32, keep: u32) -> usize {
        if let Some(slot) = self.planes.iter().position(|(held, _)| *held == Some(at)) {
            return slot;
        }
        let slot = usize::from(self.planes[0].0 == Some(keep));
        let mut plane = std::mem::take(&mut self.planes[slot].1);
        self.fill(at as usize, &mut plane);
        self.planes[slot] = (Some(at), plane);
        slot
    }
    /// Interpolate along b (whole rows), then along a.
    fn fill(&mut self, at_c: usize, plane: &mut [f64]) {
        let [a, b, c] = self.order;
        let (line_a, line_b) = (self.axes[a], self.axes[b]);
        let [sa, sb, sc] = [a, b, c].map(|axis| self.source.strides[axis]);
        let (first, end) = line_a.range();
        let na = line_a.low.len();
        self.row.resize(end - first, 0.0);
        let start = self.source.offset + at_c as isize * sc + first as isize * sa;
        for (ib, out) in plane.chunks_exact_mut(na).enumerate() {
            let [wl, wh] = line_b.weights[ib];
            if wl == 0.0 && wh == 0.0 {
                out.fill(0.0);
                continue;
            }
            let low = start + line_b.low[ib] as isize * sb;
            let high = start + line_b.high[ib] as isize * sb;
            if sa == 1 {
                let n = self.row.len();
                let (low, high) = (&self.source.buffer[low as usize..][..n], &self.source.buffer[high as usize..][..n]);
                for ((row, l), h) in self.row.iter_mut().zip(low).zip(high) {
                    *row = l.to_f64() * wl + h.to_f64() * wh;
                }
            } else {
                for (i, row) in self.row.iter_mut().enumerate() {
                    let shift = i as isize * sa;
                    let [l, h] = [low, high].map(|at| self.source.buffer[(at + shift) as usize].to_f64());
                    *row = l * wl + h * wh;
                }
            }
            for (ia, out) in out.iter_mut().enumerate() {
                let [wl, wh] = line_a.weights[ia];
                // Outside stays zero even next to an infinity.
                *out = if wl == 0.0 && wh == 0.0 {
                    0.0
                } else {
                    self.row[line_a.low[ia] as usize - first] * wl + self.row[line_a.high[ia] as usize - first] * wh
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::sampling::Sampling;
    use crate::image::{Affine, Grid, Padding};

    /// NormalizeIntensity(nonzero=True) leaves exact zeros alone, so a sum that cancels must come out as torch's does.
    #[test]
    fn sums_that_cancel_come_out_as_torch_sums_them() {
        let diagonal = |mm: f64, shift: f64| {
            Affine([[mm, 0.0, 0.0, shift], [0.0, mm, 0.0, -shift], [0.0, 0.0, mm, 94.30175781], [0.0, 0.0, 0.0, 1.0]])
        };
        let (from, to) = ([22, 21, 10], [43, 41, 19]);
        let grids = (Grid { shape: from, affine: diagonal(3.0, -177.95632935) }, Grid { shape: to, affine: diagonal(1.5, -177.95632935) });
        let Sampling::Resample(sampler) = Sampling::new(&grids.0, &grids.1, Padding::Border, false).unwrap() else {
            panic!("expected something to resample");
        };
        assert!(sampler.is_separable());
        // Opposite neighbours: most sums between them cancel.
        let voxels: Vec<i32> = (0..from.iter().product::<usize>() as i32).map(|i| (i * 7919 % 5 - 2) * 40).collect();
        let source = Source::dense(&voxels, from);
        let (mut passed, mut summed) = (vec![0.0; to.iter().product()], vec![0.0; to.iter().product()]);
        linear(Source::dense(&voxels, from), &sampler, &mut passed);
        by_rows(&sampler, &mut summed, |[x, y, z], row| {
            for (i, out) in row.iter_mut().enumerate() {
                *out = eight(&source, [x[i], y[i], z[i]]) as f32;
            }
        });
        let small = summed.iter().filter(|value| value.abs() < 1e-9).count();
        assert!(small > 1000, "only {small} sums cancel");
        let differ = passed.iter().zip(&summed).filter(|(a, b)| a.abs().max(b.abs()) < 1e-9 && a.to_bits() != b.to_bits()).count();
        assert_eq!(differ, 0, "of {small} sums that cancel");
    }
}
