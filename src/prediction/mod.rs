//! One case's answer, recorded first and computed once.

use crate::contracts::Work;
use crate::error::Result;
use crate::image::{Grid, Header, Trace, Voxels};
use std::sync::Arc;
use tch::Tensor;

/// The answer for one case, on its way from the network to a file.
pub struct Prediction {
    pub state: State,
    /// The image that the network saw: file, and what was applied to it.
    pub header: Arc<Header>,
    pub trace: Trace,
}

pub enum State {
    /// Recorded, not computed.
    Pending { source: Box<dyn Blocks> },
    /// [C,X,Y,Z] in host memory.
    Dense(Tensor, Grid),
    /// After argmax: [X,Y,Z] class numbers, u8 or u16, C order.
    Labels { map: Voxels, grid: Grid },
}

/// A box of a grid: start and size in voxels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    pub start: [usize; 3],
    pub size: [usize; 3],
}

/// A source of per-voxel values: sliding windows, or the mean of several sources.
pub trait Blocks: Send {
    /// The network's grid.
    fn grid(&self) -> Grid;
    fn channels(&self) -> usize;
    /// Values [C,x,y,z], f32, of disjoint boxes that cover the grid, in any order.
    fn run(self: Box<Self>, work: &Work, each: &mut dyn FnMut(Region, Tensor) -> Result<()>) -> Result<()>;
}
