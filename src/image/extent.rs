//! Checks whether two volumes cover the same region of space.

use super::{Affine, Grid};

/// Tolerated distance between corners of two grids with equal voxel size, in voxels. A shift below half a voxel does
/// not move the center of a voxel into another one. Rounding errors are smaller: of an affine in float32 (1e-7 of a few
/// 100 mm), or of a float32 quaternion close to a half turn, whose real part is the root of a difference (3e-4 of a few
/// 100 mm).
const TOLERANCE_VOX: f64 = 0.25;
/// Voxel sizes that differ by at most this fraction count as equal.
const SAME_SIZE: f64 = 0.01;

impl Grid {
    /// Returns the largest distance in mm between corresponding corners of two volumes that are expected to cover the
    /// same box, or `None` if they do. Corners are those of the outermost voxels, half a voxel beyond their centers;
    /// order and direction of the axes do not matter. The tolerance is `TOLERANCE_VOX` along axes with equal voxel
    /// size, else one voxel of the coarser grid, which is what rounding of the shape in resampling may cost.
    pub fn distance_mm(&self, other: &Grid) -> Option<f64> {
        let ends = |grid: &Grid, axis: usize| [-0.5, grid.shape[axis] as f64 - 0.5];
        let (own_mm, other_mm) = (self.affine.spacing_mm(), other.affine.spacing_mm());
        // For each of our axes, the voxel size of the other volume along its closest axis.
        let tolerance: [f64; 3] = std::array::from_fn(|axis| {
            let along = |of: usize| {
                let dot: f64 = (0..3).map(|row| self.affine.0[row][axis] * other.affine.0[row][of]).sum();
                (dot / (own_mm[axis] * other_mm[of])).abs()
            };
            let closest = (0..3).max_by(|&a, &b| along(a).total_cmp(&along(b))).unwrap_or(axis);
            let ratio = other_mm[closest] / own_mm[axis];
            if (ratio - 1.0).abs() <= SAME_SIZE { TOLERANCE_VOX } else { ratio.max(1.0) }
        });
        // From the other's voxel indices to ours. With a singular affine the volumes do not match.
        let into_own = self.affine.solve(&other.affine).unwrap_or(Affine([[f64::NAN; 4]; 4]));
        let (mut apart, mut largest_mm, mut met) = (false, 0.0f64, [false; 8]);
        for corner in 0..8 {
            let at = std::array::from_fn(|axis| ends(other, axis)[corner >> axis & 1]);
            let index = into_own.at(at);
            // The closest of our corners along each axis.
            let side: [usize; 3] = std::array::from_fn(|axis| {
                let [low, high] = ends(self, axis);
                usize::from(index[axis] > (low + high) / 2.0)
            });
            met[side[0] | side[1] << 1 | side[2] << 2] = true;
            let nearest: [f64; 3] = std::array::from_fn(|axis| ends(self, axis)[side[axis]]);
            apart |= (0..3).any(|axis| (index[axis] - nearest[axis]).abs().total_cmp(&tolerance[axis]).is_gt());
            let (p, q) = (other.affine.at(at), self.affine.at(nearest));
            largest_mm = largest_mm.max((0..3).map(|row| (p[row] - q[row]).powi(2)).sum::<f64>().sqrt());
        }
        (apart || met.contains(&false)).then_some(largest_mm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 40×36×30 voxels of 3 mm, x from right to left.
    const IMAGE: Grid = Grid {
        shape: [40, 36, 30],
        affine: Affine([[-3.0, 0.0, 0.0, 60.0], [0.0, 3.0, 0.0, -50.0], [0.0, 0.0, 3.0, -40.0], [0.0, 0.0, 0.0, 1.0]]),
    };

    fn with(change: impl FnOnce(&mut Grid)) -> Option<f64> {
        let mut label = IMAGE;
        change(&mut label);
        IMAGE.distance_mm(&label)
    }

    #[test]
    fn rounding_and_other_axes_and_other_resolutions_are_no_mismatch() {
        assert_eq!(with(|_| ()), None);
        assert_eq!(
            with(|label| label.affine.0.iter_mut().flatten().for_each(|x| *x = f64::from(*x as f32 + 1e-5))),
            None
        );
        // A turn of 7e-4 rad about z: a quaternion's rounding.
        assert_eq!(with(|label| (label.affine.0[0][1], label.affine.0[1][0]) = (-3.0 * 7e-4, -3.0 * 7e-4)), None);
        // Stored from left to right: the first voxel's center is at 60 - 39·3.
        assert_eq!(with(|label| (label.affine.0[0][0], label.affine.0[0][3]) = (3.0, -57.0)), None);
        // Axes x and z swapped.
        let swapped = |label: &mut Grid| {
            label.shape = [30, 36, 40];
            label.affine.0 =
                [[0.0, 0.0, -3.0, 60.0], [0.0, 3.0, 0.0, -50.0], [3.0, 0.0, 0.0, -40.0], [0.0, 0.0, 0.0, 1.0]];
        };
        assert_eq!(with(swapped), None);
        // 1 mm along z: first center 1 mm lower; or kept where it was, as resampling by centers does.
        for origin in [-41.0, -40.0] {
            let finer = |label: &mut Grid| {
                label.shape[2] = 90;
                label.affine.0[2] = [0.0, 0.0, 1.0, origin];
            };
            assert_eq!(with(finer), None, "{origin}");
        }
    }

    /// The distance is that of the corner which is off most, computed by hand.
    #[test]
    fn labels_that_lie_elsewhere_are_a_mismatch_in_mm() {
        let close = |found: Option<f64>, mm: f64| assert!((found.unwrap() - mm).abs() < 1e-9, "{found:?}, not {mm}");
        close(with(|label| label.affine.0[0][3] += 9.0), 9.0);
        close(with(|label| label.affine.0[1][3] += 1.0), 1.0);
        close(with(|label| label.shape[2] = 29), 3.0);
        // x mirrored without its origin: -60+1.5 …: from 58.5 to 178.5 where the image ends at 61.5.
        close(with(|label| label.affine.0[0][0] = 3.0), 117.0);
        // Saved with the identity: the far corner is at (39.5, 35.5, 29.5), the image's at (-58.5, 56.5, 48.5) or beyond.
        assert!(with(|label| label.affine = Affine::IDENTITY).unwrap() > 30.0);
        // A label of the segment's own extent.
        close(with(|label| (label.shape, label.affine.0[0][3]) = ([25, 36, 30], 60.0 - 15.0)), 30.0);
    }
}
