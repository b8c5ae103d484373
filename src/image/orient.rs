//! Axis codes and reorientation as in nibabel. Voxels are not moved in memory.
//!
//! Source: nibabel.orientations (`io_orientation`, `axcodes2ornt`, `ornt_transform`, `inv_ornt_aff`).

use super::linalg::{Matrix, identity, solve, transpose};
use super::{Affine, Layout, Spatial, Volume};
use crate::bail;
use crate::err;
use crate::error::Result;

/// For each voxel axis, the closest world axis and whether it points in the opposite direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Orientation(pub [(usize, bool); 3]);

impl Orientation {
    /// Axes point right, anterior and superior ("RAS").
    pub const RAS: Orientation = Orientation([(0, false), (1, false), (2, false)]);

    /// Returns the orientation of an image.
    ///
    /// # Errors
    /// The affine is singular, or an axis is not close to any world axis.
    pub fn of(affine: &Affine) -> Result<Orientation> {
        let mut axes = affine.axes();
        let lengths: [f64; 3] = affine.spacing_mm().map(|length| if length == 0.0 { 1.0 } else { length });
        for row in &mut axes {
            for (x, length) in row.iter_mut().zip(lengths) {
                *x /= length;
            }
        }
        let mut rotation = nearest_rotation(axes)?;
        // The axis that is closest to a world axis is assigned first.
        let strongest = |axis: usize| (0..3).map(|row| rotation[row][axis].powi(2)).fold(0.0, f64::max);
        let mut order = [(0, strongest(0)), (1, strongest(1)), (2, strongest(2))];
        order.sort_by(|a, b| b.1.total_cmp(&a.1));
        let mut out = [(0, false); 3];
        for (axis, _) in order {
            let column: [f64; 3] = std::array::from_fn(|row| rotation[row][axis]);
            let world = (1..3).fold(0, |best, row| if column[row].abs() > column[best].abs() { row } else { best });
            if column[world] == 0.0 {
                bail!("expected image axes close to the world axes, found the affine {:?}", affine.0);
            }
            out[axis] = (world, column[world] < 0.0);
            rotation[world] = [0.0; 3];
        }
        Ok(Orientation(out))
    }
    /// Parses codes such as "RAS": for each voxel axis, one of the `labels` (negative and positive end of each world
    /// axis).
    ///
    /// # Errors
    /// There are fewer than 3 codes, a code is not among the labels, or two codes name the same world axis.
    pub fn from_codes(codes: &[String], labels: &[[String; 2]; 3]) -> Result<Orientation> {
        let choices = || labels.iter().flatten().cloned().collect::<Vec<_>>().join(", ");
        if codes.len() < 3 {
            bail!("axcodes has {} letters ({}), a volume needs 3", codes.len(), codes.concat());
        }
        let mut out = [(0, false); 3];
        let mut used = [false; 3];
        for (slot, code) in out.iter_mut().zip(codes) {
            let found = labels
                .iter()
                .enumerate()
                .find_map(|(world, ends)| ends.iter().position(|end| end == code).map(|end| (world, end == 0)));
            *slot = found.ok_or_else(|| err!("axcodes: expected one of {}, found `{code}`", choices()))?;
            if std::mem::replace(&mut used[slot.0], true) {
                bail!("axcodes {}: a world axis occurs twice", codes.concat());
            }
        }
        Ok(Orientation(out))
    }
    /// Returns the operation that changes an image from this orientation to `to`.
    pub fn turn_to(&self, to: &Orientation) -> Spatial {
        let mut axes = [0; 3];
        let mut flips = [false; 3];
        for (output, (world, backwards)) in to.0.iter().enumerate() {
            for (input, (own, own_backwards)) in self.0.iter().enumerate() {
                if own == world {
                    axes[output] = input;
                    flips[output] = backwards != own_backwards;
                }
            }
        }
        Spatial::Orient { axes, flips }
    }
}

impl Volume {
    /// Reorders and reverses the axes to `to`; voxels are not moved in memory.
    ///
    /// # Errors
    /// The affine is singular.
    pub fn turned_to(mut self, to: &Orientation) -> Result<Volume> {
        let shape = self.layout.spatial();
        if let Spatial::Orient { axes, flips } = Orientation::of(&self.affine)?.turn_to(to) {
            self.layout = turn_layout(&self.layout, axes, flips);
            self.affine = self.affine.updated(&turn_affine(axes, flips, shape));
        }
        Ok(self)
    }
}

/// Letters of the world axes: left and right, posterior and anterior, inferior and superior.
pub fn default_labels() -> [[String; 2]; 3] {
    [["L", "R"], ["P", "A"], ["I", "S"]].map(|ends| ends.map(str::to_owned))
}

/// The orthogonal factor of the polar decomposition by Newton's iteration (nibabel computes it from an SVD).
fn nearest_rotation(mut x: Matrix<3>) -> Result<Matrix<3>> {
    for _ in 0..60 {
        let inverse = transpose(&solve(&x, &identity())?);
        let mut change: f64 = 0.0;
        for row in 0..3 {
            for column in 0..3 {
                let next = 0.5 * (x[row][column] + inverse[row][column]);
                change = change.max((next - x[row][column]).abs());
                x[row][column] = next;
            }
        }
        if change < 1e-15 {
            break;
        }
    }
    // Rounding errors of zeros must not break a tie.
    Ok(x.map(|row| row.map(|v| if v.abs() < 1e-14 { 0.0 } else { v })))
}

/// Returns the matrix by which the affine is multiplied when axes with these lengths (before) are reoriented.
pub fn turn_affine(axes: [usize; 3], flips: [bool; 3], shape: [usize; 3]) -> Affine {
    let mut out = Affine([[0.0; 4]; 4]);
    out.0[3][3] = 1.0;
    for (output, (&input, &flip)) in axes.iter().zip(&flips).enumerate() {
        out.0[input][output] = if flip { -1.0 } else { 1.0 };
        out.0[input][3] = if flip { (shape[input] - 1) as f64 } else { 0.0 };
    }
    out
}

/// Returns the layout of the same buffer with reordered axes.
pub fn turn_layout(layout: &Layout, axes: [usize; 3], flips: [bool; 3]) -> Layout {
    let mut out = *layout;
    for (output, (&input, &flip)) in axes.iter().zip(&flips).enumerate() {
        let (n, stride) = (layout.shape[input + 1], layout.strides[input + 1]);
        out.shape[output + 1] = n;
        out.strides[output + 1] = if flip { -stride } else { stride };
        if flip {
            out.offset = (out.offset as isize + (n as isize - 1) * stride) as usize;
        }
    }
    out
}
