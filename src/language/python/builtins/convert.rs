//! Built-in types as functions, and conversions between numbers and text.

use crate::bundle::expr::values::iter::{collect, collect_keys};
use crate::bundle::expr::values::{self, arith, sets};
use crate::component::{Args, BuildContext, Dict, FromValue, Value};
use crate::error::Result;
use crate::python::common::one;
use crate::python::given::Given;
use crate::{bail, err};

/// The only argument, which has a default.
fn optional(name: &str, args: Args) -> Result<Option<Value>> {
    Ok(Given::bind(name, &["x|object|iterable"], args)?.any(0).cloned())
}

pub fn abs(args: Args, call: &mut BuildContext) -> Result<Value> {
    arith::unary("abs", &one::<Value>("abs", "x", args)?, call)
}

pub fn bool(args: Args, _: &mut BuildContext) -> Result<Value> {
    Ok(Value::Bool(optional("bool", args)?.is_some_and(|value| value.truthy())))
}

/// `int(x)`: truncates towards zero; text must contain a decimal number.
pub fn int(args: Args, call: &mut BuildContext) -> Result<Value> {
    let Some(value) = optional("int", args)? else { return Ok(Value::Int(0)) };
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
    let Some(value) = optional("float", args)? else { return Ok(Value::Float(0.0)) };
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
    let Some(value) = optional("str", args)? else { return Ok(Value::str("")) };
    if matches!(value, Value::Str(_)) {
        return Ok(value);
    }
    let text = value.to_string();
    call.charge(text.len())?;
    Ok(Value::from(text))
}

pub fn repr(args: Args, call: &mut BuildContext) -> Result<Value> {
    let text = format!("{:?}", one::<Value>("repr", "obj", args)?);
    call.charge(text.len())?;
    Ok(Value::from(text))
}

/// Round half to even, on the exact value.
pub fn round(args: Args, call: &mut BuildContext) -> Result<Value> {
    let given = Given::bind("round", &["number", "ndigits"], args)?;
    let (value, digits): (Value, Option<i64>) = (given.need(0)?, given.get(1)?);
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
    optional(name, args)?.map_or(Ok(vec![]), |source| collect(&source, call))
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
    Ok(sets::make(optional("set", args)?.map_or(Ok(vec![]), |source| collect_keys(&source, call))?))
}
pub fn dict(args: Args, call: &mut BuildContext) -> Result<Value> {
    Ok(Value::Dict(Dict::new(values::dict_arguments("dict", args, call)?)))
}
