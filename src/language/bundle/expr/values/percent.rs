//! String formatting with `template % values`.

use super::format;
use super::{index, numbers};
use crate::component::{BuildContext, Value};
use crate::error::Result;
use crate::{bail, err};

/// Format a template. Fields consist of `%(key)`, flags, width, precision and a type (s, r, d, i, x, X, o, e, f or g).
pub fn format(template: &str, values: &Value, call: &mut BuildContext) -> Result<String> {
    let items = if let Value::Tuple(items) = values { items.to_vec() } else { vec![values.clone()] };
    let mut left = items.into_iter();
    let mut out = String::new();
    let mut rest = template;
    let mut mapped = false;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        rest = after;
        if let Some(after) = rest.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let value = match rest.strip_prefix('(') {
            Some(after) => {
                let (key, after) = after.split_once(')').ok_or_else(|| err!("incomplete format key"))?;
                if !matches!(values, Value::Dict(_) | Value::Object(_)) {
                    bail!("format requires a mapping");
                }
                mapped = true;
                rest = after;
                index::index(values, &Value::str(key), call)?
            }
            None => left.next().ok_or_else(|| err!("not enough arguments for format string"))?,
        };
        let end = rest.find(|c: char| !matches!(c, '-' | '+' | ' ' | '.' | '0'..='9'));
        let Some((end, kind)) = end.and_then(|end| Some((end, rest[end..].chars().next()?))) else {
            bail!("incomplete format")
        };
        out.push_str(&field(&value, &rest[..end], kind, call)?);
        rest = &rest[end + kind.len_utf8()..];
    }
    out.push_str(rest);
    call.charge(out.len())?;
    if left.next().is_some() && !mapped && !matches!(values, Value::Dict(_) | Value::List(_)) {
        bail!("not all arguments converted during string formatting");
    }
    Ok(out)
}

/// Format a field with `format(value, spec)`, which spells the flags differently.
fn field(value: &Value, flags: &str, kind: char, call: &mut BuildContext) -> Result<String> {
    let size = flags.trim_start_matches(['-', '+', ' ']);
    let zero = size.starts_with('0') && !flags.contains('-');
    let size = size.trim_start_matches('0');
    let sign = if flags.contains('+') {
        "+"
    } else if flags.contains(' ') {
        " "
    } else {
        ""
    };
    let text = matches!(kind, 's' | 'r');
    let align = if flags.contains('-') {
        "<"
    } else if text || !zero {
        ">"
    } else {
        ""
    };
    let value = match (kind, value) {
        ('s' | 'r', value) => Value::from(format::converted(value, kind, call)?),
        ('d' | 'i', Value::Float(x)) => Value::Int(numbers::to_int(*x)?),
        ('d' | 'i' | 'x' | 'X' | 'o' | 'e' | 'f' | 'g', Value::Str(_)) => {
            bail!("%{kind} format: a number is required, not str")
        }
        ('d' | 'i' | 'x' | 'X' | 'o' | 'e' | 'f' | 'g', value) => value.clone(),
        _ => bail!("unsupported format character '{kind}'"),
    };
    let kind = if kind == 'i' { 'd' } else { kind };
    let spec = match text {
        true => format!("{align}{size}s"),
        false => format!("{align}{sign}{}{size}{kind}", if zero { "0" } else { "" }),
    };
    format::format(&value, &spec, call)
}
