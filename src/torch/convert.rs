//! Conversion of tensors to plain vectors: always a copy, always in C order.

use crate::error::Result;
use tch::{Kind, Tensor};

fn flat(tensor: &Tensor, kind: Kind) -> Result<Tensor> {
    // Converted before it is copied from a GPU: fewer bytes.
    Ok(tensor.f_to_kind(kind)?.f_to_device(tch::Device::Cpu)?.f_contiguous()?.f_view([-1])?)
}

/// Converts values to u8 with torch's cast.
pub fn to_u8(tensor: &Tensor) -> Result<Vec<u8>> {
    Ok(Vec::<u8>::try_from(&flat(tensor, Kind::Uint8)?)?)
}

/// Converts values to i32 with torch's cast.
pub fn to_i32(tensor: &Tensor) -> Result<Vec<i32>> {
    Ok(Vec::<i32>::try_from(&flat(tensor, Kind::Int)?)?)
}

/// Converts values to f32.
pub fn to_f32(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(Vec::<f32>::try_from(&flat(tensor, Kind::Float)?)?)
}
