//! Indexing, slices, and item assignment for methods such as `__setitem__`.

use super::iter::key;
use super::{integer, position};
use crate::component::{BuildContext, Value};
use crate::error::{Result, did_you_mean};
use crate::python::given::{Method, method};
use crate::{bail, err};

/// Start, stop and step of a slice of `len` items, clamped as in Python.
pub fn clamped(slice: &[Option<i64>; 3], len: usize) -> Result<[i64; 3]> {
    let step = slice[2].unwrap_or(1);
    if step == 0 {
        bail!("slice step cannot be zero");
    }
    let len = len as i64;
    let (low, high) = if step > 0 { (0, len) } else { (-1, len - 1) };
    let clamp = |part: Option<i64>, default: i64| match part {
        None => default,
        Some(at) if at < 0 => (at.saturating_add(len)).max(low),
        Some(at) => at.min(high),
    };
    let (first, last) = if step > 0 { (0, len) } else { (len - 1, -1) };
    Ok([clamp(slice[0], first), clamp(slice[1], last), step])
}

/// First index, step and number of items of a slice of `len` items.
pub fn bounds(slice: &[Option<i64>; 3], len: usize) -> Result<(i64, i64, usize)> {
    let [start, stop, step] = clamped(slice, len)?;
    let gap = if step > 0 { stop - start } else { start - stop };
    let count = if gap <= 0 { 0 } else { ((gap - 1) as u64 / step.unsigned_abs() + 1) as usize };
    Ok((start, step, count))
}

fn picks(slice: &[Option<i64>; 3], len: usize) -> Result<impl Iterator<Item = usize>> {
    let (start, step, count) = bounds(slice, len)?;
    Ok((0..count).map(move |k| (start + step.saturating_mul(k as i64)) as usize))
}

/// `value.__getitem__(at)`.
pub const METHOD: Method<Value> =
    method(&["__getitem__"], &["index"], |own, given, call| index(own, &given.need(0)?, call));

/// Evaluate `value[at]`.
pub fn index(value: &Value, at: &Value, call: &mut BuildContext) -> Result<Value> {
    match (value, at) {
        (Value::List(list), Value::Slice(slice)) => {
            let items = list.0.read();
            call.charge(bounds(slice, items.len())?.2)?;
            Ok(Value::list(picks(slice, items.len())?.filter_map(|at| items.get(at).cloned()).collect::<Vec<_>>()))
        }
        (Value::Tuple(items), Value::Slice(slice)) => {
            call.charge(bounds(slice, items.len())?.2)?;
            Ok(Value::tuple(picks(slice, items.len())?.filter_map(|at| items.get(at).cloned())))
        }
        (Value::Str(text), Value::Slice(slice)) => {
            call.charge(text.len())?;
            let chars: Vec<char> = text.chars().collect();
            Ok(Value::from(picks(slice, chars.len())?.filter_map(|at| chars.get(at)).collect::<String>()))
        }
        (Value::List(list), at) => item(&list.0.read(), at, "list"),
        (Value::Tuple(items), at) => item(items, at, "tuple"),
        (Value::Str(text), at) => {
            let at = integer(at, "string indices")?;
            call.charge(text.len() / 16)?;
            let len = text.chars().count();
            let found = position(at, len).and_then(|at| text.chars().nth(at));
            found.map(|c| Value::from(c.to_string())).ok_or_else(|| out_of_range("string", at, len))
        }
        (Value::Dict(dict), at) => {
            let wanted = key(at)?;
            let dict = dict.0.read();
            dict.get(&wanted).cloned().ok_or_else(|| {
                let error = err!("key {at:?} is not in the dict");
                let names = dict.keys().filter_map(|key| key.as_str());
                error.suggest(at.as_str().and_then(|at| did_you_mean(at, names)))
            })
        }
        (Value::Object(object), at) => {
            call.permit(object.effect("__getitem__"), object.type_name())?;
            call.lend(|_| object.index(at))
        }
        // A parameterized type such as `list[int]` is the type itself.
        (Value::Function(function), _) if super::types::is_type(function.path) => Ok(value.clone()),
        (other, _) => bail!("'{}' object is not subscriptable", other.type_name()),
    }
}

fn item(items: &[Value], at: &Value, kind: &str) -> Result<Value> {
    let at = integer(at, &format!("{kind} indices"))?;
    let found = position(at, items.len()).and_then(|at| items.get(at).cloned());
    found.ok_or_else(|| out_of_range(kind, at, items.len()))
}

fn out_of_range(what: &str, at: i64, len: usize) -> crate::error::Error {
    err!("{what} index out of range: {at}, where the length is {len}")
}
