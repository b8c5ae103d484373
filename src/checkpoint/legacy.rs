//! Reader of the checkpoint format before torch 1.6, which `torch.save(…, _use_new_zipfile_serialization=False)` still
//! writes: magic number, protocol version, system information, the pickle, the keys of the storages, then length and
//! bytes of each storage (`torch.serialization._legacy_load`, torch 2.11).

use super::load::MAX_PICKLE_BYTES;
use crate::error::Result;
use crate::formats::pickle::{Pickle, Storage, Value};
use crate::{bail, err};
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

/// The pickled magic number at the start of every file.
pub const MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
const PROTOCOL: i64 = 1001;

/// Offset of each storage in the file, in bytes, by key.
pub type Offsets = HashMap<Arc<str>, u64>;

/// Read the structure of `file`, which begins with [`MAGIC`]. Every returned storage is within the file.
///
/// # Errors
/// Another protocol or byte order; a storage whose length differs from that in the pickle, or that is truncated.
pub fn open(file: &mut File) -> Result<(Pickle, Offsets)> {
    let file_bytes = file.metadata()?.len();
    let mut start = vec![];
    file.rewind()?;
    file.by_ref().take(MAX_PICKLE_BYTES).read_to_end(&mut start)?;
    let mut at = MAGIC.len();
    let mut next = || {
        let (pickle, length) = Pickle::parse_first(start.get(at..).unwrap_or_default())?;
        at += length;
        Ok(pickle)
    };
    let [protocol, system, pickle, keys]: [Result<Pickle>; 4] = std::array::from_fn(|_| next());
    let (protocol, system, pickle, keys) = (protocol?, system?, pickle?, keys?);
    if !matches!(protocol.root, Some(Value::Int(PROTOCOL))) {
        bail!("expected protocol {PROTOCOL} of the older checkpoint format, found {:?}", protocol.root);
    }
    if !matches!(system.root.as_ref().and_then(|root| system.get(root, "little_endian")), Some(Value::Bool(true))) {
        bail!("expected a little-endian checkpoint");
    }
    let keys =
        keys.root.as_ref().and_then(|root| keys.sequence(root)).ok_or_else(|| err!("expected a list of storages"))?;
    let described: HashMap<&str, &Storage> = pickle.storages.iter().map(|storage| (&*storage.key, storage)).collect();
    let (mut offsets, mut at) = (Offsets::new(), at as u64);
    for key in keys {
        let Value::Str(key) = key else { bail!("expected the key of a storage, found {}", key.type_name()) };
        let storage = described.get(&**key).ok_or_else(|| err!("storage {key} is not part of the checkpoint"))?;
        let mut count = [0; 8];
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut count).map_err(|_| cut_off(key))?;
        let found = u64::from_le_bytes(count);
        if found != storage.length {
            bail!("expected {} elements in storage {key}, found {found}", storage.length);
        }
        at += 8;
        let bytes = storage.length.saturating_mul(storage.element.size_bytes());
        let end = at.checked_add(bytes).filter(|end| *end <= file_bytes).ok_or_else(|| cut_off(key))?;
        if offsets.insert(key.clone(), at).is_some() {
            bail!("storage {key} occurs twice");
        }
        at = end;
    }
    Ok((pickle, offsets))
}

fn cut_off(key: &str) -> crate::error::Error {
    err!("damaged checkpoint: the file ends within storage {key}").hint("copy or download the file again")
}
