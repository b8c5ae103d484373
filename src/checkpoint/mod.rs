//! PyTorch checkpoints: reads files of `torch.save`, writes the zip format of torch 1.6 and later.
//!
//! [`load`] opens a file as a [`Checkpoint`], [`save`] writes tensors by name. The reader accepts the subset of
//! `torch.load(weights_only=True)` that checkpoints use ([`crate::formats::pickle`]); storages are read one by one, so
//! that the weights are never held in memory twice as a whole. Written files are accepted by
//! `torch.load(weights_only=True)` and MONAI's `CheckpointLoader` (`monai.handlers`, 1.6.1).

mod legacy;
mod load;
mod plain;
pub mod safetensors;
mod save;

pub use load::{Checkpoint, from_bytes, load};
pub use plain::{Int64Tensor, Uint8Tensor, from_state, to_state};
pub use save::{save, save_state, to_bytes};

use crate::err;
use crate::error::{Kind as ErrorKind, Result};
use crate::formats::pickle::StorageType;
use std::path::Path;
use tch::{Kind, Tensor};

/// Reads the weights in a file written by `torch.save` or as safetensors. `key` is the name of the state dict within a
/// checkpoint; without it, the usual names are tried.
///
/// # Errors
/// The file cannot be read, or has no state dict of this name.
pub fn read_weights(path: &Path, key: Option<&str>) -> Result<Vec<(String, Tensor)>> {
    if !safetensors::is_safetensors(path) {
        return load(path)?.state_dict(key);
    }
    match key {
        None => safetensors::read(path),
        Some(key) => {
            Err(err!("a safetensors file has no dict `{key}`, only tensors").kind(ErrorKind::Config).file(path))
        }
    }
}

/// The plain values and tensors of a checkpoint, as passed to `torch.save`.
#[derive(Debug)]
pub enum StateDict {
    /// `None`
    None,
    /// `bool`
    Bool(bool),
    /// `int`
    Int(i64),
    /// `float`
    Float(f64),
    /// `str`
    Str(String),
    /// `bytes`
    Bytes(Vec<u8>),
    /// `list`
    List(Vec<StateDict>),
    /// `tuple`
    Tuple(Vec<StateDict>),
    /// `set`
    Set(Vec<StateDict>),
    /// Entries in order of insertion.
    Dict(Vec<(StateDict, StateDict)>),
    /// A tensor, on the CPU after loading.
    Tensor(Tensor),
}

impl StateDict {
    /// A dict with string keys.
    pub fn dict(items: impl IntoIterator<Item = (impl Into<String>, StateDict)>) -> StateDict {
        StateDict::Dict(items.into_iter().map(|(key, value)| (StateDict::Str(key.into()), value)).collect())
    }
    /// Add an entry to this dict.
    pub fn with(mut self, key: &str, value: StateDict) -> StateDict {
        if let StateDict::Dict(items) = &mut self {
            items.push((StateDict::Str(key.into()), value));
        }
        self
    }
    /// The value under a string key.
    pub fn get(&self, key: &str) -> Option<&StateDict> {
        match self {
            StateDict::Dict(items) => items
                .iter()
                .find(|(name, _)| matches!(name, StateDict::Str(name) if name == key))
                .map(|(_, value)| value),
            _ => None,
        }
    }
}

const KINDS: [(Kind, StorageType, &str); 10] = [
    (Kind::Double, StorageType::F64, "DoubleStorage"),
    (Kind::Float, StorageType::F32, "FloatStorage"),
    (Kind::Half, StorageType::F16, "HalfStorage"),
    (Kind::BFloat16, StorageType::BF16, "BFloat16Storage"),
    (Kind::Int64, StorageType::I64, "LongStorage"),
    (Kind::Int, StorageType::I32, "IntStorage"),
    (Kind::Int16, StorageType::I16, "ShortStorage"),
    (Kind::Int8, StorageType::I8, "CharStorage"),
    (Kind::Uint8, StorageType::U8, "ByteStorage"),
    (Kind::Bool, StorageType::Bool, "BoolStorage"),
];

fn kind_of(element: StorageType) -> Result<Kind> {
    let found = KINDS.iter().find(|(_, known, _)| *known == element);
    found.map(|(kind, ..)| *kind).ok_or_else(|| crate::err!("no tensor type for {element:?}"))
}

#[cfg(test)]
mod tests;
