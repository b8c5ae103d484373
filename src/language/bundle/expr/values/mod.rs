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
mod methods;
mod numbers;
pub(crate) mod percent;
pub(crate) mod range;
pub(crate) mod sets;
mod strs;
pub mod template;
pub(crate) mod types;
mod views;

pub(crate) use dicts::pairs;
pub(crate) use lists::keys as sort_keys;
pub(crate) use numbers::{round_float, round_int, to_int};
pub(crate) use strs::text;

use crate::component::{Args, BuildContext, FromValue, Value};
use crate::error::Result;
use crate::{bail, err};

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

/// Assign arguments of a built-in function to `names`, of which the first `required` must be given.
pub(crate) fn take<const N: usize>(
    args: Args,
    function: &str,
    names: [&str; N],
    required: usize,
) -> Result<[Option<Value>; N]> {
    let mut slots: [Option<Value>; N] = std::array::from_fn(|_| None);
    take_into(&mut slots, args, function, &names, required)?;
    Ok(slots)
}

/// Assign arguments to slots, one per name.
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
