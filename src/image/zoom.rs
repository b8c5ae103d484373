//! The grid for a target voxel spacing, bit-equal to MONAI's `Spacing`, `zoom_affine` and `compute_shape_offset`.
//!
//! Source: monai/transforms/spatial/array.py and monai/data/utils.py of MONAI 1.6.1. The rule for the origin depends on
//! rounding errors: an image whose first corner stays the minimum within 1e-8 voxels keeps its origin, any other is
//! aligned at its center. Oblique affines from float32 headers usually fail that test.

use super::linalg::{cholesky, identity, mul_fused, rotate_vector, solve, transpose};
use super::sampling::AFFINE_TOL;
use super::{Affine, Grid};
use crate::bail;
use crate::error::Result;

/// Parameters of MONAI's `Spacing`.
#[derive(Debug, Clone)]
pub struct Zoom {
    /// Target spacing in mm; an axis with a value of 0 or less keeps its spacing.
    pub pixdim_mm: [f64; 3],
    /// Lower bound of the spacings that are kept, in mm; NaN for none.
    pub min_mm: [f64; 3],
    /// Upper bound of the spacings that are kept, in mm; NaN for none.
    pub max_mm: [f64; 3],
    /// Align the axes of the result with the world axes.
    pub diagonal: bool,
    /// Scale the extent (corner to corner) instead of the distance between voxel centers.
    pub scale_extent: bool,
}

impl Zoom {
    /// Returns the grid to which an image on `from` is resampled.
    ///
    /// # Errors
    /// The affine is singular, or an axis would be longer than 65,536 voxels.
    pub fn target(&self, from: &Grid) -> Result<Grid> {
        let spacing_mm = suppressed(&from.affine);
        let mut pixdim_mm = self.pixdim_mm;
        for axis in 0..3 {
            let (target, own) = (pixdim_mm[axis], spacing_mm[axis]);
            let low = if self.min_mm[axis].is_nan() { target } else { self.min_mm[axis].min(target) };
            let high = if self.max_mm[axis].is_nan() { target } else { self.max_mm[axis].max(target) };
            if low - AFFINE_TOL <= own && own <= high + AFFINE_TOL {
                pixdim_mm[axis] = own;
            }
        }
        let mut affine = zoomed(&from.affine, pixdim_mm, self.diagonal)?;
        let (shape, origin) = shape_and_origin(from, &affine, self.scale_extent)?;
        for (row, x) in affine.0.iter_mut().zip(origin) {
            row[3] = x;
        }
        Ok(Grid { shape, affine })
    }
}

/// Lengths of the axes in mm; 1 for axes of length 0.
fn suppressed(affine: &Affine) -> [f64; 3] {
    std::array::from_fn(|axis| {
        let square = |row: usize| affine.0[row][axis] * affine.0[row][axis];
        let length = (square(0) + square(1) + square(2)).sqrt();
        if length == 0.0 { 1.0 } else { length }
    })
}

/// `zoom_affine`: the same directions with other lengths, without origin.
fn zoomed(affine: &Affine, pixdim_mm: [f64; 3], diagonal: bool) -> Result<Affine> {
    let own = suppressed(affine);
    let scale: [f64; 3] = std::array::from_fn(|axis| if pixdim_mm[axis] > 0.0 { pixdim_mm[axis] } else { own[axis] });
    let mut out = Affine::IDENTITY;
    if diagonal {
        for (axis, length) in scale.into_iter().enumerate() {
            out.0[axis][axis] = length;
        }
        return Ok(out);
    }
    let axes = affine.axes();
    let stretch = transpose(&cholesky(&mul_fused(&transpose(&axes), &axes))?);
    let rotation = mul_fused(&axes, &solve(&stretch, &identity())?);
    for (out, row) in out.0.iter_mut().zip(rotation) {
        for column in 0..3 {
            out[column] = row[column] * scale[column];
        }
    }
    Ok(out)
}

/// `compute_shape_offset`.
fn shape_and_origin(from: &Grid, to: &Affine, scale_extent: bool) -> Result<([usize; 3], [f64; 3])> {
    let size = from.shape.map(|n| n as f64);
    let ends = size.map(|n| if scale_extent { [-0.5, n - 0.5] } else { [0.0, n - 1.0] });
    // Corner i is at the far end of x, y, z if bit 2, 1, 0 of i is set.
    let corners: [[f64; 8]; 4] =
        std::array::from_fn(|row| std::array::from_fn(|i| if row == 3 { 1.0 } else { ends[row][i >> (2 - row) & 1] }));
    let seen = mul_fused(&solve(&to.0, &from.affine.0)?, &corners);
    let world = mul_fused(&from.affine.0, &corners);
    let mut shape = [0; 3];
    for axis in 0..3 {
        let along = |pick: fn(f64, f64) -> f64| seen[axis].iter().copied().reduce(pick).unwrap_or(0.0);
        let extent = along(f64::max) - along(f64::min);
        let n = if scale_extent { extent } else { extent + 1.0 }.round_ties_even();
        if !(0.0..=MAX_AXIS_VOX).contains(&n) {
            bail!(
                "the new spacing gives {n} voxels along axis {axis} (image {:?}), at most {MAX_AXIS_VOX} are possible",
                from.shape
            );
        }
        shape[axis] = n as usize;
    }
    let smallest = |i: usize| (0..3).all(|axis| seen[axis].iter().all(|x| x - seen[axis][i] >= -1e-8));
    let mut origin = match (0..8).find(|&i| smallest(i)) {
        Some(i) => [world[0][i], world[1][i], world[2][i]],
        None => {
            let (center, shifted) =
                (rotate_vector(&from.affine, size.map(|n| n / 2.0)), rotate_vector(to, shape.map(|n| n as f64 / 2.0)));
            std::array::from_fn(|axis| center[axis] + from.affine.0[axis][3] - shifted[axis])
        }
    };
    if scale_extent {
        let inner: [[f64; 1]; 4] =
            std::array::from_fn(|axis| [if axis == 3 { 1.0 } else { 0.5 * (size[axis] / shape[axis] as f64 - 1.0) }]);
        let shifted = mul_fused(&from.affine.0, &inner);
        for axis in 0..3 {
            // NumPy's sign of 0 is 0.
            let sign = if origin[axis] == 0.0 { 0.0 } else { origin[axis].signum() };
            origin[axis] = shifted[axis][0].abs() * sign;
        }
    }
    Ok((shape, origin))
}

/// Longest axis in voxels, to catch unreasonable spacings in a config or header.
const MAX_AXIS_VOX: f64 = 65_536.0;
