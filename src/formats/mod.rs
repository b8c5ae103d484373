//! Files: NIfTI, NRRD, MetaImage and DICOM images, and PyTorch's weights, without Python; TensorBoard's
//! events; whole files or none; hashes.
//!
//! A file is untrusted: nothing here allocates from a claim alone, recurses without a bound, or runs what a file names.

pub mod atomic;
pub mod checkpoint;
pub mod dicom;
pub mod digest;
pub mod gzip;
pub mod image;
pub mod mha;
pub mod nifti;
pub mod nrrd;
pub mod paths;
pub mod pickle;
pub mod raw;
pub mod safetensors;
pub mod tfevents;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// Open a file to read it. A pipe would block and a device need not end: what is no regular file is not opened at all.
pub fn open(path: &Path) -> io::Result<File> {
    let kind = std::fs::metadata(path)?.file_type();
    if kind.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !kind.is_file() {
        let what = if kind.is_fifo() { "a pipe" } else { "a device or socket" };
        return Err(io::Error::other(format!("it is no regular file but {what}")));
    }
    File::open(path)
}
