//! Scalars of YAML 1.1, with PyYAML's implicit resolvers (`yaml/resolver.py`, `yaml/constructor.py`).
//!
//! Rules of YAML 1.1 that often surprise: `yes`, `on`, `off` are booleans; `1e-3` is text and `1.0e-3` a float; `017`
//! is octal and `0o17` text; `12:30:45` is a sexagesimal integer; `+.5` is text.

use crate::component::{Value, as_number};
use fancy_regex::Regex;
use std::sync::LazyLock;

/// A parsed scalar.
#[derive(Debug, PartialEq)]
pub enum Scalar {
    Value(Value),
    /// A date or time, which the caller reads as text.
    Date,
    /// Text that looks like a number, with the spelling that YAML 1.1 reads as one.
    NumberText(String),
}

/// Parse a plain (unquoted, untagged) scalar.
pub fn plain(text: &str) -> Result<Scalar, String> {
    let [is_float, is_int, is_date] = kinds(text);
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Scalar::Value(Value::None),
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Scalar::Value(Value::Bool(true)),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Scalar::Value(Value::Bool(false)),
        "<<" => return Err("merge keys (`<<`) are not supported; MONAI rejects them, too".into()),
        "=" => return Err("a plain `=` is not supported; put it in quotes".into()),
        _ if is_float => {
            Scalar::Value(Value::Float(float(text).ok_or_else(|| format!("cannot read the float {text}"))?))
        }
        _ if is_int => Scalar::Value(Value::Int(int(text)?)),
        _ if is_date => Scalar::Date,
        _ => as_number(text).map_or_else(|| Scalar::Value(Value::str(text)), Scalar::NumberText),
    })
}

/// Parse a scalar with the tag `!!suffix`.
pub fn tagged(suffix: &str, text: &str) -> Result<Scalar, String> {
    let wrong = || format!("expected {suffix}, found `{text}`");
    Ok(Scalar::Value(match suffix {
        "str" => Value::str(text),
        "int" => Value::Int(int(text)?),
        "float" => Value::Float(float(text).ok_or_else(wrong)?),
        "null" => Value::None,
        "bool" => match text.to_ascii_lowercase().as_str() {
            "yes" | "true" | "on" => Value::Bool(true),
            "no" | "false" | "off" => Value::Bool(false),
            _ => return Err(wrong()),
        },
        "timestamp" => return Ok(Scalar::Date),
        _ => return Err(format!("the tag `!!{suffix}` is not supported")),
    }))
}

fn unsigned(text: &str) -> &str {
    text.strip_prefix(['-', '+']).unwrap_or(text)
}

/// PyYAML's patterns of floats, integers and dates (`yaml/resolver.py`). They have no lookarounds, so matching takes
/// linear time.
const FLOAT: &str = r"(?x)^(?: [-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)? | \.[0-9][0-9_]*(?:[eE][-+][0-9]+)?
    | [-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]* | [-+]?\.(?:inf|Inf|INF) | \.(?:nan|NaN|NAN) )$";
const INT: &str = r"(?x)^(?: [-+]?0b[0-1_]+ | [-+]?0[0-7_]* | [-+]?(?:0|[1-9][0-9_]*) | [-+]?0x[0-9a-fA-F_]+
    | [-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+ )$";
const DATE: &str = r"(?x)^(?: [0-9]{4}-[0-9]{2}-[0-9]{2} | [0-9]{4}-[0-9]{1,2}-[0-9]{1,2} (?:[Tt]|[\ \t]+)
    [0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]*)? (?:[\ \t]*(?:Z|[-+][0-9]{1,2}(?::[0-9]{2})?))? )$";

/// Whether each of them matches.
fn kinds(text: &str) -> [bool; 3] {
    static PATTERNS: LazyLock<[Option<Regex>; 3]> =
        LazyLock::new(|| [FLOAT, INT, DATE].map(|pattern| Regex::new(pattern).ok()));
    PATTERNS.each_ref().map(|pattern| pattern.as_ref().is_some_and(|pattern| pattern.is_match(text).unwrap_or(false)))
}

fn int(text: &str) -> Result<i64, String> {
    let clean = text.replace('_', "");
    let body = unsigned(&clean);
    let magnitude = if let Some(bits) = body.strip_prefix("0b") {
        i128::from_str_radix(bits, 2).ok()
    } else if let Some(digits) = body.strip_prefix("0x") {
        i128::from_str_radix(digits, 16).ok()
    } else if body.starts_with('0') && body.len() > 1 {
        i128::from_str_radix(body, 8).ok()
    } else {
        body.split(':').try_fold(0i128, |sum, part| sum.checked_mul(60)?.checked_add(part.parse().ok()?))
    };
    let signed = magnitude.map(|n| if clean.starts_with('-') { -n } else { n });
    signed
        .and_then(|n| i64::try_from(n).ok())
        .ok_or_else(|| format!("the integer {text} cannot be read or does not fit into 64 bits"))
}

fn float(text: &str) -> Option<f64> {
    let clean = text.replace('_', "").to_ascii_lowercase();
    let sign = if clean.starts_with('-') { -1.0 } else { 1.0 };
    let magnitude = match unsigned(&clean) {
        ".inf" => f64::INFINITY,
        ".nan" => f64::NAN,
        body => {
            // The same order of additions as in PyYAML, for equal rounding.
            let mut base = 1.0;
            let mut sum = 0.0;
            for part in body.split(':').rev() {
                sum += part.parse::<f64>().ok()? * base;
                base *= 60.0;
            }
            sum
        }
    };
    Some(sign * magnitude)
}
