//! Affines and voxel grids.

use crate::bail;
use crate::error::Result;

/// Maps a voxel index (x, y, z, 1) to world coordinates (RAS+, mm); row-major.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine(pub [[f64; 4]; 4]);

/// The voxel grid of a volume: its size and its affine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    /// Number of voxels along X, Y, Z.
    pub shape: [usize; 3],
    /// Voxel index to world coordinates.
    pub affine: Affine,
}

impl Affine {
    /// World coordinates equal voxel indices.
    pub const IDENTITY: Affine =
        Affine([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]);

    /// Returns `self · other`, which applies `other` first.
    pub fn then_after(&self, other: &Affine) -> Affine {
        let mut out = [[0.0; 4]; 4];
        for (row, out_row) in out.iter_mut().enumerate() {
            for (column, cell) in out_row.iter_mut().enumerate() {
                *cell = (0..4).map(|k| self.0[row][k] * other.0[k][column]).sum();
            }
        }
        Affine(out)
    }
    /// World coordinates of a voxel index, in mm.
    pub fn at(&self, index: [f64; 3]) -> [f64; 3] {
        std::array::from_fn(|row| (0..3).map(|axis| self.0[row][axis] * index[axis]).sum::<f64>() + self.0[row][3])
    }
    /// Volume of a voxel in mm³.
    pub fn voxel_mm3(&self) -> f64 {
        let [[a, b, c, _], [d, e, f, _], [g, h, i, _], _] = self.0;
        (a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)).abs()
    }
    /// Distance of neighboring voxels along each voxel axis, in mm.
    pub fn spacing_mm(&self) -> [f64; 3] {
        std::array::from_fn(|axis| (0..3).map(|row| self.0[row][axis].powi(2)).sum::<f64>().sqrt())
    }
    /// Creates the affine of an image in LPS coordinates (NRRD, MetaImage, DICOM): `steps_mm[i]` is the vector from one
    /// voxel to the next along axis i, `origin_mm` the center of the first voxel.
    pub fn from_lps(steps_mm: [[f64; 3]; 3], origin_mm: [f64; 3]) -> Affine {
        Affine::from_steps(steps_mm, origin_mm, [-1.0, -1.0, 1.0])
    }
    /// Like [`Affine::from_lps`] for a world whose axes have these `signs` relative to RAS.
    pub fn from_steps(steps_mm: [[f64; 3]; 3], origin_mm: [f64; 3], signs: [f64; 3]) -> Affine {
        let mut affine = Affine::IDENTITY;
        for (row, sign) in signs.into_iter().enumerate() {
            // Adding 0 turns -0 into 0.
            affine.0[row] =
                [steps_mm[0][row], steps_mm[1][row], steps_mm[2][row], origin_mm[row]].map(|value| sign * value + 0.0);
        }
        affine
    }
    /// Returns the affine if it is finite and invertible.
    ///
    /// # Errors
    /// An element is infinite or NaN, or the affine is singular; the message contains the affine.
    pub fn regular(self) -> Result<Affine> {
        if self.0.iter().flatten().any(|value| !value.is_finite()) {
            bail!("expected an affine of finite numbers, found {:?}", &self.0[..3]);
        }
        let [[a, b, c, _], [d, e, f, _], [g, h, i, _], _] = self.0;
        let determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g);
        // Below this bound the axes are linearly dependent to the precision of f32.
        if determinant.abs() <= 1e-9 * self.spacing_mm().iter().product::<f64>() {
            bail!("expected an invertible affine, found a singular one: {:?}", &self.0[..3]);
        }
        Ok(self)
    }
}
