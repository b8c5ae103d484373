//! Any image: the format is told by the file's name, and by its content where the name says nothing.

use super::{dicom, mha, nifti, nrrd};
use crate::error::Result;
use crate::image::Volume;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Read NIfTI, NRRD, MetaImage, a DICOM file or a folder of DICOM slices, of which `series` names one (see
/// [`dicom::read_folder`]). Voxels keep their stored type as far as the format's reader says.
pub fn read(path: impl AsRef<Path>, series: Option<&str>) -> Result<Volume> {
    let path = path.as_ref();
    if path.is_dir() {
        return dicom::read_folder(path, series);
    }
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_ascii_lowercase();
    let ends = |extensions: &[&str]| extensions.iter().any(|extension| name.ends_with(extension));
    if ends(&[".nii", ".nii.gz", ".hdr", ".hdr.gz", ".img", ".img.gz"]) {
        return nifti::read(path);
    }
    if ends(&[".nrrd", ".nhdr"]) {
        return nrrd::read(path);
    }
    if ends(&[".mha", ".mhd"]) {
        return mha::read(path);
    }
    let mut start = Vec::with_capacity(160);
    // What cannot be opened is reported by the reader.
    let _ = File::open(path).map(|file| file.take(160).read_to_end(&mut start));
    if start.starts_with(b"NRRD000") {
        nrrd::read(path)
    } else if dicom::is_dicom(&start) {
        dicom::read(path)
    } else {
        nifti::read(path)
    }
}
