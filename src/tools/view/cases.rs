//! Finds the cases to show: those of a run, or label maps and images that belong together by name.

use super::Case;
use super::recognize::is_label_map;
use crate::error::{Error, Kind, Result};
use crate::formats::reader;
use crate::image::extensions;
use crate::text::count;
use crate::tools::label_names;
use crate::tools::run_folder::{self, LabeledCase};
use crate::tools::structures::Structures;
use crate::{bail, err};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What to show.
#[derive(Debug, Default)]
pub struct Request<'a> {
    /// Output folders of runs, folders of images, label maps, images.
    pub paths: &'a [PathBuf],
    /// Images of the label maps in `paths`: one for all, or by name. Without them, images are recognized among `paths`.
    pub images: &'a [PathBuf],
    /// metadata.json with the names of the structures.
    pub meta_file: Option<&'a Path>,
}

/// Levels of subfolders that are searched below a folder without images: `DATASET/CASE/segmentations`.
const LEVELS: usize = 2;
/// Levels above a label map that are searched for the run.json of its run: `eval/CASE/segmentations/liver.nii.gz`.
const LEVELS_ABOVE: usize = 3;

/// A label map to show.
struct Labels {
    path: PathBuf,
    /// Name of the case.
    name: String,
    /// The image that its run names.
    image: Option<PathBuf>,
    names: Structures,
}

/// Returns the cases in the order of `paths`, and then the images without a label map. Warns of label maps without an
/// image or names of structures.
///
/// # Errors
/// A path does not exist or contains nothing to show, a file is not an image, or `images` do not belong to label maps.
pub fn find(request: &Request<'_>) -> Result<Vec<Case>> {
    for image in request.images {
        reader::read_header(image, None)?;
    }
    let given = request.meta_file.map(label_names::from_metadata).transpose()?;
    let (mut labels, mut files) = (vec![], vec![]);
    for path in request.paths {
        match path.is_dir() {
            true if path.join("run.json").exists() => labels.extend(of_run(path)?),
            true => files.extend(in_folder(path)?),
            false => files.push(path.clone()),
        }
    }
    let mut images = request.images.to_vec();
    if files.len() > 1 && request.images.is_empty() {
        tracing::info!("looking for label maps among {}", count(files.len(), "file"));
    }
    let mut runs = BTreeMap::new();
    for file in files {
        let header = reader::read_header(&file, None)?;
        if request.images.is_empty() && !is_label_map(&file, &header)? {
            images.push(file);
            continue;
        }
        labels.push(match in_run_above(&file, &mut runs) {
            Some(labels) => labels,
            None => Labels {
                name: file.display().to_string(),
                image: None,
                names: label_names::of(&file, None)?.0,
                path: file,
            },
        });
    }
    if labels.is_empty() && !request.images.is_empty() {
        bail!("--image: expected label maps besides, found none");
    }
    // The images of a run may belong to label maps of other folders, too.
    let of_runs: Vec<PathBuf> = labels.iter().filter_map(|labels| labels.image.clone()).collect();
    let are_given = !request.images.is_empty();
    let mut used = vec![false; images.len()];
    let mut cases = vec![];
    for Labels { path, name, image: own, names } in labels {
        let among = match &images[..] {
            [_] if are_given => Some(0),
            images => named(&path, images).or_else(|| beside(&path, images).filter(|_| are_given || own.is_none())),
        };
        among.iter().for_each(|at| used[*at] = true);
        let of_run =
            || own.or_else(|| named(&path, &of_runs).or(beside(&path, &of_runs)).map(|at| of_runs[at].clone()));
        let image = among.map(|at| images[at].clone()).or_else(|| if are_given { None } else { of_run() });
        if image.is_none() && !request.images.is_empty() {
            return Err(err!("expected an image that belongs to this label map, found none of its name among --image")
                .kind(Kind::Config)
                .file(&path)
                .hint("images belong to label maps by name: s0001.nii.gz, or s0001_0000.nii.gz, to s0001.nii.gz or s0001_trans.nii.gz"));
        }
        cases.push(Case { name, image, labels: Some(path), names: given.clone().unwrap_or(names) });
    }
    distinguish(&mut cases);
    warn_of_missing(&cases);
    for (path, _) in images.into_iter().zip(used).filter(|(_, used)| !used) {
        cases.push(Case {
            name: path.display().to_string(),
            image: Some(path),
            labels: None,
            names: Structures::default(),
        });
    }
    cases.iter().for_each(warn_of_misalignment);
    Ok(cases)
}

/// Several runs may have the same inputs: their cases are then named after their label maps.
fn distinguish(cases: &mut [Case]) {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    cases.iter().for_each(|case| *counts.entry(case.name.clone()).or_default() += 1);
    for case in cases.iter_mut().filter(|case| counts[&case.name] > 1) {
        case.name = case.labels.as_ref().map_or(std::mem::take(&mut case.name), |path| path.display().to_string());
    }
}

/// Warns of label maps that are shown without an image, or without names.
fn warn_of_missing(cases: &[Case]) {
    let warn = |missing: &dyn Fn(&&Case) -> bool, what: &str, hint: &str| {
        let missing: Vec<&Case> = cases.iter().filter(missing).collect();
        if let Some(first) = missing.first() {
            let path = first.labels.as_deref().unwrap_or(Path::new(&first.name));
            tracing::warn!("{} {what}, the first is {}: {hint}", count(missing.len(), "label map"), path.display());
        }
    };
    warn(&|case| case.image.is_none(), "without an image", "`--image` gives images, by name or one for all");
    warn(
        &|case| case.names.is_empty(),
        "without names of structures, which are shown as label_1, label_2, …",
        "`--meta_file metadata.json` provides names",
    );
}

/// A label map as the run.json above it describes it. `runs` keeps what was read, by folder.
fn in_run_above(path: &Path, runs: &mut BTreeMap<PathBuf, Vec<LabeledCase>>) -> Option<Labels> {
    let real = path.canonicalize().ok()?;
    let folders = real.ancestors().skip(1).take(LEVELS_ABOVE);
    let case = folders.into_iter().find_map(|folder| {
        let cases = runs.entry(folder.to_owned()).or_insert_with(|| {
            let run = run_folder::read_record(folder).map_err(|error| tracing::warn!("{error}"));
            run.ok().flatten().map_or(vec![], |run| run_folder::labeled(folder, &run))
        });
        cases.iter().find(|case| case.labels.canonicalize().is_ok_and(|labels| labels == real)).cloned()
    })?;
    Some(Labels { name: path.display().to_string(), path: path.to_owned(), ..case.into() })
}

impl From<LabeledCase> for Labels {
    fn from(case: LabeledCase) -> Labels {
        // The label map can be shown without its image.
        let image = reader::read_header(&case.image, None).map_err(|error| tracing::debug!("{error}"));
        Labels { path: case.labels, name: case.input, image: image.is_ok().then_some(case.image), names: case.names }
    }
}

/// A label map of another place would be shown beside its image.
fn warn_of_misalignment(case: &Case) {
    let header = |path: &Option<PathBuf>| path.as_ref().and_then(|path| reader::read_header(path, None).ok());
    let grids = header(&case.image).zip(header(&case.labels)).map(|(image, labels)| (image.grid(), labels.grid()));
    if let Some(apart) = grids.and_then(|(image, labels)| image.distance_mm(&labels)) {
        tracing::warn!("{}: image and label map are not aligned: their corners are {apart:.1} mm apart", case.name);
    }
}

/// The label maps of a run.
fn of_run(folder: &Path) -> Result<Vec<Labels>> {
    let run = run_folder::read_record(folder)?.unwrap_or_default();
    let labeled = run_folder::labeled(folder, &run);
    if labeled.is_empty() {
        return Err(err!("expected label maps of a run, found none that its run.json names")
            .file(folder)
            .hint("name the output folder of an inference, or label maps and images"));
    }
    let total = run_folder::cases_of(&run).count();
    if labeled.len() < total {
        tracing::warn!("{} of {total} cases in {} have no label map", total - labeled.len(), folder.display());
    }
    Ok(labeled.into_iter().map(Labels::from).collect())
}

/// The images of a folder, or the folder itself if it contains DICOM slices, or what its subfolders contain.
fn in_folder(folder: &Path) -> Result<Vec<PathBuf>> {
    let images = below(folder, LEVELS)?;
    if images.is_empty() { Err(nothing_in(folder)) } else { Ok(images) }
}

fn below(folder: &Path, levels: usize) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(|error| err!("cannot read the folder: {error}").file(folder))?;
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let is_image = |path: &Path| {
        let known = [extensions::NIFTI, extensions::NRRD, extensions::META_IMAGE];
        known.into_iter().any(|known| extensions::ends(&name(path), known))
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let (folders, files): (Vec<_>, Vec<_>) = paths.into_iter().partition(|path| path.is_dir());
    let (images, others): (Vec<_>, Vec<_>) = files.into_iter().partition(|path| path.is_file() && is_image(path));
    if !images.is_empty() {
        return Ok(images);
    }
    if !others.is_empty() && reader::read_header(folder, None).is_ok() {
        return Ok(vec![folder.to_owned()]);
    }
    let mut found = vec![];
    for folder in folders.iter().filter(|folder| levels > 0 && !name(folder).starts_with('.')) {
        found.extend(below(folder, levels - 1)?);
    }
    Ok(found)
}

fn nothing_in(folder: &Path) -> Error {
    err!("expected the output folder of a run, or a folder of images, found neither run.json nor images")
        .file(folder)
        .hint("name the output folder of `segbundle run`, such as eval, or label maps and images")
}

/// Index of the image whose name fits that of a label map best.
fn named(labels: &Path, images: &[PathBuf]) -> Option<usize> {
    let best = images.iter().enumerate().max_by_key(|(_, image)| affinity(labels, image));
    best.filter(|(_, image)| affinity(labels, image) > 0).map(|(at, _)| at)
}

/// Index of the only image in the folder of a label map, or beside this folder, as `s0001/ct.nii.gz` is to
/// `s0001/segmentations/liver.nii.gz`.
fn beside(labels: &Path, images: &[PathBuf]) -> Option<usize> {
    let folders = labels.parent().into_iter().flat_map(|folder| [Some(folder), folder.parent()]).flatten();
    folders.into_iter().find_map(|folder| {
        let mut there = images.iter().enumerate().filter(|(_, image)| image.parent() == Some(folder));
        there.next().filter(|_| there.next().is_none()).map(|(at, _)| at)
    })
}

/// How well the names of a label map and an image fit: s0001_trans belongs to s0001, and s0001 to nnU-Net's s0001_0000;
/// 0 if they do not.
fn affinity(labels: &Path, image: &Path) -> usize {
    let (own, other) = (stem(labels), stem(image));
    let (short, long) = if own.len() < other.len() { (&own, &other) } else { (&other, &own) };
    match long.strip_prefix(short.as_str()) {
        Some("") => usize::MAX,
        Some(rest) if !short.is_empty() && rest.starts_with(['_', '-', '.']) => short.len(),
        _ => 0,
    }
}

/// Name of an image without folders and extension.
pub fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let known = [extensions::NIFTI, extensions::NRRD, extensions::META_IMAGE].concat();
    let length = known.into_iter().filter(|known| extensions::ends(&name, &[known])).map(str::len).max();
    name[..name.len() - length.unwrap_or(0)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_maps_find_their_images_by_name() {
        let fits = |labels: &str, image: &str| affinity(Path::new(labels), Path::new(image));
        for (labels, image) in [
            ("labelsTr/s0001.nii.gz", "imagesTr/s0001.nii.gz"),
            ("labelsTr/s0001.nii.gz", "imagesTr/s0001_0000.nii.gz"),
            ("eval/s0001/s0001_trans.nii.gz", "images/s0001.nrrd"),
        ] {
            assert!(fits(labels, image) > 0, "{labels} {image}");
        }
        assert_eq!(fits("labelsTr/s0001.nii.gz", "imagesTr/s00010.nii.gz"), 0);
        assert_eq!(fits("labelsTr/s0001.nii.gz", "imagesTr/.nii.gz"), 0);
        // The same name counts most, then the longest one.
        let own = fits("labels/a_b.nii.gz", "images/a_b.nii.gz");
        assert!(own > fits("labels/a_b.nii.gz", "images/a.nii.gz"));
        assert!(fits("labels/a_b_c.nii.gz", "images/a_b.nii.gz") > fits("labels/a_b_c.nii.gz", "images/a.nii.gz"));
        let images = ["a/ct.nii", "b/ct.nii", "c/ct.nii", "c/mr.nii"].map(PathBuf::from);
        let of = |labels: &str| beside(Path::new(labels), &images);
        assert_eq!([of("b/labels.nii"), of("c/labels.nii"), of("d/labels.nii")], [Some(1), None, None]);
        assert_eq!([of("b/segmentations/liver.nii"), of("c/segmentations/liver.nii")], [Some(1), None]);
    }
}
