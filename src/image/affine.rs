//! Voxel index to world, and grids.

use crate::bail;
use crate::error::Result;

/// Voxel index (x, y, z, 1) → world (mm, RAS+), row-major.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine(pub [[f64; 4]; 4]);

/// Where a volume's voxels lie: shape [X,Y,Z] in voxels and the affine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    pub shape: [usize; 3],
    pub affine: Affine,
}

impl Affine {
    pub const IDENTITY: Affine =
        Affine([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]);

    /// `self · other`: first `other`, then `self`.
    pub fn then_after(&self, other: &Affine) -> Affine {
        let mut out = [[0.0; 4]; 4];
        for (row, out_row) in out.iter_mut().enumerate() {
            for (column, cell) in out_row.iter_mut().enumerate() {
                *cell = (0..4).map(|k| self.0[row][k] * other.0[k][column]).sum();
            }
        }
        Affine(out)
    }
    /// The world place of a voxel index, in mm.
    pub fn at(&self, index: [f64; 3]) -> [f64; 3] {
        std::array::from_fn(|row| (0..3).map(|axis| self.0[row][axis] * index[axis]).sum::<f64>() + self.0[row][3])
    }
    /// Volume of a voxel in mm³.
    pub fn voxel_mm3(&self) -> f64 {
        let [[a, b, c, _], [d, e, f, _], [g, h, i, _], _] = self.0;
        (a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)).abs()
    }
    /// Length of each voxel axis in mm.
    pub fn spacing_mm(&self) -> [f64; 3] {
        std::array::from_fn(|axis| (0..3).map(|row| self.0[row][axis].powi(2)).sum::<f64>().sqrt())
    }
    /// The affine of an image whose world is LPS (NRRD, MetaImage, DICOM): `steps_mm[i]` leads from one voxel to the next
    /// along axis i, `origin_mm` is the centre of the first one.
    pub fn from_lps(steps_mm: [[f64; 3]; 3], origin_mm: [f64; 3]) -> Affine {
        Affine::from_steps(steps_mm, origin_mm, [-1.0, -1.0, 1.0])
    }
    /// As [`Affine::from_lps`], of a world whose axes have these `signs` in RAS.
    pub fn from_steps(steps_mm: [[f64; 3]; 3], origin_mm: [f64; 3], signs: [f64; 3]) -> Affine {
        let mut affine = Affine::IDENTITY;
        for (row, sign) in signs.into_iter().enumerate() {
            // Adding 0 turns -0 into 0.
            affine.0[row] =
                [steps_mm[0][row], steps_mm[1][row], steps_mm[2][row], origin_mm[row]].map(|value| sign * value + 0.0);
        }
        affine
    }
    /// Itself, if its numbers are finite and its axes span space; an error that shows it otherwise.
    pub fn regular(self) -> Result<Affine> {
        if self.0.iter().flatten().any(|value| !value.is_finite()) {
            bail!("expected an affine of finite numbers, found {:?}", &self.0[..3]);
        }
        let [[a, b, c, _], [d, e, f, _], [g, h, i, _], _] = self.0;
        let determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g);
        // Below this the axes lie in a plane, to f32's precision.
        if determinant.abs() <= 1e-9 * self.spacing_mm().iter().product::<f64>() {
            bail!("expected an affine that spans space, found a singular one: {:?}", &self.0[..3]);
        }
        Ok(self)
    }
}
