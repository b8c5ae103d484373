//! Methods of strings. Positions count characters, as in Python; `find` and `count` search the whole string.

use super::iter::collect;
use super::methods::{Given, Method, any, method};
use super::{index, integer, template};
use crate::component::{BuildContext, Value};
use crate::error::Result;
use crate::{bail, err};
use std::sync::Arc;

/// A string argument.
pub fn text(value: &Value, function: &str) -> Result<Arc<str>> {
    match value {
        Value::Str(text) => Ok(text.clone()),
        other => bail!("{function}(): expected str, found {}", other.type_name()),
    }
}

pub static METHODS: &[Method] = &[
    method("lower", &[], 0, |own, _, call| recase(own, call, |text| text.to_lowercase())),
    method("upper", &[], 0, |own, _, call| recase(own, call, |text| text.to_uppercase())),
    method("isdigit", &[], 0, |own, _, _| all(own, |c| c.is_ascii_digit())),
    method("zfill", &["width"], 1, |own, given, call| {
        let own = own_text(own);
        let (sign, digits) = own.split_at(usize::from(own.starts_with(['+', '-'])));
        let width = usize::try_from(integer(&given.value(0), "widths")?).unwrap_or(0);
        call.charge(width)?;
        let zeros = width.saturating_sub(own.chars().count());
        Ok(Value::from(format!("{sign}{}{digits}", "0".repeat(zeros))))
    }),
    method("find", &["sub"], 1, |own, given, _| {
        let (own, wanted) = (own_text(own), text(&given.value(0), "find")?);
        Ok(Value::Int(own.find(&*wanted).map_or(-1, |at| own[..at].chars().count() as i64)))
    }),
    method("count", &["sub"], 1, |own, given, _| {
        let (own, wanted) = (own_text(own), text(&given.value(0), "count")?);
        Ok(Value::Int(own.matches(&*wanted).count() as i64))
    }),
    method("startswith", &["prefix"], 1, |own, given, _| {
        begins(own, given, "startswith", |own, with| own.starts_with(with))
    }),
    method("endswith", &["suffix"], 1, |own, given, _| begins(own, given, "endswith", |own, with| own.ends_with(with))),
    method("strip", &["chars"], 0, |own, given, _| strip(own, given, true, true)),
    method("lstrip", &["chars"], 0, |own, given, _| strip(own, given, true, false)),
    method("rstrip", &["chars"], 0, |own, given, _| strip(own, given, false, true)),
    method("removeprefix", &["prefix"], 1, |own, given, _| {
        let (own, prefix) = (own_text(own), text(&given.value(0), "removeprefix")?);
        Ok(Value::str(own.strip_prefix(&*prefix).unwrap_or(own)))
    }),
    method("removesuffix", &["suffix"], 1, |own, given, _| {
        let (own, suffix) = (own_text(own), text(&given.value(0), "removesuffix")?);
        Ok(Value::str(own.strip_suffix(&*suffix).unwrap_or(own)))
    }),
    method("replace", &["old", "new", "count"], 2, |own, given, call| {
        let own = own_text(own);
        let (old, new) = (text(&given.value(0), "replace")?, text(&given.value(1), "replace")?);
        let count = given.option(2).map_or(Ok(-1), |count| integer(&count, "counts"))?;
        let hits = if old.is_empty() { own.len() + 1 } else { own.len() / old.len() };
        let hits = usize::try_from(count).map_or(hits, |count| hits.min(count));
        call.charge(hits.saturating_mul(new.len()).saturating_add(own.len()))?;
        Ok(Value::from(own.replacen(&*old, &new, hits)))
    }),
    method("join", &["iterable"], 1, |own, given, call| {
        let own = own_text(own);
        let items = collect(&given.value(0), call)?;
        let mut parts = Vec::with_capacity(items.len());
        for (at, item) in items.iter().enumerate() {
            let Value::Str(part) = item else {
                return Err(err!("sequence item {at}: expected str, found {}", item.type_name())
                    .hint("join takes strings: `'…'.join(map(str, …))`"));
            };
            call.charge(part.len() + own.len())?;
            parts.push(&**part);
        }
        Ok(Value::from(parts.join(own)))
    }),
    method("split", &["sep", "maxsplit"], 0, |own, given, call| cut(own, given, false, call)),
    method("rsplit", &["sep", "maxsplit"], 0, |own, given, call| cut(own, given, true, call)),
    method("splitlines", &[], 0, |own, _, call| {
        call.charge(own_text(own).len())?;
        Ok(Value::list(own_text(own).lines().map(Value::str)))
    }),
    any("format", |own, given, call| Ok(Value::from(template::format(own_text(own), &given.rest, call)?))),
    method("__getitem__", &["index"], 1, |own, given, call| index::index(own, &given.value(0), call)),
];

fn own_text(own: &Value) -> &str {
    own.as_str().unwrap_or_default()
}

fn recase(own: &Value, call: &mut BuildContext, change: fn(&str) -> String) -> Result<Value> {
    call.charge(own_text(own).len())?;
    Ok(Value::from(change(own_text(own))))
}

fn all(own: &Value, test: fn(char) -> bool) -> Result<Value> {
    Ok(Value::Bool(!own_text(own).is_empty() && own_text(own).chars().all(test)))
}

fn strip(own: &Value, given: &mut Given, start: bool, end: bool) -> Result<Value> {
    let chars = given.option(0).map(|chars| text(&chars, "strip")).transpose()?;
    let cut = |c: char| chars.as_ref().map_or_else(|| is_space(c), |chars| chars.contains(c));
    let own = if start { own_text(own).trim_start_matches(cut) } else { own_text(own) };
    Ok(Value::str(if end { own.trim_end_matches(cut) } else { own }))
}

/// Split at most `maxsplit` times from the left or the right; without a separator at whitespace, without a limit.
fn cut(own: &Value, given: &mut Given, right: bool, call: &mut BuildContext) -> Result<Value> {
    let own = own_text(own);
    call.charge(own.len())?;
    let separator = given.option(0).map(|separator| text(&separator, "split")).transpose()?;
    let limit = given.option(1).map_or(Ok(-1), |limit| integer(&limit, "split limits"))?;
    let parts = usize::try_from(limit).map_or(usize::MAX, |limit| limit.saturating_add(1));
    let found: Vec<&str> = match separator.as_deref() {
        None if limit >= 0 => bail!("split() with `maxsplit` and no separator is not supported"),
        None => own.split(is_space).filter(|part| !part.is_empty()).collect(),
        Some("") => bail!("empty separator"),
        Some(separator) if right => {
            let mut found: Vec<&str> = own.rsplitn(parts, separator).collect();
            found.reverse();
            found
        }
        Some(separator) => own.splitn(parts, separator).collect(),
    };
    call.charge(found.len())?;
    Ok(Value::list(found.into_iter().map(Value::str)))
}

/// Whitespace in Python: Unicode's, and the four information separators.
fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\x1c'..='\x1f')
}

fn begins(own: &Value, given: &mut Given, name: &str, fits: fn(&str, &str) -> bool) -> Result<Value> {
    let options = match given.value(0) {
        Value::Tuple(options) => options.iter().map(|option| text(option, name)).collect::<Result<Vec<_>>>()?,
        one => vec![text(&one, name)?],
    };
    Ok(Value::Bool(options.iter().any(|with| fits(own_text(own), with))))
}
