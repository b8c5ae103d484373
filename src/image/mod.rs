//! Images in host memory: voxels, geometry, and what was done to them. No torch here.
//!
//! Axis order is X,Y,Z everywhere and world coordinates are RAS+ millimetres, as NIfTI and nibabel have them.

mod affine;
mod inverse;
mod trace;
mod volume;
mod voxels;

pub use affine::{Affine, Grid};
pub use inverse::Inverse;
pub use trace::{Applied, Interpolation, Padding, Spatial, Trace};
pub use volume::{Header, Layout, Volume};
pub use voxels::{DType, Voxels};
