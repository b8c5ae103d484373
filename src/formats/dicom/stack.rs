//! Sorts the slices of a series and checks that they form a regular stack.

use super::Notices;
use super::elements::Elements;
use super::slice::{Slice, dot};
use crate::error::Result;
use crate::image::Affine;
use crate::{bail, err};

type Vector = [f64; 3];

/// Slices closer than this fraction of the pixel spacing have the same position.
const SAME_PLACE: f64 = 1e-3;
/// Tolerated deviation of a slice from its position in a regular stack, as a fraction of the spacing, for rounding and
/// slight unevenness. With larger deviations, the geometry would be wrong by a quarter of a slice or more, as with a
/// missing slice.
const ROUNDING: f64 = 0.02;
const UNEVEN: f64 = 0.25;
/// A gap of this multiple of the usual spacing indicates missing slices.
const HOLE: f64 = 1.5;
/// Cosine of 0.1°, beyond which a stack is sheared.
const LEANING: f64 = 1.0 - 1.5e-6;

/// Slices of a volume in the order of their positions.
pub struct Stack {
    pub slices: Vec<Slice>,
    /// From voxel indices to mm (RAS).
    pub affine: Affine,
}

impl Stack {
    /// Sorts slices and finds their common geometry. Small irregularities become notices.
    ///
    /// # Errors
    /// There are no slices, two different ones lie at the same place, or their distances vary.
    pub fn new(mut slices: Vec<Slice>, notices: &mut Notices) -> Result<Stack> {
        let first = slices.first().ok_or_else(|| err!("expected DICOM slices, found none"))?;
        let normal = first.normal();
        let width = first.spacing_mm[0].min(first.spacing_mm[1]);
        slices.sort_by(|a, b| a.height(normal).total_cmp(&b.height(normal)));
        let slices = without_copies(slices, normal, width * SAME_PLACE, notices)?;
        let step = step(&slices, normal, width, notices)?;
        let first = &slices[0];
        let along = |direction: Vector, length: f64| direction.map(|value| value * length);
        let steps = [along(first.along_row, first.spacing_mm[0]), along(first.along_column, first.spacing_mm[1]), step];
        Ok(Stack { affine: Affine::from_lps(steps, first.position).regular()?, slices })
    }
}

/// Removes duplicates. Two different images at the same position belong to different volumes of the series.
fn without_copies(slices: Vec<Slice>, normal: Vector, nearness_mm: f64, notices: &mut Notices) -> Result<Vec<Slice>> {
    let mut out: Vec<Slice> = Vec::with_capacity(slices.len());
    let mut copies = 0;
    for slice in slices {
        match out.last() {
            Some(last) if slice.height(normal) - last.height(normal) < nearness_mm => {
                if !same_image(last, &slice)? {
                    let [x, y, z] = slice.position;
                    return Err(err!(
                        "two different slices lie at the same place ({x}, {y}, {z}): {} and {}",
                        last.file.display(),
                        slice.file.display()
                    )
                    .hint("the series holds several volumes (phases, echoes): move one of them to a separate folder"));
                }
                copies += 1;
            }
            _ => out.push(slice),
        }
    }
    if copies > 0 {
        notices.warn(format!("left out {copies} copies of slices"));
    }
    Ok(out)
}

fn same_image(a: &Slice, b: &Slice) -> Result<bool> {
    if a.file != b.file && !a.instance_uid.is_empty() && a.instance_uid == b.instance_uid && a.frame == b.frame {
        return Ok(true);
    }
    let numbers = |slice: &Slice| -> Result<Vec<i32>> {
        let elements = Elements::parse(super::file_bytes(&slice.file)?).map_err(|error| error.file(&*slice.file))?;
        super::pixels::frame(&elements, &slice.stored, slice.frame).map_err(|error| error.file(&*slice.file))
    };
    Ok(a.scaling == b.scaling && a.stored == b.stored && numbers(a)? == numbers(b)?)
}

/// Returns the vector from one slice to the next, LPS, mm, and logs deviations.
fn step(slices: &[Slice], normal: Vector, width_mm: f64, notices: &mut Notices) -> Result<Vector> {
    let (first, last) = (&slices[0], &slices[slices.len() - 1]);
    let gaps = slices.len() - 1;
    if gaps == 0 {
        return Ok(normal.map(|value| value * first.thickness_mm.unwrap_or(1.0)));
    }
    let step: Vector = std::array::from_fn(|axis| (last.position[axis] - first.position[axis]) / gaps as f64);
    let spacing = dot(step, normal);
    let mut worst = (0.0, 0);
    for (i, slice) in slices.iter().enumerate() {
        let off: Vector =
            std::array::from_fn(|axis| slice.position[axis] - first.position[axis] - step[axis] * i as f64);
        let along = dot(off, normal);
        let aside = (dot(off, off) - along * along).max(0.0).sqrt();
        // In a sheared stack, a slice that is off in height is also off sideways.
        let lean = (dot(step, step) / (spacing * spacing) - 1.0).max(0.0).sqrt() * along.abs();
        if aside > lean + 0.5 * width_mm {
            bail!("the slices do not lie on a straight line: {} is off by {aside:.3} mm", slice.file.display());
        }
        if along.abs() / spacing > worst.0 {
            worst = (along.abs() / spacing, i);
        }
    }
    let [least, most] = spacings(slices, normal);
    if worst.0 > UNEVEN || most > HOLE * usual(slices, normal) {
        return Err(uneven(slices, normal));
    }
    if worst.0 > ROUNDING {
        notices.warn(format!(
            "uneven slices, {least:.3} to {most:.3} mm apart; {spacing:.3} mm is used for all (slice {} is off by {:.1} %)",
            worst.1,
            worst.0 * 100.0
        ));
    }
    if spacing < LEANING * dot(step, step).sqrt() {
        let degrees = (spacing / dot(step, step).sqrt()).acos().to_degrees();
        notices
            .warn(format!("the slices are tilted by {degrees:.1}° (gantry tilt): the affine of the image is sheared"));
    }
    Ok(step)
}

fn spacings(slices: &[Slice], normal: Vector) -> [f64; 2] {
    let gaps = slices.windows(2).map(|two| two[1].height(normal) - two[0].height(normal));
    gaps.fold([f64::MAX, 0.0], |[least, most], gap| [gap.min(least), gap.max(most)])
}

/// The median distance of adjacent slices, mm.
fn usual(slices: &[Slice], normal: Vector) -> f64 {
    let mut gaps: Vec<f64> = slices.windows(2).map(|two| two[1].height(normal) - two[0].height(normal)).collect();
    gaps.sort_by(f64::total_cmp);
    // The lower one of an even number, since large gaps are unusual.
    gaps.get((gaps.len().max(1) - 1) / 2).copied().unwrap_or(1.0)
}

/// Returns an error that lists the missing slices if the gaps are multiples of the usual distance.
fn uneven(slices: &[Slice], normal: Vector) -> crate::error::Error {
    let heights: Vec<f64> = slices.iter().map(|slice| slice.height(normal)).collect();
    let usual = usual(slices, normal);
    let holes: Vec<(f64, f64, f64)> = heights
        .windows(2)
        .map(|two| (two[0], two[1], (two[1] - two[0]) / usual))
        .filter(|(.., times)| *times > 1.0 + UNEVEN)
        .collect();
    let whole = holes.iter().all(|(.., times)| (times - times.round()).abs() < 0.1)
        && spacings(slices, normal)[0] > 0.9 * usual;
    let hint = "complete the series, or resample it to even slices (dcm2niix does) if its gaps are meant";
    if !whole || holes.is_empty() {
        let [least, most] = spacings(slices, normal);
        return err!("the slices are unevenly spaced: {least:.3} to {most:.3} mm apart").hint(hint);
    }
    let missing: f64 = holes.iter().map(|(.., times)| times.round() - 1.0).sum();
    let places: Vec<String> = holes.iter().take(5).map(|(from, to, _)| format!("{from:.2} and {to:.2} mm")).collect();
    let more = if holes.len() > 5 { format!(" and {} other places", holes.len() - 5) } else { String::new() };
    err!(
        "{} missing from the series: between {}{more} along its normal ({} are there, {usual:.3} mm apart)",
        if missing == 1.0 { "1 slice is".into() } else { format!("{missing} slices are") },
        places.join(", "),
        slices.len()
    )
    .hint(hint)
}
