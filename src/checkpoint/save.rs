//! Writer of files for `torch.load(weights_only=True)`: pickle protocol 2, entries stored uncompressed and aligned to
//! 64 bytes as by `torch.save` (torch 2.11), so that `torch.load(mmap=True)` works, too. The output is deterministic:
//! equal tensors result in equal bytes.

use super::{KINDS, StateDict};
use crate::error::Result;
use crate::formats::atomic;
use crate::{bail, err};
use std::io::{BufWriter, Cursor, Seek, Write};
use std::path::Path;
use tch::{Device, Tensor};
use zip::write::{SimpleFileOptions, ZipWriter};

/// Maximum nesting of written values.
const MAX_DEPTH: usize = 64;

/// Write a state dict, an `OrderedDict` of tensors by name, atomically.
pub fn save(path: impl AsRef<Path>, tensors: &[(String, Tensor)]) -> Result<()> {
    let mut pickler = Pickler::new();
    pickler.ordered_dict();
    pickler.put(b"(");
    for (name, tensor) in tensors {
        pickler.text(name)?;
        pickler.tensor(tensor)?;
    }
    pickler.put(b"u");
    pickler.write(path.as_ref())
}

/// Write nested values, such as weights, optimizer state and counters of a training, atomically.
pub fn save_state(path: impl AsRef<Path>, state: &StateDict) -> Result<()> {
    let mut pickler = Pickler::new();
    pickler.state(state, MAX_DEPTH)?;
    pickler.write(path.as_ref())
}

/// The bytes of [`save_state`]'s file.
pub fn to_bytes(state: &StateDict) -> Result<Vec<u8>> {
    let mut pickler = Pickler::new();
    pickler.state(state, MAX_DEPTH)?;
    pickler.put(b".");
    let mut bytes = Cursor::new(vec![]);
    pickler.write_archive(&mut bytes)?;
    Ok(bytes.into_inner())
}

struct Pickler {
    pickle: Vec<u8>,
    /// Shallow clones of the tensors to write, by storage number.
    tensors: Vec<Tensor>,
}

impl Pickler {
    fn new() -> Self {
        Pickler { pickle: vec![0x80, 2], tensors: vec![] }
    }
    fn put(&mut self, bytes: &[u8]) {
        self.pickle.extend_from_slice(bytes);
    }
    fn ordered_dict(&mut self) {
        self.put(b"ccollections\nOrderedDict\n)R");
    }
    fn text(&mut self, text: &str) -> Result<()> {
        let length =
            u32::try_from(text.len()).map_err(|_| err!("expected a text below 4 GiB, found {} bytes", text.len()))?;
        self.put(b"X");
        self.put(&length.to_le_bytes());
        self.put(text.as_bytes());
        Ok(())
    }
    fn integer(&mut self, value: i64) {
        match (u8::try_from(value), i32::try_from(value)) {
            (Ok(small), _) => self.put(&[b'K', small]),
            (_, Ok(middle)) => {
                self.put(b"J");
                self.put(&middle.to_le_bytes());
            }
            _ => {
                self.put(&[0x8a, 8]);
                self.put(&value.to_le_bytes());
            }
        }
    }
    fn integers(&mut self, values: &[i64]) {
        self.put(b"(");
        values.iter().for_each(|value| self.integer(*value));
        self.put(b"t");
    }

    /// Write `torch._utils._rebuild_tensor_v2(storage, 0, size, stride, requires_grad=False, OrderedDict())` for a
    /// contiguous tensor with its own storage.
    fn tensor(&mut self, tensor: &Tensor) -> Result<()> {
        let kind = tensor.f_kind()?;
        let class = KINDS.iter().find(|(known, ..)| *known == kind).map(|(_, _, class)| *class);
        let class = class.ok_or_else(|| err!("cannot save a tensor of type {kind:?}"))?;
        let size = tensor.size();
        let mut stride = vec![1; size.len()];
        for axis in (1..size.len()).rev() {
            stride[axis - 1] = stride[axis] * size[axis].max(1);
        }
        self.put(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        self.text("storage")?;
        self.put(format!("ctorch\n{class}\n").as_bytes());
        self.text(&self.tensors.len().to_string())?;
        self.text("cpu")?;
        self.integer(tensor.numel() as i64);
        self.put(b"tQK\0");
        self.integers(&size);
        self.integers(&stride);
        self.put(b"\x89");
        self.ordered_dict();
        self.put(b"tR");
        self.tensors.push(tensor.shallow_clone());
        Ok(())
    }

    fn sequence(&mut self, start: &[u8], items: &[StateDict], end: &[u8], depth: usize) -> Result<()> {
        self.put(start);
        items.iter().try_for_each(|item| self.state(item, depth))?;
        self.put(end);
        Ok(())
    }

    fn state(&mut self, state: &StateDict, depth: usize) -> Result<()> {
        let Some(depth) = depth.checked_sub(1) else { bail!("expected at most {MAX_DEPTH} levels to save") };
        match state {
            StateDict::None => self.put(b"N"),
            StateDict::Bool(value) => self.put(if *value { b"\x88" } else { b"\x89" }),
            StateDict::Int(value) => self.integer(*value),
            StateDict::Float(value) => {
                self.put(b"G");
                self.put(&value.to_be_bytes());
            }
            StateDict::Str(text) => self.text(text)?,
            StateDict::Bytes(bytes) => {
                // Pickle protocol 2 has no opcode for bytes.
                self.put(b"c_codecs\nencode\n");
                self.text(&bytes.iter().map(|byte| char::from(*byte)).collect::<String>())?;
                self.text("latin1")?;
                self.put(b"\x86R");
            }
            StateDict::List(items) => self.sequence(b"](", items, b"e", depth)?,
            StateDict::Tuple(items) => self.sequence(b"(", items, b"t", depth)?,
            StateDict::Set(items) => self.sequence(b"c__builtin__\nset\n](", items, b"e\x85R", depth)?,
            StateDict::Dict(items) => {
                self.put(b"}(");
                for (key, value) in items {
                    self.state(key, depth)?;
                    self.state(value, depth)?;
                }
                self.put(b"u");
            }
            StateDict::Tensor(tensor) => self.tensor(tensor)?,
        }
        Ok(())
    }

    fn write(mut self, path: &Path) -> Result<()> {
        self.put(b".");
        atomic::write_file(path, |file, _| self.write_archive(file))
    }

    fn write_archive(&self, file: impl Write + Seek) -> Result<()> {
        let mut archive = ZipWriter::new(BufWriter::with_capacity(1 << 16, file));
        let result = self.fill(&mut archive);
        if let Err(error) = result {
            // On drop, it would try to finish the file and print an error.
            std::mem::forget(archive);
            return Err(error);
        }
        archive
            .finish()
            .map_err(|error| err!("cannot write: {error}"))?
            .flush()
            .map_err(|error| err!("cannot write: {error}"))
    }

    fn fill(&self, archive: &mut ZipWriter<impl Write + Seek>) -> Result<()> {
        let mut put = |name: &str, bytes: &[u8]| -> Result<()> {
            let options =
                SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored).with_alignment(64);
            // Entries of 4 GiB and more need zip64; the limit leaves a margin.
            let options = options.large_file(bytes.len() > 0xf000_0000);
            archive.start_file(format!("archive/{name}"), options).map_err(|error| err!("cannot write: {error}"))?;
            archive.write_all(bytes).map_err(|error| err!("cannot write: {error}"))
        };
        put("data.pkl", &self.pickle)?;
        put("byteorder", b"little")?;
        let mut bytes = vec![];
        for (key, tensor) in self.tensors.iter().enumerate() {
            let tensor = tensor.f_detach()?.f_to_device(Device::Cpu)?.f_contiguous()?;
            let count = tensor.numel();
            bytes.resize(count * tensor.f_kind()?.elt_size_in_bytes(), 0);
            if count > 0 {
                tensor.f_copy_data_u8(&mut bytes, count)?;
            }
            put(&format!("data/{key}"), &bytes)?;
        }
        put("version", b"3\n")
    }
}
