//! File name extensions of image formats, in lower case.

/// NIfTI, in one file or in a header and its voxels.
pub const NIFTI: &[&str] = &[".nii", ".nii.gz", ".hdr", ".hdr.gz", ".img", ".img.gz"];
/// NRRD, with its voxels or detached from them.
pub const NRRD: &[&str] = &[".nrrd", ".nhdr"];
/// MetaImage, with its voxels or detached from them.
pub const META_IMAGE: &[&str] = &[".mha", ".mhd"];
/// DICOM; most slices have no extension.
pub const DICOM: &[&str] = &[".dcm"];

/// Whether `name` ends with one of `extensions`, in upper or lower case.
pub fn ends(name: &str, extensions: &[&str]) -> bool {
    let name = name.to_ascii_lowercase();
    extensions.iter().any(|extension| name.ends_with(extension))
}

/// Whether `name` has the extension of any image format.
pub fn is_image(name: &str) -> bool {
    [NIFTI, NRRD, META_IMAGE, DICOM].into_iter().any(|extensions| ends(name, extensions))
}
