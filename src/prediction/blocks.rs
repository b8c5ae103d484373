//! Sources of a prediction's values, computed box by box, and the label map that argmax produces.

use super::VoxelOp;
use crate::case_context::CaseContext;
use crate::error::Result;
use crate::image::{Grid, Voxels};
use crate::torch::convert::{to_i32, to_u8};
use segbundle_native::{self as native, LabelsMut};
use tch::Tensor;

/// A box within a grid: start and size in voxels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// First voxel along X, Y, Z.
    pub start: [usize; 3],
    /// Number of voxels along X, Y, Z.
    pub size: [usize; 3],
}

/// A source of per-voxel values: sliding windows, the whole image at once, or the mean of several sources.
pub trait Blocks: Send {
    /// Grid of the network's output.
    fn grid(&self) -> Grid;
    /// Number of channels of the values.
    fn channels(&self) -> usize;
    /// Computes values and calls `each` with f32 `[C,x,y,z]` of disjoint boxes that cover the grid, in any order.
    fn run(self: Box<Self>, case: &CaseContext, each: &mut dyn FnMut(Region, Tensor) -> Result<()>) -> Result<()>;
    /// Writes the channel of the largest value of each voxel into `labels`. Sources that do not need all values for
    /// this override it.
    fn run_argmax(self: Box<Self>, case: &CaseContext, labels: &mut LabelMap) -> Result<()> {
        self.run(case, &mut |region, values| labels.put(&values, region.start))
    }
}

/// A source of values that are already computed.
pub struct Computed {
    values: Tensor,
    grid: Grid,
}

impl Computed {
    /// Wraps `values` `[C,X,Y,Z]` on `grid`.
    pub fn new(values: Tensor, grid: Grid) -> Result<Computed> {
        if values.dim() != 4 || values.size()[1..] != grid.shape.map(|n| n as i64) {
            crate::bail!("expected values on a grid of {:?}, found {:?}", grid.shape, values.size());
        }
        Ok(Computed { values, grid })
    }
}

impl Blocks for Computed {
    fn grid(&self) -> Grid {
        self.grid
    }
    fn channels(&self) -> usize {
        self.values.size()[0] as usize
    }
    fn run(self: Box<Self>, _case: &CaseContext, each: &mut dyn FnMut(Region, Tensor) -> Result<()>) -> Result<()> {
        each(Region { start: [0; 3], size: self.grid.shape }, self.values.f_to_kind(tch::Kind::Float)?)
    }
}

/// A label map `[X,Y,Z]` in C order: u8 for up to 256 classes, else u16.
pub struct LabelMap {
    numbers: Numbers,
    shape: [usize; 3],
}

enum Numbers {
    U8(Vec<u8>),
    U16(Vec<u16>),
}

impl LabelMap {
    /// Creates a map of zeros.
    pub fn new(shape: [usize; 3], classes: usize) -> LabelMap {
        let voxels = shape.iter().product();
        let numbers = if classes <= 256 { Numbers::U8(vec![0; voxels]) } else { Numbers::U16(vec![0; voxels]) };
        LabelMap { numbers, shape }
    }
    /// Borrows the map for writing, together with its shape.
    pub fn numbers(&mut self) -> (LabelsMut<'_>, [usize; 3]) {
        let numbers = match &mut self.numbers {
            Numbers::U8(numbers) => LabelsMut::U8(numbers),
            Numbers::U16(numbers) => LabelsMut::U16(numbers),
        };
        (numbers, self.shape)
    }
    /// Writes the argmax over the channels of values `[C,x,y,z]` (the first of equal values) into the box at `start`.
    pub fn put(&mut self, values: &Tensor, start: [usize; 3]) -> Result<()> {
        if values.device() == tch::Device::Cpu {
            let values = values.f_contiguous()?;
            let (numbers, shape) = self.numbers();
            return Ok(native::argmax(&values, numbers, shape, start)?);
        }
        self.put_numbers(&values.f_argmax(0, false)?, start)
    }
    /// Writes labels `[x,y,z]` of any integer dtype and device into the box at `start`. They are copied from a GPU with
    /// one byte per voxel where that suffices.
    pub fn put_numbers(&mut self, labels: &Tensor, start: [usize; 3]) -> Result<()> {
        let size = labels.size();
        let region = Region { start, size: [size[0] as usize, size[1] as usize, size[2] as usize] };
        let shape = self.shape;
        match &mut self.numbers {
            Numbers::U8(numbers) => paste(&to_u8(labels)?, region, 1, shape, numbers),
            Numbers::U16(numbers) => {
                let found: Vec<u16> = to_i32(labels)?.iter().map(|&n| n as u16).collect();
                paste(&found, region, 1, shape, numbers)
            }
        }
        Ok(())
    }
    /// Writes the first channel of masks `[C,X,Y,Z]`, values 0 or 1, that is set at each voxel; 0 where none is.
    pub fn put_masks(&mut self, masks: &[u8]) {
        fn put<T>(masks: &[u8], labels: &mut [T], number: impl Fn(usize) -> T) {
            // From the last channel to the first, which wins.
            for (channel, mask) in masks.chunks_exact(labels.len().max(1)).enumerate().rev() {
                labels
                    .iter_mut()
                    .zip(mask)
                    .filter(|(_, set)| **set != 0)
                    .for_each(|(label, _)| *label = number(channel));
            }
        }
        match &mut self.numbers {
            Numbers::U8(labels) => put(masks, labels, |channel| channel as u8),
            Numbers::U16(labels) => put(masks, labels, |channel| channel as u16),
        }
    }
    /// Returns the labels as a buffer in C order.
    pub fn into_voxels(self) -> Voxels {
        match self.numbers {
            Numbers::U8(numbers) => Voxels::U8(numbers.into()),
            Numbers::U16(numbers) => Voxels::U16(numbers.into()),
        }
    }
}

/// Runs `source` and returns its argmax.
pub(super) fn argmax(source: Box<dyn Blocks>, ops: &[VoxelOp], case: &CaseContext) -> Result<Voxels> {
    let mut labels = LabelMap::new(source.grid().shape, source.channels());
    if ops.is_empty() {
        source.run_argmax(case, &mut labels)?;
    } else {
        source.run(case, &mut |region, values| labels.put(&super::apply_all(ops, values)?, region.start))?;
    }
    Ok(labels.into_voxels())
}

/// Copies a box `[C,x,y,z]` into a volume `[C,X,Y,Z]`, both in C order.
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
