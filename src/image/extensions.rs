//! File name extensions of image formats, in lower case.

use std::path::Path;

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

/// Expression of a config that lists the files that `path` stands for, if it is a pattern such as `images/*.nii` or a
/// folder with image files other than DICOM.
pub fn glob_expression(path: &Path) -> Option<String> {
    let pattern = match path.display().to_string() {
        pattern if pattern.contains(['*', '?']) => pattern,
        folder => {
            let names = std::fs::read_dir(path).ok()?.flatten().map(|entry| entry.file_name());
            let image = names.filter_map(|name| name.into_string().ok()).filter(|name| is_image(name)).min()?;
            let known = [NIFTI, NRRD, META_IMAGE].into_iter().flatten().filter(|known| ends(&image, &[known]));
            format!("{}/*{}", folder.trim_end_matches('/'), known.max_by_key(|known| known.len())?)
        }
    };
    Some(format!("$sorted(glob.glob('{pattern}'))"))
}
