//! Reads an image of any supported format, recognised by the file's name, or by its content if the name has no known
//! extension.

use super::{dicom, mha, nifti, nrrd, raw};
use crate::digest::FileDigests;
use crate::err;
use crate::error::{Kind, Result};
use crate::image::Volume;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Reads the header alone, as a header-only volume ([`Volume::is_header_only`]) with the shape, geometry and dtype that
/// [`read`] gives.
///
/// # Errors
/// As [`read`], as far as they show from headers and the sizes of files.
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

/// Read NIfTI, NRRD, MetaImage, a DICOM file or a folder of DICOM slices, of which `series` names one (see
/// [`dicom::read_folder`]). Voxels keep their stored type as far as the format's reader says.
pub fn read(path: impl AsRef<Path>, series: Option<&str>) -> Result<Volume> {
    read_hashed(path, series, None)
}

/// Checks that a `series` is asked for where there can be several, in a folder of DICOM slices.
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

/// As [`read`]; the digests of the files that hold the image are recorded in `digests` in the same pass.
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

/// Whether [`nifti::SliceReader`] can read the voxels of an image of one channel: a NIfTI image in a single file.
pub fn has_slices(path: impl AsRef<Path>) -> bool {
    let path = path.as_ref();
    matches!(format(path), Format::Nifti) && nifti::pair(path).is_none()
}

/// The files that an image consists of, from names and headers alone: a file and what it says lies beside it, or the
/// slices in a folder. A header that cannot be read gives no further files; the reader reports it.
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
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_ascii_lowercase();
    let ends = |extensions: &[&str]| extensions.iter().any(|extension| name.ends_with(extension));
    if ends(&[".nii", ".nii.gz", ".hdr", ".hdr.gz", ".img", ".img.gz"]) {
        return Format::Nifti;
    }
    if ends(&[".nrrd", ".nhdr"]) {
        return Format::Nrrd;
    }
    if ends(&[".mha", ".mhd"]) {
        return Format::MetaImage;
    }
    let mut start = Vec::with_capacity(160);
    // What cannot be opened is reported by the reader.
    let _ = super::open(path).map(|file| file.take(160).read_to_end(&mut start));
    if start.starts_with(b"NRRD000") {
        Format::Nrrd
    } else if dicom::is_dicom(&start) {
        Format::Dicom
    } else {
        Format::Nifti
    }
}
