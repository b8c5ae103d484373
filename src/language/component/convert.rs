//! Conversion of a config's values to Rust types.

use super::{Dict, Value};
use crate::error::{Error, Kind};
use crate::python::pathlib::Path;
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;

/// Type of an argument.
pub trait FromValue: Sized {
    /// Whether an argument of this type is accepted without effect.
    const ACCEPTED: bool = false;
    /// Kind of error for a value of another type.
    const ERROR: Kind = Kind::Config;
    /// Description of the type for messages and documentation, such as "int" or "list of float".
    fn expected() -> String;
    /// Convert a value; `None` if it has another type.
    fn from_value(value: &Value) -> Option<Self>;
    /// Error for a value that [`FromValue::from_value`] rejects, if it is more specific than the expected type.
    fn refusal(_value: &Value) -> Option<Error> {
        None
    }
}

impl FromValue for Value {
    fn expected() -> String {
        "any value".into()
    }
    fn from_value(value: &Value) -> Option<Self> {
        Some(value.clone())
    }
}

impl FromValue for bool {
    fn expected() -> String {
        "bool".into()
    }
    /// Accepts bool, 0 and 1, but not strings: `'false'` is true in Python and nearly always a mistake.
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(b) => Some(*b),
            Value::Int(i @ (0 | 1)) => Some(*i == 1),
            _ => None,
        }
    }
}

impl FromValue for i64 {
    fn expected() -> String {
        "int".into()
    }
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Int(i) => Some(*i),
            Value::Bool(b) => Some(i64::from(*b)),
            // NumPy integers have `__index__`.
            Value::Object(object) => match object.attr("__index__") {
                Ok(Some(Value::Int(i))) => Some(i),
                _ => None,
            },
            _ => None,
        }
    }
}

impl FromValue for usize {
    fn expected() -> String {
        "int of at least 0".into()
    }
    fn from_value(value: &Value) -> Option<Self> {
        i64::from_value(value).and_then(|i| usize::try_from(i).ok())
    }
}

impl FromValue for f64 {
    fn expected() -> String {
        "float".into()
    }
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Float(x) => Some(*x),
            Value::Int(i) => Some(*i as f64),
            Value::Bool(b) => Some(f64::from(u8::from(*b))),
            // NumPy and torch scalars have `__float__`.
            Value::Object(object) => match object.attr("__float__") {
                Ok(Some(Value::Float(x))) => Some(x),
                _ => None,
            },
            _ => None,
        }
    }
}

/// A type or trait that configs hold in an [`Arc`]; `Arc<Self>` then implements [`FromValue`].
pub trait FromArc {
    /// See [`FromValue::expected`].
    fn expected() -> String;
    /// See [`FromValue::from_value`].
    fn from_value(value: &Value) -> Option<Arc<Self>>;
}

impl<T: FromArc + ?Sized> FromValue for Arc<T> {
    fn expected() -> String {
        T::expected()
    }
    fn from_value(value: &Value) -> Option<Self> {
        T::from_value(value)
    }
}

/// A type or trait that configs hold in an `Arc<Mutex<_>>`, which then implements [`FromValue`].
pub trait FromShared {
    /// See [`FromValue::expected`].
    fn expected() -> String;
    /// See [`FromValue::from_value`].
    fn from_value(value: &Value) -> Option<Arc<Mutex<Self>>>;
}

impl<T: FromShared + ?Sized> FromArc for Mutex<T> {
    fn expected() -> String {
        T::expected()
    }
    fn from_value(value: &Value) -> Option<Arc<Self>> {
        T::from_value(value)
    }
}

impl FromArc for str {
    fn expected() -> String {
        "str".into()
    }
    fn from_value(value: &Value) -> Option<Arc<str>> {
        match value {
            Value::Str(s) => Some(s.clone()),
            _ => None,
        }
    }
}

impl FromValue for String {
    fn expected() -> String {
        "str".into()
    }
    fn from_value(value: &Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
}

impl FromValue for PathBuf {
    fn expected() -> String {
        "path".into()
    }
    /// Accepts a string or a `pathlib.Path` (whose `str()` is the path).
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Str(s) => Some(PathBuf::from(&**s)),
            value => value.downcast::<Path>().map(|path| PathBuf::from(&path.0)),
        }
    }
}

impl FromValue for Dict {
    fn expected() -> String {
        "dict".into()
    }
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Dict(dict) => Some(dict.clone()),
            _ => None,
        }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    const ACCEPTED: bool = T::ACCEPTED;
    fn expected() -> String {
        format!("{} or None", T::expected())
    }
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::None => Some(None),
            value => T::from_value(value).map(Some),
        }
    }
    fn refusal(value: &Value) -> Option<Error> {
        T::refusal(value)
    }
}

impl<T: FromValue> FromValue for Vec<T> {
    fn expected() -> String {
        format!("list of {}", T::expected())
    }
    fn from_value(value: &Value) -> Option<Self> {
        let items = match value {
            // Arrays, sets and iterators.
            Value::Object(object) => object.iterate()?.ok()?,
            value => value.as_sequence()?,
        };
        items.iter().map(T::from_value).collect()
    }
}

/// One value for all keys or axes, or one per key or axis (MONAI's `ensure_tuple_rep`).
#[derive(Debug, Clone, PartialEq)]
pub enum OneOrMany<T> {
    /// One value for all.
    One(T),
    /// One value per key or axis.
    Many(Vec<T>),
}

impl<T: FromValue> FromValue for OneOrMany<T> {
    fn expected() -> String {
        format!("{0} or list of {0}", T::expected())
    }
    fn from_value(value: &Value) -> Option<Self> {
        T::from_value(value).map(OneOrMany::One).or_else(|| Vec::from_value(value).map(OneOrMany::Many))
    }
}

impl<T> OneOrMany<T> {
    /// The values as a slice.
    pub fn as_slice(&self) -> &[T] {
        match self {
            OneOrMany::One(value) => std::slice::from_ref(value),
            OneOrMany::Many(values) => values,
        }
    }
}

impl<T: Clone> OneOrMany<T> {
    /// Expand to `n` values: a single value is repeated, a list must have length `n`; `name` is the argument in errors.
    pub fn repeat(&self, n: usize, name: &str) -> crate::error::Result<Vec<T>> {
        match self {
            OneOrMany::One(value) => Ok(vec![value.clone(); n]),
            OneOrMany::Many(values) if values.len() == n => Ok(values.clone()),
            OneOrMany::Many(values) => {
                Err(crate::err!("`{name}` has {} values, expected 1 or {n}", values.len()).arguments(&[name]))
            }
        }
    }
}

/// `keys` of a dictionary transform: one string or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys(pub Vec<Arc<str>>);

impl FromValue for Keys {
    fn expected() -> String {
        "str or list of str".into()
    }
    fn from_value(value: &Value) -> Option<Self> {
        match OneOrMany::from_value(value)? {
            OneOrMany::One(key) => Some(Keys(vec![key])),
            OneOrMany::Many(keys) if keys.is_empty() => None,
            OneOrMany::Many(keys) => Some(Keys(keys)),
        }
    }
}

/// An argument of MONAI that is not supported: accepts only None and False, which disable it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotSupported;

impl FromValue for NotSupported {
    const ERROR: Kind = Kind::Unsupported;
    fn expected() -> String {
        "None or False (not supported)".into()
    }
    fn from_value(value: &Value) -> Option<Self> {
        matches!(value, Value::None | Value::Bool(false)).then_some(NotSupported)
    }
}

/// An argument of MONAI that has no effect here, for the reason given in its documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted;

impl FromValue for Accepted {
    const ACCEPTED: bool = true;
    fn expected() -> String {
        "any value".into()
    }
    fn from_value(_: &Value) -> Option<Self> {
        Some(Accepted)
    }
}
