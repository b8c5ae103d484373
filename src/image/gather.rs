//! Gathering by one index table per axis: crops, padding, reorientations and axis-aligned nearest-neighbor resampling.

use super::{Element, Layout, Volume, Voxels, filled};
use crate::each_voxels;
use crate::error::Result;
use rayon::prelude::*;

/// Table entry for positions outside the source.
pub const OUTSIDE: u32 = u32::MAX;

/// Output x rows per task, and the size of a tile along y and z: tiles of 16 voxels along every axis use whole cache
/// lines whichever axis varies fastest in the source.
const TILE: [usize; 3] = [16, 16, 64];

/// One channel of the source, with the layout of its buffer.
#[derive(Clone, Copy)]
pub struct Source<'a, T> {
    pub buffer: &'a [T],
    pub offset: isize,
    pub strides: [isize; 3],
    /// Size [X,Y,Z].
    pub shape: [usize; 3],
}

impl<'a, T> Source<'a, T> {
    /// One channel of a buffer `[C,X,Y,Z]` with this layout.
    pub fn channel(buffer: &'a [T], layout: &Layout, channel: usize) -> Self {
        let [c, x, y, z] = layout.strides;
        Source {
            buffer,
            offset: layout.offset as isize + channel as isize * c,
            strides: [x, y, z],
            shape: layout.spatial(),
        }
    }
    /// A buffer [X,Y,Z] in C order.
    pub fn dense(buffer: &'a [T], shape: [usize; 3]) -> Self {
        Source::channel(buffer, &Layout::contiguous([1, shape[0], shape[1], shape[2]]), 0)
    }
}

/// Computes out[x,y,z] = source[tables[0][x], tables[1][y], tables[2][z]] in C order; `fill` where a table has
/// [`OUTSIDE`].
pub fn gather<T: Copy + Send + Sync>(source: Source<T>, tables: [&[u32]; 3], fill: T, out: &mut [T]) {
    let strides = source.strides;
    gather_axes(source, std::array::from_fn(|axis| Lookup { table: tables[axis], stride: strides[axis] }), fill, out);
}

/// Lookup along one output axis: source indices by position, and the stride of the source axis.
#[derive(Clone, Copy)]
pub struct Lookup<'a> {
    pub table: &'a [u32],
    pub stride: isize,
}

/// Like [`gather`], with any assignment of source axes to output axes.
pub fn gather_axes<T: Copy + Send + Sync>(source: Source<T>, axes: [Lookup; 3], fill: T, out: &mut [T]) {
    let whole = axes.map(|axis| axis.table.len());
    gather_box(source, axes, [0; 3], whole, fill, out);
}

/// Like [`gather_axes`], into the box at `start` of `out`, which has the size `whole` in C order.
pub fn gather_box<T: Copy + Send + Sync>(
    source: Source<T>,
    axes: [Lookup; 3],
    start: [usize; 3],
    whole: [usize; 3],
    fill: T,
    out: &mut [T],
) {
    let [nx, ny, nz] = axes.map(|axis| axis.table.len());
    if nx * ny * nz == 0 {
        return;
    }
    let plane = whole[1] * whole[2];
    let out = &mut out[start[0] * plane..(start[0] + nx) * plane];
    // Element offsets along each axis; `None` outside the source.
    let offsets = axes.map(|axis| {
        axis.table.iter().map(|&at| (at != OUTSIDE).then(|| at as isize * axis.stride)).collect::<Vec<Option<isize>>>()
    });
    let [xs, ys, zs] = &offsets;
    out.par_chunks_mut(TILE[0] * plane).enumerate().for_each(|(task, rows)| {
        let x0 = task * TILE[0];
        for y0 in (0..ny).step_by(TILE[1]) {
            for z0 in (0..nz).step_by(TILE[2]) {
                let z1 = (z0 + TILE[2]).min(nz);
                for (x, rows) in rows.chunks_exact_mut(plane).enumerate() {
                    for (y, dy) in ys.iter().enumerate().take(y0 + TILE[1]).skip(y0) {
                        let row = (start[1] + y) * whole[2] + start[2];
                        let line = &mut rows[row + z0..row + z1];
                        let (Some(dx), Some(dy)) = (xs[x0 + x], dy) else {
                            line.fill(fill);
                            continue;
                        };
                        let start = source.offset + dx + dy;
                        for (out, dz) in line.iter_mut().zip(&zs[z0..z1]) {
                            *out = dz.map_or(fill, |dz| source.buffer[(start + dz) as usize]);
                        }
                    }
                }
            }
        }
    });
}

/// Gathers every channel of a volume by the same tables, in C order [C,X,Y,Z]; the type is kept.
pub fn gather_volume(volume: &Volume, tables: [&[u32]; 3], fill: f64) -> Result<Voxels> {
    let per_channel: usize = tables.iter().map(|table| table.len()).product();
    fn run<T: Element>(
        buffer: &[T],
        layout: &Layout,
        tables: [&[u32]; 3],
        fill: f64,
        per_channel: usize,
    ) -> Result<Voxels> {
        Ok(T::wrap(filled(layout.channels() * per_channel, |out| {
            for (channel, out) in out.chunks_exact_mut(per_channel.max(1)).enumerate() {
                gather(Source::channel(buffer, layout, channel), tables, T::from_f64(fill), out);
            }
        })?))
    }
    each_voxels!(&volume.voxels, slice => run(slice, &volume.layout, tables, fill, per_channel))
}
