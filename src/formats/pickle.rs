//! A restricted interpreter of the pickles in PyTorch checkpoints: Python's `pickle`, protocols 0 to 5, as far as
//! `torch.save` uses it, with the names that `torch.load(weights_only=True)` allows (torch 2.11).
//!
//! Nothing that a file names is ever called: the names in [`Global`] stand for objects that this program builds itself,
//! any other name is an error. Containers live in an arena and refer to each other by index, so that shared and even
//! cyclic structures need neither copies nor recursion. Memory is bounded by the length of the pickle: every opcode
//! takes at least one byte and creates at most one container, and items copied by calls are counted. Storages are
//! described, not read.

use crate::error::Result;
use crate::{bail, err};
use std::collections::HashMap;
use std::sync::Arc;

/// Maximum number of values on the stack, and in the memo.
const MAX_VALUES: usize = 1 << 22;
/// Maximum length of a name or a number in text form, in bytes.
const MAX_LINE: usize = 1 << 10;
/// Maximum number of arguments of a call.
const MAX_ARGUMENTS: usize = 16;
/// Maximum number of dimensions of a tensor.
const MAX_DIMS: usize = 64;

/// A value. Containers and tensors are indices into the [`Pickle`].
#[derive(Debug, Clone)]
pub enum Value {
    /// `None`
    None,
    /// `bool`
    Bool(bool),
    /// `int`; pickles with an integer beyond 64 bits are refused.
    Int(i64),
    /// `float`
    Float(f64),
    /// `str`
    Str(Arc<str>),
    /// `bytes`
    Bytes(Arc<[u8]>),
    /// `list`, an index into [`Pickle::sequences`].
    List(usize),
    /// `tuple`, an index into [`Pickle::sequences`].
    Tuple(usize),
    /// `set`, an index into [`Pickle::sequences`].
    Set(usize),
    /// `dict` or `OrderedDict`, an index into [`Pickle::dicts`].
    Dict(usize),
    /// Tensor or parameter, an index into [`Pickle::tensors`].
    Tensor(usize),
    /// Storage of a tensor, an index into [`Pickle::storages`].
    Storage(usize),
    /// A class or function that was named and not called.
    Global(Global),
    /// Name of a dtype, device or the like: `torch.float32`.
    Name(Arc<str>),
}

/// The classes and functions that a pickle may refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Global {
    /// `collections.OrderedDict`
    OrderedDict,
    /// `torch._utils._rebuild_tensor_v2`
    RebuildTensor,
    /// `torch._utils._rebuild_parameter`
    RebuildParameter,
    /// `torch._utils._rebuild_parameter_with_state`
    RebuildParameterWithState,
    /// `torch.Size`
    Size,
    /// `torch.device`
    Device,
    /// `list`
    List,
    /// `tuple`
    Tuple,
    /// `set`
    Set,
    /// `dict`
    Dict,
    /// `_codecs.encode`, by which protocol 2 writes bytes.
    Encode,
    /// A storage class, typed or (`None`) untyped.
    Storage(Option<StorageType>),
}

/// Element type of a storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageType {
    /// `torch.float64`
    F64,
    /// `torch.float32`
    F32,
    /// `torch.float16`
    F16,
    /// `torch.bfloat16`
    BF16,
    /// `torch.int64`
    I64,
    /// `torch.int32`
    I32,
    /// `torch.int16`
    I16,
    /// `torch.int8`
    I8,
    /// `torch.uint8`
    U8,
    /// `torch.bool`
    Bool,
}

/// The values of tensors, which are stored elsewhere in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage {
    /// Name within the file: `data/KEY` in a zip archive.
    pub key: Arc<str>,
    /// Type of the elements.
    pub element: StorageType,
    /// Claimed number of elements.
    pub length: u64,
}

/// A strided view of a storage, checked to lie within its claimed length.
#[derive(Debug, Clone)]
pub struct TensorView {
    /// Index into [`Pickle::storages`].
    pub storage: usize,
    /// Index of the first element.
    pub offset: i64,
    /// Length of each axis.
    pub size: Vec<i64>,
    /// Strides in elements; not negative.
    pub stride: Vec<i64>,
}

/// The content of a pickle.
#[derive(Debug, Default)]
pub struct Pickle {
    /// Items of lists, tuples and sets.
    pub sequences: Vec<Vec<Value>>,
    /// Items of dicts in order of insertion; of equal keys, the last one counts.
    pub dicts: Vec<Vec<(Value, Value)>>,
    /// Tensors; several may view one storage.
    pub tensors: Vec<TensorView>,
    /// Storages, in order of first use.
    pub storages: Vec<Storage>,
    /// The pickled value; `None` before it was read.
    pub root: Option<Value>,
}

impl StorageType {
    /// Returns the type of a storage class in `torch`, such as `FloatStorage`.
    fn of_storage(class: &str) -> Option<StorageType> {
        Some(match class {
            "DoubleStorage" => StorageType::F64,
            "FloatStorage" => StorageType::F32,
            "HalfStorage" => StorageType::F16,
            "BFloat16Storage" => StorageType::BF16,
            "LongStorage" => StorageType::I64,
            "IntStorage" => StorageType::I32,
            "ShortStorage" => StorageType::I16,
            "CharStorage" => StorageType::I8,
            "ByteStorage" => StorageType::U8,
            "BoolStorage" => StorageType::Bool,
            _ => return None,
        })
    }
    /// Size of one element in bytes.
    pub fn size_bytes(self) -> u64 {
        match self {
            StorageType::F64 | StorageType::I64 => 8,
            StorageType::F32 | StorageType::I32 => 4,
            StorageType::F16 | StorageType::BF16 | StorageType::I16 => 2,
            StorageType::I8 | StorageType::U8 | StorageType::Bool => 1,
        }
    }
}

/// Names of dtypes, layouts and memory formats that are kept as names.
const NAMES: &[&str] = &[
    "float64",
    "float32",
    "float16",
    "bfloat16",
    "int64",
    "int32",
    "int16",
    "int8",
    "uint8",
    "bool",
    "double",
    "float",
    "half",
    "long",
    "int",
    "short",
    "strided",
    "preserve_format",
    "contiguous_format",
    "channels_last",
    "channels_last_3d",
];

impl Pickle {
    /// Interprets a pickle, usually `data.pkl`.
    pub fn parse(bytes: &[u8]) -> Result<Pickle> {
        Ok(Pickle::parse_first(bytes)?.0)
    }
    /// Interprets the first of several pickles, and returns its length in bytes.
    pub fn parse_first(bytes: &[u8]) -> Result<(Pickle, usize)> {
        let mut machine = Machine {
            bytes,
            at: 0,
            stack: vec![],
            marks: vec![],
            memo: HashMap::new(),
            storages: HashMap::new(),
            copied: 0,
            out: Pickle::default(),
        };
        machine.run().map_err(|error| error.context(format!("in the pickle at byte {}", machine.at)))?;
        Ok((machine.out, machine.at))
    }
    /// Returns the items if `value` is a dict.
    pub fn dict(&self, value: &Value) -> Option<&[(Value, Value)]> {
        match value {
            Value::Dict(id) => self.dicts.get(*id).map(Vec::as_slice),
            _ => None,
        }
    }
    /// Returns the items if `value` is a list, tuple or set.
    pub fn sequence(&self, value: &Value) -> Option<&[Value]> {
        match value {
            Value::List(id) | Value::Tuple(id) | Value::Set(id) => self.sequences.get(*id).map(Vec::as_slice),
            _ => None,
        }
    }
    /// Returns the value of a string key of a dict.
    pub fn get(&self, dict: &Value, key: &str) -> Option<&Value> {
        self.dict(dict)?
            .iter()
            .rev()
            .find(|(name, _)| matches!(name, Value::Str(name) if **name == *key))
            .map(|(_, value)| value)
    }
}

impl Value {
    /// Python's type name, for messages.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::None => "None",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float",
            Value::Str(_) => "str",
            Value::Bytes(_) => "bytes",
            Value::List(_) => "list",
            Value::Tuple(_) => "tuple",
            Value::Set(_) => "set",
            Value::Dict(_) => "dict",
            Value::Tensor(_) => "tensor",
            Value::Storage(_) => "storage",
            Value::Global(_) => "class",
            Value::Name(_) => "torch constant",
        }
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value>,
    /// Stack heights at MARK.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    /// Index by key, since tensors may share a storage.
    storages: HashMap<Arc<str>, usize>,
    /// Number of items copied by calls, which may use the same arguments repeatedly.
    copied: usize,
    out: Pickle,
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<()> {
        loop {
            let code = self.byte()?;
            if code == b'.' {
                self.out.root = Some(self.pop()?);
                return Ok(());
            }
            self.step(code)?;
            if self.stack.len().max(self.memo.len()).max(self.marks.len()) > MAX_VALUES {
                bail!("expected at most {MAX_VALUES} values at a time");
            }
        }
    }

    /// Executes one opcode; comments give the names in Python's pickletools.
    fn step(&mut self, code: u8) -> Result<()> {
        match code {
            0x80 => {
                let protocol = self.byte()?; // PROTO
                if protocol > 5 {
                    bail!("expected pickle protocol 0 to 5, found {protocol}");
                }
            }
            0x95 => drop(self.take(8)?), // FRAME
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'I' => {
                let value = match self.line()? {
                    "01" => Value::Bool(true), // INT, and how protocol 0 writes booleans
                    "00" => Value::Bool(false),
                    text => Value::Int(text.parse().map_err(|_| err!("expected a 64-bit integer, found {text:?}"))?),
                };
                self.push(value);
            }
            b'L' => {
                let text = self.line()?.trim_end_matches('L'); // LONG
                let value = text.parse().map_err(|_| err!("expected a 64-bit integer, found {text:?}"))?;
                self.push(Value::Int(value));
            }
            b'F' => {
                let text = self.line()?; // FLOAT
                let value = text.parse().map_err(|_| err!("expected a number, found {text:?}"))?;
                self.push(Value::Float(value));
            }
            b'K' => self.integer(1, false)?,                             // BININT1
            b'M' => self.integer(2, false)?,                             // BININT2
            b'J' => self.integer(4, true)?,                              // BININT
            0x8a => self.length(1).and_then(|n| self.integer(n, true))?, // LONG1
            0x8b => self.length(4).and_then(|n| self.integer(n, true))?, // LONG4
            b'G' => {
                let raw = self.array::<8>()?; // BINFLOAT
                self.push(Value::Float(f64::from_be_bytes(raw)));
            }
            0x8c => self.text(1)?,                                      // SHORT_BINUNICODE
            b'X' => self.text(4)?,                                      // BINUNICODE
            0x8d => self.text(8)?,                                      // BINUNICODE8
            b'U' => self.text(1)?,                                      // SHORT_BINSTRING: Python 2
            b'T' => self.text(4)?,                                      // BINSTRING: Python 2
            b'C' => self.raw(1)?,                                       // SHORT_BINBYTES
            b'B' => self.raw(4)?,                                       // BINBYTES
            0x8e => self.raw(8)?,                                       // BINBYTES8
            b'(' => self.marks.push(self.stack.len()),                  // MARK
            b'0' => drop(self.pop()?),                                  // POP
            b'1' => drop(self.above_mark()?),                           // POP_MARK
            b'2' => self.top().cloned().map(|value| self.push(value))?, // DUP
            b')' => self.tuple(vec![]),                                 // EMPTY_TUPLE
            0x85..=0x87 => {
                let items = self.pop_many(usize::from(code - 0x84))?; // TUPLE1 to TUPLE3
                self.tuple(items);
            }
            b't' => self.above_mark().map(|items| self.tuple(items))?, // TUPLE
            b']' => self.list(vec![]),                                 // EMPTY_LIST
            b'l' => self.above_mark().map(|items| self.list(items))?,  // LIST
            b'}' => self.dict(vec![]),                                 // EMPTY_DICT
            b'd' => {
                let items = self.above_mark()?; // DICT
                let pairs = pairs(items)?;
                self.dict(pairs);
            }
            0x8f => self.set(vec![]),                                               // EMPTY_SET
            0x91 => self.above_mark().map(|items| self.set(items))?,                // FROZENSET
            b'a' => self.pop().and_then(|item| self.extend(vec![item]))?,           // APPEND
            b'e' | 0x90 => self.above_mark().and_then(|items| self.extend(items))?, // APPENDS, ADDITEMS
            b's' => self.pop_many(2).and_then(|items| self.update(items))?,         // SETITEM
            b'u' => self.above_mark().and_then(|items| self.update(items))?,        // SETITEMS
            b'p' => {
                let text = self.line()?; // PUT
                let index = text.parse().map_err(|_| err!("expected a memo number, found {text:?}"))?;
                self.memoize(index)?;
            }
            b'q' => self.length(1).and_then(|index| self.memoize(index as u32))?, // BINPUT
            b'r' => self.length(4).and_then(|index| self.memoize(index as u32))?, // LONG_BINPUT
            0x94 => self.memoize(self.memo.len() as u32)?,                        // MEMOIZE
            b'g' => {
                let text = self.line()?; // GET
                let index = text.parse().map_err(|_| err!("expected a memo number, found {text:?}"))?;
                self.recall(index)?;
            }
            b'h' => self.length(1).and_then(|index| self.recall(index as u32))?, // BINGET
            b'j' => self.length(4).and_then(|index| self.recall(index as u32))?, // LONG_BINGET
            b'c' => {
                let (module, name) = (self.line()?, self.line()?); // GLOBAL
                self.global(module, name)?;
            }
            0x93 => {
                let items = self.pop_many(2)?; // STACK_GLOBAL
                let [Value::Str(module), Value::Str(name)] = &items[..] else { bail!("expected the name of a class") };
                self.global(module, name)?;
            }
            b'Q' => self.pop().and_then(|id| self.persistent(&id))?, // BINPERSID
            b'R' | 0x81 => {
                let items = self.pop_many(2)?; // REDUCE, NEWOBJ
                let [Value::Global(global), Value::Tuple(arguments)] = items[..] else {
                    bail!("expected a call of a class with arguments")
                };
                let value = self.call(global, arguments)?;
                self.push(value);
            }
            b'b' => self.build()?, // BUILD
            _ => {
                return Err(err!("expected an operation that a checkpoint needs, found 0x{code:02x}")
                    .hint("save tensors, numbers, strings and dicts of them only, not objects"));
            }
        }
        Ok(())
    }

    // ------------------------------------------------------------ bytes

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let rest: &'a [u8] = self.bytes.get(self.at..).unwrap_or_default();
        let taken = rest
            .get(..count)
            .ok_or_else(|| err!("expected {count} more bytes, found {}: the pickle is truncated", rest.len()))?;
        self.at += count;
        Ok(taken)
    }
    fn byte(&mut self) -> Result<u8> {
        self.array::<1>().map(|[byte]| byte)
    }
    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| err!("the pickle is truncated"))
    }
    /// Reads an unsigned little-endian number of 1, 4 or 8 bytes.
    fn length(&mut self, bytes: usize) -> Result<usize> {
        let raw = self.take(bytes)?;
        let value = raw.iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
        usize::try_from(value).map_err(|_| err!("expected a length within the pickle, found {value}"))
    }
    /// Reads a little-endian integer of up to 8 bytes in two's complement.
    fn integer(&mut self, bytes: usize, signed: bool) -> Result<()> {
        if bytes > 8 {
            bail!("expected an integer of 64 bits, found {bytes} bytes");
        }
        let raw = self.take(bytes)?;
        let negative = signed && raw.last().is_some_and(|high| high & 0x80 != 0);
        let mut wide = if negative { [0xff; 8] } else { [0; 8] };
        wide[..bytes].copy_from_slice(raw);
        self.push(Value::Int(i64::from_le_bytes(wide)));
        Ok(())
    }
    fn text(&mut self, length_bytes: usize) -> Result<()> {
        let length = self.length(length_bytes)?;
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| err!("expected text in UTF-8"))?;
        self.push(Value::Str(text.into()));
        Ok(())
    }
    fn raw(&mut self, length_bytes: usize) -> Result<()> {
        let length = self.length(length_bytes)?;
        let bytes = self.take(length)?.into();
        self.push(Value::Bytes(bytes));
        Ok(())
    }
    fn line(&mut self) -> Result<&'a str> {
        let rest: &'a [u8] = self.bytes.get(self.at..).unwrap_or_default();
        let length = rest
            .iter()
            .take(MAX_LINE)
            .position(|byte| *byte == b'\n')
            .ok_or_else(|| err!("expected the end of a line"))?;
        let line = self.take(length)?;
        self.at += 1;
        std::str::from_utf8(line).map_err(|_| err!("expected text in UTF-8"))
    }

    // ------------------------------------------------------------ stack and memo

    fn push(&mut self, value: Value) {
        self.stack.push(value);
    }
    /// Stack height of the innermost open MARK.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }
    fn pop(&mut self) -> Result<Value> {
        let items = self.pop_many(1)?;
        items.into_iter().next().ok_or_else(|| err!("expected a value on the stack"))
    }
    fn pop_many(&mut self, count: usize) -> Result<Vec<Value>> {
        if self.stack.len() < self.floor() + count {
            bail!("expected {count} values on the stack");
        }
        Ok(self.stack.split_off(self.stack.len() - count))
    }
    fn above_mark(&mut self) -> Result<Vec<Value>> {
        let mark = self.marks.pop().ok_or_else(|| err!("expected a mark on the stack"))?;
        Ok(self.stack.split_off(mark))
    }
    fn top(&self) -> Result<&Value> {
        self.stack.get(self.floor()..).and_then(<[Value]>::last).ok_or_else(|| err!("expected a value on the stack"))
    }
    fn memoize(&mut self, index: u32) -> Result<()> {
        let value = self.top()?.clone();
        self.memo.insert(index, value);
        Ok(())
    }
    fn recall(&mut self, index: u32) -> Result<()> {
        let value = self.memo.get(&index).cloned().ok_or_else(|| err!("expected memo {index} to be set"))?;
        self.push(value);
        Ok(())
    }

    // ------------------------------------------------------------ containers

    fn sequence(&mut self, items: Vec<Value>) -> usize {
        self.out.sequences.push(items);
        self.out.sequences.len() - 1
    }
    fn tuple(&mut self, items: Vec<Value>) {
        let id = self.sequence(items);
        self.push(Value::Tuple(id));
    }
    fn list(&mut self, items: Vec<Value>) {
        let id = self.sequence(items);
        self.push(Value::List(id));
    }
    fn set(&mut self, items: Vec<Value>) {
        let id = self.sequence(items);
        self.push(Value::Set(id));
    }
    fn dict(&mut self, pairs: Vec<(Value, Value)>) {
        self.out.dicts.push(pairs);
        self.push(Value::Dict(self.out.dicts.len() - 1));
    }
    fn extend(&mut self, items: Vec<Value>) -> Result<()> {
        let id = match self.top()? {
            Value::List(id) | Value::Set(id) => *id,
            other => bail!("expected a list to append to, found {}", other.type_name()),
        };
        if let Some(list) = self.out.sequences.get_mut(id) {
            list.extend(items);
        }
        Ok(())
    }
    fn update(&mut self, items: Vec<Value>) -> Result<()> {
        let id = match self.top()? {
            Value::Dict(id) => *id,
            other => bail!("expected a dict to add to, found {}", other.type_name()),
        };
        let pairs = pairs(items)?;
        if let Some(dict) = self.out.dicts.get_mut(id) {
            dict.extend(pairs);
        }
        Ok(())
    }

    // ------------------------------------------------------------ globals and calls

    fn global(&mut self, module: &str, name: &str) -> Result<()> {
        let global = match (module, name) {
            // A Counter is a dict of numbers, which torch's weights_only reader allows; MultiStepLR contains one.
            ("collections", "OrderedDict" | "Counter") => Global::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") => Global::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Global::RebuildParameter,
            ("torch._utils", "_rebuild_parameter_with_state") => Global::RebuildParameterWithState,
            ("torch", "Size") => Global::Size,
            ("torch", "device") => Global::Device,
            ("builtins" | "__builtin__", "list") => Global::List,
            ("builtins" | "__builtin__", "tuple") => Global::Tuple,
            ("builtins" | "__builtin__", "set" | "frozenset") => Global::Set,
            ("builtins" | "__builtin__", "dict") => Global::Dict,
            ("_codecs", "encode") => Global::Encode,
            ("torch.storage", "UntypedStorage") => Global::Storage(None),
            ("torch", class) if StorageType::of_storage(class).is_some() => {
                Global::Storage(StorageType::of_storage(class))
            }
            ("torch", name) if NAMES.contains(&name) => {
                self.push(Value::Name(format!("torch.{name}").into()));
                return Ok(());
            }
            _ => return Err(refused(module, name)),
        };
        self.push(Value::Global(global));
        Ok(())
    }

    /// Parses a storage id: ("storage", class, key, device, length). Files of torch before 1.6 have a sixth item, which
    /// is None unless the storage is part of another one (torch before 0.4).
    fn persistent(&mut self, id: &Value) -> Result<()> {
        let Some(
            [Value::Str(tag), Value::Global(Global::Storage(element)), Value::Str(key), _, Value::Int(length)]
            | [
                Value::Str(tag),
                Value::Global(Global::Storage(element)),
                Value::Str(key),
                _,
                Value::Int(length),
                Value::None,
            ],
        ) = self.out.sequence(id)
        else {
            bail!("expected the description of a storage");
        };
        let (Ok(length), "storage") = (u64::try_from(*length), &**tag) else {
            bail!("expected the description of a storage")
        };
        // The length of an untyped storage is in bytes.
        let storage = Storage { key: key.clone(), element: element.unwrap_or(StorageType::U8), length };
        let known = self.storages.get(&storage.key).copied();
        let id = match known {
            Some(id) if self.out.storages.get(id) == Some(&storage) => id,
            Some(_) => bail!("storage {} is described in two ways", storage.key),
            None => {
                self.storages.insert(storage.key.clone(), self.out.storages.len());
                self.out.storages.push(storage);
                self.out.storages.len() - 1
            }
        };
        self.push(Value::Storage(id));
        Ok(())
    }

    fn call(&mut self, global: Global, arguments: usize) -> Result<Value> {
        let arguments = self.out.sequences.get(arguments).filter(|arguments| arguments.len() <= MAX_ARGUMENTS);
        let arguments =
            arguments.cloned().ok_or_else(|| err!("expected at most {MAX_ARGUMENTS} arguments for {global:?}"))?;
        for argument in &arguments {
            self.copied += match argument {
                Value::Str(text) => text.len() / size_of::<Value>(),
                Value::Dict(id) => self.out.dicts.get(*id).map_or(0, Vec::len),
                other => self.out.sequence(other).map_or(0, <[Value]>::len),
            };
        }
        if self.copied > MAX_VALUES {
            bail!("expected at most {MAX_VALUES} items in the arguments of all calls");
        }
        let container = match (global, &arguments[..]) {
            (Global::RebuildTensor, [Value::Storage(storage), Value::Int(offset), size, stride, ..]) => {
                let tensor = self.tensor(*storage, *offset, size, stride)?;
                self.out.tensors.push(tensor);
                return Ok(Value::Tensor(self.out.tensors.len() - 1));
            }
            (Global::RebuildParameter | Global::RebuildParameterWithState, [tensor @ Value::Tensor(_), ..]) => {
                return Ok(tensor.clone());
            }
            (Global::Device, [Value::Str(kind)]) => return Ok(Value::Name(kind.clone())),
            (Global::Device, [Value::Str(kind), Value::Int(index)]) => {
                return Ok(Value::Name(format!("{kind}:{index}").into()));
            }
            (Global::Encode, [Value::Str(text), Value::Str(encoding)])
                if matches!(&**encoding, "latin1" | "latin-1") =>
            {
                let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c).ok()).collect();
                return bytes
                    .map(|bytes| Value::Bytes(bytes.into()))
                    .ok_or_else(|| err!("expected bytes written as Latin-1"));
            }
            (Global::OrderedDict | Global::Dict, []) => {
                self.out.dicts.push(vec![]);
                return Ok(Value::Dict(self.out.dicts.len() - 1));
            }
            (Global::OrderedDict | Global::Dict, [items]) => {
                let pairs = self.pairs_of(items)?;
                self.out.dicts.push(pairs);
                return Ok(Value::Dict(self.out.dicts.len() - 1));
            }
            (Global::List | Global::Tuple | Global::Set | Global::Size, []) => vec![],
            (Global::List | Global::Tuple | Global::Set | Global::Size, [items]) => {
                self.out.sequence(items).ok_or_else(|| err!("expected a list, found {}", items.type_name()))?.to_vec()
            }
            _ => bail!("expected other arguments for {global:?}"),
        };
        let id = self.sequence(container);
        Ok(match global {
            Global::List => Value::List(id),
            Global::Set => Value::Set(id),
            _ => Value::Tuple(id),
        })
    }

    /// The items of a list of pairs, from which an OrderedDict may be built, or of a dict, as for a Counter.
    fn pairs_of(&self, items: &Value) -> Result<Vec<(Value, Value)>> {
        if let Value::Dict(id) = items {
            return Ok(self.out.dicts.get(*id).cloned().unwrap_or_default());
        }
        let items =
            self.out.sequence(items).ok_or_else(|| err!("expected a list of pairs, found {}", items.type_name()))?;
        let pair = |item: &Value| match self.out.sequence(item) {
            Some([key, value]) => Ok((key.clone(), value.clone())),
            _ => Err(err!("expected a pair, found {}", item.type_name())),
        };
        items.iter().map(pair).collect()
    }

    fn tensor(&self, storage: usize, offset: i64, size: &Value, stride: &Value) -> Result<TensorView> {
        let numbers = |value: &Value| -> Option<Vec<i64>> {
            let number = |item: &Value| if let Value::Int(n) = item { Some(*n).filter(|n| *n >= 0) } else { None };
            self.out.sequence(value).filter(|items| items.len() <= MAX_DIMS)?.iter().map(number).collect()
        };
        let (Some(size), Some(stride)) = (numbers(size), numbers(stride)) else {
            bail!("expected a tensor's size and stride")
        };
        let length = self.out.storages.get(storage).map_or(0, |storage| storage.length);
        if size.len() != stride.len() || offset < 0 {
            bail!("expected a tensor's size and stride of equal length, found {size:?} and {stride:?}");
        }
        let elements = size.iter().try_fold(1i64, |count, length| count.checked_mul(*length));
        let last: i128 = size
            .iter()
            .zip(&stride)
            .map(|(size, stride)| (i128::from(*size) - 1).saturating_mul(i128::from(*stride)))
            .fold(i128::from(offset), i128::saturating_add);
        let inside = elements.is_some_and(|count| count == 0 || last < i128::from(length));
        if !inside {
            bail!(
                "expected a tensor within its storage of {length} elements, found size {size:?}, stride {stride:?}, offset {offset}"
            );
        }
        Ok(TensorView { storage, offset, size, stride })
    }

    /// `__setstate__`: attributes of an OrderedDict (`_metadata`) and of tensors are ignored.
    fn build(&mut self) -> Result<()> {
        self.pop()?;
        match self.top()? {
            Value::Dict(_) | Value::Tensor(_) => Ok(()),
            other => Err(err!("expected a dict or tensor to set attributes of, found {}", other.type_name())),
        }
    }
}

fn pairs(items: Vec<Value>) -> Result<Vec<(Value, Value)>> {
    if !items.len().is_multiple_of(2) {
        bail!("expected keys and values in pairs, found {} items", items.len());
    }
    let mut items = items.into_iter();
    Ok(std::iter::from_fn(|| Some((items.next()?, items.next()?))).collect())
}

fn refused(module: &str, name: &str) -> crate::error::Error {
    let shown: String = format!("{module}.{name}").chars().take(200).collect();
    let known = match (module, name) {
        ("monai.data.meta_tensor", _) => "convert MetaTensors with .as_tensor() before saving",
        ("torch", "QInt8Storage" | "QUInt8Storage" | "QInt32Storage") => "quantized tensors are not supported",
        ("torch", "ComplexFloatStorage" | "ComplexDoubleStorage") => "complex tensors are not supported",
        ("numpy" | "numpy.core.multiarray" | "numpy._core.multiarray", _) => {
            "save NumPy values as Python numbers or tensors"
        }
        _ if module.starts_with("__torch__") => "this is TorchScript: save the module's state_dict() instead",
        _ => "save a state dict: torch.save(network.state_dict(), path)",
    };
    err!("the checkpoint contains `{shown}`, which is not a tensor, number, string or collection of these; it was not run").hint(known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn error(bytes: &[u8]) -> String {
        Pickle::parse(bytes).unwrap_err().message().to_owned()
    }

    /// `pickle.dumps({"a": [1, -2, 2**40], "b": (None, True, 0.5), "s": {3}, 7: b"\x01\xff"}, protocol)`, Python 3.11.
    #[test]
    fn plain_values_of_protocols_2_and_4() {
        let protocol_2: &[u8] = b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01]q\x02(K\x01J\xfe\xff\xff\xff\x8a\x06\x00\x00\x00\x00\x00\x01eX\x01\x00\x00\x00bq\x03N\x88G?\xe0\x00\x00\x00\x00\x00\x00\x87q\x04X\x01\x00\x00\x00sq\x05c__builtin__\nset\nq\x06]q\x07K\x03a\x85q\x08Rq\tK\x07c_codecs\nencode\nq\nX\x03\x00\x00\x00\x01\xc3\xbfq\x0bX\x06\x00\x00\x00latin1q\x0c\x86q\rRq\x0eu.";
        let protocol_4: &[u8] = b"\x80\x04\x95A\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a\x94]\x94(K\x01J\xfe\xff\xff\xff\x8a\x06\x00\x00\x00\x00\x00\x01e\x8c\x01b\x94N\x88G?\xe0\x00\x00\x00\x00\x00\x00\x87\x94\x8c\x01s\x94\x8f\x94(K\x03\x90K\x07C\x02\x01\xff\x94u.";
        for bytes in [protocol_2, protocol_4] {
            let pickle = Pickle::parse(bytes).unwrap();
            let root = pickle.root.as_ref().unwrap();
            let items = |key| pickle.sequence(pickle.get(root, key).unwrap()).unwrap();
            assert!(matches!(items("a"), [Value::Int(1), Value::Int(-2), Value::Int(n)] if *n == 1 << 40));
            assert!(matches!(items("b"), [Value::None, Value::Bool(true), Value::Float(0.5)]));
            assert!(matches!(items("s"), [Value::Int(3)]));
            let (key, value) = pickle.dict(root).unwrap().last().unwrap();
            assert!(matches!((key, value), (Value::Int(7), Value::Bytes(bytes)) if **bytes == [1, 255]));
        }
    }

    #[test]
    fn names_outside_the_list_are_refused_by_name() {
        let message = error(b"\x80\x02cos\nsystem\n(X\x02\x00\x00\x00lstR.");
        assert!(message.contains("`os.system`") && message.contains("not run"), "{message}");
        let message = error(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.");
        assert!(message.contains("`builtins.eval`"), "{message}");
        assert!(error(b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.").contains("other arguments"));
    }

    #[test]
    fn a_tensor_has_to_lie_within_its_storage() {
        let with = |offset: u8, size: u8, stride: u8| {
            let mut bytes = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x06tQ".to_vec();
            bytes.extend([b'K', offset, b'K', size, 0x85, b'K', stride, 0x85]);
            bytes.extend(b"\x89ccollections\nOrderedDict\n)RtR.");
            Pickle::parse(&bytes)
        };
        assert_eq!(with(0, 6, 1).unwrap().tensors[0].size, [6]);
        assert!(with(1, 3, 2).is_ok());
        assert!(with(0, 0, 200).is_ok());
        for (offset, size, stride) in [(1, 6, 1), (0, 7, 1), (2, 3, 2), (6, 1, 1)] {
            assert!(with(offset, size, stride).unwrap_err().message().contains("within its storage of 6"));
        }
    }

    #[test]
    fn depth_and_cycles_do_no_harm() {
        let mut deep = b"\x80\x02N".to_vec();
        deep.extend(vec![0x85; 1_000_000]);
        deep.push(b'.');
        assert!(Pickle::parse(&deep).is_ok());
        // A list that holds itself.
        assert!(Pickle::parse(b"\x80\x02]q\x00h\x00a.").is_ok());
        assert!(error(&vec![b'('; MAX_VALUES + 10]).contains("at most"));
    }

    #[test]
    fn truncation_and_claims_are_errors() {
        assert!(error(b"").contains("truncated"));
        assert!(error(b"\x80\x02X\xff\xff\xff\x7fabc").contains("truncated"));
        assert!(error(b"\x80\x02\x8e\xff\xff\xff\xff\xff\xff\xff\x7f").contains("truncated"));
        assert!(error(b"\x80\x02(K\x01K\x02R.").contains("call of a class"));
        assert!(error(b"K\x01(0.").contains("stack"));
    }

    proptest! {
        #[test]
        fn any_bytes_end_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Pickle::parse(&bytes);
        }
    }

    /// As torch.save writes the milestones of a MultiStepLR.
    #[test]
    fn a_counter_is_a_dict() {
        let pickle = Pickle::parse(b"\x80\x02ccollections\nCounter\n}(K\x02K\x01K\x05K\x02u\x85R.").unwrap();
        let pair = |(key, value): &(Value, Value)| match (key, value) {
            (Value::Int(key), Value::Int(value)) => (*key, *value),
            other => panic!("{other:?}"),
        };
        assert_eq!(pickle.dicts.last().unwrap().iter().map(pair).collect::<Vec<_>>(), [(2, 1), (5, 2)]);
    }
}
