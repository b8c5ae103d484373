//! Files: NIfTI, NRRD, MetaImage and DICOM images, the pickles of PyTorch's checkpoints, TensorBoard's events, atomic
//! writing, hashes. No torch here.
//!
//! A file is untrusted: nothing here allocates from a claim alone, recurses without a bound, or runs what a file names.

use segbundle_base::{bail, env, err, error};
use segbundle_image::{self as image, each_voxels};

pub mod atomic;
pub mod dicom;
pub mod digest;
pub mod gzip;
pub mod mha;
pub mod nifti;
pub mod nrrd;
pub mod paths;
pub mod pickle;
pub mod raw;
pub mod reader;
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
