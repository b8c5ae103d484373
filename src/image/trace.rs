//! What was applied to a volume, in order, so that it can be undone (MONAI's `applied_operations`).

use super::Grid;
use std::sync::Arc;

/// Oldest first.
pub type Trace = Vec<Arc<Applied>>;

/// One spatial operation.
#[derive(Debug, Clone)]
pub struct Applied {
    /// The transform's class (`Spacingd`), for matching and messages.
    pub by: &'static str,
    /// Grids before and after.
    pub before: Grid,
    pub after: Grid,
    pub what: Spatial,
}

#[derive(Debug, Clone)]
pub enum Spatial {
    /// Output axis i is input axis `axes[i]`, reversed where `flips[i]`.
    Orient { axes: [usize; 3], flips: [bool; 3] },
    /// Resampled from `before` to `after` through world coordinates.
    Resample { interpolation: Interpolation, padding: Padding, align_corners: bool },
    /// Output voxel i is input voxel i + `start`; outside the input it was padded.
    CropPad { start: [isize; 3] },
}

/// MONAI's GridSampleMode, as far as it is supported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interpolation {
    Nearest,
    /// MONAI's "bilinear": trilinear in 3-D.
    Linear,
}

/// MONAI's GridSamplePadMode: what lies outside the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    Zeros,
    Border,
    Reflection,
}
