//! Images in host memory: voxels, geometry and the record of applied operations. This crate does not depend on torch.
//!
//! The axis order is X, Y, Z everywhere; world coordinates are RAS+ in mm, as in NIfTI and nibabel.
//!
//! - [`Zoom`] computes the grid for a target spacing, [`Sampling`] MONAI's coordinates of one grid in another,
//!   [`resample`](resample()) the voxels there.
//! - [`Orientation`] reorders axes without moving voxels, [`crop_pad`] crops and pads.
//! - [`Inverse`] inverts a [`Trace`].
//! - [`components`](mod@components) finds connected components of label maps.
//! - [`voxel_surfaces`] and [`distances`] compare the surfaces of label maps.

use segbundle_base::{bail, err, error};

mod affine;
pub mod components;
mod crop;
mod element;
pub mod extensions;
mod extent;
mod gather;
mod inverse;
mod linalg;
mod linear_argmax;
pub mod orient;
mod resample;
mod sampling;
mod surface;
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
pub use sampling::{Sampler, Sampling};
pub use surface::{DistanceMetric, Surface, cell_surfaces, distances, voxel_surfaces};
pub use trace::{Applied, Interpolation, Padding, Spatial, Trace};
pub use volume::{ImageHeader, Layout, Space, StoredForms, Volume};
pub use voxels::{DType, Voxels};
pub use zoom::Zoom;
