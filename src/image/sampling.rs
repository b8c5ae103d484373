//! Where an output voxel lies in the input: MONAI's coordinates, bit for bit.
//!
//! MONAI's `spatial_resample` takes `src⁻¹·dst`, normalises it (`to_norm_affine`), lets torch's `affine_grid` make
//! coordinates in [-1,1], and torch's `grid_sample` turns them back into voxels. Rounding noise on that way decides the
//! ties of nearest neighbours, which are frequent (whole planes when 3 mm go back to 1.5 mm), so the same steps are
//! taken here. Source: monai/transforms/spatial/functional.py, monai/networks/utils.py of MONAI 1.6.1;
//! ATen/native/AffineGridGenerator.cpp and GridSampler.cpp of PyTorch 2.11.

use super::gather::OUTSIDE;
use super::linalg::{identity, mul_plain, solve};
use super::{Affine, Grid, Padding};
use crate::error::Result;

/// MONAI's AFFINE_TOL: affines this close are equal.
pub const AFFINE_TOL: f64 = 1e-3;

/// What resampling from one grid to another means.
pub enum Sampling {
    /// Grids agree within [`AFFINE_TOL`]: voxels and affine stay.
    Unchanged,
    Resample(Sampler),
}

/// Coordinates in the input for each voxel of the output.
#[derive(Debug, Clone)]
pub struct Sampler {
    pub from: [usize; 3],
    pub to: [usize; 3],
    /// The affine of the result, as MONAI tracks it.
    pub affine: Affine,
    /// From normalised output coordinates to normalised input coordinates, by X,Y,Z.
    theta: [[f64; 4]; 3],
    padding: Padding,
    align_corners: bool,
}

/// Linear interpolation along one axis: two source indices and their weights for each output index.
#[derive(Debug, Clone, Default)]
pub struct LinearAxis {
    pub low: Vec<u32>,
    pub high: Vec<u32>,
    pub weights: Vec<[f64; 2]>,
}

impl Sampling {
    /// Errors if `from`'s affine is singular.
    pub fn new(from: &Grid, to: &Grid, padding: Padding, align_corners: bool) -> Result<Sampling> {
        let xform = from.affine.solve(&to.affine)?;
        if from.shape == to.shape && (close(&from.affine, &to.affine) || close(&xform, &Affine::IDENTITY)) {
            return Ok(Sampling::Unchanged);
        }
        let from_norm = normalize(from.shape, align_corners);
        let to_norm = solve(&normalize(to.shape, align_corners), &identity())?;
        let theta = mul_plain(&mul_plain(&from_norm, &xform.0), &to_norm);
        Ok(Sampling::Resample(Sampler {
            from: from.shape,
            to: to.shape,
            affine: from.affine.updated(&xform),
            theta: [theta[0], theta[1], theta[2]],
            padding,
            align_corners,
        }))
    }
}

/// numpy.allclose with MONAI's tolerance.
fn close(a: &Affine, b: &Affine) -> bool {
    a.0.iter().flatten().zip(b.0.iter().flatten()).all(|(a, b)| (a - b).abs() <= AFFINE_TOL + 1e-5 * b.abs())
}

/// `normalize_transform`: voxel index to [-1,1].
fn normalize(shape: [usize; 3], align_corners: bool) -> [[f64; 4]; 4] {
    let mut matrix = identity::<4>();
    for (axis, n) in shape.into_iter().enumerate() {
        let n = n as f64;
        if align_corners {
            matrix[axis][axis] = 2.0 / (if n <= 1.0 { 2.0 } else { n } - 1.0);
            matrix[axis][3] = -1.0;
        } else {
            matrix[axis][axis] = 2.0 / if n <= 0.0 { 2.0 } else { n };
            matrix[axis][3] = 1.0 / n - 1.0;
        }
    }
    matrix
}

/// affine_grid's base coordinates of `n` voxels. torch.linspace counts from both ends, with fused multiply-add.
fn base(n: usize, align_corners: bool) -> Vec<f64> {
    if n <= 1 {
        return vec![0.0; n];
    }
    let step = 2.0 / (n - 1) as f64;
    let line = (0..n).map(|i| if i < n / 2 { step.mul_add(i as f64, -1.0) } else { (-step).mul_add((n - 1 - i) as f64, 1.0) });
    if align_corners { line.collect() } else { line.map(|x| x * (n - 1) as f64 / n as f64).collect() }
}

/// Round half to even, for |x| < 2^51: adding this constant leaves no bits for a fraction.
const ROUND: f64 = 6_755_399_441_055_744.0;

impl Sampler {
    /// Whether each input coordinate depends on its own output axis alone, exactly: then nearest is a table per axis.
    pub fn is_separable(&self) -> bool {
        self.off_axis_vox() == 0.0
    }
    /// Whether that holds within a ten billionth of a voxel, less than what f32 values of any image resolve.
    pub fn is_nearly_separable(&self) -> bool {
        self.off_axis_vox() <= 1e-10
    }
    /// The most by which another axis moves an input coordinate, in voxels.
    fn off_axis_vox(&self) -> f64 {
        let mut most: f64 = 0.0;
        for row in 0..3 {
            for column in (0..3).filter(|&column| column != row) {
                most = most.max(self.theta[row][column].abs() * self.from[row] as f64 / 2.0);
            }
        }
        most
    }
    /// From normalised to voxel coordinates, then what the padding makes of those outside.
    fn locate(&self, axis: usize, normalized: f64) -> f64 {
        let n = self.from[axis] as f64;
        let x = if self.align_corners { ((normalized + 1.0) / 2.0) * (n - 1.0) } else { ((normalized + 1.0) * n - 1.0) / 2.0 };
        match self.padding {
            Padding::Zeros => x,
            Padding::Border => clip(x, n),
            Padding::Reflection => {
                let (low, span) = if self.align_corners { (0.0, n - 1.0) } else { (-0.5, n) };
                clip(reflect(x, low, span), n)
            }
        }
    }
    /// Input coordinates along one axis, if separable.
    fn coordinates(&self, axis: usize) -> Vec<f64> {
        let [scale, shift] = [self.theta[axis][axis], self.theta[axis][3]];
        base(self.to[axis], self.align_corners).into_iter().map(|x| self.locate(axis, x * scale + shift)).collect()
    }
    /// Nearest input index for each output index along `axis`, [`OUTSIDE`] where zeros are.
    pub fn nearest_axis(&self, axis: usize) -> Vec<u32> {
        self.coordinates(axis).into_iter().map(|x| index(x + ROUND - ROUND, self.from[axis])).collect()
    }
    /// Linear interpolation along `axis`.
    pub fn linear_axis(&self, axis: usize) -> LinearAxis {
        let mut line = LinearAxis::default();
        for x in self.coordinates(axis) {
            let floor = x.floor();
            let (mut low, mut high) = (index(floor, self.from[axis]), index(floor + 1.0, self.from[axis]));
            let mut weights = [floor + 1.0 - x, x - floor];
            // A neighbour outside counts nothing; its index becomes a valid one.
            match (low == OUTSIDE, high == OUTSIDE) {
                (true, true) => (low, high, weights) = (0, 0, [0.0, 0.0]),
                (true, false) => (low, weights[0]) = (high, 0.0),
                (false, true) => (high, weights[1]) = (low, 0.0),
                (false, false) => {}
            }
            line.low.push(low);
            line.high.push(high);
            line.weights.push(weights);
        }
        line
    }
    /// Calls `each(z, [x,y,z] in the input)` along the output row (x, y).
    pub fn row(&self, lines: &BaseLines, x: usize, y: usize, mut each: impl FnMut(usize, [f64; 3])) {
        let (x, y) = (lines.0[0][x], lines.0[1][y]);
        let [rx, ry, rz] = self.theta;
        for (at, z) in lines.0[2].iter().enumerate() {
            // torch's order of summation: the fastest axis first.
            let along = |row: [f64; 4]| ((z * row[2] + y * row[1]) + x * row[0]) + row[3];
            each(at, [self.locate(0, along(rx)), self.locate(1, along(ry)), self.locate(2, along(rz))]);
        }
    }
    /// Base coordinates along each output axis, for [`Sampler::row`].
    pub fn lines(&self) -> BaseLines {
        BaseLines(self.to.map(|n| base(n, self.align_corners)))
    }
    /// Index of the nearest voxel [x,y,z], or `None` outside.
    pub fn nearest_index(&self, at: [f64; 3]) -> Option<[usize; 3]> {
        let mut out = [0; 3];
        for axis in 0..3 {
            let i = at[axis] + ROUND - ROUND;
            if !(i >= 0.0 && i < self.from[axis] as f64) {
                return None;
            }
            out[axis] = i as usize;
        }
        Some(out)
    }
}

/// Made once for all rows.
pub struct BaseLines([Vec<f64>; 3]);

/// A whole number as an index below `n`.
fn index(i: f64, n: usize) -> u32 {
    if i >= 0.0 && i < n as f64 { i as u32 } else { OUTSIDE }
}

fn clip(x: f64, n: f64) -> f64 {
    // In torch's order: NaN ends at 0.
    (n - 1.0).min(x.max(0.0))
}

fn reflect(x: f64, low: f64, span: f64) -> f64 {
    if span == 0.0 {
        return 0.0;
    }
    let x = (x - low).abs();
    let extra = x % span;
    if (x / span).floor() % 2.0 == 0.0 { extra + low } else { span - extra + low }
}
