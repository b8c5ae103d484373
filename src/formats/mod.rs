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
pub mod pickle;
pub mod raw;
pub mod safetensors;
pub mod tfevents;
