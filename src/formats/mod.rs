//! Files: NIfTI images and PyTorch's checkpoints, read and written without Python; whole files or none; their hashes.
//!
//! A file is untrusted: nothing here allocates from a claim alone, recurses without a bound, or runs what a file names.

pub mod atomic;
pub mod checkpoint;
pub mod digest;
pub mod gzip;
pub mod nifti;
pub mod pickle;
