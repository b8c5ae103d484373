//! Python's built-in types: operators, comparison, indexing, iteration, attributes, methods and formatting, with
//! CPython 3.11's results. Integers have 64 bits, and sets cannot be changed in place.

pub mod arith;
pub mod attributes;
pub mod compare;
mod dicts;
pub mod format;
pub mod index;
pub mod iter;
mod lists;
mod methods;
mod numbers;
pub mod percent;
pub mod range;
pub mod sets;
mod strs;
pub mod template;
pub mod types;
pub mod views;

pub use dicts::pairs;
pub use lists::keys as sort_keys;
pub use numbers::{round_float, round_int, to_int};
pub use strs::text;

use crate::component::{Args, Value};
use crate::error::Result;
use crate::{bail, err};

/// Convert an index or count: int, bool, or an object with `__index__`.
pub fn integer(value: &Value, what: &str) -> Result<i64> {
    as_integer(value).ok_or_else(|| err!("{what} must be integers, not {}", value.type_name()))
}

pub fn as_integer(value: &Value) -> Option<i64> {
    match value {
        Value::Int(i) => Some(*i),
        Value::Bool(b) => Some(i64::from(*b)),
        Value::Object(object) => match object.attr("__index__") {
            Ok(Some(Value::Int(i))) => Some(i),
            _ => None,
        },
        _ => None,
    }
}

/// Convert an index (negative from the end) into `len` items to a position.
pub fn position(at: i64, len: usize) -> Option<usize> {
    let at = if at < 0 { at.checked_add(len as i64)? } else { at };
    usize::try_from(at).ok().filter(|at| *at < len)
}

/// Assign arguments of a built-in function to `names`, of which the first `required` must be given.
pub fn take<const N: usize>(
    args: Args,
    function: &str,
    names: [&str; N],
    required: usize,
) -> Result<[Option<Value>; N]> {
    let mut slots: [Option<Value>; N] = std::array::from_fn(|_| None);
    take_into(&mut slots, args, function, &names, required)?;
    Ok(slots)
}

/// Assign arguments to slots, one per name. The name `*` denotes a positional-only argument.
fn take_into(slots: &mut [Option<Value>], args: Args, function: &str, names: &[&str], required: usize) -> Result<()> {
    if args.positional.len() > names.len() {
        bail!("{function}() takes at most {} arguments, found {}", names.len(), args.positional.len());
    }
    for (slot, value) in slots.iter_mut().zip(args.positional) {
        *slot = Some(value);
    }
    for (name, value) in args.named {
        let Some(at) = names.iter().position(|known| *known == &*name) else {
            return Err(
                err!("{function}() has no argument `{name}`").hint(format!("its arguments are {}", names.join(", ")))
            );
        };
        if slots[at].replace(value).is_some() {
            bail!("{function}() got several values for argument `{name}`");
        }
    }
    match slots.iter().take(required).position(Option::is_none) {
        Some(missing) => Err(err!("{function}() needs argument `{}`", names[missing])),
        None => Ok(()),
    }
}
