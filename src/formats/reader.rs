//! Reads images of any supported format, which is recognized by the file's name, or by its content if the extension is
//! unknown.

use super::{dicom, mha, nifti, nrrd, raw};
use crate::digest::FileDigests;
use crate::err;
use crate::error::{Kind, Result};
use crate::image::{Volume, extensions};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Reads the header and returns a header-only volume ([`Volume::is_header_only`]) with the shape, geometry and dtype of
/// [`read`].
///
/// # Errors
/// As [`read`], as far as headers and file sizes show them.
pub fn read_header(path: impl AsRef<Path>, series: Option<&str>) -> Result<Volume> {
    let path = path.as_ref();
    match format(path) {
        Format::Nifti => nifti::read_header(path),
        Format::Nrrd => raw::read_header::<nrrd::NrrdHeader>(path),
        Format::MetaImage => raw::read_header::<mha::MetaImageHeader>(path),
        Format::Dicom => dicom::read_header(path),
        Format::DicomFolder => dicom::read_folder_header(path, series),
    }
}

/// Reads NIfTI, NRRD, MetaImage, a DICOM file or a folder of DICOM slices, of which `series` selects one (see
/// [`dicom::read_folder`]). The type of the voxels is documented for each format.
pub fn read(path: impl AsRef<Path>, series: Option<&str>) -> Result<Volume> {
    read_hashed(path, series, None)
}

/// Checks that `series` is only given for a folder of DICOM slices, which may contain several.
///
/// # Errors
/// `path` is a single image.
pub fn check_series(path: &Path, series: Option<&str>) -> Result<()> {
    match series {
        Some(series) if path.is_file() => {
            Err(err!("series `{series}`: expected a folder of DICOM slices, found a file")
                .kind(Kind::Config)
                .file(path)
                .hint("leave out --series, or name the folder of the DICOM slices"))
        }
        _ => Ok(()),
    }
}

/// Like [`read`]; the digests of the image's files are recorded in `digests` in the same pass.
pub fn read_hashed(path: impl AsRef<Path>, series: Option<&str>, digests: Option<&FileDigests>) -> Result<Volume> {
    let path = path.as_ref();
    match format(path) {
        Format::Nifti => nifti::read_hashed(path, digests),
        Format::Nrrd => raw::read::<nrrd::NrrdHeader>(path, digests),
        Format::MetaImage => raw::read::<mha::MetaImageHeader>(path, digests),
        Format::Dicom => dicom::read_hashed(path, digests),
        Format::DicomFolder => dicom::read_folder_hashed(path, series, digests),
    }
}

/// Whether [`nifti::SliceReader`] can read a one-channel image: whether it is a NIfTI image in a single file.
pub fn has_slices(path: impl AsRef<Path>) -> bool {
    let path = path.as_ref();
    matches!(format(path), Format::Nifti) && nifti::pair(path).is_none()
}

/// Returns the files of an image, determined from names and headers: the file and the data files that its header names,
/// or the slices in a folder. A header that cannot be read adds no files; the reader reports it.
pub fn files(path: impl AsRef<Path>) -> Result<Vec<PathBuf>> {
    let path = path.as_ref();
    let beside = match format(path) {
        Format::DicomFolder => return dicom::files(path),
        Format::Nifti => nifti::pair(path).map(|(header, voxels)| vec![header, voxels]).unwrap_or_default(),
        Format::Nrrd => raw::data_files::<nrrd::NrrdHeader>(path).unwrap_or_default(),
        Format::MetaImage => raw::data_files::<mha::MetaImageHeader>(path).unwrap_or_default(),
        Format::Dicom => vec![],
    };
    let mut files = vec![path.to_owned()];
    files.extend(beside.into_iter().filter(|other| other != path && other.is_file()));
    Ok(files)
}

enum Format {
    Nifti,
    Nrrd,
    MetaImage,
    Dicom,
    DicomFolder,
}

fn format(path: &Path) -> Format {
    if path.is_dir() {
        return Format::DicomFolder;
    }
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if extensions::ends(name, extensions::NIFTI) {
        return Format::Nifti;
    }
    if extensions::ends(name, extensions::NRRD) {
        return Format::Nrrd;
    }
    if extensions::ends(name, extensions::META_IMAGE) {
        return Format::MetaImage;
    }
    let mut start = Vec::with_capacity(160);
    // The reader reports files that cannot be opened.
    let _ = super::open(path).map(|file| file.take(160).read_to_end(&mut start));
    if start.starts_with(b"NRRD000") {
        Format::Nrrd
    } else if dicom::is_dicom(&start) {
        Format::Dicom
    } else {
        Format::Nifti
    }
}
