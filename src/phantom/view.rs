//! Field of view, resolution and axis orientation of a case.

use super::random::Stream;
use segbundle_image::{Affine, Grid};

/// A type of examination.
pub struct View {
    /// Height of the center in the average body.
    pub middle_z: f64,
    /// Anterior offset of the center from that of the trunk views.
    pub middle_y: f64,
    /// Size relative to the typical case: width and depth, height.
    pub size: [f64; 2],
    pub arms_raised: bool,
}

const fn view(low_z: f64, high_z: f64, width: f64, arms_raised: bool) -> View {
    View {
        middle_z: (low_z + high_z) / 2.0,
        middle_y: 0.0,
        size: [width, (high_z - low_z) / TYPICAL_HEIGHT_MM],
        arms_raised,
    }
}

/// Height of a view of relative height 1 at the default size.
const TYPICAL_HEIGHT_MM: f64 = 600.0;

const TRUNK: View = view(-165.0, 535.0, 1.0, true);
const BODY: View = view(-160.0, 775.0, 1.0, true);
const BODY_ARMS_DOWN: View = view(-160.0, 775.0, 1.12, false);
const CHEST_AND_BELLY: View = view(40.0, 520.0, 1.0, true);
const BELLY_AND_PELVIS: View = view(-170.0, 335.0, 1.0, true);
const CHEST: View = view(190.0, 515.0, 1.0, true);
const HEAD_AND_NECK: View = View { middle_y: 18.0, ..view(440.0, 775.0, 0.82, false) };

/// Views of consecutive cases: a few in a row cover the whole body, and most cases contain most structures.
const VIEWS: [View; 10] =
    [TRUNK, BODY, CHEST_AND_BELLY, TRUNK, BELLY_AND_PELVIS, BODY, HEAD_AND_NECK, TRUNK, CHEST, BODY_ARMS_DOWN];

pub fn of_case(index: usize) -> &'static View {
    &VIEWS[index % VIEWS.len()]
}

/// Returns the grid of one case. `size`: voxels along x, y, z of a typical case with `spacing_mm`; `body_scale`: size
/// of the person relative to the average.
pub fn grid(view: &View, size: [usize; 3], spacing_mm: f64, body_scale: [f64; 3], stream: &mut Stream) -> Grid {
    let mut uniform = |low: f64, high: f64| low + (high - low) * f64::from(stream.uniform(0.0, 1.0));
    let [width, height] = view.size;
    // Small persons get small fields of view; large persons are more often cut off.
    let extent_mm: [f64; 3] = std::array::from_fn(|axis| {
        let person = if axis == 2 { body_scale[2] } else { 0.5 + 0.5 * body_scale[axis] };
        size[axis] as f64 * spacing_mm * person * [width, width, height][axis] * uniform(0.97, 1.05)
    });
    // In-plane spacing is isotropic; slice spacing varies.
    let in_plane_mm = spacing_mm * uniform(0.88, 1.08);
    let spacing_mm = [in_plane_mm, in_plane_mm, spacing_mm * uniform(0.8, 1.3)];
    let size: [usize; 3] = std::array::from_fn(|axis| (extent_mm[axis] / spacing_mm[axis]).round().max(8.0) as usize);
    let center = [
        uniform(-8.0, 8.0),
        view.middle_y + uniform(-16.0, -2.0),
        view.middle_z * body_scale[2] + uniform(-12.0, 12.0),
    ];
    // Axis order of the file: mostly as written by scanners and TotalSegmentator, sometimes permuted.
    let (axes, signs) = match stream.below(8) {
        0..=2 => ([0, 1, 2], [1.0, 1.0, 1.0]),
        3 | 4 => ([0, 1, 2], [-1.0, 1.0, 1.0]),
        5 => ([0, 1, 2], [-1.0, -1.0, 1.0]),
        6 => ([0, 2, 1], [-1.0, -1.0, 1.0]),
        _ => ([1, 2, 0], [-1.0, -1.0, 1.0]),
    };
    let turn = if stream.below(4) == 0 { tilt(stream) } else { Affine::IDENTITY };
    let mut matrix = Affine::IDENTITY;
    let mut shape = [0; 3];
    for voxel_axis in 0..3 {
        let body_axis: usize = axes[voxel_axis];
        shape[voxel_axis] = size[body_axis];
        for row in 0..3 {
            matrix.0[row][voxel_axis] = turn.0[row][body_axis] * signs[voxel_axis] * spacing_mm[body_axis];
        }
    }
    for (row, middle) in center.iter().enumerate() {
        let to_middle: f64 = (0..3).map(|axis| matrix.0[row][axis] * (shape[axis] as f64 - 1.0) / 2.0).sum();
        // Files store affines as f32: round before rendering, so that both agree.
        matrix.0[row][3] = f64::from((middle - to_middle) as f32);
        for axis in 0..3 {
            matrix.0[row][axis] = f64::from(matrix.0[row][axis] as f32);
        }
    }
    Grid { shape, affine: matrix }
}

/// Rotates by up to 7 degrees about x, then z. For a rotation by 2·atan(t), cosine and sine are (1 − t²)/(1 + t²) and
/// 2t/(1 + t²).
fn tilt(stream: &mut Stream) -> Affine {
    let mut turn = || {
        let t = f64::from(stream.uniform(-0.06, 0.06));
        ((1.0 - t * t) / (1.0 + t * t), 2.0 * t / (1.0 + t * t))
    };
    let ((cx, sx), (cz, sz)) = (turn(), turn());
    let about_x = Affine([[1.0, 0.0, 0.0, 0.0], [0.0, cx, -sx, 0.0], [0.0, sx, cx, 0.0], [0.0, 0.0, 0.0, 1.0]]);
    let about_z = Affine([[cz, -sz, 0.0, 0.0], [sz, cz, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]);
    about_z.then_after(&about_x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_differ_in_shape_and_orientation() {
        let grids: Vec<Grid> = (0..25)
            .map(|index| grid(of_case(index), [128, 104, 200], 3.0, [1.0; 3], &mut Stream::new(&[0, index as u64])))
            .collect();
        let oblique = grids.iter().filter(|grid| (0..3).all(|axis| grid.affine.0[0][axis] != 0.0)).count();
        let mut shapes: Vec<[usize; 3]> = grids.iter().map(|grid| grid.shape).collect();
        let mut signs: Vec<[i8; 9]> = grids
            .iter()
            .map(|grid| {
                std::array::from_fn(|at| {
                    let v = grid.affine.0[at / 3][at % 3];
                    if v.abs() < 0.5 { 0 } else { v.signum() as i8 }
                })
            })
            .collect();
        shapes.sort();
        shapes.dedup();
        signs.sort();
        signs.dedup();
        assert!(
            oblique >= 2 && shapes.len() >= 20 && signs.len() >= 4,
            "{oblique} oblique, {} shapes, {} orientations",
            shapes.len(),
            signs.len()
        );
    }
}
