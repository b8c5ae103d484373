//! Resampling: three passes along the axes if the grids are parallel, otherwise trilinear gathering of eight neighbors.
//!
//! Values are computed in f64 and rounded once to f32, as in MONAI's Spacing with its default dtype. The passes sum in
//! a different order than torch's eight products; the difference of about 1e-16 of the summands survives the rounding
//! to f32 in about one of 10^8 voxels. It would matter where the summands cancel, because
//! NormalizeIntensity(nonzero=True) depends on whether a value is exactly zero: there the eight products are summed in
//! torch's order.

use super::gather::{Lookup, OUTSIDE, Source, gather, gather_box};
use super::sampling::{LinearAxis, Sampler};
use super::{DType, Element, Interpolation, Layout, Volume, Voxels, filled};
use crate::error::Result;
use crate::{each_voxels, err};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// Output z per slab if the source's planes lie along Z: one cache line of f32.
const SLAB: usize = 16;

/// Below this absolute value, cancellation may have lost the digits that distinguish a sum from zero: rounding errors
/// are about 1e-12 for voxels of a few thousand HU.
const CANCELLED: f64 = 1e-6;

/// Resamples all channels of `volume` in C order `[C,X,Y,Z]`: to f32 with [`Interpolation::Linear`], to the same type
/// with [`Interpolation::Nearest`].
pub fn resample(volume: &Volume, sampler: &Sampler, interpolation: Interpolation) -> Result<Voxels> {
    fn run<T: Element>(
        buffer: &[T],
        layout: &Layout,
        sampler: &Sampler,
        interpolation: Interpolation,
    ) -> Result<Voxels> {
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

/// Nearest-neighbor interpolation of one channel; `fill` outside the source with [`Padding::Zeros`](super::Padding).
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
        return passes(source, &axes, [0; 3], sampler.to, out);
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

/// Trilinear interpolation; neighbors outside the source count as zero.
fn eight<T: Element>(source: &Source<T>, at: [f64; 3]) -> f64 {
    let mut sum = 0.0;
    each_neighbor(source.shape, at, |index, weight| {
        sum += source.buffer[position(source, index)].to_f64() * weight;
    });
    sum
}

/// Calls `each` with index and weight of the neighbors of a position that lie within `shape`, in torch's order.
#[inline]
pub(crate) fn each_neighbor(shape: [usize; 3], at: [f64; 3], mut each: impl FnMut([usize; 3], f64)) {
    let floor = at.map(f64::floor);
    for corner in 0..8 {
        let mut weight = 1.0;
        let mut index = [0; 3];
        let mut inside = true;
        // torch multiplies the weights of its fastest axis first.
        for axis in [2, 1, 0] {
            // The bits of `corner` from high to low are z, y, x: torch's order of the neighbors.
            let up = f64::from(u8::from(corner >> axis_bit(axis) & 1 == 1));
            let i = floor[axis] + up;
            weight *= if up == 1.0 { at[axis] - floor[axis] } else { floor[axis] + 1.0 - at[axis] };
            inside &= i >= 0.0 && i < shape[axis] as f64;
            index[axis] = i as usize;
        }
        if inside {
            each(index, weight);
        }
    }
}

/// torch's fastest axis (our Z) varies first.
fn axis_bit(axis: usize) -> usize {
    2 - axis
}

/// Interpolates linearly along the three axes in turn. Axes are named by their order in memory: `a` is the fastest of
/// the source, `c` the slowest. Each task computes adjacent planes of constant output x.
///
/// `out` has the size `whole`; the output of `axes` is written from `start` on.
fn passes<T: Element>(
    source: Source<T>,
    axes: &[LinearAxis; 3],
    start: [usize; 3],
    whole: [usize; 3],
    out: &mut [f32],
) {
    let shape: [usize; 3] = std::array::from_fn(|axis| axes[axis].low.len());
    if shape.contains(&0) {
        return;
    }
    let order = memory_order(source.strides);
    // Enough rows of x per task to limit what neighboring tasks read twice, enough tasks to keep all threads busy.
    let rows = shape[0].div_ceil(rayon::current_num_threads() * 3).clamp(1, 64);
    let plane = whole[1] * whole[2];
    let out = &mut out[start[0] * plane..(start[0] + shape[0]) * plane];
    out.par_chunks_mut(rows * plane).enumerate().for_each(|(task, out)| {
        let x0 = task * rows;
        let count = out.len() / plane;
        let x_axis = axes[0].part(x0, count);
        let axes = [&x_axis, &axes[1], &axes[2]];
        Passes::new(source, order, axes).run(
            &mut out[start[1] * whole[2] + start[2]..],
            [count, shape[1], shape[2]],
            [plane, whole[2], 1],
        );
    });
}

/// Axes from the fastest in memory to the slowest.
fn memory_order(strides: [isize; 3]) -> [usize; 3] {
    let mut order = [2, 1, 0];
    order.sort_by_key(|&axis| strides[axis].unsigned_abs());
    order
}

/// Resamples a one-channel image that arrives in slices along its slowest axis and is never held as a whole. The values
/// equal those of [`resample`].
pub struct StreamingResampler<'a> {
    sampler: &'a Sampler,
    layout: &'a Layout,
    axes: Axes,
    /// The slowest axis in memory, along which slices arrive.
    along: usize,
    /// Which slices of the output are complete.
    made: Vec<bool>,
    out: Voxels,
}

/// Source positions of the output indices, by axis.
enum Axes {
    Linear([LinearAxis; 3]),
    /// [`OUTSIDE`] for voxels of the zero padding.
    Nearest([Vec<u32>; 3]),
}

impl<'a> StreamingResampler<'a> {
    /// Whether each output voxel depends on one slice or two adjacent slices only. `layout` is that of the whole image,
    /// with X, Y and Z in any order and direction.
    pub fn supports(layout: &Layout, sampler: &Sampler, interpolation: Interpolation) -> bool {
        let [_, strides @ ..] = layout.strides;
        // The memory order of an axis of length 1 is ambiguous.
        if layout.channels() != 1 || layout.spatial().contains(&1) {
            return false;
        }
        match interpolation {
            Interpolation::Nearest => sampler.is_separable(),
            Interpolation::Linear => {
                let line = || sampler.linear_axis(memory_order(strides)[2]);
                let near =
                    |line: LinearAxis| line.low.iter().zip(&line.high).all(|(low, high)| low.abs_diff(*high) <= 1);
                sampler.is_nearly_separable() && near(line())
            }
        }
    }
    /// Prepares the resampling of an image of type `dtype`, for which [`supports`](Self::supports) returned true.
    pub fn new(layout: &'a Layout, sampler: &'a Sampler, interpolation: Interpolation, dtype: DType) -> Result<Self> {
        let [_, strides @ ..] = layout.strides;
        let along = memory_order(strides)[2];
        let count = sampler.to.iter().product();
        let (axes, out) = match interpolation {
            Interpolation::Linear => {
                (Axes::Linear(std::array::from_fn(|axis| sampler.linear_axis(axis))), Voxels::zeros(DType::F32, count)?)
            }
            Interpolation::Nearest => {
                (Axes::Nearest(std::array::from_fn(|axis| sampler.nearest_axis(axis))), Voxels::zeros(dtype, count)?)
            }
        };
        Ok(StreamingResampler { sampler, layout, axes, along, made: vec![false; sampler.to[along]], out })
    }
    /// Lengths of the axes in memory order, fastest first.
    pub fn shape(&self) -> [usize; 3] {
        let [_, strides @ ..] = self.layout.strides;
        memory_order(strides).map(|axis| self.layout.spatial()[axis])
    }
    /// Processes `slices` along the slowest axis. They must begin with the last slice of the previous call.
    pub fn push(&mut self, slices: Range<usize>, voxels: &Voxels) -> Result<()> {
        let along = self.along;
        let [_, strides @ ..] = self.layout.strides;
        let step = strides[along];
        let n = self.layout.spatial()[along];
        // Range in the image's own direction.
        let here = if step < 0 { n - slices.end..n - slices.start } else { slices.clone() };
        let ready = |at: usize| match &self.axes {
            Axes::Linear(axes) => {
                [axes[along].low[at], axes[along].high[at]].iter().all(|&i| here.contains(&(i as usize)))
            }
            Axes::Nearest(tables) => tables[along][at] == OUTSIDE || here.contains(&(tables[along][at] as usize)),
        };
        let todo: Vec<usize> = (0..self.made.len()).filter(|&at| !self.made[at] && ready(at)).collect();
        let offset = self.layout.offset as isize - slices.start as isize * step.abs();
        let (shape, whole) = (self.layout.spatial(), self.sampler.to);
        for run in todo.chunk_by(|a, b| a + 1 == *b) {
            let mut start = [0; 3];
            start[along] = run[0];
            match (&self.axes, &mut self.out) {
                (Axes::Linear(axes), Voxels::F32(out)) => {
                    let mut axes = axes.clone();
                    axes[along] = axes[along].part(run[0], run.len());
                    let out = unshared(out)?;
                    each_voxels!(voxels, buffer => {
                        passes(Source { buffer, offset, strides, shape }, &axes, start, whole, out);
                    });
                }
                (Axes::Linear(_), _) => return Err(err!("resampled voxels are float32")),
                (Axes::Nearest(tables), out) => {
                    let lookups = std::array::from_fn(|axis| {
                        let table = &tables[axis][..];
                        let table = if axis == along { &table[run[0]..run[0] + run.len()] } else { table };
                        Lookup { table, stride: strides[axis] }
                    });
                    nearest_box(voxels, offset, shape, lookups, start, whole, out)?;
                }
            }
            run.iter().for_each(|&at| self.made[at] = true);
        }
        Ok(())
    }
    /// Returns the image `[1,X,Y,Z]` in C order: f32, or the source's type with nearest-neighbor interpolation.
    ///
    /// # Errors
    /// Slices are missing.
    pub fn finish(self) -> Result<Voxels> {
        match self.made.iter().position(|made| !made) {
            None => Ok(self.out),
            Some(at) => Err(err!("no slices came for slice {at} of the resampled image")),
        }
    }
}

fn unshared<T>(voxels: &mut Arc<[T]>) -> Result<&mut [T]> {
    Arc::get_mut(voxels).ok_or_else(|| err!("voxels are shared before they are made"))
}

/// Nearest-neighbor interpolation in a box of `out`, which has the type of `voxels`.
fn nearest_box(
    voxels: &Voxels,
    offset: isize,
    shape: [usize; 3],
    lookups: [Lookup; 3],
    start: [usize; 3],
    whole: [usize; 3],
    out: &mut Voxels,
) -> Result<()> {
    macro_rules! by_type {
        ($($variant:ident),*) => {
            match (voxels, out) {
                $((Voxels::$variant(buffer), Voxels::$variant(out)) => {
                    // The lookups contain the strides.
                    let source = Source { buffer, offset, strides: [0; 3], shape };
                    gather_box(source, lookups, start, whole, Default::default(), unshared(out)?);
                    Ok(())
                })*
                (voxels, out) => {
                    Err(err!("expected voxels of {}, found {}", out.dtype().name(), voxels.dtype().name()))
                }
            }
        };
    }
    by_type!(U8, I8, U16, I16, U32, I32, U64, I64, F32, F64)
}

impl LinearAxis {
    fn part(&self, start: usize, count: usize) -> LinearAxis {
        LinearAxis {
            low: self.low[start..start + count].to_vec(),
            high: self.high[start..start + count].to_vec(),
            weights: self.weights[start..start + count].to_vec(),
        }
    }
    /// Range of the source indices in use.
    fn range(&self) -> (usize, usize) {
        let ends = self.low.iter().chain(&self.high);
        (ends.clone().min().map_or(0, |&i| i as usize), ends.max().map_or(0, |&i| i as usize + 1))
    }
}

/// State of one task: two source planes at a time, resampled within the plane.
struct Passes<'a, T> {
    source: Source<'a, T>,
    /// Axes a, b, c.
    order: [usize; 3],
    axes: [&'a LinearAxis; 3],
    /// [b', a'] in f64, and the source index along c of each plane.
    planes: [(Option<u32>, Vec<f64>); 2],
    /// One source row along a, after interpolation along b.
    row: Vec<f64>,
}

impl<'a, T: Element> Passes<'a, T> {
    fn new(source: Source<'a, T>, order: [usize; 3], axes: [&'a LinearAxis; 3]) -> Self {
        let size = axes[order[0]].low.len() * axes[order[1]].low.len();
        Passes { source, order, axes, planes: [(None, vec![0.0; size]), (None, vec![0.0; size])], row: Vec::new() }
    }
    /// `shape` is the size `[X,Y,Z]` of the result, `strides` are those of `out`.
    fn run(mut self, out: &mut [f32], shape: [usize; 3], strides: [usize; 3]) {
        let [a, b, c] = self.order;
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
    /// Computes the output plane at c', rounded to f32.
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
    /// Computes voxel `i` of the output plane at c' in torch's order of summation.
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
            // Voxels outside count as zero even next to an infinity.
            if weight != 0.0 {
                sum += self.source.buffer[position(&self.source, [x, y, z])].to_f64() * weight;
            }
        }
        sum
    }
    /// Returns the slot that holds source plane `at`. A missing plane is computed into the slot that does not hold
    /// `keep`.
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
    /// Interpolates along b (whole rows), then along a.
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
                // Voxels outside count as zero even next to an infinity.
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
    use crate::orient::turn_layout;
    use crate::sampling::Sampling;
    use crate::{Affine, Grid, Padding};

    /// NormalizeIntensity(nonzero=True) leaves exact zeros alone, so a sum that cancels must come out as torch's does.
    #[test]
    fn sums_that_cancel_come_out_as_torch_sums_them() {
        let diagonal = |mm: f64, shift: f64| {
            Affine([[mm, 0.0, 0.0, shift], [0.0, mm, 0.0, -shift], [0.0, 0.0, mm, 94.30175781], [0.0, 0.0, 0.0, 1.0]])
        };
        let (from, to) = ([22, 21, 10], [43, 41, 19]);
        let grids = (
            Grid { shape: from, affine: diagonal(3.0, -177.95632935) },
            Grid { shape: to, affine: diagonal(1.5, -177.95632935) },
        );
        let Sampling::Resample(sampler) = Sampling::new(&grids.0, &grids.1, Padding::Border, false).unwrap() else {
            panic!("expected something to resample");
        };
        assert!(sampler.is_separable());
        // Opposite neighbors: most sums between them cancel.
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
        let differ = passed
            .iter()
            .zip(&summed)
            .filter(|(a, b)| a.abs().max(b.abs()) < 1e-9 && a.to_bits() != b.to_bits())
            .count();
        assert_eq!(differ, 0, "of {small} sums that cancel");
    }

    /// An image that comes by slices has the bits of one that is there at once, whichever way its axes run.
    #[test]
    fn slices_give_the_same_bits_as_the_whole() {
        let stored = [13usize, 9, 17];
        let voxels: Arc<[i16]> =
            (0..stored.iter().product::<usize>() as i32).map(|i| (i * 7919 % 2003 - 1000) as i16).collect();
        let voxels = Voxels::I16(voxels);
        let mut compared = 0;
        for axes in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            for flips in 0..8 {
                let layout =
                    turn_layout(&Layout::fortran([1, 13, 9, 17]), axes, [0, 1, 2].map(|axis| flips >> axis & 1 == 1));
                let before = Grid { shape: layout.spatial(), affine: scaled([1.0, 0.8, 1.25]) };
                for (mm, padding) in [(0.7, Padding::Border), (1.0, Padding::Zeros), (2.9, Padding::Reflection)] {
                    let to = before.shape.map(|n| (n as f64 / mm) as usize + 2);
                    let after = Grid { shape: to, affine: scaled([mm, 0.8 * mm, 1.3 * mm]) };
                    let Sampling::Resample(sampler) = Sampling::new(&before, &after, padding, false).unwrap() else {
                        panic!()
                    };
                    let volume = Volume::new("a", voxels.clone(), layout, before.affine);
                    for interpolation in [Interpolation::Linear, Interpolation::Nearest] {
                        let expected = resample(&volume, &sampler, interpolation).unwrap();
                        assert!(StreamingResampler::supports(&layout, &sampler, interpolation));
                        for step in [1, 2, 5, 16] {
                            let mut image =
                                StreamingResampler::new(&layout, &sampler, interpolation, DType::I16).unwrap();
                            assert_eq!(image.shape(), stored);
                            for start in (0..16).step_by(step) {
                                let slices = start..(start + step + 1).min(17);
                                let Voxels::I16(all) = &voxels else { panic!() };
                                // The buffer is longer than what is new in it.
                                let mut part = all[slices.start * 117..slices.end * 117].to_vec();
                                part.extend([i16::MAX; 200]);
                                image.push(slices, &Voxels::I16(part.into())).unwrap();
                            }
                            let same = match (&expected, image.finish().unwrap()) {
                                (Voxels::F32(a), Voxels::F32(b)) => {
                                    a.iter().zip(b.iter()).all(|(a, b)| a.to_bits() == b.to_bits())
                                }
                                (Voxels::I16(a), Voxels::I16(b)) => *a == b,
                                _ => false,
                            };
                            assert!(same, "{axes:?} {flips} {mm} {step} {interpolation:?}");
                            compared += 1;
                        }
                    }
                }
            }
        }
        assert_eq!(compared, 6 * 8 * 3 * 2 * 4);
    }

    #[test]
    fn slices_that_do_not_come_are_an_error() {
        let (layout, grid) = (Layout::fortran([1, 4, 4, 8]), Grid { shape: [4, 4, 8], affine: scaled([1.0; 3]) });
        let Sampling::Resample(sampler) =
            Sampling::new(&grid, &Grid { shape: [2, 2, 4], affine: scaled([2.0; 3]) }, Padding::Border, false).unwrap()
        else {
            panic!()
        };
        for interpolation in [Interpolation::Linear, Interpolation::Nearest] {
            let mut image = StreamingResampler::new(&layout, &sampler, interpolation, DType::U8).unwrap();
            image.push(0..5, &Voxels::U8(vec![1; 5 * 16].into())).unwrap();
            assert!(image.finish().is_err());
        }
    }

    fn scaled(mm: [f64; 3]) -> Affine {
        let mut affine = Affine::IDENTITY;
        (0..3).for_each(|axis| affine.0[axis][axis] = mm[axis]);
        affine
    }
}
