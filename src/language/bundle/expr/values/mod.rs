//! Python's built-in types: operators, comparison, indexing, iteration, attributes, methods and formatting, with
//! CPython 3.11's results. Integers have 64 bits, and sets cannot be changed in place.

pub(crate) mod arith;
pub(crate) mod attributes;
pub(crate) mod compare;
mod dicts;
pub mod format;
pub(crate) mod index;
pub mod iter;
mod lists;
mod numbers;
pub(crate) mod percent;
pub(crate) mod range;
pub(crate) mod sets;
mod strs;
pub mod template;
pub(crate) mod types;
mod views;

pub(crate) use dicts::{arguments as dict_arguments, pairs};
pub(crate) use lists::keys as sort_keys;
pub(crate) use numbers::{round_float, round_int, to_int};

use crate::component::{BuildContext, FromValue, Value};
use crate::err;
use crate::error::Result;

/// Result of an operator that one of the operands defines, if it is an object.
fn object_operator(operator: &str, a: &Value, b: &Value, call: &mut BuildContext) -> Result<Option<Value>> {
    for (own, other, reflected) in [(a, b, false), (b, a, true)] {
        if let Value::Object(object) = own
            && let Some(value) = object.operator(operator, other, reflected, call)?
        {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

/// Convert an index or count: int, bool, or an object with `__index__`.
pub(crate) fn integer(value: &Value, what: &str) -> Result<i64> {
    i64::from_value(value).ok_or_else(|| err!("{what} must be integers, not {}", value.type_name()))
}

/// Position of an index into `len` items; negative indices count from the end.
pub(crate) fn position(at: i64, len: usize) -> Option<usize> {
    let at = if at < 0 { at.checked_add(len as i64)? } else { at };
    usize::try_from(at).ok().filter(|at| *at < len)
}
