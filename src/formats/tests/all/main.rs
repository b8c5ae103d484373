//! Integration tests of the image formats, in one binary; no libtorch is needed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod dicom;
mod headers;
mod nifti_edge;
mod nifti_files;
mod other_images;
mod written_files;

use proptest::sample::Index;

/// `bytes` with some of them changed and, unless `whole`, the end cut off: for property tests of readers.
fn damaged(mut bytes: Vec<u8>, changes: Vec<(Index, u8)>, cut: Index, whole: bool) -> Vec<u8> {
    for (at, value) in changes {
        let at = at.index(bytes.len());
        bytes[at] = value;
    }
    if !whole {
        bytes.truncate(cut.index(bytes.len()));
    }
    bytes
}
