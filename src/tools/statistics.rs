//! What a label map says of each structure: its volume, place and, with the image, its HU.

use super::structures::Structures;
use crate::error::Result;
use crate::formats::atomic;
use crate::image::{Element, Volume};
use crate::{bail, each_voxels, err};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

/// One structure of one case.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub id: u32,
    pub name: String,
    pub voxels: u64,
    /// Voxels times the volume of one (the determinant of the affine).
    pub volume_ml: f64,
    /// Mean place of the voxels' centres: RAS+, in mm.
    pub centroid_mm: [f64; 3],
    /// Whether a voxel lies on the outermost layer of the image, so that the structure may go on outside.
    pub touches_border: bool,
    /// Of the image's values in the structure, where an image was given.
    pub hu: Option<Intensity>,
}

/// Values of a structure, in the image's unit (HU for a CT).
#[derive(Debug, Clone, PartialEq)]
pub struct Intensity {
    pub mean: f64,
    /// Population standard deviation.
    pub std: f64,
    pub min: f64,
    /// Percentiles 5, 25, 50, 75 and 95, between neighbours linearly as `numpy.percentile`.
    pub percentiles: [f64; 5],
    pub max: f64,
}

const PERCENTILES: [u32; 5] = [5, 25, 50, 75, 95];

#[derive(Default)]
struct Sums {
    voxels: u64,
    /// Of the indices.
    index: [u64; 3],
    border: bool,
    values: Values,
}

/// Values of a structure. Many whole numbers, as CTs have them, are counted, so that a large structure takes no more memory
/// than a small one; the first other value turns the counts into a list again.
enum Values {
    All(Vec<f32>),
    /// How often each of i16's numbers occurs, from its lowest on.
    Counts(Vec<u32>),
}

impl Default for Values {
    fn default() -> Self {
        Values::All(vec![])
    }
}

const LOWEST: i32 = i16::MIN as i32;
/// As many values take as much memory as the counts.
const MANY: usize = 1 << 16;

/// Where a value is counted; `None`: it is none of i16's.
fn place(value: f32) -> Option<usize> {
    let whole = value as i16;
    (f32::from(whole) == value).then(|| (i32::from(whole) - LOWEST) as usize)
}

impl Values {
    fn push(&mut self, value: f32) {
        match self {
            Values::All(all) => {
                all.push(value);
                if all.len() == MANY && all.iter().all(|value| place(*value).is_some()) {
                    let mut counts = vec![0; MANY];
                    all.iter().filter_map(|value| place(*value)).for_each(|at| counts[at] += 1);
                    *self = Values::Counts(counts);
                }
            }
            Values::Counts(counts) => match place(value) {
                Some(at) => counts[at] += 1,
                None => {
                    let mut all: Vec<f32> = vec![];
                    counted(counts)
                        .for_each(|(value, count)| all.extend(std::iter::repeat_n(value as f32, count as usize)));
                    all.push(value);
                    *self = Values::All(all);
                }
            },
        }
    }

    /// Each value with how often it occurs, in rising order (equal ones may come apart).
    fn sorted(self) -> Vec<(f64, u64)> {
        match self {
            Values::Counts(counts) => counted(&counts).collect(),
            Values::All(mut all) => {
                all.sort_unstable_by(f32::total_cmp);
                all.into_iter().map(|value| (f64::from(value), 1)).collect()
            }
        }
    }
}

fn counted(counts: &[u32]) -> impl Iterator<Item = (f64, u64)> {
    counts
        .iter()
        .zip(LOWEST..)
        .filter(|(count, _)| **count > 0)
        .map(|(count, value)| (f64::from(value), u64::from(*count)))
}

/// One row for each label that occurs, by rising id. `labels` [1,X,Y,Z] holds whole numbers from 0; `image` [1,X,Y,Z] lies
/// on the same grid. Not-a-number voxels of the image are left out of its values.
///
/// Errors: a label that is no such number, an image of another shape or place.
pub fn statistics(labels: &Volume, image: Option<&Volume>, structures: &Structures) -> Result<Vec<Row>> {
    if labels.layout.channels() != 1 {
        bail!("expected a label map of one channel, found {} channels", labels.layout.channels());
    }
    if let Some(image) = image {
        same_grid(labels, image)?;
    }
    let mut found: BTreeMap<u32, Sums> = BTreeMap::new();
    let label_at = &labels.layout;
    let shape = label_at.spatial();
    // Along the way the label map lies in memory, longest stride first.
    let mut order = [0, 1, 2];
    order.sort_by_key(|axis| std::cmp::Reverse(label_at.strides[axis + 1].unsigned_abs()));
    let mut invalid = None;
    each_voxels!(&labels.voxels, buffer => {
        // The map's one-label runs are long: the last entry is looked up once per run.
        let mut last: Option<(u32, &mut Sums)> = None;
        let mut at = [0; 3];
        for a in 0..shape[order[0]] {
            at[order[0]] = a;
            for b in 0..shape[order[1]] {
                at[order[1]] = b;
                for c in 0..shape[order[2]] {
                    at[order[2]] = c;
                    let value = buffer[label_at.position([0, at[0], at[1], at[2]])].to_f64();
                    if value == 0.0 {
                        continue;
                    }
                    let id = value as u32;
                    if f64::from(id) != value {
                        invalid = Some(value);
                        continue;
                    }
                    if last.as_ref().is_none_or(|(label, _)| *label != id) {
                        last = Some((id, found.entry(id).or_default()));
                    }
                    let Some((_, sums)) = &mut last else { continue };
                    sums.voxels += 1;
                    for axis in 0..3 {
                        sums.index[axis] += at[axis] as u64;
                        sums.border |= at[axis] == 0 || at[axis] + 1 == shape[axis];
                    }
                    if let Some(image) = image {
                        let value = value_at(image, at);
                        if !value.is_nan() {
                            sums.values.push(value);
                        }
                    }
                }
            }
        }
    });
    if let Some(value) = invalid {
        bail!("expected labels that are whole numbers from 0, found {value}");
    }
    let voxel_ml = labels.affine.voxel_mm3() / 1000.0;
    let row = |(id, sums): (u32, Sums)| {
        let mean = sums.index.map(|sum| sum as f64 / sums.voxels as f64);
        Row {
            id,
            name: structures.get(id).name,
            voxels: sums.voxels,
            volume_ml: sums.voxels as f64 * voxel_ml,
            centroid_mm: labels.affine.at(mean),
            touches_border: sums.border,
            hu: image.and_then(|_| intensity(sums.values)),
        }
    };
    Ok(found.into_iter().map(row).collect())
}

fn value_at(image: &Volume, at: [usize; 3]) -> f32 {
    each_voxels!(&image.voxels, buffer => buffer[image.layout.position([0, at[0], at[1], at[2]])].to_f32())
}

/// Whether voxel i is at the same place in both: shapes equal, corners within a hundredth of a voxel.
pub fn same_grid(labels: &Volume, image: &Volume) -> Result<()> {
    let (a, b) = (labels.layout.spatial(), image.layout.spatial());
    if image.layout.channels() != 1 {
        bail!("expected an image of one channel, found {} channels", image.layout.channels());
    }
    if a != b {
        return Err(err!("expected an image of the labels' shape {a:?}, found {b:?}")
            .hint("labels lie on the grid of the image they were made from"));
    }
    let spacing = labels.affine.spacing_mm().into_iter().fold(f64::INFINITY, f64::min);
    for corner in 0..8 {
        let at = [0, 1, 2].map(|axis| if corner >> axis & 1 == 1 { a[axis] as f64 - 1.0 } else { 0.0 });
        let (p, q) = (labels.affine.at(at), image.affine.at(at));
        let apart = (0..3).map(|axis| (p[axis] - q[axis]).powi(2)).sum::<f64>().sqrt();
        if apart > 0.01 * spacing {
            return Err(err!("labels and image lie {apart:.2} mm apart")
                .hint("labels lie on the grid of the image they were made from"));
        }
    }
    Ok(())
}

/// `None` without values.
fn intensity(values: Values) -> Option<Intensity> {
    let values = values.sorted();
    let (min, max) = (values.first()?.0, values.last()?.0);
    let n = values.iter().map(|(_, count)| count).sum::<u64>() as f64;
    let mean = values.iter().map(|(value, count)| value * *count as f64).sum::<f64>() / n;
    let std = (values.iter().map(|(value, count)| (value - mean).powi(2) * *count as f64).sum::<f64>() / n).sqrt();
    // How many values there are up to each.
    let mut so_far = 0;
    let ends: Vec<u64> = values
        .iter()
        .map(|(_, count)| {
            so_far += count;
            so_far
        })
        .collect();
    let nth = |place: u64| values[ends.partition_point(|end| *end <= place)].0;
    let percentiles = PERCENTILES.map(|percent| {
        let place = f64::from(percent) / 100.0 * (n - 1.0);
        let (low, high) = (nth(place.floor() as u64), nth(place.ceil() as u64));
        low + (high - low) * place.fract()
    });
    Some(Intensity { mean, std, min, percentiles, max })
}

/// Columns of the CSV, after the case.
fn columns(with_image: bool) -> Vec<String> {
    let mut names: Vec<String> =
        ["id", "name", "voxels", "volume_ml", "centroid_r_mm", "centroid_a_mm", "centroid_s_mm", "touches_border"]
            .map(String::from)
            .into();
    if with_image {
        names.extend(["hu_mean", "hu_std", "hu_min"].map(String::from));
        names.extend(PERCENTILES.map(|percent| format!("hu_p{percent:02}")));
        names.push("hu_max".into());
    }
    names
}

fn cells(row: &Row, with_image: bool) -> Vec<Value> {
    let [r, a, s] = row.centroid_mm.map(|mm| rounded(mm, 2));
    let mut cells = vec![
        json!(row.id),
        json!(row.name),
        json!(row.voxels),
        rounded(row.volume_ml, 4),
        r,
        a,
        s,
        json!(row.touches_border),
    ];
    match &row.hu {
        Some(hu) => {
            let values = [hu.mean, hu.std, hu.min].into_iter().chain(hu.percentiles).chain([hu.max]);
            cells.extend(values.map(|value| rounded(value, 2)));
        }
        None if with_image => cells.extend(vec![Value::Null; PERCENTILES.len() + 4]),
        None => {}
    }
    cells
}

fn rounded(value: f64, digits: i32) -> Value {
    let scale = 10f64.powi(digits);
    json!((value * scale).round() / scale)
}

/// As CSV, or as JSON (`{"structures": [{...}]}`) if the name ends in `.json`; whole or not at all.
pub fn write(path: &Path, rows: &[Row]) -> Result<()> {
    let json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    atomic::write_file(path, |file, _| if json { write_json(file, rows) } else { write_csv(file, rows) })
}

/// A header and one line per structure.
pub fn write_csv(out: impl Write, rows: &[Row]) -> Result<()> {
    let with_image = rows.iter().any(|row| row.hu.is_some());
    let failed = |error: csv::Error| err!("cannot write: {error}");
    let mut csv = csv::Writer::from_writer(out);
    csv.write_record(columns(with_image)).map_err(failed)?;
    for row in rows {
        let text = cells(row, with_image).into_iter().map(|cell| match cell {
            Value::String(text) => text,
            Value::Null => String::new(),
            other => other.to_string(),
        });
        csv.write_record(text).map_err(failed)?;
    }
    csv.flush().map_err(|error| err!("cannot write: {error}"))
}

fn write_json(out: impl Write, rows: &[Row]) -> Result<()> {
    let with_image = rows.iter().any(|row| row.hu.is_some());
    let names = columns(with_image);
    let object = |row: &Row| Value::Object(names.iter().cloned().zip(cells(row, with_image)).collect::<Map<_, _>>());
    let all = json!({ "structures": rows.iter().map(object).collect::<Vec<_>>() });
    serde_json::to_writer_pretty(out, &all).map_err(|error| err!("cannot write: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Enough to be counted, and then one that cannot be.
    #[test]
    fn counts_and_lists_give_the_same_figures() {
        let numbers = |n: usize| (0..n).map(|i| ((i * 7919) % 3001) as f32 - 1000.0);
        let gathered = |values: &mut dyn Iterator<Item = f32>| {
            let mut out = Values::default();
            values.for_each(|value| out.push(value));
            out
        };
        let counts = gathered(&mut numbers(2 * MANY));
        assert!(matches!(counts, Values::Counts(_)));
        let list = Values::All(numbers(2 * MANY).collect());
        let (counts, list) = (intensity(counts).unwrap(), intensity(list).unwrap());
        assert_eq!((counts.min, counts.max, counts.percentiles), (list.min, list.max, list.percentiles));
        assert!((counts.mean - list.mean).abs() < 1e-9 && (counts.std - list.std).abs() < 1e-9);
        let mixed = gathered(&mut numbers(2 * MANY).chain([0.5]).chain(numbers(3)));
        assert!(matches!(&mixed, Values::All(all) if all.len() == 2 * MANY + 4));
    }
}
