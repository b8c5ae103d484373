//! Merges the masks of a dataset in TotalSegmentator's layout (`s0001/ct.nii.gz`, `s0001/segmentations/spleen.nii.gz`,
//! …) into one label map per case, in the layout that the whole-body bundle expects: `imagesTr/s0001.nii.gz` and
//! `labelsTr/s0001.nii.gz`.

use super::label_names;
use super::statistics::same_grid;
use super::structures::Structures;
use crate::error::{Error, Kind, Result};
use crate::formats::{atomic, nifti, paths};
use crate::image::{DType, Element, Layout, Volume};
use crate::random::RandomState;
use crate::text::count;
use crate::{bail, each_voxels, err};
use rayon::prelude::*;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Names of an image in the folder of its case; the first that exists counts.
const IMAGES: [&str; 4] = ["ct.nii.gz", "ct.nii", "mri.nii.gz", "mri.nii"];
/// Folder of the masks within the folder of a case.
const MASKS: &str = "segmentations";
/// The largest number of a structure in a label map.
const MAX_ID: u32 = u16::MAX as u32;

/// A case of the dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// Name of its folder.
    pub name: String,
    /// The image.
    pub image: PathBuf,
    /// Numbers of the structures that have a mask, in ascending order, with its file.
    pub masks: Vec<(u32, PathBuf)>,
    /// Names of structures without a mask.
    pub missing: Vec<String>,
    /// Names of masks that are not structures.
    pub unknown: Vec<String>,
}

/// Cases of a dataset.
#[derive(Debug, Default)]
pub struct Cases {
    /// Cases in the order of their names.
    pub cases: Vec<Case>,
    /// Folders with masks but without an image.
    pub without_image: Vec<String>,
    /// Folders with an image but without a folder of masks.
    pub without_masks: Vec<String>,
}

/// Result of one case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Merged {
    /// The label map existed and is newer than every change of the image and the masks; the other fields are then empty.
    pub kept: bool,
    /// Numbers of the structures whose masks are empty.
    pub empty: Vec<u32>,
    /// Number of voxels in more than one mask, by the numbers of two structures; the second is the label.
    pub overlaps: BTreeMap<(u32, u32), u64>,
}

/// # Errors
/// The output folder is the dataset or in it: results would be among the cases.
pub fn check_output(dataset: &Path, output_dir: &Path) -> Result<()> {
    if !paths::real_path(output_dir).starts_with(paths::real_path(dataset)) {
        return Ok(());
    }
    Err(err!(
        "expected an output folder outside of the dataset {}: its files would be among the cases",
        dataset.display()
    )
    .kind(Kind::Config)
    .file(output_dir)
    .hint("choose another --output_dir"))
}

/// Lists the cases: the folders in `dataset` that contain a folder of masks. Nothing but names is read.
///
/// # Errors
/// The folder cannot be read, contains no case, or a mask exists as .nii and .nii.gz.
pub fn cases(dataset: &Path, structures: &Structures) -> Result<Cases> {
    let mut found = Cases::default();
    for name in names_in(dataset)? {
        let folder = dataset.join(&name);
        let masks = folder.join(MASKS);
        let image = IMAGES.iter().map(|image| folder.join(image)).find(|image| image.is_file());
        let image = match (image, masks.is_dir()) {
            (Some(image), true) => image,
            (Some(_), false) => {
                found.without_masks.push(name);
                continue;
            }
            (None, true) => {
                found.without_image.push(name);
                continue;
            }
            (None, false) => continue,
        };
        let mut files: BTreeMap<String, PathBuf> = BTreeMap::new();
        for file in names_in(&masks)? {
            let structure = file.strip_suffix(".nii.gz").or_else(|| file.strip_suffix(".nii"));
            let Some(structure) = structure.filter(|_| !file.starts_with('.')) else { continue };
            if let Some(other) = files.insert(structure.to_owned(), masks.join(&file)) {
                return Err(err!("expected one mask of `{structure}`, found two, the other is {}", other.display())
                    .file(masks.join(&file)));
            }
        }
        let mut case = Case { name, image, masks: vec![], missing: vec![], unknown: vec![] };
        for structure in structures.iter() {
            match files.remove(&structure.name) {
                Some(file) => case.masks.push((structure.id, file)),
                None => case.missing.push(structure.name.clone()),
            }
        }
        case.unknown = files.into_keys().collect();
        found.cases.push(case);
    }
    if found.cases.is_empty() && found.without_image.is_empty() && found.without_masks.is_empty() {
        return Err(err!("expected folders of cases with a folder `{MASKS}`, found none")
            .kind(Kind::Config)
            .file(dataset)
            .hint(format!("the layout is CASE/{} and CASE/{MASKS}/STRUCTURE.nii.gz", IMAGES[0])));
    }
    Ok(found)
}

/// Names in a folder, sorted.
fn names_in(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).map_err(|error| err!("cannot read the folder: {error}").file(folder))?;
    let mut names = vec![];
    for entry in entries {
        let entry = entry.map_err(|error| err!("cannot read the folder: {error}").file(folder))?;
        names.extend(entry.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

/// Paths of a merged case, image and label map, relative to the output folder.
pub fn outputs(case: &Case) -> [PathBuf; 2] {
    let extension = if case.image.extension().is_some_and(|end| end == "gz") { "nii.gz" } else { "nii" };
    ["imagesTr", "labelsTr"].map(|folder| Path::new(folder).join(format!("{}.{extension}", case.name)))
}

/// How to merge the cases.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Copy images instead of creating symbolic links.
    pub copy_images: bool,
    /// Memory for the label maps of the cases that are merged in parallel.
    pub memory_bytes: u64,
}

/// Merges the cases into `output_dir`, as many in parallel as memory and threads allow, and calls `done` for each one.
/// A case that was merged before is kept, see [`Merged::kept`].
pub fn merge_all(
    cases: &[Case],
    structures: &Structures,
    output_dir: &Path,
    options: Options,
    done: impl Fn(&Case, Result<Merged>) + Sync,
) -> Result<()> {
    if let Some(last) = structures.iter().map(|structure| structure.id).max().filter(|id| *id > MAX_ID) {
        return Err(err!("expected structures with numbers up to {MAX_ID}, found {last}").kind(Kind::Config));
    }
    for folder in ["imagesTr", "labelsTr"] {
        atomic::check_writable(&output_dir.join(folder).join("case.nii.gz"))?;
        atomic::remove_stale(&output_dir.join(folder));
    }
    // The label map, its compressed copy in pieces, and a few slices of a mask.
    let bytes = |case: &Case| nifti::read_header(&case.image).map_or(0, |image| label_bytes(&image, structures));
    let largest = cases.par_iter().map(bytes).max().unwrap_or(0) + (64 << 20);
    let threads = rayon::current_num_threads().min((options.memory_bytes / largest).max(1) as usize);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|error| err!("cannot start threads: {error}"))?;
    pool.install(|| {
        // One at a time, so that an interruption loses little.
        cases.par_iter().with_max_len(1).for_each(|case| done(case, merge(case, structures, output_dir, options)));
    });
    Ok(())
}

fn label_dtype(structures: &Structures) -> DType {
    let largest = structures.iter().map(|structure| structure.id).max().unwrap_or(0);
    if largest <= u32::from(u8::MAX) { DType::U8 } else { DType::U16 }
}

fn label_bytes(image: &Volume, structures: &Structures) -> u64 {
    let voxels: usize = image.layout.spatial().iter().product();
    (voxels * label_dtype(structures).size_bytes()) as u64
}

/// Merges one case. A voxel in several masks gets the structure with the highest number, as in TotalSegmentator. If the
/// case cannot be merged, the result of an earlier merge is removed.
///
/// # Errors
/// There is no mask, the image or a mask cannot be read, a mask is not on the grid of the image, a file cannot be
/// written, or a file of another program would be replaced.
fn merge(case: &Case, structures: &Structures, output_dir: &Path, options: Options) -> Result<Merged> {
    let merged = merge_to(case, structures, output_dir, options);
    if merged.is_err() {
        remove_results(&case.name, output_dir);
    }
    merged
}

/// Removes the label map of a case and the link to its image, unless another program wrote them. A training must not use
/// them after the case has changed.
pub fn remove_results(name: &str, output_dir: &Path) {
    for extension in ["nii.gz", "nii"] {
        let [image, label] =
            ["imagesTr", "labelsTr"].map(|folder| output_dir.join(folder).join(format!("{name}.{extension}")));
        if !label_names::read(&label).is_ok_and(|names| names.is_some()) {
            continue;
        }
        // A copied image may have been replaced by a file of someone else.
        let removed = fs::remove_file(&label).and_then(|()| match image.is_symlink() {
            true => fs::remove_file(&image),
            false => Ok(()),
        });
        match removed {
            Ok(()) => tracing::warn!("removed the label map of an earlier merge: {}", label.display()),
            Err(error) => {
                tracing::warn!("cannot remove the label map of an earlier merge: {}: {error}", label.display())
            }
        }
    }
}

fn merge_to(case: &Case, structures: &Structures, output_dir: &Path, options: Options) -> Result<Merged> {
    let [image_path, label_path] = outputs(case).map(|path| output_dir.join(path));
    if case.masks.is_empty() {
        return Err(err!("expected masks of structures, found none").file(case.image.with_file_name(MASKS)));
    }
    check_image(case, &image_path)?;
    if is_merged(case, structures, &label_path)? {
        provide_image(case, &image_path, options)?;
        return Ok(Merged { kept: true, ..Merged::default() });
    }
    let image = nifti::read_header(&case.image)?;
    let merged = match label_dtype(structures) {
        DType::U8 => write_labels::<u8>(case, &image, structures, &label_path)?,
        _ => write_labels::<u16>(case, &image, structures, &label_path)?,
    };
    // An image without its label would be an error in training; a label without its image is not used.
    provide_image(case, &image_path, options)?;
    Ok(merged)
}

fn write_labels<T: Element + TryFrom<u32>>(
    case: &Case,
    image: &Volume,
    structures: &Structures,
    path: &Path,
) -> Result<Merged> {
    let shape = image.layout.spatial();
    let mut labels = vec![T::default(); shape.iter().product()];
    let mut merged = Merged::default();
    for (id, mask) in &case.masks {
        let label = T::try_from(*id).map_err(|_| err!("the number {id} of a structure is too large"))?;
        if !add_mask(&mut labels, label, mask, image, &mut merged.overlaps).map_err(|error| error.file(mask))? {
            merged.empty.push(*id);
        }
    }
    let layout = Layout::fortran([1, shape[0], shape[1], shape[2]]);
    let extension = label_names::to_xml(structures);
    let options =
        nifti::Options { space: image.header.space, extension: extension.as_bytes(), ..nifti::Options::default() };
    nifti::write(path, &T::wrap(labels.into()), &layout, &image.affine, label_dtype(structures), options)?;
    Ok(merged)
}

/// Sets `label` where the mask is above 0.5, and returns whether any voxel is. Voxels with another label are counted in
/// `overlaps`.
fn add_mask<T: Element>(
    labels: &mut [T],
    label: T,
    mask: &Path,
    image: &Volume,
    overlaps: &mut BTreeMap<(u32, u32), u64>,
) -> Result<bool> {
    let header = nifti::read_header(mask)?;
    let (found, expected) = (header.layout.spatial(), image.layout.spatial());
    let hint = || format!("resample the mask onto {}", image.header.path.display());
    if found != expected {
        return Err(err!("expected a mask on the grid of the image, {expected:?} voxels, found {found:?}").hint(hint()));
    }
    same_grid(&header, image)
        .map_err(|error| err!("expected a mask on the grid of the image: {}", error.message()).hint(hint()))?;
    let Some(mut slices) = nifti::SliceReader::open(mask, None)? else {
        bail!("expected a mask of three dimensions in a single file");
    };
    let [x, y, _] = slices.shape();
    let (mut end, mut any) = (0, false);
    while let Some((range, voxels)) = slices.advance()? {
        // The first slice is the last one of the step before.
        let known = end - range.start.min(end);
        let target = &mut labels[end * x * y..range.end * x * y];
        each_voxels!(voxels, values => {
            let new = &values[known * x * y..][..target.len()];
            for (voxel, _) in target.iter_mut().zip(new).filter(|(_, value)| value.to_f32() > 0.5) {
                if *voxel != T::default() {
                    *overlaps.entry((voxel.to_f64() as u32, label.to_f64() as u32)).or_default() += 1;
                }
                *voxel = label;
                any = true;
            }
        });
        end = range.end;
    }
    Ok(any)
}

/// Whether the label map exists, is newer than the last change of image, masks and their folder, and has the names of
/// `structures`. A file that was copied with its old date has changed when it was copied.
///
/// # Errors
/// The file has no names of structures: another program wrote it.
fn is_merged(case: &Case, structures: &Structures, label_path: &Path) -> Result<bool> {
    let changed = |path: &Path| -> Option<SystemTime> {
        let file = fs::metadata(path).ok()?;
        let change = Duration::new(u64::try_from(file.ctime()).ok()?, u32::try_from(file.ctime_nsec()).ok()?);
        Some(file.modified().ok()?.max(SystemTime::UNIX_EPOCH + change))
    };
    let Some(merged) = fs::metadata(label_path).ok().and_then(|file| file.modified().ok()) else { return Ok(false) };
    let Some(names) = label_names::read(label_path).ok().flatten() else {
        return Err(foreign(label_path));
    };
    let folder = case.image.with_file_name(MASKS);
    let inputs = case.masks.iter().map(|(_, mask)| &**mask).chain([&*case.image, &*folder]);
    // A time that cannot be read is reported when the file is read.
    let is_newer = inputs.map(changed).all(|input| input.is_some_and(|input| input < merged));
    Ok(is_newer && names == *structures)
}

/// Error for a file that is not one of ours and would be replaced.
fn foreign(path: &Path) -> Error {
    err!("a file of this name exists, which `merge-labels` has not written")
        .file(path)
        .hint("choose another --output_dir, or remove the file")
}

/// Returns whether there is a copy of the image at `path`; a link is not one.
///
/// # Errors
/// There is another file, or the image cannot be read.
fn check_image(case: &Case, path: &Path) -> Result<bool> {
    let Some(file) = path.symlink_metadata().ok().filter(|found| !found.is_symlink()) else { return Ok(false) };
    let image = fs::metadata(&case.image).map_err(|error| err!("cannot read: {error}").file(&case.image))?;
    match file.len() == image.len() && file.modified().ok() == image.modified().ok() {
        true => Ok(true),
        false => Err(foreign(path)),
    }
}

/// Links or copies the image. A copy has the modification time of the image.
fn provide_image(case: &Case, path: &Path, options: Options) -> Result<()> {
    let cannot = |error: std::io::Error| err!("cannot write: {error}").file(path);
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(cannot)?;
    let source = paths::real_path(&case.image);
    if check_image(case, path)? {
        return Ok(());
    }
    if options.copy_images {
        return atomic::write_file(path, |out, temporary| {
            fs::copy(&source, temporary).map_err(cannot)?;
            let time = fs::metadata(&source).and_then(|image| image.modified()).map_err(cannot)?;
            out.set_modified(time).map_err(cannot)
        });
    }
    let target = paths::seen_from(&paths::real_path(folder), &source);
    if fs::read_link(path).is_ok_and(|present| present == target) {
        return Ok(());
    }
    atomic::write(path, |temporary| {
        fs::remove_file(temporary).map_err(cannot)?;
        std::os::unix::fs::symlink(&target, temporary).map_err(cannot)
    })
}

/// A split of a dataset in the format of the Medical Segmentation Decathlon (MONAI's `load_decathlon_datalist`); paths
/// are relative to the folder of the file.
#[derive(Debug, Default, Serialize)]
pub struct Split {
    /// Cases to train on.
    pub training: Vec<Pair>,
    /// Cases to validate on during the training.
    pub validation: Vec<Pair>,
    /// Cases that the training must not see.
    pub test: Vec<Pair>,
}

/// Image and label of a case.
#[derive(Debug, Serialize)]
pub struct Pair {
    /// Path of the image.
    pub image: PathBuf,
    /// Path of the label map.
    pub label: PathBuf,
}

/// Splits cases as the column `split` of `meta.csv` in TotalSegmentator's dataset does (`train`, `val` and `test`), or
/// returns `None` if the dataset has no such file.
///
/// # Errors
/// The file cannot be read, lacks a column or has another value, or a case is not in it.
pub fn published_split<'a>(
    dataset: &Path,
    cases: impl IntoIterator<Item = &'a Case>,
) -> Result<Option<[Vec<&'a Case>; 3]>> {
    let path = dataset.join("meta.csv");
    if !path.is_file() {
        return Ok(None);
    }
    let read = || {
        let wrong = |error: csv::Error| err!("cannot read the table: {error}");
        let mut table = csv::ReaderBuilder::new().delimiter(b';').from_path(&path).map_err(wrong)?;
        let header = table.headers().map_err(wrong)?.clone();
        let column = |name: &str| {
            let at = header.iter().position(|found| found.trim_start_matches('\u{feff}') == name);
            at.ok_or_else(|| err!("expected a column `{name}`, separated by `;`"))
        };
        let (id, split) = (column("image_id")?, column("split")?);
        let mut parts: BTreeMap<String, usize> = BTreeMap::new();
        for row in table.records() {
            let row = row.map_err(wrong)?;
            let (name, part) = (row.get(id).unwrap_or_default(), row.get(split).unwrap_or_default());
            let part = ["train", "val", "test"]
                .iter()
                .position(|known| *known == part)
                .ok_or_else(|| err!("{name}: expected split `train`, `val` or `test`, found `{part}`"))?;
            parts.insert(name.to_owned(), part);
        }
        let mut out = [vec![], vec![], vec![]];
        for case in cases {
            let part = parts.get(&case.name).ok_or_else(|| err!("expected a row for {}", case.name))?;
            out[*part].push(case);
        }
        Ok(Some(out))
    };
    read().map_err(|error: Error| error.file(&path))
}

/// Draws a fraction of the cases for validation. Of several cases at least one is drawn and one is left for training.
/// The same seed and number of cases give the same split. Returns the cases for training and those for validation, both in order.
pub fn random_split<'a>(cases: &[&'a Case], fraction: f64, seed: u32) -> [Vec<&'a Case>; 2] {
    let mut rng = RandomState::new(seed);
    let order = rng.permutation(cases.len());
    let drawn = (cases.len() as f64 * fraction).round() as usize;
    let drawn = drawn.max(usize::from(fraction > 0.0)).min(cases.len().saturating_sub(1));
    let validation: BTreeSet<usize> = order.into_iter().take(drawn).collect();
    let part = |in_validation: bool| {
        let cases = cases.iter().enumerate().filter(|(at, _)| validation.contains(at) == in_validation);
        cases.map(|(_, case)| *case).collect()
    };
    [part(false), part(true)]
}

impl From<[PathBuf; 2]> for Pair {
    fn from([image, label]: [PathBuf; 2]) -> Pair {
        Pair { image, label }
    }
}

/// Names with the cases that have them: `face, rib_left_1 (s0001), rib_left_2 (3 cases, the first is s0001)`. `names_of`
/// returns the names of a case.
pub fn tally<'a>(cases: &'a [Case], names_of: impl Fn(&'a Case) -> &'a [String]) -> String {
    let mut having: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for case in cases {
        names_of(case).iter().for_each(|name| having.entry(name).or_default().push(&case.name));
    }
    let shown = having.iter().map(|(name, having)| match having[..] {
        _ if having.len() == cases.len() => (*name).to_owned(),
        [only] => format!("{name} ({only})"),
        _ => format!("{name} ({}, the first is {})", count(having.len(), "case"), having[0]),
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// Structures that are empty in all of the cases.
pub fn always_empty<'a>(merged: impl IntoIterator<Item = &'a Merged>) -> BTreeSet<u32> {
    let mut sets = merged.into_iter().map(|case| case.empty.iter().copied().collect::<BTreeSet<u32>>());
    let first = sets.next().unwrap_or_default();
    sets.fold(first, |all, empty| &all & &empty)
}
