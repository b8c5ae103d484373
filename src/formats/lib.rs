//! File formats: NIfTI, NRRD, MetaImage and DICOM images, the pickles of PyTorch checkpoints and TensorBoard's event
//! files; atomic writing and digests. This crate does not depend on torch.
//!
//! Files are untrusted: the readers do not allocate memory for a claimed size before checking it, bound their
//! recursion, and never execute anything that a file names.

use segbundle_base::{bail, env, err, error, text};
use segbundle_image::{self as image, each_voxels};

pub mod atomic;
pub mod dicom;
pub mod digest;
pub mod gzip;
pub mod lock;
pub mod mha;
pub mod nifti;
pub mod nrrd;
pub mod paths;
pub mod pickle;
mod raw;
pub mod reader;
pub mod tfevents;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// Opens a regular file for reading. Anything else is refused without opening it, since a pipe would block and a device
/// may never end.
pub fn open(path: &Path) -> io::Result<File> {
    let kind = std::fs::metadata(path)?.file_type();
    if kind.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !kind.is_file() {
        let what = if kind.is_fifo() { "a pipe" } else { "a device or socket" };
        return Err(io::Error::other(format!("expected a regular file, found {what}")));
    }
    File::open(path)
}
