//! Python's binary and unary operators.

use super::{numbers, object_operator, percent, sets};
use crate::component::{BuildContext, FromValue, Value};
use crate::error::{Error, Result};
use crate::{bail, err};

/// Value of an int or bool.
pub fn int(value: &Value) -> Option<i64> {
    match value {
        Value::Int(i) => Some(*i),
        Value::Bool(b) => Some(i64::from(*b)),
        _ => None,
    }
}

/// Value of an int, bool or float.
fn float(value: &Value) -> Option<f64> {
    if let Value::Float(x) = value { Some(*x) } else { int(value).map(|i| i as f64) }
}

/// Evaluate `a operator b`.
pub fn binary(operator: &str, a: &Value, b: &Value, call: &mut BuildContext) -> Result<Value> {
    let number = match (a, b, int(a).zip(int(b)), float(a).zip(float(b))) {
        (Value::Bool(x), Value::Bool(y), ..) if matches!(operator, "&" | "|" | "^") => {
            Some(Value::Bool(match operator {
                "&" => x & y,
                "|" => x | y,
                _ => x ^ y,
            }))
        }
        (_, _, Some((x, y)), _) => integers(operator, x, y)?,
        (_, _, _, Some((x, y))) => floats(operator, x, y)?,
        _ => object_operator(operator, a, b, call)?,
    };
    if let Some(value) = number {
        return Ok(value);
    }
    match (operator, a, b) {
        ("%", Value::Str(template), _) => return percent::format(template, b, call).map(Value::from),
        ("+", Value::Str(x), Value::Str(y)) => {
            call.charge(x.len() + y.len())?;
            return Ok(Value::from(format!("{x}{y}")));
        }
        ("+", Value::List(x), Value::List(y)) => {
            call.charge(x.len() + y.len())?;
            let mut items = x.items();
            items.extend(y.items());
            return Ok(Value::list(items));
        }
        ("+", Value::Tuple(x), Value::Tuple(y)) => {
            call.charge(x.len() + y.len())?;
            return Ok(Value::tuple(x.iter().chain(y.iter()).cloned()));
        }
        ("*", sequence, count) | ("*", count, sequence)
            if matches!(sequence, Value::Str(_) | Value::List(_) | Value::Tuple(_))
                && let Some(count) = i64::from_value(count) =>
        {
            return repeat(sequence, count, call);
        }
        ("|", Value::Dict(x), Value::Dict(y)) => {
            call.charge(x.len() + y.len())?;
            return Ok(Value::Dict(crate::component::Dict::new(x.items().into_iter().chain(y.items()))));
        }
        ("|" | "&" | "-" | "^", Value::Set(_), Value::Set(_)) => {
            if let Some(value) = sets::operator(operator, a, b, call)? {
                return Ok(value);
            }
        }
        _ => {}
    }
    let error = unsupported(operator, a, b);
    Err(match (operator, a, b) {
        ("+", Value::Str(_), _) | ("+", _, Value::Str(_)) => {
            error.hint("convert the other operand to a string with `str(…)`")
        }
        ("+", Value::List(_), Value::Tuple(_)) | ("+", Value::Tuple(_), Value::List(_)) => {
            error.hint("convert one operand with `list(…)` or `tuple(…)`")
        }
        _ => error,
    })
}

/// Python's TypeError for the operands of an operator.
pub fn unsupported(operator: &str, a: &Value, b: &Value) -> Error {
    err!("unsupported operand types for `{operator}`: {} and {}", a.type_name(), b.type_name())
}

/// Evaluate `sequence * count`.
fn repeat(sequence: &Value, count: i64, call: &mut BuildContext) -> Result<Value> {
    let count = usize::try_from(count).unwrap_or(0);
    if let Value::Str(text) = sequence {
        call.charge(text.len().saturating_mul(count))?;
        return Ok(Value::from(text.repeat(count)));
    }
    let items = sequence.as_sequence().unwrap_or_default();
    call.charge(items.len().saturating_mul(count))?;
    let items = if items.is_empty() { items } else { std::iter::repeat_n(items, count).flatten().collect() };
    Ok(if matches!(sequence, Value::List(_)) { Value::list(items) } else { Value::tuple(items) })
}

fn overflow() -> Error {
    err!("integer overflow: the result does not fit into 64 bits").hint("compute with floats: `2.0 ** 70`")
}

fn integers(operator: &str, x: i64, y: i64) -> Result<Option<Value>> {
    let whole = |value: Option<i64>| value.map(Value::Int).map(Some).ok_or_else(overflow);
    match operator {
        "+" => whole(x.checked_add(y)),
        "-" => whole(x.checked_sub(y)),
        "*" => whole(x.checked_mul(y)),
        "//" => whole(floor_div(x, y)?),
        "%" => {
            floor_div(x, y)?;
            whole(Some(modulo(x, y)))
        }
        "/" => Ok(Some(Value::Float(numbers::divide(x, y)?))),
        "**" => numbers::power(x, y).map(Some),
        "<<" | ">>" if y < 0 => bail!("negative shift count"),
        "<<" => match x {
            0 => Ok(Some(Value::Int(0))),
            _ => whole(
                u32::try_from(y)
                    .ok()
                    .filter(|y| *y < 64)
                    .and_then(|y| x.checked_shl(y).filter(|shifted| shifted >> y == x)),
            ),
        },
        ">>" => Ok(Some(Value::Int(x >> y.min(63)))),
        "&" => Ok(Some(Value::Int(x & y))),
        "|" => Ok(Some(Value::Int(x | y))),
        "^" => Ok(Some(Value::Int(x ^ y))),
        _ => Ok(None),
    }
}

/// Quotient rounded towards minus infinity; `None` on overflow.
fn floor_div(x: i64, y: i64) -> Result<Option<i64>> {
    if y == 0 {
        bail!("integer division or modulo by zero");
    }
    Ok(x.checked_div(y).map(|quotient| if x % y != 0 && (x < 0) != (y < 0) { quotient - 1 } else { quotient }))
}

/// Remainder with the sign of `y`.
fn modulo(x: i64, y: i64) -> i64 {
    let rest = x.wrapping_rem(y);
    if rest != 0 && (rest < 0) != (y < 0) { rest + y } else { rest }
}

fn floats(operator: &str, x: f64, y: f64) -> Result<Option<Value>> {
    Ok(Some(Value::Float(match operator {
        "+" => x + y,
        "-" => x - y,
        "*" => x * y,
        "/" if y == 0.0 => bail!("float division by zero"),
        "/" => x / y,
        "//" => numbers::divmod(x, y)?.0,
        "%" => numbers::divmod(x, y)?.1,
        "**" => numbers::float_power(x, y)?,
        _ => return Ok(None),
    })))
}

/// Evaluate `-a`, `+a` or `~a`.
pub fn unary(operator: &str, a: &Value, call: &mut BuildContext) -> Result<Value> {
    match (operator, int(a), a) {
        ("-", Some(x), _) => return x.checked_neg().map(Value::Int).ok_or_else(overflow),
        ("+", Some(x), _) => return Ok(Value::Int(x)),
        ("~", Some(x), _) => return Ok(Value::Int(!x)),
        ("abs", Some(x), _) => return x.checked_abs().map(Value::Int).ok_or_else(overflow),
        ("-", _, Value::Float(x)) => return Ok(Value::Float(-x)),
        ("+", _, Value::Float(x)) => return Ok(Value::Float(*x)),
        ("abs", _, Value::Float(x)) => return Ok(Value::Float(x.abs())),
        _ => {}
    }
    if let Value::Object(object) = a {
        let name = match operator {
            "-" => "neg",
            "+" => "pos",
            "~" => "invert",
            other => other,
        };
        if let Some(value) = object.operator(name, &Value::None, false, call)? {
            return Ok(value);
        }
    }
    bail!("unsupported operand type for unary `{operator}`: {}", a.type_name())
}
