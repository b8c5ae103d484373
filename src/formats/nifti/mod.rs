//! NIfTI-1 and NIfTI-2, read like MONAI's `NibabelReader` (`monai.data.image_reader`, 1.6.1, with nibabel 5.4.2) and
//! written like its `NibabelWriter` (`monai.data.image_writer`).
//!
//! Deliberate differences in reading:
//! - gzip is detected by content, not by name; a wrong checksum is always an error.
//! - `vox_offset` 0 in a single file means "after the header" (352 or 544); nibabel reads the header as voxels.
//! - Header extensions are skipped without parsing, so malformed ones do not matter.
//! - An affine that is singular or not finite is an error in the reader, not in the first transform that inverts it.
//! - Of the axes beyond the third, one may be longer than 1; it becomes the channel axis.
//! - Complex, color and 128-bit float voxels and empty volumes are refused.
//! - If sform and pixdim disagree, MONAI examines the qform; an invalid qform then counts as disagreeing too, where
//!   MONAI fails. See `geometry`.
//! - A qform quaternion that is too long by rounding is normalized, as in ITK and FSL; nibabel refuses it.
//!
//! Deliberate differences in writing:
//! - A volume of one slice keeps its three dimensions; MONAI squeezes it to two.
//! - 64-bit integers are written; nibabel refuses them without a header.
//! - A value that the requested type cannot represent is an error; NumPy wraps it.
//! - On the input's own grid, qform, sform, their codes, voxel sizes and units are those of the input, so that the
//!   result matches its image in viewers of either form. MONAI writes nibabel's affine as both forms with code 1 and
//!   without units.
//! - On another grid, codes and units are those of [`Options::space`].
//! - The quaternion of a half turn may have the opposite sign (it is the same rotation), and its zeros are positive.

mod extension;
mod geometry;
mod header;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use extension::read_extensions;
pub use read::{SliceReader, has_label_intent, pair, read, read_bytes, read_hashed, read_header};
pub use write::{Options, write, write_to};

use crate::image::DType;

/// NIfTI's code of a voxel type.
fn dtype_code(dtype: DType) -> i16 {
    match dtype {
        DType::U8 => 2,
        DType::I16 => 4,
        DType::I32 => 8,
        DType::F32 => 16,
        DType::F64 => 64,
        DType::I8 => 256,
        DType::U16 => 512,
        DType::U32 => 768,
        DType::I64 => 1024,
        DType::U64 => 1280,
    }
}

/// The voxel type of a code, or what is stored instead.
fn dtype_of(code: i16) -> Result<DType, &'static str> {
    const ALL: [DType; 10] = [
        DType::U8,
        DType::I8,
        DType::U16,
        DType::I16,
        DType::U32,
        DType::I32,
        DType::U64,
        DType::I64,
        DType::F32,
        DType::F64,
    ];
    ALL.into_iter().find(|dtype| dtype_code(*dtype) == code).ok_or(match code {
        1 => "bits",
        32 | 1792 | 2048 => "complex numbers",
        128 => "RGB colors",
        2304 => "RGBA colors",
        1536 => "128-bit floats",
        _ => "an unknown type",
    })
}
