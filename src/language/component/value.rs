//! Python values in configs and expressions.

use super::{Component, Function, Object, discard};
use indexmap::IndexMap;
use parking_lot::RwLock;
use std::fmt;
use std::sync::Arc;

/// A value of the config language. Cloning is cheap; lists and dicts are shared, as in Python.
#[derive(Clone, Default)]
pub enum Value {
    /// `None`.
    #[default]
    None,
    /// A bool, which is also an int in Python.
    Bool(bool),
    /// 64-bit integer; unlike in Python, overflow is an error.
    Int(i64),
    /// 64-bit float.
    Float(f64),
    /// String.
    Str(Arc<str>),
    /// List, mutable and shared.
    List(List),
    /// Tuple.
    Tuple(Tuple),
    /// Dict, mutable and shared.
    Dict(Dict),
    /// Set of distinct keys; unlike in Python, it cannot be modified.
    Set(Arc<[Key]>),
    /// `...`
    Ellipsis,
    /// A slice `start:stop:step`.
    Slice(Arc<[Option<i64>; 3]>),
    /// A module: the prefix of names in the table, such as `os.path`.
    Module(Arc<str>),
    /// A function of the table.
    Function(&'static Function),
    /// The class of a component, as in `$monai.data.PILReader`; a call builds it.
    Component(&'static Component),
    /// Any other object.
    Object(Arc<dyn Object>),
}

/// A mutable, shared list. To iterate, use the snapshot [`List::items`], so that no lock is held while calling other
/// code.
#[derive(Clone, Default)]
pub struct List(pub Arc<RwLock<Vec<Value>>>);

/// A mutable, shared dict in insertion order.
#[derive(Clone, Default)]
pub struct Dict(pub Arc<RwLock<IndexMap<Key, Value>>>);

/// An immutable list.
#[derive(Clone)]
pub struct Tuple(Arc<[Value]>);

impl std::ops::Deref for Tuple {
    type Target = [Value];
    fn deref(&self) -> &[Value] {
        &self.0
    }
}
impl FromIterator<Value> for Tuple {
    fn from_iter<I: IntoIterator<Item = Value>>(items: I) -> Self {
        Tuple(items.into_iter().collect())
    }
}
impl From<Vec<Value>> for Tuple {
    fn from(items: Vec<Value>) -> Self {
        Tuple(items.into())
    }
}

// Expressions can nest containers to any depth, so that dropping them must not be recursive.
impl Drop for Tuple {
    fn drop(&mut self) {
        if let Some(items) = Arc::get_mut(&mut self.0)
            && items.iter().any(Value::holds_others)
        {
            discard(items.iter_mut().map(std::mem::take).collect::<Vec<_>>());
        }
    }
}
impl Drop for List {
    fn drop(&mut self) {
        if let Some(items) = Arc::get_mut(&mut self.0) {
            let items = std::mem::take(items.get_mut());
            if items.iter().any(Value::holds_others) {
                discard(items);
            }
        }
    }
}
impl Drop for Dict {
    fn drop(&mut self) {
        if let Some(items) = Arc::get_mut(&mut self.0) {
            let items = std::mem::take(items.get_mut());
            if items.values().any(Value::holds_others) {
                discard(items);
            }
        }
    }
}

/// A hashable value. `1`, `1.0` and `True` are one key, as in Python.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// `None`.
    None,
    /// An int, a bool or an integral float.
    Int(i64),
    /// Bits of a non-integral float.
    Float(u64),
    /// A string.
    Str(Arc<str>),
    /// A tuple of keys.
    Tuple(Vec<Key>),
    /// An object, hashed by identity.
    Object(usize, Opaque),
}

/// Keeps the object of an identity key alive and provides access to it.
#[derive(Clone)]
pub struct Opaque(pub Value);

impl PartialEq for Opaque {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl Eq for Opaque {}
impl std::hash::Hash for Opaque {
    fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
}
impl PartialOrd for Opaque {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Opaque {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

impl Key {
    /// Convert a value to a key; `None` if it is unhashable (list, dict, slice), nested deeper than `MAX_NESTING`, or
    /// has more than `MAX_KEY_PARTS` parts.
    pub fn new(value: &Value) -> Option<Key> {
        Key::within(value, MAX_NESTING, &mut MAX_KEY_PARTS.clone())
    }
    fn within(value: &Value, depth: usize, parts: &mut usize) -> Option<Key> {
        // A tuple can contain another one many times, so that the number of parts grows exponentially with the depth.
        *parts = parts.checked_sub(1)?;
        Some(match value {
            Value::None => Key::None,
            Value::Bool(b) => Key::Int(i64::from(*b)),
            Value::Int(i) => Key::Int(*i),
            // Below 2^53 every integral float represents exactly one integer.
            Value::Float(x) if x.fract() == 0.0 && x.abs() < 9e15 => Key::Int(*x as i64),
            Value::Float(x) => Key::Float(x.to_bits()),
            Value::Str(s) => Key::Str(s.clone()),
            Value::Tuple(items) => {
                let depth = depth.checked_sub(1)?;
                Key::Tuple(items.iter().map(|item| Key::within(item, depth, parts)).collect::<Option<_>>()?)
            }
            Value::List(_) | Value::Dict(_) | Value::Slice(_) | Value::Set(_) => return None,
            other => Key::Object(other.identity(), Opaque(other.clone())),
        })
    }
    /// Creates the key of a string.
    pub fn str(text: &str) -> Key {
        Key::Str(text.into())
    }
    /// Convert to a value.
    pub fn to_value(&self) -> Value {
        match self {
            Key::None => Value::None,
            Key::Int(i) => Value::Int(*i),
            Key::Float(bits) => Value::Float(f64::from_bits(*bits)),
            Key::Str(s) => Value::Str(s.clone()),
            Key::Tuple(items) => Value::Tuple(items.iter().map(Key::to_value).collect()),
            Key::Object(_, Opaque(value)) => value.clone(),
        }
    }
    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Key::Str(s) => Some(s),
            _ => None,
        }
    }
}

impl List {
    /// Creates a list.
    pub fn new(items: Vec<Value>) -> Self {
        List(Arc::new(RwLock::new(items)))
    }
    /// Snapshot of the items.
    pub fn items(&self) -> Vec<Value> {
        self.0.read().clone()
    }
    /// Number of items.
    pub fn len(&self) -> usize {
        self.0.read().len()
    }
    /// Whether there are no items.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Dict {
    /// Creates a dict; the last of equal keys is used.
    pub fn new(items: impl IntoIterator<Item = (Key, Value)>) -> Self {
        Dict(Arc::new(RwLock::new(items.into_iter().collect())))
    }
    /// Value of a string key.
    pub fn get(&self, key: &str) -> Option<Value> {
        self.0.read().get(&Key::str(key)).cloned()
    }
    /// Snapshot of the items.
    pub fn items(&self) -> Vec<(Key, Value)> {
        self.0.read().iter().map(|(k, v)| (k.clone(), v.clone())).collect()
    }
    /// Number of items.
    pub fn len(&self) -> usize {
        self.0.read().len()
    }
    /// Whether there are no items.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Value {
    /// Creates a string.
    pub fn str(text: impl AsRef<str>) -> Value {
        Value::Str(text.as_ref().into())
    }
    /// Creates a list.
    pub fn list(items: impl IntoIterator<Item = Value>) -> Value {
        Value::List(List::new(items.into_iter().collect()))
    }
    /// Creates a tuple.
    pub fn tuple(items: impl IntoIterator<Item = Value>) -> Value {
        Value::Tuple(items.into_iter().collect())
    }
    /// Creates an object.
    pub fn object(object: impl Object) -> Value {
        Value::Object(Arc::new(object))
    }
    /// The text of a string; `None` for other types.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(s) => Some(s),
            _ => None,
        }
    }
    /// Whether the value contains other values.
    fn holds_others(&self) -> bool {
        matches!(self, Value::List(_) | Value::Tuple(_) | Value::Dict(_) | Value::Object(_))
    }
    /// Whether this is `None`.
    pub fn is_none(&self) -> bool {
        matches!(self, Value::None)
    }
    /// The object, if its type is `T`.
    pub fn downcast<T: Object>(&self) -> Option<Arc<T>> {
        match self {
            Value::Object(object) => (object.clone() as Arc<dyn std::any::Any + Send + Sync>).downcast().ok(),
            _ => None,
        }
    }
    /// Snapshot of the items of a list or tuple; `None` for other types.
    pub fn as_sequence(&self) -> Option<Vec<Value>> {
        match self {
            Value::List(list) => Some(list.items()),
            Value::Tuple(items) => Some(items.to_vec()),
            _ => None,
        }
    }
    /// Python's truth value: empty containers and zero are false.
    pub fn truthy(&self) -> bool {
        match self {
            Value::None => false,
            Value::Bool(b) => *b,
            Value::Int(i) => *i != 0,
            Value::Float(x) => *x != 0.0,
            Value::Str(s) => !s.is_empty(),
            Value::List(list) => !list.is_empty(),
            Value::Tuple(items) => !items.is_empty(),
            Value::Dict(dict) => !dict.is_empty(),
            Value::Set(items) => !items.is_empty(),
            Value::Object(object) => object.truthy(),
            _ => true,
        }
    }
    /// Identity, as Python's `id()`.
    pub fn identity(&self) -> usize {
        match self {
            Value::Str(s) => Arc::as_ptr(s).cast::<u8>() as usize,
            Value::List(list) => Arc::as_ptr(&list.0) as usize,
            Value::Tuple(items) => items.as_ptr() as usize,
            Value::Dict(dict) => Arc::as_ptr(&dict.0) as usize,
            Value::Set(items) => items.as_ptr() as usize,
            Value::Slice(parts) => Arc::as_ptr(parts) as usize,
            Value::Module(name) => Arc::as_ptr(name).cast::<u8>() as usize,
            Value::Function(f) => std::ptr::from_ref(*f) as usize,
            Value::Component(c) => std::ptr::from_ref(*c) as usize,
            Value::Object(object) => Arc::as_ptr(object).cast::<u8>() as usize,
            Value::None | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Ellipsis => 0,
        }
    }
    /// Name of the type in Python, for messages.
    pub fn type_name(&self) -> String {
        match self {
            Value::None => "None",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float",
            Value::Str(_) => "str",
            Value::List(_) => "list",
            Value::Tuple(_) => "tuple",
            Value::Dict(_) => "dict",
            Value::Set(_) => "set",
            Value::Ellipsis => "ellipsis",
            Value::Slice(_) => "slice",
            Value::Module(_) => "module",
            Value::Function(_) => "function",
            Value::Component(_) => "class",
            Value::Object(object) => return object.type_name().to_owned(),
        }
        .to_owned()
    }
}

/// Type and start of the repr of a value, for messages "expected …, found …".
pub(crate) fn found(value: &Value) -> String {
    match value {
        Value::None => "None".to_owned(),
        Value::Object(object) => object.type_name().to_owned(),
        value => {
            let text = format!("{value:?}");
            let short: String = text.chars().take(80).collect();
            format!("{} {short}{}", value.type_name(), if short.len() < text.len() { "…" } else { "" })
        }
    }
}

/// Python's `==`; objects are equal if they are identical or if their type defines equality.
impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        use Value::{Bool, Dict, Ellipsis, Float, Int, List, Module, Object, Set, Slice, Str, Tuple};
        match (self, other) {
            (Value::None, Value::None) | (Ellipsis, Ellipsis) => true,
            (Bool(a), Bool(b)) => a == b,
            (Int(a), Int(b)) => a == b,
            (Float(a), Float(b)) => a == b,
            (Bool(a), Int(b)) | (Int(b), Bool(a)) => i64::from(*a) == *b,
            (Bool(a), Float(b)) | (Float(b), Bool(a)) => f64::from(u8::from(*a)) == *b,
            // Exact comparison: above 2^53, neighboring integers convert to the same float.
            (Int(a), Float(b)) | (Float(b), Int(a)) => *a as f64 == *b && *b as i128 == i128::from(*a),
            (Str(a), Str(b)) => a == b,
            (List(a), List(b)) => Arc::ptr_eq(&a.0, &b.0) || a.items() == b.items(),
            (Tuple(a), Tuple(b)) => a[..] == b[..],
            (Dict(a), Dict(b)) => {
                Arc::ptr_eq(&a.0, &b.0) || {
                    let (a, b) = (a.items(), b.clone());
                    a.len() == b.len() && a.iter().all(|(k, v)| b.0.read().get(k).cloned().is_some_and(|w| *v == w))
                }
            }
            (Set(a), Set(b)) => a.len() == b.len() && a.iter().all(|k| b.contains(k)),
            (Slice(a), Slice(b)) => a == b,
            (Module(a), Module(b)) => a == b,
            (Object(a), _) => self.identity() == other.identity() || a.equals(other),
            (_, Object(b)) => b.equals(self),
            _ => self.identity() != 0 && self.identity() == other.identity(),
        }
    }
}

/// Python's `repr`. Values that are nested deeper than `MAX_NESTING`, contain themselves or exceed `MAX_REPR` are
/// abbreviated.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut repr = Repr::default();
        repr.value(self);
        f.write_str(&repr.out)
    }
}

/// Maximum nesting of containers that are printed, hashed and compared.
const MAX_NESTING: usize = 100;
/// Maximum number of parts of a tuple used as a key, since the cost of keys is not counted as steps.
pub(crate) const MAX_KEY_PARTS: usize = 1000;
/// Maximum size of a repr in bytes: containers that contain each other many times would exhaust memory.
const MAX_REPR: usize = 16 << 20;

#[derive(Default)]
struct Repr {
    out: String,
    /// Identities of the enclosing containers.
    path: Vec<usize>,
}

impl Repr {
    fn container(&mut self, identity: usize, brackets: [&str; 2], show: impl FnOnce(&mut Self)) {
        self.out.push_str(brackets[0]);
        if self.path.contains(&identity) || self.path.len() >= MAX_NESTING {
            self.out.push_str("...");
        } else {
            self.path.push(identity);
            show(self);
            self.path.pop();
        }
        self.out.push_str(brackets[1]);
    }
    fn joined(&mut self, items: impl IntoIterator<Item = Value>) {
        for (i, item) in items.into_iter().enumerate() {
            if self.out.len() > MAX_REPR {
                return self.out.push_str(", ...");
            }
            self.out.push_str(if i == 0 { "" } else { ", " });
            self.value(&item);
        }
    }
    fn value(&mut self, value: &Value) {
        match value {
            Value::None => self.out.push_str("None"),
            Value::Bool(true) => self.out.push_str("True"),
            Value::Bool(false) => self.out.push_str("False"),
            Value::Int(i) => self.out += &i.to_string(),
            Value::Float(x) => self.out += &float_repr(*x),
            Value::Str(s) => self.out += &str_repr(s),
            Value::List(list) => self.container(value.identity(), ["[", "]"], |this| this.joined(list.items())),
            Value::Tuple(items) if items.is_empty() => self.out.push_str("()"),
            Value::Tuple(items) => {
                self.container(value.identity(), ["(", if items.len() == 1 { ",)" } else { ")" }], |this| {
                    this.joined(items.iter().cloned());
                })
            }
            Value::Dict(dict) => self.container(value.identity(), ["{", "}"], |this| {
                for (i, (key, value)) in dict.items().into_iter().enumerate() {
                    if this.out.len() > MAX_REPR {
                        return this.out.push_str(", ...");
                    }
                    this.out.push_str(if i == 0 { "" } else { ", " });
                    this.value(&key.to_value());
                    this.out.push_str(": ");
                    this.value(&value);
                }
            }),
            Value::Set(items) if items.is_empty() => self.out.push_str("set()"),
            Value::Set(items) => {
                self.container(value.identity(), ["{", "}"], |this| this.joined(items.iter().map(Key::to_value)))
            }
            Value::Ellipsis => self.out.push_str("Ellipsis"),
            Value::Slice(parts) => {
                let text = |part: &Option<i64>| part.map_or("None".to_owned(), |i| i.to_string());
                self.out += &format!("slice({}, {}, {})", text(&parts[0]), text(&parts[1]), text(&parts[2]));
            }
            Value::Module(name) => self.out += &format!("<module '{name}'>"),
            Value::Function(function) => self.out += &format!("<function {}>", function.path),
            Value::Component(component) => self.out += &format!("<class '{}'>", component.path),
            Value::Object(object) => self.out += &object.repr(),
        }
    }
}

/// Python's `str`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Str(s) => f.write_str(s),
            Value::Object(object) => f.write_str(&object.to_str()),
            other => write!(f, "{other:?}"),
        }
    }
}

/// Shortest representation that converts back to the same float, with an exponent where Python uses one.
pub(super) fn float_repr(x: f64) -> String {
    if x.is_nan() {
        return "nan".into();
    }
    if x.is_infinite() {
        return if x > 0.0 { "inf" } else { "-inf" }.into();
    }
    let scientific = format!("{x:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = format!("{x}");
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

/// Quote as Python: in single quotes, unless the string contains single quotes and no double quotes.
fn str_repr(s: &str) -> String {
    let quote = if s.contains('\'') && !s.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for c in s.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => out.extend(['\\', c]),
            c if matches!(c as u32, 0..0x20 | 0x7f..=0xa0 | 0xad) => out.push_str(&format!("\\x{:02x}", c as u32)),
            c if c.is_whitespace() && c != ' '
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}') =>
            {
                out.push_str(&format!("\\u{:04x}", c as u32));
            }
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

impl From<()> for Value {
    fn from((): ()) -> Self {
        Value::None
    }
}
impl From<bool> for Value {
    fn from(b: bool) -> Self {
        Value::Bool(b)
    }
}
impl From<i64> for Value {
    fn from(i: i64) -> Self {
        Value::Int(i)
    }
}
impl From<i32> for Value {
    fn from(i: i32) -> Self {
        Value::Int(i64::from(i))
    }
}
impl From<f64> for Value {
    fn from(x: f64) -> Self {
        Value::Float(x)
    }
}
impl From<&str> for Value {
    fn from(s: &str) -> Self {
        Value::str(s)
    }
}
impl From<String> for Value {
    fn from(s: String) -> Self {
        Value::Str(s.into())
    }
}
impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(items: Vec<T>) -> Self {
        Value::list(items.into_iter().map(Into::into))
    }
}
impl<T: Into<Value>, const N: usize> From<[T; N]> for Value {
    /// Creates a tuple, the usual type of default values in Python.
    fn from(items: [T; N]) -> Self {
        Value::tuple(items.into_iter().map(Into::into))
    }
}
