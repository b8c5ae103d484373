//! Where a prediction's values come from, box by box.

use super::VoxelOp;
use crate::error::Result;
use crate::image::{Grid, Voxels};
use crate::torch::convert::{to_i32, to_u8};
use crate::work::Work;
use tch::Tensor;

/// A box of a grid: start and size in voxels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    pub start: [usize; 3],
    pub size: [usize; 3],
}

/// A source of per-voxel values: sliding windows, the whole image at once, or the mean of several sources.
pub trait Blocks: Send {
    /// The network's grid.
    fn grid(&self) -> Grid;
    fn channels(&self) -> usize;
    /// Values [C,x,y,z], f32, of disjoint boxes that cover the grid, in any order.
    fn run(self: Box<Self>, work: &Work, each: &mut dyn FnMut(Region, Tensor) -> Result<()>) -> Result<()>;
    /// The channel of the largest value, per voxel of disjoint boxes: numbers [x,y,z], u8 up to 256 channels, else i32.
    /// A source that can do this without making the values overrides it.
    fn run_argmax(self: Box<Self>, work: &Work, each: &mut dyn FnMut(Region, Tensor) -> Result<()>) -> Result<()> {
        self.run(work, &mut |region, values| each(region, largest_channel(&values)?))
    }
}

/// Run `source` and keep the number of the largest channel: [X,Y,Z] in C order.
pub(super) fn argmax(source: Box<dyn Blocks>, ops: &[VoxelOp], work: &Work) -> Result<Voxels> {
    let (channels, shape) = (source.channels(), source.grid().shape);
    let voxels: usize = shape.iter().product();
    let mut small = vec![0_u8; if channels <= 256 { voxels } else { 0 }];
    let mut large = vec![0_u16; if channels <= 256 { 0 } else { voxels }];
    let mut keep = |region: Region, numbers: Tensor| -> Result<()> {
        if channels <= 256 {
            paste(&to_u8(&numbers)?, region, 1, shape, &mut small);
        } else {
            let numbers: Vec<u16> = to_i32(&numbers)?.into_iter().map(|n| n as u16).collect();
            paste(&numbers, region, 1, shape, &mut large);
        }
        Ok(())
    };
    if ops.is_empty() {
        source.run_argmax(work, &mut keep)?;
    } else {
        source.run(work, &mut |region, values| keep(region, largest_channel(&super::apply_all(ops, values)?)?))?;
    }
    Ok(if channels <= 256 { Voxels::U8(small.into()) } else { Voxels::U16(large.into()) })
}

/// Copy a box of [C,x,y,z] into a volume of [C,X,Y,Z], both in C order.
pub(super) fn paste<T: Copy>(from: &[T], region: Region, channels: usize, shape: [usize; 3], into: &mut [T]) {
    let [sx, sy, sz] = region.size;
    let [ox, oy, oz] = region.start;
    let [nx, ny, nz] = shape;
    for channel in 0..channels {
        for x in 0..sx {
            for y in 0..sy {
                let source = ((channel * sx + x) * sy + y) * sz;
                let target = ((channel * nx + ox + x) * ny + oy + y) * nz + oz;
                into[target..target + sz].copy_from_slice(&from[source..source + sz]);
            }
        }
    }
}

/// values [C,x,y,z] → the number of the largest channel [x,y,z], lowest first among equals.
pub(super) fn largest_channel(values: &Tensor) -> Result<Tensor> {
    Ok(values.f_argmax(0, false)?)
}

/// Channel numbers as a label map's storage.
pub(super) fn to_voxels(numbers: &Tensor, channels: usize) -> Result<Voxels> {
    Ok(if channels <= 256 {
        Voxels::U8(to_u8(numbers)?.into())
    } else {
        Voxels::U16(to_i32(numbers)?.into_iter().map(|n| n as u16).collect())
    })
}
