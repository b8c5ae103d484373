//! Scalars of YAML 1.1, with PyYAML's implicit resolvers (`yaml/resolver.py`, `yaml/constructor.py`).
//!
//! Rules of YAML 1.1 that often surprise: `yes`, `on`, `off` are booleans; `1e-3` is text and `1.0e-3` a float; `017`
//! is octal and `0o17` text; `12:30:45` is a sexagesimal integer; `+.5` is text.

use crate::component::{Value, as_number};

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
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Scalar::Value(Value::None),
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Scalar::Value(Value::Bool(true)),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Scalar::Value(Value::Bool(false)),
        "<<" => return Err("merge keys (`<<`) are not supported; MONAI rejects them, too".into()),
        "=" => return Err("a plain `=` is not supported; put it in quotes".into()),
        _ if is_float(text) => {
            Scalar::Value(Value::Float(float(text).ok_or_else(|| format!("cannot read the float {text}"))?))
        }
        _ if is_int(text) => Scalar::Value(Value::Int(int(text)?)),
        _ if is_date(text) => Scalar::Date,
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

fn all(text: &str, allowed: impl Fn(u8) -> bool) -> bool {
    text.bytes().all(allowed)
}

/// Matches `[0-9][0-9_]*`.
fn is_digits(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit()) && all(text, |b| b.is_ascii_digit() || b == b'_')
}

/// Matches the tail `(?::[0-5]?[0-9])+`, given the parts between the colons.
fn are_sixtieths<'a>(mut parts: impl Iterator<Item = &'a str>) -> bool {
    parts.all(|part| match part.as_bytes() {
        [b] => b.is_ascii_digit(),
        [a, b] => (b'0'..=b'5').contains(a) && b.is_ascii_digit(),
        _ => false,
    })
}

fn is_float(text: &str) -> bool {
    let body = unsigned(text);
    if matches!(body, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let Some((whole, rest)) = body.split_once('.') else { return false };
    let sexagesimal =
        || whole.split_once(':').is_some_and(|(first, tail)| is_digits(first) && are_sixtieths(tail.split(':')));
    if whole.contains(':') {
        return sexagesimal() && all(rest, |b| b.is_ascii_digit() || b == b'_');
    }
    let (fraction, exponent) = match rest.find(['e', 'E']) {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    let exponent_ok = exponent.is_none_or(|exponent| {
        exponent.starts_with(['-', '+']) && exponent.len() > 1 && all(&exponent[1..], |b| b.is_ascii_digit())
    });
    let whole_ok = if whole.is_empty() {
        // With a sign before the decimal point it is text.
        body.len() == text.len() && is_digits(fraction)
    } else {
        is_digits(whole) && all(fraction, |b| b.is_ascii_digit() || b == b'_')
    };
    whole_ok && exponent_ok
}

fn is_int(text: &str) -> bool {
    let body = unsigned(text);
    if let Some(bits) = body.strip_prefix("0b") {
        return !bits.is_empty() && all(bits, |b| matches!(b, b'0' | b'1' | b'_'));
    }
    if let Some(digits) = body.strip_prefix("0x") {
        return !digits.is_empty() && all(digits, |b| b.is_ascii_hexdigit() || b == b'_');
    }
    if let Some(octal) = body.strip_prefix('0') {
        return all(octal, |b| (b'0'..=b'7').contains(&b) || b == b'_');
    }
    match body.split_once(':') {
        Some((first, tail)) => is_digits(first) && are_sixtieths(tail.split(':')),
        None => is_digits(body),
    }
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

/// Matches a date such as `2020-01-31`, optionally followed by a time.
fn is_date(text: &str) -> bool {
    let (date, time) = match text.find(['T', 't', ' ', '\t']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let parts: Vec<&str> = date.split('-').collect();
    let [year, month, day] = parts[..] else { return false };
    let number = |part: &str, least: usize, most: usize| {
        (least..=most).contains(&part.len()) && all(part, |b| b.is_ascii_digit())
    };
    // Without a time, month and day must have two digits; with a time, one is sufficient.
    let least = if time.is_some() { 1 } else { 2 };
    number(year, 4, 4)
        && number(month, least, 2)
        && number(day, least, 2)
        && time.is_none_or(|time| {
            let clock = time.trim_start();
            let end = clock.find(|c: char| !c.is_ascii_digit() && c != ':' && c != '.').unwrap_or(clock.len());
            clock[..end].split(':').count() == 3
                && all(&clock[end..], |b| b.is_ascii_digit() || b"Zz+-: \t".contains(&b))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repr(text: &str) -> String {
        match plain(text) {
            Ok(Scalar::Value(value)) => format!("{value:?}"),
            Ok(Scalar::NumberText(_)) => format!("'{text}'"),
            Ok(other) => format!("{other:?}"),
            Err(message) => message,
        }
    }

    /// Expected values: `yaml.safe_load(f"a: {text}")["a"]` of PyYAML 6.
    #[test]
    fn plain_words_mean_what_pyyaml_makes_of_them() {
        for (text, expected) in [
            ("12:30:45", "45045"),
            ("0o17", "'0o17'"),
            ("017", "15"),
            ("-017", "-15"),
            ("0x1F", "31"),
            ("-0x1F", "-31"),
            ("1_000", "1000"),
            ("0b11", "3"),
            ("0b_1", "1"),
            ("0x", "'0x'"),
            ("08", "'08'"),
            ("09.5", "9.5"),
            ("0_", "0"),
            ("1e3", "'1e3'"),
            ("1.5e3", "'1.5e3'"),
            ("1.5e+3", "1500.0"),
            (".5", "0.5"),
            ("+.5", "'+.5'"),
            ("1.", "1.0"),
            ("1_0.5_0", "10.5"),
            ("190:20:30.15", "685230.15"),
            ("-.inf", "-inf"),
            (".NaN", "nan"),
            ("y", "'y'"),
            ("Yes", "True"),
            ("oFf", "'oFf'"),
            ("", "None"),
            ("~", "None"),
            ("2020-01-01", "Date"),
            ("2020-1-1", "'2020-1-1'"),
            ("2001-12-14t21:59:43.10-05:00", "Date"),
        ] {
            assert_eq!(repr(text), expected, "{text}");
        }
    }
}
