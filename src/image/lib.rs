//! Images in host memory: voxels, geometry, and what was done to them. No torch here.
//!
//! Axis order is X,Y,Z everywhere and world coordinates are RAS+ millimetres, as NIfTI and nibabel have them.
//!
//! - [`Zoom`] gives the grid of a target spacing, [`Sampling`] MONAI's coordinates from one grid in another,
//!   [`resample`](resample()) the voxels there.
//! - [`Orientation`] turns axes without moving voxels, [`crop_pad`] cuts and pads.
//! - [`Inverse`] undoes a [`Trace`].

use segbundle_base::{bail, err, error};

mod affine;
mod crop;
mod element;
mod extent;
mod gather;
mod inverse;
mod linalg;
pub mod orient;
mod resample;
mod sampling;
mod trace;
mod volume;
mod voxels;
pub mod zeroed;
mod zoom;

pub use affine::{Affine, Grid};
pub use crop::{PadMode, Window, crop_pad};
pub use element::{CHUNK, Element, filled};
pub use inverse::Inverse;
pub use orient::Orientation;
pub use resample::{StreamingResampler, resample};
pub use sampling::{AFFINE_TOL, Sampler, Sampling};
pub use trace::{Applied, Interpolation, Padding, Spatial, Trace};
pub use volume::{ImageHeader, Layout, Space, StoredForms, Volume};
pub use voxels::{DType, Voxels};
pub use zoom::Zoom;
