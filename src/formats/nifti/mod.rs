//! NIfTI-1 and -2, read as MONAI's `NibabelReader` (`monai.data.image_reader`, 1.6.1, over nibabel 5.4.2) reads them and
//! written as its `NibabelWriter` (`monai.data.image_writer`) writes them.
//!
//! Deliberate differences, reading:
//! - gzip is recognised by content, not by name; a wrong checksum is always an error.
//! - `vox_offset` 0 in a single file means "after the header" (352 or 544); nibabel reads the header as voxels.
//! - Header extensions are skipped unread, so broken ones do no harm.
//! - An affine that is not finite or is singular is an error here, not in the first transform that inverts it.
//! - Axes beyond the third have to be of length 1 but for one, which becomes the channel axis.
//! - Complex, colour and 128-bit float voxels are refused, as are empty volumes.
//! - Where sform and pixdim disagree MONAI looks at the qform; a qform that is broken itself then counts as
//!   disagreeing too, where MONAI stops. See [`geometry`].
//! - A qform quaternion that is too long by rounding is normalised, as in ITK and FSL; nibabel refuses it.
//!
//! Deliberate differences, writing:
//! - A volume of one slice keeps its three dimensions; MONAI squeezes it to two.
//! - 64-bit integers are written; nibabel refuses them without a header.
//! - A value that the requested type cannot hold is an error; NumPy wraps it.
//! - On the input's own grid, qform, sform, their codes, voxel sizes and units are the input's, so that the result lies on
//!   its image in viewers of either form. MONAI writes nibabel's affine as both forms, codes 1 and no units.
//! - On another grid the codes and units are those of [`Options::space`].
//! - The quaternion of a half turn may have the other sign (it is the same rotation), and its zeros are positive.

mod extension;
mod geometry;
mod header;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use extension::read_extensions;
pub use read::{SliceReader, pair, read, read_bytes, read_hashed, read_header};
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
        128 => "RGB colours",
        2304 => "RGBA colours",
        1536 => "128-bit floats",
        _ => "an unknown type",
    })
}
