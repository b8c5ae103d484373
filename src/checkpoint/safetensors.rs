//! Weights in `.safetensors` files (the format of Hugging Face), read by the `safetensors` crate, which validates the
//! header against the file's length. These files contain no code.

use crate::error::{Error, Result};
use crate::{bail, err};
use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{Dtype, SafeTensors};
use std::io::Read;
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// Whether the file is a safetensors file, by its extension, or by its ninth byte, which starts the JSON header.
pub fn is_safetensors(path: &Path) -> bool {
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("safetensors")) {
        return true;
    }
    let mut start = [0; 9];
    crate::formats::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok()
        && start[8] == b'{'
        && start[4..8] == [0; 4]
}

/// Read all tensors, on the CPU, sorted by name.
pub fn read(path: impl AsRef<Path>) -> Result<Vec<(String, Tensor)>> {
    let path = path.as_ref();
    let read = || {
        let bytes = std::fs::read(path).map_err(|error| err!("cannot read the weights: {error}"))?;
        from_bytes(&bytes)
    };
    read().map_err(|error: Error| error.file(path))
}

/// Names and shapes of all tensors, sorted by name. No tensor is read.
pub fn read_shapes(path: impl AsRef<Path>) -> Result<Vec<(String, Vec<i64>)>> {
    /// Maximum size of the header, as in the `safetensors` crate.
    const MAX_HEADER_BYTES: u64 = 100_000_000;
    let path = path.as_ref();
    let read = || {
        let unreadable = |error| err!("cannot read the weights: {error}");
        let mut file = crate::formats::open(path).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        let mut start = [0; 8];
        file.read_exact(&mut start).map_err(unreadable)?;
        let header_bytes = u64::from_le_bytes(start);
        let mut header = vec![];
        file.take(header_bytes.min(MAX_HEADER_BYTES)).read_to_end(&mut header).map_err(unreadable)?;
        let metadata: Metadata = serde_json::from_slice(&header).map_err(damaged)?;
        let expected = (metadata.data_len() as u64).saturating_add(8).saturating_add(header_bytes);
        if expected != length {
            return Err(damaged(format_args!("expected {expected} bytes, found {length}")));
        }
        let tensors = metadata.tensors().into_iter();
        let shape = |(name, info): (String, &TensorInfo)| Ok((name.clone(), size(&name, &info.shape)?));
        let mut shapes: Vec<(String, Vec<i64>)> = tensors.map(shape).collect::<Result<_>>()?;
        shapes.sort();
        Ok(shapes)
    };
    read().map_err(|error: Error| error.file(path))
}

fn damaged(error: impl std::fmt::Display) -> Error {
    err!("damaged safetensors file: {error}").hint("copy or download the file again")
}

fn size(name: &str, shape: &[usize]) -> Result<Vec<i64>> {
    let size: Option<Vec<i64>> = shape.iter().map(|length| i64::try_from(*length).ok()).collect();
    size.ok_or_else(|| err!("tensor `{name}`: the shape {shape:?} does not fit into memory"))
}

/// As [`read`], from a file in memory.
pub fn from_bytes(bytes: &[u8]) -> Result<Vec<(String, Tensor)>> {
    let file = SafeTensors::deserialize(bytes).map_err(damaged)?;
    let mut tensors = vec![];
    for (name, view) in file.iter() {
        let kind = match view.dtype() {
            Dtype::F64 => Kind::Double,
            Dtype::F32 => Kind::Float,
            Dtype::F16 => Kind::Half,
            Dtype::BF16 => Kind::BFloat16,
            Dtype::I64 => Kind::Int64,
            Dtype::I32 => Kind::Int,
            Dtype::I16 => Kind::Int16,
            Dtype::I8 => Kind::Int8,
            Dtype::U8 => Kind::Uint8,
            Dtype::BOOL => Kind::Bool,
            other => bail!("tensor `{name}`: unsupported data type {other:?}"),
        };
        let size = size(name, view.shape())?;
        let tensor = match view.data().is_empty() {
            true => Tensor::f_zeros(&size, (kind, Device::Cpu))?,
            false => Tensor::f_from_data_size(view.data(), &size, kind)?,
        };
        tensors.push((name.to_owned(), tensor));
    }
    tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(tensors)
}
