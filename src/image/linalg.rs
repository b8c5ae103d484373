//! Small matrices, with the rounding of NumPy and PyTorch.
//!
//! The last bit of an affine can decide ties of nearest neighbors, so the order of floating-point operations is part of
//! the result. The orders below were determined by bitwise comparison with NumPy 2 (OpenBLAS) and PyTorch 2.11 on
//! random matrices, on an x86-64 CPU with FMA: NumPy's products use FMA in index order; PyTorch's small products do not
//! use FMA; LAPACK's factorizations sum first, then subtract, and multiply by reciprocals of pivots.

use super::Affine;
use crate::err;
use crate::error::Result;

/// A square matrix by rows.
pub type Matrix<const N: usize> = [[f64; N]; N];

/// Computes `a · b`, rounded as by NumPy.
pub fn mul_fused<const R: usize, const K: usize, const C: usize>(
    a: &[[f64; K]; R],
    b: &[[f64; C]; K],
) -> [[f64; C]; R] {
    std::array::from_fn(|r| std::array::from_fn(|c| (0..K).fold(0.0, |sum, k| a[r][k].mul_add(b[k][c], sum))))
}

/// Computes `a · b`, rounded as by PyTorch.
pub fn mul_plain<const N: usize>(a: &Matrix<N>, b: &Matrix<N>) -> Matrix<N> {
    std::array::from_fn(|r| std::array::from_fn(|c| (1..N).fold(a[r][0] * b[0][c], |sum, k| sum + a[r][k] * b[k][c])))
}

/// Computes `a · v` for the upper left 3×3 block of an affine, rounded as by NumPy for such a view.
pub fn rotate_vector(a: &Affine, v: [f64; 3]) -> [f64; 3] {
    std::array::from_fn(|r| a.0[r][2].mul_add(v[2], a.0[r][0].mul_add(v[0], a.0[r][1] * v[1])))
}

/// The identity matrix.
pub fn identity<const N: usize>() -> Matrix<N> {
    std::array::from_fn(|r| std::array::from_fn(|c| f64::from(u8::from(r == c))))
}

/// The transposed matrix.
pub fn transpose<const N: usize>(a: &Matrix<N>) -> Matrix<N> {
    std::array::from_fn(|r| std::array::from_fn(|c| a[c][r]))
}

/// Computes `a⁻¹ · b` by LU decomposition with partial pivoting.
///
/// # Errors
/// `a` is singular.
pub fn solve<const N: usize>(a: &Matrix<N>, b: &Matrix<N>) -> Result<Matrix<N>> {
    let (mut lu, mut x) = (*a, *b);
    for column in 0..N {
        for row in 1..column {
            let dot = dot(row, |k| lu[row][k] * lu[k][column]);
            lu[row][column] -= dot;
        }
        for row in column..N {
            let dot = dot(column, |k| lu[row][k] * lu[k][column]);
            lu[row][column] -= dot;
        }
        let mut pivot = column;
        for row in column + 1..N {
            if lu[row][column].abs() > lu[pivot][column].abs() {
                pivot = row;
            }
        }
        lu.swap(column, pivot);
        x.swap(column, pivot);
        let reciprocal = 1.0 / lu[column][column];
        if !reciprocal.is_finite() {
            return Err(err!("the affine {} is not invertible", Affine::text(a)).hint("is the file's header damaged?"));
        }
        for row in lu.iter_mut().skip(column + 1) {
            row[column] *= reciprocal;
        }
    }
    // Row by row for all columns at once; within a column the order is that of LAPACK.
    for row in 1..N {
        for k in 0..row {
            let known = x[k];
            x[row].iter_mut().zip(known).for_each(|(x, known)| *x -= lu[row][k] * known);
        }
    }
    for row in (0..N).rev() {
        for k in (row + 1..N).rev() {
            let known = x[k];
            x[row].iter_mut().zip(known).for_each(|(x, known)| *x -= lu[row][k] * known);
        }
        x[row].iter_mut().for_each(|x| *x *= 1.0 / lu[row][row]);
    }
    Ok(x)
}

/// Sum of the first `n` terms in order; 0 if n is 0.
fn dot(n: usize, term: impl Fn(usize) -> f64) -> f64 {
    if n == 0 { 0.0 } else { (1..n).fold(term(0), |sum, k| sum + term(k)) }
}

/// Computes the lower triangular L with L·Lᵀ = a.
///
/// # Errors
/// `a` is not positive definite.
pub fn cholesky(a: &Matrix<3>) -> Result<Matrix<3>> {
    let mut l = [[0.0; 3]; 3];
    for column in 0..3 {
        let square = a[column][column] - dot(column, |k| l[column][k] * l[column][k]);
        let diagonal = square.sqrt();
        if diagonal.is_nan() || diagonal <= 0.0 {
            return Err(err!("the affine's axes are not independent").hint("is the file's header damaged?"));
        }
        l[column][column] = diagonal;
        for row in column + 1..3 {
            l[row][column] = (a[row][column] - dot(column, |k| l[row][k] * l[column][k])) * (1.0 / diagonal);
        }
    }
    Ok(l)
}

impl Affine {
    /// The rows as text, for messages.
    fn text<const N: usize>(rows: &Matrix<N>) -> String {
        format!("{:?}", rows.iter().map(|row| row.to_vec()).collect::<Vec<_>>())
    }
    /// Returns `self · other`, rounded as by PyTorch: MONAI's update of an image's affine.
    pub fn updated(&self, other: &Affine) -> Affine {
        Affine(mul_plain(&self.0, &other.0))
    }
    /// Returns `self⁻¹ · other`, rounded as by NumPy.
    ///
    /// # Errors
    /// `self` is singular.
    pub fn solve(&self, other: &Affine) -> Result<Affine> {
        Ok(Affine(solve(&self.0, &other.0)?))
    }
    /// A translation in voxels.
    pub fn translation(shift_vox: [f64; 3]) -> Affine {
        let mut affine = Affine::IDENTITY;
        for (row, shift) in affine.0.iter_mut().zip(shift_vox) {
            row[3] = shift;
        }
        affine
    }
    /// The upper left 3×3 block.
    pub fn axes(&self) -> Matrix<3> {
        std::array::from_fn(|r| std::array::from_fn(|c| self.0[r][c]))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    // import numpy as np; A = np.array([[.6,-1.1,.5,31.5],[-.5,-.4,-1.6,-87.25],[3.2,.15,-.35,412.],[0,0,0,1.]])
    // B = np.diag([1.5,1.5,1.5,1.]); B[:3,3] = 1.25, -2.5, 3.75
    // print([x.hex() for x in np.linalg.solve(A, B).ravel()], np.linalg.cholesky(A[:3,:3].T @ A[:3,:3]).ravel())
    #[test]
    fn solve_has_numpys_bits() {
        let a = [[0.6, -1.1, 0.5, 31.5], [-0.5, -0.4, -1.6, -87.25], [3.2, 0.15, -0.35, 412.0], [0.0, 0.0, 0.0, 1.0]];
        let mut b: Matrix<4> = identity();
        for i in 0..3 {
            b[i][i] = 1.5;
            b[i][3] = [1.25, -2.5, 3.75][i];
        }
        let x = solve(&a, &b).unwrap();
        let expected: [[f64; 4]; 3] = include!("linalg_golden.in");
        for (row, want) in x.iter().zip(&expected) {
            assert_eq!(row, want);
        }
    }

    #[test]
    fn singular_matrices_are_named() {
        assert!(solve(&[[0.0; 4]; 4], &identity()).unwrap_err().message().contains("not invertible"));
        assert!(cholesky(&[[0.0; 3]; 3]).is_err());
    }
}
