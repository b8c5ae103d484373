//! Comparison operators, membership and sorting.

use super::iter::Cursor;
use super::range::Range;
use super::{arith, object_operator, sets};
use crate::bail;
use crate::component::{BuildContext, Value};
use crate::error::Result;
use std::cmp::Ordering;
use std::sync::Arc;

/// Evaluate `a operator b` for `< <= > >= == != in not in is is not`; the result for arrays may be an array.
pub fn compare(operator: &str, a: &Value, b: &Value, call: &mut BuildContext) -> Result<Value> {
    match operator {
        "is" => return Ok(Value::Bool(same(a, b))),
        "is not" => return Ok(Value::Bool(!same(a, b))),
        "in" => return contains(b, a, call).map(Value::Bool),
        "not in" => return contains(b, a, call).map(|found| Value::Bool(!found)),
        _ => {}
    }
    if let Some(value) = object_operator(operator, a, b, call)? {
        return Ok(value);
    }
    if let Some(value) = sets::operator(operator, a, b, call)? {
        return Ok(value);
    }
    match operator {
        "==" => return equal(a, b, call).map(Value::Bool),
        "!=" => return equal(a, b, call).map(|same| Value::Bool(!same)),
        _ => {}
    }
    let found = order(a, b, operator, call)?;
    Ok(Value::Bool(match (found, operator) {
        (None, _) => false,
        (Some(order), "<") => order == Ordering::Less,
        (Some(order), "<=") => order != Ordering::Greater,
        (Some(order), ">") => order == Ordering::Greater,
        (Some(order), _) => order != Ordering::Less,
    }))
}

/// Python's `is`. Numbers and strings are identical if their types and values are equal, as for small ones in CPython;
/// a NaN is not identical to any value, since floats have no identity here.
pub fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::None, Value::None) | (Value::Ellipsis, Value::Ellipsis) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Int(a), Value::Int(b)) => a == b,
        (Value::Float(a), Value::Float(b)) => a == b && a.is_sign_negative() == b.is_sign_negative(),
        (Value::Str(a), Value::Str(b)) => a == b,
        (Value::Module(a), Value::Module(b)) => a == b,
        (Value::Tuple(a), Value::Tuple(b)) if a.is_empty() && b.is_empty() => true,
        _ => {
            std::mem::discriminant(a) == std::mem::discriminant(b) && a.identity() != 0 && a.identity() == b.identity()
        }
    }
}

/// Python's `==` as a bool.
pub fn equal(a: &Value, b: &Value, call: &mut BuildContext) -> Result<bool> {
    call.charge(1)?;
    let (x, y) = match (a, b) {
        (Value::List(x), Value::List(y)) if Arc::ptr_eq(&x.0, &y.0) => return Ok(true),
        (Value::List(x), Value::List(y)) => (x.items(), y.items()),
        (Value::Tuple(x), Value::Tuple(y)) => (x.to_vec(), y.to_vec()),
        (Value::Dict(x), Value::Dict(y)) => {
            if x.len() != y.len() {
                return Ok(false);
            }
            for (key, value) in x.items() {
                let other = y.0.read().get(&key).cloned();
                match other {
                    Some(other) if equal_item(&value, &other, call)? => {}
                    _ => return Ok(false),
                }
            }
            return Ok(true);
        }
        (Value::Object(object), other) | (other, Value::Object(object)) => {
            if let Some(value) = object.operator("==", other, false, call)? {
                return Ok(value.truthy());
            }
            return Ok(a == b);
        }
        (Value::Str(x), Value::Str(y)) => return Ok(x == y),
        (Value::Set(_), Value::Set(_)) => {
            return Ok(sets::operator("==", a, b, call)?.is_some_and(|value| value.truthy()));
        }
        _ => return Ok(a == b),
    };
    if x.len() != y.len() {
        return Ok(false);
    }
    for (x, y) in x.iter().zip(&y) {
        if !equal_item(x, y, call)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Equality of items in containers, which are compared by identity first.
fn equal_item(a: &Value, b: &Value, call: &mut BuildContext) -> Result<bool> {
    call.nested(|call| Ok(same(a, b) || equal(a, b, call)?))
}

/// Evaluate `item in container`.
pub fn contains(container: &Value, item: &Value, call: &mut BuildContext) -> Result<bool> {
    match container {
        Value::Str(text) => match item {
            Value::Str(part) => {
                call.charge(text.len() / 16)?;
                Ok(text.contains(&**part))
            }
            other => bail!("'in <string>' requires string as left operand, not {}", other.type_name()),
        },
        Value::Dict(dict) => Ok(dict.0.read().contains_key(&super::iter::key(item)?)),
        Value::Set(keys) => {
            let wanted = super::iter::key(item)?;
            call.charge(keys.len())?;
            Ok(keys.contains(&wanted))
        }
        Value::Object(object) => {
            if let Some(range) = container.downcast::<Range>() {
                return Ok(range.contains(item));
            }
            match object.operator("in", item, true, call)? {
                Some(value) => Ok(value.truthy()),
                None => contains_by_walking(container, item, call),
            }
        }
        Value::List(_) | Value::Tuple(_) => contains_by_walking(container, item, call),
        other => bail!("argument of type '{}' is not iterable", other.type_name()),
    }
}

fn contains_by_walking(container: &Value, item: &Value, call: &mut BuildContext) -> Result<bool> {
    let mut cursor = Cursor::new(container)?;
    while let Some(found) = cursor.next(call)? {
        if equal_item(&found, item, call)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Order of `a` and `b`; `None` if one of them is NaN.
fn order(a: &Value, b: &Value, operator: &str, call: &mut BuildContext) -> Result<Option<Ordering>> {
    call.charge(1)?;
    Ok(match (a, b, arith::int(a), arith::int(b)) {
        (Value::Str(a), Value::Str(b), ..) => Some(a.cmp(b)),
        (_, _, Some(a), Some(b)) => Some(a.cmp(&b)),
        (Value::Float(a), Value::Float(b), ..) => a.partial_cmp(b),
        (Value::Float(a), _, _, Some(b)) => float_to_int(*a, b),
        (_, Value::Float(b), Some(a), _) => float_to_int(*b, a).map(Ordering::reverse),
        (Value::List(x), Value::List(y), ..) => return sequences(&x.items(), &y.items(), operator, call),
        (Value::Tuple(x), Value::Tuple(y), ..) => return sequences(x, y, operator, call),
        _ => return Err(arith::unsupported(operator, a, b)),
    })
}

/// Compare an int with a float without rounding the int.
fn float_to_int(x: f64, i: i64) -> Option<Ordering> {
    if x.is_nan() {
        return None;
    }
    if x.abs() >= 9.3e18 {
        return Some(if x > 0.0 { Ordering::Greater } else { Ordering::Less });
    }
    let whole = x.trunc();
    Some((whole as i128).cmp(&i128::from(i)).then(x.fract().partial_cmp(&0.0)?))
}

/// Lexicographic order of sequences.
fn sequences(x: &[Value], y: &[Value], operator: &str, call: &mut BuildContext) -> Result<Option<Ordering>> {
    for (a, b) in x.iter().zip(y) {
        if !equal_item(a, b, call)? {
            return call.nested(|call| match (a, b) {
                (Value::Object(_), _) | (_, Value::Object(_)) => {
                    let less = compare("<", a, b, call)?.truthy();
                    Ok(Some(if less { Ordering::Less } else { Ordering::Greater }))
                }
                _ => order(a, b, operator, call),
            });
        }
    }
    Ok(Some(x.len().cmp(&y.len())))
}

/// Evaluate `a < b`.
pub fn less(a: &Value, b: &Value, call: &mut BuildContext) -> Result<bool> {
    compare("<", a, b, call).map(|value| value.truthy())
}

/// Stable sort by `keys`. Own merge sort, since comparisons can fail, and the standard sort requires a total order,
/// which NaN violates.
pub fn sort(items: Vec<Value>, keys: Option<Vec<Value>>, reverse: bool, call: &mut BuildContext) -> Result<Vec<Value>> {
    let mut pairs: Vec<(Value, Value)> = match keys {
        Some(keys) => keys.into_iter().zip(items).collect(),
        None => items.into_iter().map(|item| (item.clone(), item)).collect(),
    };
    // Reversed before and after sorting, so that equal items keep their order.
    if reverse {
        pairs.reverse();
    }
    let mut width = 1;
    while width < pairs.len() {
        let mut merged = Vec::with_capacity(pairs.len());
        for start in (0..pairs.len()).step_by(2 * width) {
            let middle = (start + width).min(pairs.len());
            let end = (start + 2 * width).min(pairs.len());
            let (mut left, mut right) = (start, middle);
            while left < middle && right < end {
                let from = if less(&pairs[right].0, &pairs[left].0, call)? { &mut right } else { &mut left };
                merged.push(pairs[*from].clone());
                *from += 1;
            }
            merged.extend_from_slice(&pairs[left..middle]);
            merged.extend_from_slice(&pairs[right..end]);
        }
        pairs = merged;
        width *= 2;
    }
    if reverse {
        pairs.reverse();
    }
    Ok(pairs.into_iter().map(|(_, item)| item).collect())
}
