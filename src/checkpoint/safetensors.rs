//! Weights in `.safetensors` files (the format of Hugging Face), read by the `safetensors` crate, which validates the
//! header against the file's length. These files contain no code.

use crate::error::Result;
use crate::{bail, err};
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
    read().map_err(|error: crate::error::Error| error.file(path))
}

/// As [`read`], from a file in memory.
pub fn from_bytes(bytes: &[u8]) -> Result<Vec<(String, Tensor)>> {
    let damaged = |error| err!("damaged safetensors file: {error}").hint("copy or download the file again");
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
        let size: Option<Vec<i64>> = view.shape().iter().map(|length| i64::try_from(*length).ok()).collect();
        let size =
            size.ok_or_else(|| err!("tensor `{name}`: the shape {:?} does not fit into memory", view.shape()))?;
        let tensor = match view.data().is_empty() {
            true => Tensor::f_zeros(&size, (kind, Device::Cpu))?,
            false => Tensor::f_from_data_size(view.data(), &size, kind)?,
        };
        tensors.push((name.to_owned(), tensor));
    }
    tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(tensors)
}
