//! Reader of `torch.save` files: zip archives (torch 1.6 and later), and the older format ([`super::legacy`]).

use super::legacy;
use super::{StateDict, kind_of};
use crate::error::{Error, Result};
use crate::formats::pickle::{Pickle, Storage, Value};
use crate::{bail, err};
use indexmap::IndexMap;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};
use zip::ZipArchive;
use zip::result::ZipError;

/// Maximum size of the pickle (the structure, without the tensors' values), in bytes.
pub(super) const MAX_PICKLE_BYTES: u64 = 32 << 20;
/// Maximum number of values in a checkpoint. Aliases are expanded, so that a small file could contain very many.
const MAX_STATE_VALUES: usize = 1 << 22;
/// Maximum nesting of a checkpoint.
const MAX_STATE_DEPTH: usize = 64;
/// Maximum expansion of a deflated entry.
const MAX_RATIO: u64 = crate::formats::gzip::MAX_RATIO;

/// Keys under which training programs usually store the network's state dict, in the order in which they are tried.
const MODEL_KEYS: [&str; 4] = ["model", "state_dict", "model_state_dict", "net"];

/// An opened checkpoint, whose structure has been read and whose tensors are read on demand.
pub struct Checkpoint {
    path: PathBuf,
    pickle: Pickle,
    root: Value,
    storages: Storages,
}

/// Location of the storages' bytes.
enum Storages {
    /// Entries of a zip archive below `folder` (such as `archive/`).
    Zip {
        folder: String,
        archive: Mutex<ZipArchive<Box<dyn Source>>>,
    },
    Legacy {
        file: Mutex<File>,
        offsets: legacy::Offsets,
    },
}

/// Bytes of a zip archive.
trait Source: Read + Seek + Send {}
impl<T: Read + Seek + Send> Source for T {}

/// The state in the bytes of [`to_bytes`](super::to_bytes).
pub fn from_bytes(bytes: Vec<u8>) -> Result<StateDict> {
    let (folder, pickle, root, archive) = open_zip(Box::new(Cursor::new(bytes)))?;
    let storages = Storages::Zip { folder, archive: archive.into() };
    Checkpoint { path: PathBuf::new(), pickle, root, storages }.state()
}

/// Open a `.pt` file and read its structure.
///
/// # Errors
/// A missing file; a TorchScript or safetensors file; values other than tensors, numbers, strings and collections of
/// them.
pub fn load(path: impl AsRef<Path>) -> Result<Checkpoint> {
    let path = path.as_ref();
    open(path).map_err(|error| error.file(path))
}

fn open(path: &Path) -> Result<Checkpoint> {
    let mut file = crate::formats::open(path).map_err(|error| err!("cannot read the checkpoint: {error}"))?;
    let mut start = Vec::new();
    file.by_ref().take(16).read_to_end(&mut start).map_err(|error| err!("cannot read the checkpoint: {error}"))?;
    file.rewind()?;
    if start.starts_with(legacy::MAGIC) {
        let (mut pickle, offsets) = legacy::open(&mut file)?;
        let root = pickle.root.take().ok_or_else(|| err!("expected a value in the checkpoint"))?;
        return Ok(Checkpoint {
            path: path.to_owned(),
            pickle,
            root,
            storages: Storages::Legacy { file: file.into(), offsets },
        });
    }
    if !start.starts_with(b"PK\x03\x04") {
        return Err(not_zip(&start));
    }
    let (folder, pickle, root, archive) = open_zip(Box::new(BufReader::with_capacity(1 << 16, file)))?;
    let storages = Storages::Zip { folder, archive: archive.into() };
    Ok(Checkpoint { path: path.to_owned(), pickle, root, storages })
}

/// Folder in the archive, structure, and the archive itself.
type Opened = (String, Pickle, Value, ZipArchive<Box<dyn Source>>);

fn open_zip(source: Box<dyn Source>) -> Result<Opened> {
    let mut archive = ZipArchive::new(source).map_err(|error| damaged("", &error))?;
    let names: Vec<&str> = archive.file_names().collect();
    let pickle_name = names.iter().find(|name| name.ends_with("/data.pkl") && name.matches('/').count() == 1);
    let Some(folder) = pickle_name.and_then(|name| name.strip_suffix("data.pkl")).map(str::to_owned) else {
        return Err(err!("expected a checkpoint of torch.save, found a zip file without data.pkl"));
    };
    if names.contains(&format!("{folder}constants.pkl").as_str()) {
        return Err(err!("expected a checkpoint of torch.save, found a TorchScript archive")
            .hint("it contains the network, too: load it with `$torch.jit.load(path)` in the config"));
    }
    if let Ok(order) = entry(&mut archive, &format!("{folder}byteorder"), 16)
        && order != b"little"
    {
        bail!("expected a little-endian checkpoint, found {:?}", String::from_utf8_lossy(&order));
    }
    let bytes = entry(&mut archive, &format!("{folder}data.pkl"), MAX_PICKLE_BYTES)?;
    let mut pickle = Pickle::parse(&bytes)?;
    let root = pickle.root.take().ok_or_else(|| err!("expected a value in the checkpoint"))?;
    Ok((folder, pickle, root, archive))
}

/// Error for a file that is not a zip archive, by the kind of file that it appears to be.
fn not_zip(start: &[u8]) -> Error {
    if start.get(8) == Some(&b'{') {
        return err!("expected a checkpoint of torch.save, found safetensors")
            .hint("convert it in Python: torch.save(safetensors.torch.load_file(path), new_path)");
    }
    if start.starts_with(b"version https:") {
        return err!("expected a checkpoint of torch.save, found a Git LFS pointer")
            .hint("fetch the file itself: git lfs pull");
    }
    if start.is_empty() {
        return err!("expected a checkpoint of torch.save, found an empty file");
    }
    if start.starts_with(&[0x80]) {
        return err!("expected a checkpoint of torch.save, found a bare pickle")
            .hint("if you trust the file, load it in Python and save its state dict with torch.save");
    }
    err!("expected a checkpoint of torch.save, found an unknown format")
        .hint("check that the download was complete and is not an HTML error page")
}

fn damaged(name: &str, error: &ZipError) -> Error {
    let what = if name.is_empty() { String::new() } else { format!(", entry {name}") };
    err!("damaged checkpoint{what}: {error}").hint("copy or download the file again")
}

/// Read an entry of at most `limit` bytes. Memory is allocated for bytes that exist, not for the claimed size.
fn entry<R: Read + Seek>(archive: &mut ZipArchive<R>, name: &str, limit: u64) -> Result<Vec<u8>> {
    let mut found = archive.by_name(name).map_err(|error| damaged(name, &error))?;
    if found.size() > limit {
        bail!("expected at most {limit} bytes in {name}, found {}", found.size());
    }
    // Trust the claimed size only if the compressed bytes could expand to it.
    let plausible = if found.compressed_size().saturating_mul(MAX_RATIO) < found.size() { 0 } else { found.size() };
    let mut bytes = Vec::new();
    // Reading one byte beyond the claimed size makes the reader reach the end and verify the checksum.
    bytes.try_reserve_exact(plausible.min(1 << 20) as usize).map_err(|_| err!("not enough memory for {name}"))?;
    found
        .by_ref()
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| damaged(name, &ZipError::Io(error)))?;
    if bytes.len() as u64 > limit {
        bail!("expected at most {limit} bytes in {name}, found more");
    }
    Ok(bytes)
}

impl Checkpoint {
    /// Path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Read named tensors, on the CPU, in the file's order.
    ///
    /// With a `key`, reads the dict under it; without, the checkpoint itself if it is a state dict, else the dict under
    /// one of the usual names (`model`, `state_dict`, …). Tensors that share a storage in the file share it in memory.
    ///
    /// # Errors
    /// No state dict there; a damaged storage.
    pub fn state_dict(&self, key: Option<&str>) -> Result<Vec<(String, Tensor)>> {
        self.find(key).and_then(|dict| self.tensors(dict)).map_err(|error| error.file(&self.path))
    }

    /// Names and shapes of the tensors that [`Checkpoint::state_dict`] reads. No tensor is read.
    ///
    /// # Errors
    /// No state dict there.
    pub fn shapes(&self, key: Option<&str>) -> Result<Vec<(String, Vec<i64>)>> {
        let named = self.find(key).and_then(|dict| self.named(dict)).map_err(|error| error.file(&self.path))?;
        let size = |(name, id): (&str, usize)| Some((name.to_owned(), self.pickle.tensors.get(id)?.size.clone()));
        Ok(named.into_iter().filter_map(size).collect())
    }

    /// Read the whole checkpoint, including its tensors.
    pub fn state(&self) -> Result<StateDict> {
        self.whole(&self.root).map_err(|error| error.file(&self.path))
    }

    fn whole(&self, value: &Value) -> Result<StateDict> {
        let mut reader = Tensors { checkpoint: self, storages: HashMap::new() };
        let mut budget = MAX_STATE_VALUES;
        self.to_state(value, &mut reader, &mut budget, MAX_STATE_DEPTH)
    }

    /// Read the dict under a top-level key, including its tensors.
    pub fn state_of(&self, key: &str) -> Result<StateDict> {
        self.find(Some(key)).and_then(|value| self.whole(value)).map_err(|error| error.file(&self.path))
    }

    /// The top-level keys.
    pub fn keys(&self) -> Vec<String> {
        let name = |key: &Value| match key {
            Value::Str(name) => name.to_string(),
            other => format!("a {}", other.type_name()),
        };
        self.pickle.dict(&self.root).unwrap_or_default().iter().map(|(key, _)| name(key)).collect()
    }

    fn find(&self, key: Option<&str>) -> Result<&Value> {
        if self.pickle.dict(&self.root).is_none() {
            bail!("expected a state dict, found {}", self.root.type_name());
        }
        let is_dict = |value: &&Value| matches!(value, Value::Dict(_));
        if let Some(key) = key {
            return self.pickle.get(&self.root, key).filter(is_dict).ok_or_else(|| {
                err!("expected a state dict under `{key}`").hint(format!("the checkpoint has {}", listed(&self.keys())))
            });
        }
        let items = self.pickle.dict(&self.root).unwrap_or_default();
        if items.iter().any(|(_, value)| matches!(value, Value::Tensor(_))) {
            return Ok(&self.root);
        }
        let nested = MODEL_KEYS.iter().find_map(|key| self.pickle.get(&self.root, key).filter(is_dict));
        nested.or(items.is_empty().then_some(&self.root)).ok_or_else(|| {
            err!("expected a state dict, or one under {}", MODEL_KEYS.join(", "))
                .hint(format!("the checkpoint has {}", listed(&self.keys())))
        })
    }

    /// The tensors of a state dict, as indices into those of the pickle.
    fn named<'a>(&'a self, dict: &Value) -> Result<IndexMap<&'a str, usize>> {
        let mut named = IndexMap::new();
        for (key, value) in self.pickle.dict(dict).unwrap_or_default() {
            match (key, value) {
                (Value::Str(name), Value::Tensor(tensor)) => drop(named.insert(&**name, *tensor)),
                (Value::Str(name), other) => bail!("expected a tensor under `{name}`, found {}", other.type_name()),
                (other, _) => bail!("expected names of tensors, found a key of type {}", other.type_name()),
            }
        }
        Ok(named)
    }

    fn tensors(&self, dict: &Value) -> Result<Vec<(String, Tensor)>> {
        let mut reader = Tensors { checkpoint: self, storages: HashMap::new() };
        let read = |(name, tensor): (&str, usize)| match reader.tensor(tensor) {
            Ok(tensor) => Ok((name.to_owned(), tensor)),
            Err(error) => Err(error.context(format!("tensor `{name}`"))),
        };
        self.named(dict)?.into_iter().map(read).collect()
    }

    fn to_state(&self, value: &Value, reader: &mut Tensors, budget: &mut usize, depth: usize) -> Result<StateDict> {
        *budget =
            budget.checked_sub(1).ok_or_else(|| err!("expected at most {MAX_STATE_VALUES} values in a checkpoint"))?;
        let depth =
            depth.checked_sub(1).ok_or_else(|| err!("expected at most {MAX_STATE_DEPTH} levels in a checkpoint"))?;
        let mut each = |value: &Value| self.to_state(value, reader, budget, depth);
        let sequence = || self.pickle.sequence(value).unwrap_or_default();
        Ok(match value {
            Value::None => StateDict::None,
            Value::Bool(value) => StateDict::Bool(*value),
            Value::Int(value) => StateDict::Int(*value),
            Value::Float(value) => StateDict::Float(*value),
            Value::Str(text) | Value::Name(text) => StateDict::Str(text.to_string()),
            Value::Bytes(bytes) => StateDict::Bytes(bytes.to_vec()),
            Value::List(_) => StateDict::List(sequence().iter().map(each).collect::<Result<_>>()?),
            Value::Tuple(_) => StateDict::Tuple(sequence().iter().map(each).collect::<Result<_>>()?),
            Value::Set(_) => StateDict::Set(sequence().iter().map(each).collect::<Result<_>>()?),
            Value::Dict(_) => {
                let pairs = self.pickle.dict(value).unwrap_or_default();
                StateDict::Dict(pairs.iter().map(|(key, value)| Ok((each(key)?, each(value)?))).collect::<Result<_>>()?)
            }
            Value::Tensor(tensor) => StateDict::Tensor(reader.tensor(*tensor)?),
            Value::Storage(_) | Value::Global(_) => bail!("expected a plain value, found a {}", value.type_name()),
        })
    }
}

fn listed(keys: &[String]) -> String {
    const SHOWN: usize = 8;
    let more = keys.len().saturating_sub(SHOWN);
    let shown = keys.iter().take(SHOWN).map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
    match more {
        0 if keys.is_empty() => "no keys".to_owned(),
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Reads storages when they are first used.
struct Tensors<'a> {
    checkpoint: &'a Checkpoint,
    storages: HashMap<usize, Tensor>,
}

impl Tensors<'_> {
    fn tensor(&mut self, id: usize) -> Result<Tensor> {
        let checkpoint = self.checkpoint;
        let view = checkpoint.pickle.tensors.get(id).ok_or_else(|| err!("no tensor {id}"))?;
        let description =
            checkpoint.pickle.storages.get(view.storage).ok_or_else(|| err!("no storage {}", view.storage))?;
        if view.size.contains(&0) {
            return Ok(Tensor::f_zeros(&view.size, (kind_of(description.element)?, Device::Cpu))?);
        }
        let storage = match self.storages.entry(view.storage) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(new) => new.insert(checkpoint.storage(description)?),
        };
        Ok(storage.f_as_strided(&view.size, &view.stride, view.offset)?)
    }
}

impl Checkpoint {
    /// Read a storage as a 1-D tensor.
    fn storage(&self, storage: &Storage) -> Result<Tensor> {
        let kind: Kind = kind_of(storage.element)?;
        let wanted = storage.length.checked_mul(storage.element.size_bytes());
        let wanted = wanted.ok_or_else(|| err!("storage {} claims {} elements", storage.key, storage.length))?;
        let length = i64::try_from(storage.length)
            .map_err(|_| err!("storage {} claims {} elements", storage.key, storage.length))?;
        let bytes = match &self.storages {
            Storages::Zip { folder, archive } => {
                entry(&mut *archive.lock(), &format!("{folder}data/{}", storage.key), wanted)?
            }
            Storages::Legacy { file, offsets } => {
                let start =
                    *offsets.get(&storage.key).ok_or_else(|| err!("the file has no storage {}", storage.key))?;
                let mut file = file.lock();
                file.seek(SeekFrom::Start(start))?;
                // `legacy::open` has checked that the file contains this number of bytes.
                let mut bytes = Vec::new();
                bytes.try_reserve_exact(wanted as usize).map_err(|_| err!("not enough memory for {}", storage.key))?;
                file.by_ref().take(wanted).read_to_end(&mut bytes)?;
                bytes
            }
        };
        if bytes.len() as u64 != wanted {
            bail!("expected {wanted} bytes in storage {}, found {}", storage.key, bytes.len());
        }
        if bytes.is_empty() {
            return Ok(Tensor::f_zeros([0], (kind, Device::Cpu))?);
        }
        Ok(Tensor::f_from_data_size(&bytes, &[length], kind)?)
    }
}
