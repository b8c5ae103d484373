//! The record of applied spatial operations from which [`Inverse`](crate::Inverse) is built (MONAI's
//! `applied_operations`).

use super::Grid;
use std::sync::Arc;

/// Spatial operations that were applied to a volume, oldest first.
pub type Trace = Vec<Arc<Applied>>;

/// One spatial operation.
#[derive(Debug, Clone)]
pub struct Applied {
    /// Class of the transform (`Spacingd`), used by `Invertd` and in messages.
    pub by: &'static str,
    /// Grid before the operation.
    pub before: Grid,
    /// Grid after the operation.
    pub after: Grid,
    /// The operation and its parameters.
    pub what: Spatial,
}

/// A spatial operation, with the parameters that its inverse needs.
#[derive(Debug, Clone)]
pub enum Spatial {
    /// Axes were permuted and reversed.
    Orient {
        /// Input axis of each output axis.
        axes: [usize; 3],
        /// Whether each output axis is reversed.
        flips: [bool; 3],
    },
    /// Resampled from the grid `before` to the grid `after`.
    Resample {
        /// Interpolation of the voxels.
        interpolation: Interpolation,
        /// Values outside the input.
        padding: Padding,
        /// As in `torch.nn.functional.grid_sample`.
        align_corners: bool,
    },
    /// Cropped, padded, or both.
    CropPad {
        /// Output voxel i is input voxel i + `start`; voxels outside the input are padding.
        start: [isize; 3],
    },
}

/// Supported values of MONAI's `GridSampleMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interpolation {
    /// Value of the nearest voxel.
    Nearest,
    /// Trilinear; "bilinear" in MONAI.
    Linear,
}

/// MONAI's `GridSamplePadMode`: values outside the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// Zero ("zeros").
    Zeros,
    /// The outermost voxel ("border").
    Border,
    /// Mirrored ("reflection").
    Reflection,
}
