//! Built-in types as functions, and conversions between numbers and text.

use crate::bundle::expr::values::iter::{collect, collect_keys};
use crate::bundle::expr::values::{self, arith, integer, sets, take};
use crate::component::{Args, BuildContext, Dict, FromValue, Key, Value};
use crate::error::Result;
use crate::{bail, err};

fn one(args: Args, name: &str) -> Result<Value> {
    Ok(take(args, name, ["x"], 1)?[0].take().unwrap_or_default())
}

pub fn abs(args: Args, call: &mut BuildContext) -> Result<Value> {
    arith::unary("abs", &one(args, "abs")?, call)
}

pub fn bool(args: Args, _: &mut BuildContext) -> Result<Value> {
    let [value] = take(args, "bool", ["x"], 0)?;
    Ok(Value::Bool(value.is_some_and(|value| value.truthy())))
}

/// `int(x)`: truncates towards zero; text must contain a decimal number.
pub fn int(args: Args, call: &mut BuildContext) -> Result<Value> {
    let [value] = take(args, "int", ["x"], 0)?;
    let Some(value) = value else { return Ok(Value::Int(0)) };
    let wrong = || err!("int() argument must be a string or a real number, not '{}'", value.type_name());
    match &value {
        Value::Str(text) => {
            call.charge(text.len() / 16)?;
            let wrong = || err!("invalid literal for int() with base 10: {value:?}");
            let digits = plain_digits(text).ok_or_else(wrong)?;
            let unsigned = digits.trim_start_matches(['-', '+']);
            digits.parse().map(Value::Int).map_err(|_| {
                match digits.len() > 18 && unsigned.bytes().all(|b| b.is_ascii_digit()) {
                    true => err!("integer overflow: {text} does not fit into 64 bits"),
                    false => wrong(),
                }
            })
        }
        Value::Float(x) => values::to_int(*x).map(Value::Int),
        Value::Object(object) => match (object.attr("__int__")?, i64::from_value(&value), f64::from_value(&value)) {
            (Some(Value::Int(i)), ..) | (_, Some(i), _) => Ok(Value::Int(i)),
            (_, _, Some(x)) => values::to_int(x).map(Value::Int),
            _ => Err(wrong()),
        },
        _ => i64::from_value(&value).map(Value::Int).ok_or_else(wrong),
    }
}

/// Text of a number without surrounding whitespace and underscores; `None` for underscores that do not separate digits.
fn plain_digits(text: &str) -> Option<String> {
    let bytes = text.trim().as_bytes();
    let placed =
        |at: usize| at > 0 && bytes[at - 1].is_ascii_digit() && bytes.get(at + 1).is_some_and(u8::is_ascii_digit);
    let good = bytes.iter().enumerate().all(|(at, byte)| *byte != b'_' || placed(at));
    good.then(|| text.trim().replace('_', ""))
}

pub fn float(args: Args, _: &mut BuildContext) -> Result<Value> {
    let [value] = take(args, "float", ["x"], 0)?;
    let Some(value) = value else { return Ok(Value::Float(0.0)) };
    if let Value::Str(text) = &value {
        let number = plain_digits(text).and_then(|digits| digits.parse().ok());
        return number.map(Value::Float).ok_or_else(|| err!("could not convert string to float: {value:?}"));
    }
    match f64::from_value(&value).or_else(|| i64::from_value(&value).map(|i| i as f64)) {
        Some(x) => Ok(Value::Float(x)),
        None => bail!("float() argument must be a string or a real number, not '{}'", value.type_name()),
    }
}

pub fn str(args: Args, call: &mut BuildContext) -> Result<Value> {
    let [value] = take(args, "str", ["object"], 0)?;
    let Some(value) = value else { return Ok(Value::str("")) };
    if matches!(value, Value::Str(_)) {
        return Ok(value);
    }
    let text = value.to_string();
    call.charge(text.len())?;
    Ok(Value::from(text))
}

pub fn repr(args: Args, call: &mut BuildContext) -> Result<Value> {
    let text = format!("{:?}", one(args, "repr")?);
    call.charge(text.len())?;
    Ok(Value::from(text))
}

/// Round half to even, on the exact value.
pub fn round(args: Args, call: &mut BuildContext) -> Result<Value> {
    let [value, digits] = take(args, "round", ["number", "ndigits"], 1)?;
    let value = value.unwrap_or_default();
    let digits = match digits {
        None | Some(Value::None) => None,
        Some(digits) => Some(integer(&digits, "round()'s digits")?),
    };
    match (&value, digits) {
        (Value::Float(x), None) => values::to_int(x.round_ties_even()).map(Value::Int),
        (Value::Float(x), Some(digits)) => Ok(Value::Float(values::round_float(*x, digits))),
        (Value::Object(object), digits) => {
            let mut rest = Args::positional(digits.map(Value::Int));
            match object.call_method("__round__", &mut rest, call)? {
                Some(value) => Ok(value),
                None => match (f64::from_value(&value), digits) {
                    (Some(x), None) => values::to_int(x.round_ties_even()).map(Value::Int),
                    (Some(x), Some(digits)) => Ok(Value::Float(values::round_float(x, digits))),
                    _ => bail!("{} cannot be rounded", value.type_name()),
                },
            }
        }
        (value, digits) => match i64::from_value(value) {
            Some(i) => values::round_int(i, digits.unwrap_or(0)).map(Value::Int),
            None => bail!("{} cannot be rounded", value.type_name()),
        },
    }
}

fn items(args: Args, name: &str, call: &mut BuildContext) -> Result<Vec<Value>> {
    let [source] = take(args, name, ["iterable"], 0)?;
    source.map_or(Ok(vec![]), |source| collect(&source, call))
}
pub fn list(args: Args, call: &mut BuildContext) -> Result<Value> {
    Ok(Value::list(items(args, "list", call)?))
}
pub fn tuple(args: Args, call: &mut BuildContext) -> Result<Value> {
    if let [value @ Value::Tuple(_)] = args.positional.as_slice() {
        return Ok(value.clone());
    }
    Ok(Value::tuple(items(args, "tuple", call)?))
}
pub fn set(args: Args, call: &mut BuildContext) -> Result<Value> {
    let [source] = take(args, "set", ["iterable"], 0)?;
    let keys = source.map_or(Ok(vec![]), |source| collect_keys(&source, call))?;
    Ok(sets::make(keys))
}
pub fn dict(mut args: Args, call: &mut BuildContext) -> Result<Value> {
    let named = std::mem::take(&mut args.named);
    let [source] = take(args, "dict", ["mapping"], 0)?;
    let mut pairs = source.map_or(Ok(vec![]), |source| values::pairs(&source, call))?;
    pairs.extend(named.into_iter().map(|(name, value)| (Key::Str(name), value)));
    call.charge(pairs.len())?;
    Ok(Value::Dict(Dict::new(pairs)))
}
