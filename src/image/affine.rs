//! Voxel index to world, and grids.

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
    pub const IDENTITY: Affine = Affine([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]);

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
}
