//! Source coordinates of resampled voxels, bit-equal to MONAI's.
//!
//! MONAI's `spatial_resample` normalizes `src⁻¹·dst` (`to_norm_affine`), torch's `affine_grid` makes coordinates in
//! [-1,1] from it, and torch's `grid_sample` turns them back into voxels. The rounding errors of these steps decide
//! ties of nearest neighbors, which are frequent (whole planes when 3 mm are resampled to 1.5 mm), so this module
//! performs the same steps. Source: monai/transforms/spatial/functional.py and monai/networks/utils.py of MONAI 1.6.1;
//! ATen/native/AffineGridGenerator.cpp and GridSampler.cpp of PyTorch 2.11.

use super::gather::OUTSIDE;
use super::linalg::{identity, mul_plain, solve};
use super::{Affine, Grid, Padding};
use crate::error::Result;

/// MONAI's AFFINE_TOL: affines that differ by less are treated as equal.
pub(crate) const AFFINE_TOL: f64 = 1e-3;

/// How to resample from one grid to another.
pub enum Sampling {
    /// The grids agree within MONAI's tolerance of 1e-3: voxels and affine are kept.
    Unchanged,
    /// Voxels have to be interpolated.
    Resample(Box<Sampler>),
}

/// Maps each output voxel to its coordinates in the input.
#[derive(Debug, Clone)]
pub struct Sampler {
    /// Size `[X,Y,Z]` of the input in voxels.
    pub from: [usize; 3],
    /// Size `[X,Y,Z]` of the output in voxels.
    pub to: [usize; 3],
    /// Affine of the result, as tracked by MONAI.
    pub affine: Affine,
    /// Rows X, Y, Z of the matrix from normalized output to normalized input coordinates.
    theta: [[f64; 4]; 3],
    padding: Padding,
    align_corners: bool,
}

/// Linear interpolation along one axis: two source indices and their weights by output index.
#[derive(Debug, Clone, Default)]
pub(crate) struct LinearAxis {
    pub low: Vec<u32>,
    pub high: Vec<u32>,
    pub weights: Vec<[f64; 2]>,
}

impl Sampling {
    /// Compares the grids and prepares the resampling.
    ///
    /// # Errors
    /// The affine of `from` is singular.
    pub fn new(from: &Grid, to: &Grid, padding: Padding, align_corners: bool) -> Result<Sampling> {
        let xform = from.affine.solve(&to.affine)?;
        if from.shape == to.shape && (close(&from.affine, &to.affine) || close(&xform, &Affine::IDENTITY)) {
            return Ok(Sampling::Unchanged);
        }
        let from_norm = normalize(from.shape, align_corners);
        let to_norm = solve(&normalize(to.shape, align_corners), &identity())?;
        let theta = mul_plain(&mul_plain(&from_norm, &xform.0), &to_norm);
        Ok(Sampling::Resample(Box::new(Sampler {
            from: from.shape,
            to: to.shape,
            affine: from.affine.updated(&xform),
            theta: [theta[0], theta[1], theta[2]],
            padding,
            align_corners,
        })))
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

/// Base coordinates of `n` voxels in affine_grid. torch.linspace counts from both ends, with FMA.
fn base(n: usize, align_corners: bool) -> Vec<f64> {
    if n <= 1 {
        return vec![0.0; n];
    }
    let step = 2.0 / (n - 1) as f64;
    let line =
        (0..n).map(|i| if i < n / 2 { step.mul_add(i as f64, -1.0) } else { (-step).mul_add((n - 1 - i) as f64, 1.0) });
    if align_corners { line.collect() } else { line.map(|x| x * (n - 1) as f64 / n as f64).collect() }
}

/// Adding this constant to |x| < 2^51 rounds half to even, since no bits are left for a fraction.
const ROUND: f64 = 6_755_399_441_055_744.0;

impl Sampler {
    /// Whether each input coordinate depends on one output axis only, exactly; nearest-neighbor interpolation is then a
    /// table lookup per axis.
    pub(crate) fn is_separable(&self) -> bool {
        self.off_axis_vox() == 0.0
    }
    /// Like [`Sampler::is_separable`], within 1e-10 voxels, below the resolution of f32 values.
    pub(crate) fn is_nearly_separable(&self) -> bool {
        self.off_axis_vox() <= 1e-10
    }
    /// The largest shift of an input coordinate by another axis, in voxels.
    fn off_axis_vox(&self) -> f64 {
        let mut most: f64 = 0.0;
        for row in 0..3 {
            for column in (0..3).filter(|&column| column != row) {
                most = most.max(self.theta[row][column].abs() * self.from[row] as f64 / 2.0);
            }
        }
        most
    }
    /// Converts normalized to voxel coordinates, and moves those outside as the padding requires.
    fn locate(&self, axis: usize, normalized: f64) -> f64 {
        let n = self.from[axis] as f64;
        let x = if self.align_corners {
            ((normalized + 1.0) / 2.0) * (n - 1.0)
        } else {
            ((normalized + 1.0) * n - 1.0) / 2.0
        };
        match self.padding {
            Padding::Zeros => x,
            Padding::Border => clip(x, n),
            Padding::Reflection => {
                let (low, span) = if self.align_corners { (0.0, n - 1.0) } else { (-0.5, n) };
                clip(reflect(x, low, span), n)
            }
        }
    }
    /// Input coordinates along one axis of a separable sampler.
    fn coordinates(&self, axis: usize) -> Vec<f64> {
        let [scale, shift] = [self.theta[axis][axis], self.theta[axis][3]];
        base(self.to[axis], self.align_corners).into_iter().map(|x| self.locate(axis, x * scale + shift)).collect()
    }
    /// Nearest input index by output index along `axis`; [`OUTSIDE`] in the zero padding.
    pub(crate) fn nearest_axis(&self, axis: usize) -> Vec<u32> {
        self.coordinates(axis).into_iter().map(|x| index(x + ROUND - ROUND, self.from[axis])).collect()
    }
    /// Indices and weights of linear interpolation along `axis`.
    pub(crate) fn linear_axis(&self, axis: usize) -> LinearAxis {
        let mut line = LinearAxis::default();
        for x in self.coordinates(axis) {
            let floor = x.floor();
            let (mut low, mut high) = (index(floor, self.from[axis]), index(floor + 1.0, self.from[axis]));
            let mut weights = [floor + 1.0 - x, x - floor];
            // A neighbor outside has weight 0 and a valid index.
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
    /// Input coordinates of output row (x, y): for each input axis, one value per z.
    pub(crate) fn row<'a>(&self, lines: &'a mut Lines, x: usize, y: usize) -> [&'a [f64]; 3] {
        let n = self.from.map(|n| n as f64);
        for (axis, row) in self.theta.iter().enumerate() {
            let (y, x, shift) = (lines.base[1][y] * row[1], lines.base[0][x] * row[0], row[3]);
            // torch's order of summation, fastest axis first.
            let along = |z: f64| ((z + y) + x) + shift;
            let out = lines.row[axis].iter_mut().zip(&lines.products[axis]);
            match (self.padding, self.align_corners) {
                // The most common case has a loop of its own that the compiler can vectorize.
                (Padding::Border, false) => {
                    out.for_each(|(out, &z)| *out = clip(((along(z) + 1.0) * n[axis] - 1.0) / 2.0, n[axis]))
                }
                _ => out.for_each(|(out, &z)| *out = self.locate(axis, along(z))),
            }
        }
        lines.row.each_ref().map(Vec::as_slice)
    }
    /// Buffers for [`Sampler::row`].
    pub(crate) fn lines(&self) -> Lines {
        let base = self.to.map(|n| base(n, self.align_corners));
        let products = self.theta.map(|row| base[2].iter().map(|z| z * row[2]).collect());
        Lines { row: std::array::from_fn(|_| vec![0.0; self.to[2]]), products, base }
    }
    /// Calls `each` with z and the offset of the nearest voxel in a buffer with these strides; `None` outside the
    /// input.
    pub(crate) fn nearest_row(
        &self,
        row: [&[f64]; 3],
        strides: [isize; 3],
        mut each: impl FnMut(usize, Option<isize>),
    ) {
        let n = self.from.map(|n| n as f64);
        // Adding the constant leaves the rounded integer in the lowest bits.
        let whole = |x: f64| (x + ROUND).to_bits() as u32 as isize;
        let inside = |x: f64, n: f64| {
            let i = x + ROUND - ROUND;
            i >= 0.0 && i < n
        };
        for (z, ((&x0, &x1), &x2)) in row[0].iter().zip(row[1]).zip(row[2]).enumerate() {
            let within = self.padding != Padding::Zeros || (inside(x0, n[0]) && inside(x1, n[1]) && inside(x2, n[2]));
            each(z, within.then(|| whole(x0) * strides[0] + whole(x1) * strides[1] + whole(x2) * strides[2]));
        }
    }
}

/// Buffers of one thread, reused for all rows.
#[derive(Clone)]
pub(crate) struct Lines {
    /// Base coordinates along each output axis.
    base: [Vec<f64>; 3],
    /// By input axis, each z times its factor.
    products: [Vec<f64>; 3],
    /// The current row.
    row: [Vec<f64>; 3],
}

/// Converts a whole number to an index below `n`.
fn index(i: f64, n: usize) -> u32 {
    if i >= 0.0 && i < n as f64 { i as u32 } else { OUTSIDE }
}

fn clip(x: f64, n: f64) -> f64 {
    // In torch's order: NaN becomes 0.
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
