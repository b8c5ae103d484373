//! Statistics of each structure in a label map: volume, position and, if the image is given, its HU values.

use super::label_names::{MAX_LABELS, label, too_many_labels};
use super::structures::Structures;
use crate::error::Result;
use crate::formats::atomic;
use crate::formats::digest::Digest;
use crate::image::{Element, Volume};
use crate::percentile;
use crate::{bail, each_voxels, err};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

/// Statistics of one structure in one case, serialized as `Columns`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(into = "Columns")]
pub struct Row {
    /// Label of the structure.
    pub id: u32,
    /// Name of the structure.
    pub name: String,
    /// Number of voxels.
    pub voxels: u64,
    /// Number of voxels times the voxel volume (determinant of the affine).
    pub volume_ml: f64,
    /// Mean of the voxel centers in RAS+ coordinates, mm.
    pub centroid_mm: [f64; 3],
    /// Whether the structure touches the border of the image and may be cut off.
    pub touches_border: bool,
    /// Image values within the structure; `None` without an image.
    pub hu: Option<Intensity>,
}

/// Distribution of the image values within a structure, in the unit of the image (HU for CT).
#[derive(Debug, Clone, PartialEq)]
pub struct Intensity {
    /// Mean value.
    pub mean: f64,
    /// Population standard deviation.
    pub std: f64,
    /// Smallest value.
    pub min: f64,
    /// Percentiles 5, 25, 50, 75 and 95, with linear interpolation as in `numpy.percentile`.
    pub percentiles: [f64; 5],
    /// Largest value.
    pub max: f64,
}

const PERCENTILES: [u32; 5] = [5, 25, 50, 75, 95];

#[derive(Default)]
struct Sums {
    voxels: u64,
    /// Sum of the voxel indices along each axis.
    index: [u64; 3],
    border: bool,
    values: Values,
}

/// Collected image values of a structure. Many integer values, as in CT, are stored as a histogram, so that memory does
/// not grow with the structure; the first non-integer value converts the histogram back to a list.
enum Values {
    All(Vec<f32>),
    /// Histogram over all values of i16, in ascending order.
    Counts(Vec<u32>),
}

impl Default for Values {
    fn default() -> Self {
        Values::All(vec![])
    }
}

const LOWEST: i32 = i16::MIN as i32;
/// Number of values at which a list takes as much memory as the histogram.
const MANY: usize = 1 << 16;

/// Returns the histogram bin of a value; `None` if it is not an integer in the range of i16.
fn bin(value: f32) -> Option<usize> {
    let whole = value as i16;
    (f32::from(whole) == value).then(|| (i32::from(whole) - LOWEST) as usize)
}

impl Values {
    fn push(&mut self, value: f32) {
        match self {
            Values::All(all) => {
                all.push(value);
                if all.len() == MANY && all.iter().all(|value| bin(*value).is_some()) {
                    let mut counts = vec![0; MANY];
                    all.iter().filter_map(|value| bin(*value)).for_each(|at| counts[at] += 1);
                    *self = Values::Counts(counts);
                }
            }
            Values::Counts(counts) => match bin(value) {
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

    /// Returns (value, count) pairs in ascending order; equal values may occur in several pairs.
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

/// Computes one row for each label that occurs, in ascending order of ids. `labels` `[1,X,Y,Z]` contains non-negative
/// integers; `image` `[1,X,Y,Z]` has the same grid. NaN voxels of the image are ignored.
///
/// # Errors
/// A label is not a non-negative integer, there are more than [`MAX_LABELS`], or the image has another grid.
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
    // Iterate in the memory order of the label map, longest stride first.
    let mut order = [0, 1, 2];
    order.sort_by_key(|axis| std::cmp::Reverse(label_at.strides[axis + 1].unsigned_abs()));
    each_voxels!(&labels.voxels, buffer => {
        // Runs of equal labels are long: look up the entry once per run.
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
                    let id = label(value)?;
                    if last.as_ref().is_none_or(|(label, _)| *label != id) {
                        if found.len() == MAX_LABELS && !found.contains_key(&id) {
                            return Err(too_many_labels());
                        }
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

/// Checks that both volumes have the same grid: equal shapes, and corners within a hundredth of a voxel.
pub fn same_grid(labels: &Volume, image: &Volume) -> Result<()> {
    let (a, b) = (labels.layout.spatial(), image.layout.spatial());
    if image.layout.channels() != 1 {
        bail!("expected an image of one channel, found {} channels", image.layout.channels());
    }
    if a != b {
        return Err(err!("expected an image of the labels' shape {a:?}, found {b:?}")
            .hint("use the image from which the labels were made"));
    }
    let spacing = labels.affine.spacing_mm().into_iter().fold(f64::INFINITY, f64::min);
    for corner in 0..8 {
        let at = [0, 1, 2].map(|axis| if corner >> axis & 1 == 1 { a[axis] as f64 - 1.0 } else { 0.0 });
        let (p, q) = (labels.affine.at(at), image.affine.at(at));
        let apart = (0..3).map(|axis| (p[axis] - q[axis]).powi(2)).sum::<f64>().sqrt();
        if apart > 0.01 * spacing {
            return Err(
                err!("labels and image lie {apart:.2} mm apart").hint("use the image from which the labels were made")
            );
        }
    }
    Ok(())
}

/// Computes the distribution; `None` without values.
fn intensity(values: Values) -> Option<Intensity> {
    let values = values.sorted();
    let (min, max) = (values.first()?.0, values.last()?.0);
    let n = values.iter().map(|(_, count)| count).sum::<u64>() as f64;
    let mean = values.iter().map(|(value, count)| value * *count as f64).sum::<f64>() / n;
    let std = (values.iter().map(|(value, count)| (value - mean).powi(2) * *count as f64).sum::<f64>() / n).sqrt();
    // Cumulative counts.
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
        percentile(so_far as usize, f64::from(percent), |at| {
            let at = at as u64;
            (nth(at), nth((at + 1).min(so_far - 1)))
        })
    });
    Some(Intensity { mean, std, min, percentiles, max })
}

/// Columns of the CSV file and keys of the JSON file; the `hu_*` columns are empty without an image.
#[derive(Debug, Clone, Default, Serialize)]
struct Columns {
    id: u32,
    name: String,
    voxels: u64,
    volume_ml: f64,
    centroid_r_mm: f64,
    centroid_a_mm: f64,
    centroid_s_mm: f64,
    touches_border: bool,
    hu_mean: Option<f64>,
    hu_std: Option<f64>,
    hu_min: Option<f64>,
    hu_p05: Option<f64>,
    hu_p25: Option<f64>,
    hu_p50: Option<f64>,
    hu_p75: Option<f64>,
    hu_p95: Option<f64>,
    hu_max: Option<f64>,
}

impl From<Row> for Columns {
    fn from(row: Row) -> Columns {
        let [centroid_r_mm, centroid_a_mm, centroid_s_mm] = row.centroid_mm.map(|mm| rounded(mm, 2));
        let hu = |value: fn(&Intensity) -> f64| row.hu.as_ref().map(|hu| rounded(value(hu), 2));
        Columns {
            id: row.id,
            voxels: row.voxels,
            volume_ml: rounded(row.volume_ml, 4),
            centroid_r_mm,
            centroid_a_mm,
            centroid_s_mm,
            touches_border: row.touches_border,
            hu_mean: hu(|hu| hu.mean),
            hu_std: hu(|hu| hu.std),
            hu_min: hu(|hu| hu.min),
            hu_p05: hu(|hu| hu.percentiles[0]),
            hu_p25: hu(|hu| hu.percentiles[1]),
            hu_p50: hu(|hu| hu.percentiles[2]),
            hu_p75: hu(|hu| hu.percentiles[3]),
            hu_p95: hu(|hu| hu.percentiles[4]),
            hu_max: hu(|hu| hu.max),
            name: row.name,
        }
    }
}

fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}

/// Writes the rows atomically as CSV, or as JSON (`{"structures": [{...}]}`) if the name ends in `.json`.
pub fn write(path: &Path, rows: &[Row]) -> Result<Digest> {
    let json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    atomic::write_hashed(path, |out| if json { write_json(out, rows) } else { write_csv(out, rows) })
}

/// Writes a header and one line per structure.
pub fn write_csv(mut out: impl Write, rows: &[Row]) -> Result<()> {
    let table = |rows: &[Columns]| -> Result<Vec<u8>> {
        let mut csv = csv::Writer::from_writer(vec![]);
        rows.iter().try_for_each(|row| csv.serialize(row)).map_err(|error| err!("cannot write: {error}"))?;
        csv.into_inner().map_err(|error| err!("cannot write: {error}"))
    };
    let mut text = table(&rows.iter().cloned().map(Columns::from).collect::<Vec<_>>())?;
    if rows.is_empty() {
        // serde writes the header with the first row: write it here for an empty table.
        text = table(&[Columns::default()])?;
        text.truncate(text.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1));
    }
    out.write_all(&text).map_err(|error| err!("cannot write: {error}"))
}

fn write_json(out: impl Write, rows: &[Row]) -> Result<()> {
    #[derive(Serialize)]
    struct Table<'a> {
        structures: &'a [Row],
    }
    serde_json::to_writer_pretty(out, &Table { structures: rows }).map_err(|error| err!("cannot write: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_and_json_have_the_same_columns_with_and_without_an_image() {
        let row = |hu| Row {
            id: 5,
            name: "liver".into(),
            voxels: 10,
            volume_ml: 0.123456,
            centroid_mm: [1.0, -2.344, 3.0],
            touches_border: false,
            hu,
        };
        let hu = Intensity { mean: 50.128, std: 1.0, min: -3.0, percentiles: [1.0, 2.0, 3.0, 4.0, 5.0], max: 9.0 };
        let header = "id,name,voxels,volume_ml,centroid_r_mm,centroid_a_mm,centroid_s_mm,touches_border,hu_mean,hu_std,\
                      hu_min,hu_p05,hu_p25,hu_p50,hu_p75,hu_p95,hu_max";
        let csv = |rows: &[Row]| {
            let mut out = vec![];
            write_csv(&mut out, rows).unwrap();
            String::from_utf8(out).unwrap()
        };
        let with = "5,liver,10,0.1235,1.0,-2.34,3.0,false,50.13,1.0,-3.0,1.0,2.0,3.0,4.0,5.0,9.0";
        assert_eq!(csv(&[row(Some(hu.clone()))]), format!("{header}\n{with}\n"));
        assert_eq!(csv(&[row(None)]), format!("{header}\n5,liver,10,0.1235,1.0,-2.34,3.0,false,,,,,,,,,\n"));
        assert_eq!(csv(&[]), format!("{header}\n"));
        let mut out = vec![];
        write_json(&mut out, &[row(Some(hu))]).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
        let keys: Vec<&str> = json["structures"][0].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys.join(","), header);
    }

    /// Integers enough for a histogram, followed by a value that is not an integer.
    #[test]
    fn histogram_and_list_give_the_same_statistics() {
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
