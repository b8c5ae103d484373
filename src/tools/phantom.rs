//! Sample data: CT-like phantoms of a torso, with labels, laid out and named as the wholeBody bundle expects them.
//!
//! A case is the [`anatomy`]'s table of shapes, scaled and shifted at random, seen through a grid of its own: field of
//! view, spacing, orientation and tilt vary as they do between scanners. Not patients, and no stand-in for them.
//!
//! The same options give the same voxels on every machine: only arithmetic that IEEE 754 fixes is used.

mod anatomy;
mod random;
mod shape;

use crate::bail;
use crate::error::Result;
use crate::formats::nifti;
use crate::image::{Affine, DType, Grid, Layout, Voxels};
use random::Stream;
use rayon::prelude::*;
use shape::{Form, Point, Shape};
use std::path::{Path, PathBuf};

/// Number of the first case: s0037.
const FIRST_ID: usize = 37;
/// Subvoxels along each axis: voxels at an edge get a mixture, as in a scanner.
const FINE: usize = 2;

#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Cases with labels: imagesTr, labelsTr.
    pub training: usize,
    /// Cases without: imagesTs.
    pub test: usize,
    /// Voxels along x, y, z of a typical case.
    pub size: [usize; 3],
    /// Voxel edge of a typical case.
    pub spacing_mm: f64,
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options { training: 20, test: 5, size: [88, 72, 72], spacing_mm: 4.0, seed: 0 }
    }
}

/// One case in memory, X fastest.
pub struct Case {
    pub grid: Grid,
    /// HU
    pub image: Vec<i16>,
    /// Class ids, see [`crate::tools::classes`].
    pub labels: Vec<u8>,
}

/// The file name of case `index`: s0037.nii.gz for 0. Training cases come first.
pub fn file_name(index: usize) -> String {
    format!("s{:04}.nii.gz", FIRST_ID + index)
}

/// Write the set into `output_dir` (made if need be): imagesTr, labelsTr and imagesTs. Gives the images' paths, training
/// cases first. Errors: options out of range, an unwritable place.
pub fn write_set(output_dir: impl AsRef<Path>, options: &Options) -> Result<Vec<PathBuf>> {
    check(options)?;
    let output_dir = output_dir.as_ref();
    let shapes = anatomy::shapes()?;
    (0..options.training + options.test)
        .into_par_iter()
        .map(|index| {
            let Case { grid, image, labels } = case(&shapes, index, options);
            let [x, y, z] = grid.shape;
            let layout = Layout::fortran([1, x, y, z]);
            let is_training = index < options.training;
            let path = output_dir.join(if is_training { "imagesTr" } else { "imagesTs" }).join(file_name(index));
            if is_training {
                let voxels = Voxels::U8(labels.into());
                nifti::write(
                    output_dir.join("labelsTr").join(file_name(index)),
                    &voxels,
                    &layout,
                    &grid.affine,
                    DType::U8,
                    Default::default(),
                )?;
            }
            nifti::write(&path, &Voxels::I16(image.into()), &layout, &grid.affine, DType::I16, Default::default())?;
            Ok(path)
        })
        .collect()
}

fn check(options: &Options) -> Result<()> {
    let Options { training, test, size, spacing_mm, .. } = options;
    if training.saturating_add(*test) > 9000 {
        bail!("expected at most 9000 cases, found {training} + {test}");
    }
    if size.iter().any(|n| !(8..=640).contains(n)) {
        bail!("expected a size of 8 to 640 voxels along each axis, found {size:?}");
    }
    if !(0.4..=20.0).contains(spacing_mm) {
        bail!("expected a spacing of 0.4 to 20 mm, found {spacing_mm}");
    }
    Ok(())
}

/// Make case `index`.
fn case(shapes: &[Shape], index: usize, options: &Options) -> Case {
    let mut stream = Stream::new(&[options.seed, index as u64]);
    let person = person(shapes, &mut stream);
    let contrast = if stream.below(3) == 0 { 0.0 } else { stream.uniform(0.4, 1.0) };
    let noise_hu = stream.uniform(9.0, 20.0);
    let grid = view(index, options, &mut stream);
    let fine = refined(&grid);
    let painted = paint(&person, &fine);
    // Shades by shape, air at 0; organs of one tissue differ a little.
    let mut shades = vec![-1000.0];
    shades.extend(person.iter().map(|shape| {
        let (hu, with_contrast) = shape.tissue.hu();
        let spread = if hu < -900.0 { 0.0 } else { 6.0 };
        hu + contrast * with_contrast + spread * stream.bell()
    }));
    let [nx, ny, nz] = grid.shape;
    let mut image = Vec::with_capacity(nx * ny * nz);
    let mut labels = Vec::with_capacity(nx * ny * nz);
    for at in 0..nx * ny * nz {
        let cell = cell(&painted, fine.shape, [at % nx, at / nx % ny, at / (nx * ny)]);
        let hu = cell.iter().map(|&row| shades[usize::from(row)]).sum::<f64>() / cell.len() as f64;
        image.push((hu + noise_hu * stream.bell()).round().clamp(-1024.0, 3071.0) as i16);
        labels.push(match commonest(cell) {
            0 => 0,
            row => person[usize::from(row) - 1].class,
        });
    }
    Case { grid, image, labels }
}

/// The anatomy of one person: scaled as a whole, organs shifted and scaled one by one.
fn person(shapes: &[Shape], stream: &mut Stream) -> Vec<Shape> {
    let scale: Point = std::array::from_fn(|_| stream.uniform(0.93, 1.07));
    shapes
        .iter()
        .map(|shape| {
            let (shift_mm, size): (Point, f64) = match shape.moves {
                true => (std::array::from_fn(|_| stream.uniform(-3.0, 3.0)), stream.uniform(0.94, 1.06)),
                false => ([0.0; 3], 1.0),
            };
            let place = |p: Point| std::array::from_fn(|axis| p[axis] * scale[axis] + shift_mm[axis]);
            let within = shape.within.iter().map(|half| {
                // normal · (p / scale) ≥ offset
                let normal = std::array::from_fn(|axis| half.normal[axis] / scale[axis]);
                shape::HalfSpace { normal, offset: half.offset }
            });
            let grow = scale.map(|factor| factor * size);
            Shape { form: shape.form.changed(place, grow), within: within.collect(), ..shape.clone() }
        })
        .collect()
}

/// The grid of one case: which part of the body, how fine, how the axes lie.
fn view(index: usize, options: &Options, stream: &mut Stream) -> Grid {
    let extent_mm: Point = options.size.map(|n| n as f64 * options.spacing_mm);
    // In-plane spacing is one, slices are thinner or thicker; the field of view varies by a tenth.
    let in_plane_mm = options.spacing_mm * stream.uniform(0.9, 1.1);
    let spacing_mm = [in_plane_mm, in_plane_mm, options.spacing_mm * stream.uniform(0.8, 1.25)];
    let size: [usize; 3] =
        std::array::from_fn(|axis| (extent_mm[axis] * stream.uniform(0.92, 1.08) / spacing_mm[axis]).round().max(8.0) as usize);
    // Multiples of the golden ratio spread evenly: any few cases in a row show hips, belly and chest.
    let height = (index as f64 * 0.618_033_988_75 + 0.5).fract();
    let centre: Point = [stream.uniform(-8.0, 8.0), stream.uniform(-8.0, 8.0), -150.0 + 350.0 * height];
    // As files are stored: mostly as scanners and TotalSegmentator write, some with permuted axes.
    let (axes, signs) = match stream.below(6) {
        0 | 1 => ([0, 1, 2], [1.0, 1.0, 1.0]),
        2 | 3 => ([0, 1, 2], [-1.0, 1.0, 1.0]),
        4 => ([0, 1, 2], [-1.0, -1.0, 1.0]),
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
    for (row, middle) in centre.iter().enumerate() {
        let to_middle: f64 = (0..3).map(|axis| matrix.0[row][axis] * (shape[axis] as f64 - 1.0) / 2.0).sum();
        // Files hold origins as f32: what is painted is what is read.
        matrix.0[row][3] = f64::from((middle - to_middle) as f32);
        for axis in 0..3 {
            matrix.0[row][axis] = f64::from(matrix.0[row][axis] as f32);
        }
    }
    Grid { shape, affine: matrix }
}

/// Up to 7 degrees about x, then z. A rotation by 2·atan(t) needs no sine: (1 − t²)/(1 + t²) and 2t/(1 + t²).
fn tilt(stream: &mut Stream) -> Affine {
    let mut turn = || {
        let t = stream.uniform(-0.06, 0.06);
        ((1.0 - t * t) / (1.0 + t * t), 2.0 * t / (1.0 + t * t))
    };
    let ((cx, sx), (cz, sz)) = (turn(), turn());
    let about_x = Affine([[1.0, 0.0, 0.0, 0.0], [0.0, cx, -sx, 0.0], [0.0, sx, cx, 0.0], [0.0, 0.0, 0.0, 1.0]]);
    let about_z = Affine([[cz, -sz, 0.0, 0.0], [sz, cz, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]);
    about_z.then_after(&about_x)
}

/// The grid of subvoxels.
fn refined(grid: &Grid) -> Grid {
    let step = 1.0 / FINE as f64;
    // Subvoxel i lies at voxel (i + 1/2) / FINE − 1/2.
    let start = step / 2.0 - 0.5;
    let to_voxel = Affine([[step, 0.0, 0.0, start], [0.0, step, 0.0, start], [0.0, 0.0, step, start], [0.0, 0.0, 0.0, 1.0]]);
    Grid { shape: grid.shape.map(|n| n * FINE), affine: grid.affine.then_after(&to_voxel) }
}

/// For each voxel of `grid` (X fastest) the number of the last shape that holds it, from 1; 0 for none.
fn paint(shapes: &[Shape], grid: &Grid) -> Vec<u8> {
    let [nx, ny, nz] = grid.shape;
    let mut out = vec![0; nx * ny * nz];
    for (row, shape) in (1..=u8::MAX).zip(shapes) {
        let [xs, ys, zs] = reach(&shape.form, grid);
        for z in zs {
            for y in ys.clone() {
                for x in xs.clone() {
                    if shape.contains(world(&grid.affine, [x as f64, y as f64, z as f64])) {
                        out[(z * ny + y) * nx + x] = row;
                    }
                }
            }
        }
    }
    out
}

fn world(affine: &Affine, voxel: Point) -> Point {
    std::array::from_fn(|row| {
        let [a, b, c, origin] = affine.0[row];
        a * voxel[0] + b * voxel[1] + c * voxel[2] + origin
    })
}

/// The voxels among which a form lies. The grid's axes are at right angles, so its columns also lead back.
fn reach(form: &Form, grid: &Grid) -> [std::ops::Range<usize>; 3] {
    let (low, high) = form.bounds();
    let matrix = &grid.affine.0;
    std::array::from_fn(|axis| {
        let length_squared: f64 = (0..3).map(|row| matrix[row][axis] * matrix[row][axis]).sum();
        let (mut first, mut last) = (0.0, 0.0);
        for row in 0..3 {
            let share = matrix[row][axis] / length_squared;
            let ends = [share * (low[row] - matrix[row][3]), share * (high[row] - matrix[row][3])];
            first += ends[0].min(ends[1]);
            last += ends[0].max(ends[1]);
        }
        let end = grid.shape[axis] as f64;
        // A voxel more on each side for rounding.
        (first.floor() - 1.0).clamp(0.0, end) as usize..(last.ceil() + 2.0).clamp(0.0, end) as usize
    })
}

/// The subvoxels of one voxel.
fn cell(painted: &[u8], [nx, ny, _]: [usize; 3], [x, y, z]: [usize; 3]) -> [u8; FINE * FINE * FINE] {
    std::array::from_fn(|at| {
        let (dx, dy, dz) = (at % FINE, at / FINE % FINE, at / (FINE * FINE));
        painted[((z * FINE + dz) * ny + y * FINE + dy) * nx + x * FINE + dx]
    })
}

/// The value that most of the subvoxels have; of equals the one painted last.
fn commonest<const N: usize>(cell: [u8; N]) -> u8 {
    let count = |value: u8| cell.iter().filter(|&&other| other == value).count();
    cell.into_iter().max_by_key(|&value| (count(value), value)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::classes;

    fn small() -> Options {
        Options { training: 2, test: 1, size: [48, 40, 40], spacing_mm: 7.5, ..Options::default() }
    }

    /// World coordinates, mean HU and number of voxels of a class.
    fn centre(case: &Case, class: &str) -> Option<(Point, f64, usize)> {
        let id = classes::id(class)?;
        let [nx, ny, _] = case.grid.shape;
        let (mut sum, mut hu, mut count) = ([0.0; 3], 0.0, 0);
        for (at, _) in case.labels.iter().enumerate().filter(|(_, label)| **label == id) {
            let p = world(&case.grid.affine, [at % nx, at / nx % ny, at / (nx * ny)].map(|n| n as f64));
            (0..3).for_each(|axis| sum[axis] += p[axis]);
            hu += f64::from(case.image[at]);
            count += 1;
        }
        (count > 0).then(|| (sum.map(|value| value / count as f64), hu / count as f64, count))
    }

    #[test]
    fn organs_are_where_they_belong_whatever_the_orientation() {
        let shapes = anatomy::shapes().unwrap();
        let mut seen = 0;
        for index in 0..12 {
            let case = case(&shapes, index, &small());
            if let (Some(right), Some(left)) = (centre(&case, "kidney_right"), centre(&case, "kidney_left")) {
                assert!(right.0[0] > 30.0 && left.0[0] < -30.0, "case {index}: {right:?} {left:?}");
                assert!((0.0..200.0).contains(&right.1), "case {index}: {right:?}");
                seen += 1;
            }
            for lung in ["lung_lower_lobe_right", "lung_upper_lobe_left"] {
                if let Some((_, hu, count)) = centre(&case, lung) {
                    assert!(count < 40 || (-900.0..-500.0).contains(&hu), "case {index}: {lung} {hu}");
                }
            }
            if let Some((_, hu, count)) = centre(&case, "vertebrae_L3") {
                assert!(count < 20 || hu > 100.0, "case {index}: {hu}");
            }
            let outside = case.image[0];
            assert!(outside < -900, "case {index}: the corner is air, found {outside} HU");
        }
        assert!(seen >= 3, "kidneys in {seen} of 12 cases");
    }

    #[test]
    fn cases_differ_in_shape_and_orientation() {
        let shapes = anatomy::shapes().unwrap();
        let grids: Vec<Grid> = (0..25).map(|index| view(index, &Options::default(), &mut Stream::new(&[0, index as u64]))).collect();
        let oblique = grids.iter().filter(|grid| grid.affine.0[0][1] != 0.0 && grid.affine.0[0][0] != 0.0).count();
        let mut shapes_seen: Vec<[usize; 3]> = grids.iter().map(|grid| grid.shape).collect();
        shapes_seen.sort();
        shapes_seen.dedup();
        assert!(oblique >= 2 && shapes_seen.len() >= 20, "{oblique} oblique, {} shapes", shapes_seen.len());
        assert!(shapes.len() < 255, "rows are numbered in a byte");
    }

    #[test]
    fn a_set_is_written_as_named_and_is_the_same_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let paths = write_set(folder.path(), &small()).unwrap();
        let names: Vec<String> = paths.iter().map(|path| path.strip_prefix(folder.path()).unwrap().display().to_string()).collect();
        assert_eq!(names, ["imagesTr/s0037.nii.gz", "imagesTr/s0038.nii.gz", "imagesTs/s0039.nii.gz"]);
        let shapes = anatomy::shapes().unwrap();
        for (index, path) in paths.iter().enumerate() {
            let made = case(&shapes, index, &small());
            let read = nifti::read(path).unwrap();
            let Voxels::I16(voxels) = &read.voxels else { panic!("expected int16, found {:?}", read.voxels.dtype()) };
            assert_eq!(voxels[..], made.image[..]);
            assert_eq!(read.grid().shape, made.grid.shape);
            let furthest = (0..16).map(|at| (read.affine.0[at / 4][at % 4] - made.grid.affine.0[at / 4][at % 4]).abs()).fold(0.0, f64::max);
            // Both are sforms in f32.
            assert!(furthest < 1e-6, "{furthest}");
        }
        let labels = nifti::read(folder.path().join("labelsTr/s0038.nii.gz")).unwrap();
        let Voxels::U8(labels) = &labels.voxels else { panic!("expected uint8") };
        assert_eq!(labels[..], case(&shapes, 1, &small()).labels[..]);
    }

    #[test]
    fn options_out_of_range_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        for options in [
            Options { size: [0, 40, 40], ..small() },
            Options { size: [48, 40, 100_000], ..small() },
            Options { spacing_mm: f64::NAN, ..small() },
            Options { training: usize::MAX, ..small() },
        ] {
            assert!(write_set(folder.path(), &options).is_err(), "{options:?}");
        }
    }
}
