//! Affines of NIfTI files: nibabel's choice of the affine, MONAI's correction of it, and the qform of an affine.
//!
//! nibabel uses the sform if its code is not 0, else the qform if its code is not 0, else the voxel sizes with the
//! origin in the center and x pointing left (`get_best_affine`). MONAI then compares the lengths of the columns with
//! pixdim; if the sform differs and the qform does not, the qform is used
//! (`monai.data.utils.correct_nifti_header_if_necessary`). MONAI's opposite correction, which replaces a qform by an
//! sform with code 0, results only from comparing translations of 4-D images or oblique planes with pixdim and is
//! omitted.
//!
//! Computations are in f64. nibabel uses 80-bit floats for quaternions, so that the last bit of an oblique qform may
//! differ.

use super::header::CheckedHeader;
use crate::error::Result;
use crate::image::Affine;
use crate::{bail, err};

type Matrix = [[f64; 3]; 3];

/// Tolerated excess of the squared length of a rounded quaternion over 1, a few decimal digits coarser than float32.
const QUATERNION_TOLERANCE: f64 = 1e-5;

/// Returns the affine of MONAI's `NibabelReader`.
///
/// # Errors
/// The affine is singular or not finite.
pub fn affine(header: &CheckedHeader) -> Result<Affine> {
    // MONAI's correction could hide an invalid sform, or select an invalid qform.
    correct(header, finite(best(header)?)?).regular()
}

fn finite(affine: Affine) -> Result<Affine> {
    if affine.0.iter().flatten().any(|value| !value.is_finite()) {
        bail!("expected an affine of finite numbers, found {:?}", &affine.0[..3]);
    }
    Ok(affine)
}

fn best(header: &CheckedHeader) -> Result<Affine> {
    if header.sform_code != 0 {
        Ok(sform(header))
    } else if header.qform_code != 0 {
        qform(header)
    } else {
        Ok(base(header))
    }
}

fn sform(header: &CheckedHeader) -> Affine {
    let [x, y, z] = header.srow;
    Affine([x, y, z, [0.0, 0.0, 0.0, 1.0]])
}

/// `shape_zoom_affine`: diagonal, x flipped, origin in the center of the volume.
fn base(header: &CheckedHeader) -> Affine {
    let mut affine = Affine::IDENTITY;
    for axis in 0..3 {
        let inside = axis < header.shape.len();
        let zoom = if inside { header.zooms[axis] } else { 1.0 } * if axis == 0 { -1.0 } else { 1.0 };
        let length = header.shape.get(axis).copied().unwrap_or(1);
        affine.0[axis][axis] = zoom;
        affine.0[axis][3] = -((length as f64 - 1.0) / 2.0) * zoom;
    }
    affine
}

/// `get_qform`: the rotation of the unit quaternion (a, b, c, d), a ≥ 0, times the voxel sizes.
fn qform(header: &CheckedHeader) -> Result<Affine> {
    let [x, y, z] = header.quaternion;
    let epsilon = if header.version == 1 { f64::from(f32::EPSILON) } else { f64::EPSILON };
    let w2 = 1.0 - (x * x + y * y + z * z);
    // Unlike nibabel, which refuses it, a length above 1 by rounding counts as 1, as in ITK and FSL.
    let w = if w2.abs() < 3.0 * epsilon || (-QUATERNION_TOLERANCE..0.0).contains(&w2) {
        0.0
    } else if w2 < 0.0 {
        bail!("expected a qform quaternion of length at most 1, found ({x}, {y}, {z})")
    } else {
        w2.sqrt()
    };
    let s = 2.0 / (w * w + x * x + y * y + z * z);
    let (sx, sy, sz) = (x * s, y * s, z * s);
    let rotation: Matrix = [
        [1.0 - (y * sy + z * sz), x * sy - w * sz, x * sz + w * sy],
        [x * sy + w * sz, 1.0 - (x * sx + z * sz), y * sz - w * sx],
        [x * sz - w * sy, y * sz + w * sx, 1.0 - (x * sx + y * sy)],
    ];
    let sizes = [header.zooms[0], header.zooms[1], header.zooms[2] * header.qfac];
    let mut affine = Affine::IDENTITY;
    for (row, (rotation, origin)) in affine.0.iter_mut().zip(rotation.iter().zip(header.qoffset)) {
        *row = [rotation[0] * sizes[0], rotation[1] * sizes[1], rotation[2] * sizes[2], origin];
    }
    Ok(affine)
}

/// MONAI's correction of the sform (see above). Like MONAI, it compares as many columns as the array has dimensions,
/// and none if there are five or more.
fn correct(header: &CheckedHeader, affine: Affine) -> Affine {
    let dims = header.shape.len();
    let agrees = |affine: &Affine| {
        (0..dims.min(4)).all(|column| {
            let norm = (0..dims.min(4)).map(|row| affine.0[row][column].powi(2)).sum::<f64>().sqrt();
            let norm = if norm == 0.0 { 1.0 } else { norm };
            // numpy.allclose.
            (header.zooms[column] - norm).abs() <= 1e-8 + 1e-5 * norm
        })
    };
    if dims >= 5 || header.sform_code == 0 || agrees(&affine) {
        return affine;
    }
    match qform(header) {
        // The sform is stored again, in the precision of the header.
        Ok(qform) if agrees(&qform) && header.version == 1 => {
            Affine(qform.0.map(|row| row.map(|value| f64::from(value as f32))))
        }
        Ok(qform) if agrees(&qform) => qform,
        _ => affine,
    }
}

/// A qform: quaternion, offset and voxel sizes of an affine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Qform {
    pub qfac: f64,
    pub zooms: [f64; 3],
    /// Components b, c, d.
    pub quaternion: [f64; 3],
    /// Whether the axes of the affine deviate from right angles by more than about 0.1°; the rotation is then the
    /// closest one.
    pub sheared: bool,
}

/// `set_qform`: the closest rotation (shears are lost), as a quaternion with a ≥ 0.
pub fn to_qform(affine: &Affine) -> Result<Qform> {
    let zooms = affine.spacing_mm();
    let mut rotation = rotation_part(affine);
    for row in &mut rotation {
        for (value, zoom) in row.iter_mut().zip(zooms) {
            *value /= zoom;
        }
    }
    let qfac = if determinant(&rotation) > 0.0 { 1.0 } else { -1.0 };
    for row in &mut rotation {
        row[2] *= qfac;
    }
    let axes = rotation;
    let rotation = nearest_orthogonal(axes)
        .ok_or_else(|| err!("expected an invertible affine, found a singular one: {:?}", &affine.0[..3]))?;
    let sheared =
        axes.iter().flatten().zip(rotation.iter().flatten()).any(|(axis, nearest)| (axis - nearest).abs() > 1e-3);
    Ok(Qform { qfac, zooms, quaternion: to_quaternion(&rotation), sheared })
}

fn rotation_part(affine: &Affine) -> Matrix {
    std::array::from_fn(|row| std::array::from_fn(|column| affine.0[row][column]))
}

fn determinant(m: &Matrix) -> f64 {
    let [[a, b, c], [d, e, f], [g, h, i]] = *m;
    a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
}

/// m⁻ᵀ: cofactors divided by the determinant.
fn inverse_transposed(m: &Matrix) -> Option<Matrix> {
    let determinant = determinant(m);
    let cofactor = |row: usize, column: usize| {
        let (r1, r2, c1, c2) = ((row + 1) % 3, (row + 2) % 3, (column + 1) % 3, (column + 2) % 3);
        m[r1][c1] * m[r2][c2] - m[r1][c2] * m[r2][c1]
    };
    let result: Matrix = std::array::from_fn(|row| std::array::from_fn(|column| cofactor(row, column) / determinant));
    result.iter().flatten().all(|value| value.is_finite()).then_some(result)
}

/// The orthogonal factor of the polar decomposition (nibabel computes it from an SVD) by Newton's iteration R ← (R +
/// R⁻ᵀ)/2, which converges quadratically for any regular matrix.
fn nearest_orthogonal(mut m: Matrix) -> Option<Matrix> {
    for _ in 0..100 {
        let other = inverse_transposed(&m)?;
        let next: Matrix =
            std::array::from_fn(|row| std::array::from_fn(|column| 0.5 * (m[row][column] + other[row][column])));
        let change = m.iter().flatten().zip(next.iter().flatten()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        m = next;
        if change < 1e-15 {
            break;
        }
    }
    Some(m)
}

/// Components b, c, d of a rotation, a ≥ 0 (`mat2quat`). A half turn (a = 0) has two quaternions; the sign of the axis
/// is that of nibabel for half turns that map axes to axes.
fn to_quaternion(r: &Matrix) -> [f64; 3] {
    // Four times the squares of a, b, c, d; the largest is at least 1.
    let squares = [
        1.0 + r[0][0] + r[1][1] + r[2][2],
        1.0 + r[0][0] - r[1][1] - r[2][2],
        1.0 - r[0][0] + r[1][1] - r[2][2],
        1.0 - r[0][0] - r[1][1] + r[2][2],
    ];
    let largest = (1..4).fold(0, |best, i| if squares[i] > squares[best] { i } else { best });
    let root = squares[largest].sqrt();
    // Four times the products of pairs.
    let (ab, ac, ad) = (r[2][1] - r[1][2], r[0][2] - r[2][0], r[1][0] - r[0][1]);
    let (bc, bd, cd) = (r[0][1] + r[1][0], r[0][2] + r[2][0], r[1][2] + r[2][1]);
    let [a, b, c, d] = match largest {
        0 => [root * root, ab, ac, ad],
        1 => [ab, root * root, bc, bd],
        2 => [ac, bc, root * root, cd],
        _ => [ad, bd, cd, root * root],
    }
    .map(|product| product / (2.0 * root));
    let negative = if a.abs() > 1e-12 {
        a < 0.0
    } else if b.abs() > 1e-12 && c.abs() < 1e-12 && d.abs() > 1e-12 {
        b > 0.0
    } else {
        [d, c, b].into_iter().find(|value| value.abs() > 1e-12).is_some_and(|last| last < 0.0)
    };
    // Adding 0 turns -0 into 0.
    [b, c, d].map(|value| if negative { 0.0 - value } else { value + 0.0 })
}
