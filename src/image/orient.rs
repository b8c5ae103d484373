//! Axis codes and reorientation, as nibabel defines them; nothing is moved in memory.
//!
//! Source of the rule: nibabel.orientations (`io_orientation`, `axcodes2ornt`, `ornt_transform`, `inv_ornt_aff`).

use super::linalg::{Matrix, identity, solve, transpose};
use super::{Affine, Layout, Spatial, Volume};
use crate::bail;
use crate::err;
use crate::error::Result;

/// For each voxel axis: the nearest world axis, and whether it runs against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Orientation(pub [(usize, bool); 3]);

impl Orientation {
    pub const RAS: Orientation = Orientation([(0, false), (1, false), (2, false)]);

    /// Of an image. Errors if the affine is singular.
    pub fn of(affine: &Affine) -> Result<Orientation> {
        let mut axes = affine.axes();
        let lengths: [f64; 3] = affine.spacing_mm().map(|length| if length == 0.0 { 1.0 } else { length });
        for row in &mut axes {
            for (x, length) in row.iter_mut().zip(lengths) {
                *x /= length;
            }
        }
        let mut rotation = nearest_rotation(axes)?;
        // The clearest axis chooses first.
        let strongest = |axis: usize| (0..3).map(|row| rotation[row][axis].powi(2)).fold(0.0, f64::max);
        let mut order = [(0, strongest(0)), (1, strongest(1)), (2, strongest(2))];
        order.sort_by(|a, b| b.1.total_cmp(&a.1));
        let mut out = [(0, false); 3];
        for (axis, _) in order {
            let column: [f64; 3] = std::array::from_fn(|row| rotation[row][axis]);
            let world = (1..3).fold(0, |best, row| if column[row].abs() > column[best].abs() { row } else { best });
            if column[world] == 0.0 {
                bail!("the image's axes point along no world axis, its affine is {:?}", affine.0);
            }
            out[axis] = (world, column[world] < 0.0);
            rotation[world] = [0.0; 3];
        }
        Ok(Orientation(out))
    }
    /// From codes such as "RAS": one letter of `labels` (negative end, positive end by world axis) for each voxel axis.
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
            *slot = found.ok_or_else(|| err!("axcodes: `{code}` is none of {}", choices()))?;
            if std::mem::replace(&mut used[slot.0], true) {
                bail!("axcodes {} names one world axis twice", codes.concat());
            }
        }
        Ok(Orientation(out))
    }
    /// The operation that turns an image of this orientation into `to`.
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
    /// With its axes turned to `to`; nothing is moved in memory.
    pub fn turned_to(mut self, to: &Orientation) -> Result<Volume> {
        let shape = self.layout.spatial();
        if let Spatial::Orient { axes, flips } = Orientation::of(&self.affine)?.turn_to(to) {
            self.layout = turn_layout(&self.layout, axes, flips);
            self.affine = self.affine.updated(&turn_affine(axes, flips, shape));
        }
        Ok(self)
    }
}

/// Letters of the world axes: left to right, posterior to anterior, inferior to superior.
pub fn default_labels() -> [[String; 2]; 3] {
    [["L", "R"], ["P", "A"], ["I", "S"]].map(|ends| ends.map(str::to_owned))
}

/// The orthogonal factor of the polar decomposition, by Newton's iteration (nibabel takes it from an SVD).
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
    // What is zero but for rounding may not break a tie.
    Ok(x.map(|row| row.map(|v| if v.abs() < 1e-14 { 0.0 } else { v })))
}

/// The affine by which an image's own is multiplied when its axes (of lengths `shape`, before) are reoriented.
pub fn turn_affine(axes: [usize; 3], flips: [bool; 3], shape: [usize; 3]) -> Affine {
    let mut out = Affine([[0.0; 4]; 4]);
    out.0[3][3] = 1.0;
    for (output, (&input, &flip)) in axes.iter().zip(&flips).enumerate() {
        out.0[input][output] = if flip { -1.0 } else { 1.0 };
        out.0[input][3] = if flip { (shape[input] - 1) as f64 } else { 0.0 };
    }
    out
}

/// The same buffer seen along the new axes.
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
