//! Finds the cases to show: those of a run, or label maps and images that belong together by name.

use super::Case;
use super::recognize::is_label_map;
use crate::error::{Error, Kind, Result};
use crate::formats::reader;
use crate::image::extensions;
use crate::text::count;
use crate::tools::label_names;
use crate::tools::run_folder;
use crate::{bail, err};
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

/// Returns the cases in the order of `paths`.
///
/// # Errors
/// A path does not exist or contains nothing to show, a file is not an image, or `images` do not belong to label maps.
pub fn find(request: &Request<'_>) -> Result<Vec<Case>> {
    let (mut cases, mut files) = (vec![], vec![]);
    for path in request.paths {
        match path.is_dir() {
            true if path.join("run.json").exists() => cases.extend(of_run(path, request.meta_file)?),
            true => files.extend(in_folder(path)?),
            false => files.push(path.clone()),
        }
    }
    let (mut labels, mut images) = (vec![], request.images.to_vec());
    if files.len() > 1 && request.images.is_empty() {
        tracing::info!("looking for label maps among {}", count(files.len(), "file"));
    }
    for file in files {
        let header = reader::read_header(&file, None)?;
        let is_label_map = !request.images.is_empty() || is_label_map(&file, &header)?;
        if is_label_map { &mut labels } else { &mut images }.push(file);
    }
    if labels.is_empty() && !request.images.is_empty() {
        bail!("--image: expected label maps besides, found none");
    }
    let mut used = vec![false; images.len()];
    for path in labels {
        let image = match &images[..] {
            [image] => Some((0, image)),
            images => belonging(&path, images),
        };
        if image.is_none() && !request.images.is_empty() {
            return Err(err!("expected an image that belongs to this label map, found none of its name among --image")
                .kind(Kind::Config)
                .file(&path)
                .hint("images belong to label maps by name: s0001.nii.gz, or s0001_0000.nii.gz, to s0001.nii.gz or s0001_trans.nii.gz"));
        }
        image.iter().for_each(|(at, _)| used[*at] = true);
        cases.push(Case {
            name: path.display().to_string(),
            names: label_names::of(&path, request.meta_file)?.0,
            image: image.map(|(_, path)| path.clone()),
            labels: Some(path),
        });
    }
    for (path, _) in images.into_iter().zip(used).filter(|(_, used)| !used) {
        cases.push(Case {
            name: path.display().to_string(),
            image: Some(path),
            labels: None,
            names: Default::default(),
        });
    }
    cases.iter().for_each(warn_of_misalignment);
    Ok(cases)
}

/// A label map of another place would be shown beside its image.
fn warn_of_misalignment(case: &Case) {
    let header = |path: &Option<PathBuf>| path.as_ref().and_then(|path| reader::read_header(path, None).ok());
    let grids = header(&case.image).zip(header(&case.labels)).map(|(image, labels)| (image.grid(), labels.grid()));
    if let Some(apart) = grids.and_then(|(image, labels)| image.distance_mm(&labels)) {
        tracing::warn!("{}: image and label map are not aligned: their corners are {apart:.1} mm apart", case.name);
    }
}

/// The cases of a run that have label maps.
fn of_run(folder: &Path, meta_file: Option<&Path>) -> Result<Vec<Case>> {
    let run = run_folder::read_record(folder)?.unwrap_or_default();
    let given = meta_file.map(label_names::from_metadata).transpose()?;
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
    let case = |case: run_folder::LabeledCase| {
        // The label map can be shown without its image.
        let image = reader::read_header(&case.image, None).map_err(|error| tracing::warn!("{error}"));
        Case {
            name: case.input,
            image: image.is_ok().then_some(case.image),
            labels: Some(case.labels),
            names: given.clone().unwrap_or(case.names),
        }
    };
    Ok(labeled.into_iter().map(case).collect())
}

/// The images of a folder, or the folder itself if it contains DICOM slices.
fn in_folder(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(|error| err!("cannot read the folder: {error}").file(folder))?;
    let is_image = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let known = [extensions::NIFTI, extensions::NRRD, extensions::META_IMAGE];
        path.is_file() && known.into_iter().any(|known| extensions::ends(&name, known))
    };
    let mut images: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_image).collect();
    images.sort();
    if images.is_empty() {
        reader::read_header(folder, None).map_err(|_| nothing_in(folder))?;
        images.push(folder.to_owned());
    }
    Ok(images)
}

fn nothing_in(folder: &Path) -> Error {
    err!("expected the output folder of a run, or a folder of images, found neither run.json nor images")
        .file(folder)
        .hint("name the output folder of `segbundle run`, such as eval, or label maps and images")
}

/// The image of a label map: that whose name fits best, else the only one in the same folder.
fn belonging<'a>(labels: &Path, images: &'a [PathBuf]) -> Option<(usize, &'a PathBuf)> {
    let named = images.iter().enumerate().max_by_key(|(_, image)| affinity(labels, image));
    let mut beside = images.iter().enumerate().filter(|(_, image)| image.parent() == labels.parent());
    let only = beside.next().filter(|_| beside.next().is_none());
    named.filter(|(_, image)| affinity(labels, image) > 0).or(only)
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
        let of = |labels: &str| belonging(Path::new(labels), &images).map(|(at, _)| at);
        assert_eq!([of("b/labels.nii"), of("c/labels.nii"), of("d/labels.nii")], [Some(1), None, None]);
    }
}
