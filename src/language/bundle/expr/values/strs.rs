//! Methods of strings. Positions count characters, as in Python; `find` and `count` search the whole string.

use super::iter::collect;
use super::{index, template};
use crate::component::{BuildContext, Value};
use crate::error::Result;
use crate::python::given::{Given, Method, method};
use crate::{bail, err};
use std::sync::Arc;

pub static METHODS: &[Method<Value>] = &[
    method(&["lower"], &[], |own, _, call| recase(own, call, |text| text.to_lowercase())),
    method(&["upper"], &[], |own, _, call| recase(own, call, |text| text.to_uppercase())),
    method(&["isdigit"], &[], |own, _, _| {
        Ok(Value::Bool(!own_text(own).is_empty() && own_text(own).chars().all(|c| c.is_ascii_digit())))
    }),
    method(&["zfill"], &["width"], |own, given, call| {
        let own = own_text(own);
        let (sign, digits) = own.split_at(usize::from(own.starts_with(['+', '-'])));
        let width = usize::try_from(given.need::<i64>(0)?).unwrap_or(0);
        call.charge(width)?;
        let zeros = width.saturating_sub(own.chars().count());
        Ok(Value::from(format!("{sign}{}{digits}", "0".repeat(zeros))))
    }),
    method(&["find"], &["sub"], |own, given, _| {
        let (own, wanted): (_, Arc<str>) = (own_text(own), given.need(0)?);
        Ok(Value::Int(own.find(&*wanted).map_or(-1, |at| own[..at].chars().count() as i64)))
    }),
    method(&["count"], &["sub"], |own, given, _| {
        Ok(Value::Int(own_text(own).matches(&*given.need::<Arc<str>>(0)?).count() as i64))
    }),
    method(&["startswith"], &["prefix"], |own, given, _| begins(own, given, |own, with| own.starts_with(with))),
    method(&["endswith"], &["suffix"], |own, given, _| begins(own, given, |own, with| own.ends_with(with))),
    method(&["strip"], &["chars"], |own, given, _| strip(own, given, true, true)),
    method(&["lstrip"], &["chars"], |own, given, _| strip(own, given, true, false)),
    method(&["rstrip"], &["chars"], |own, given, _| strip(own, given, false, true)),
    method(&["removeprefix"], &["prefix"], |own, given, _| {
        let own = own_text(own);
        Ok(Value::str(own.strip_prefix(&*given.need::<Arc<str>>(0)?).unwrap_or(own)))
    }),
    method(&["removesuffix"], &["suffix"], |own, given, _| {
        let own = own_text(own);
        Ok(Value::str(own.strip_suffix(&*given.need::<Arc<str>>(0)?).unwrap_or(own)))
    }),
    method(&["replace"], &["old", "new", "count"], |own, given, call| {
        let own = own_text(own);
        let (old, new): (Arc<str>, Arc<str>) = (given.need(0)?, given.need(1)?);
        let hits = if old.is_empty() { own.len() + 1 } else { own.len() / old.len() };
        let hits = usize::try_from(given.get(2)?.unwrap_or(-1i64)).map_or(hits, |count| hits.min(count));
        call.charge(hits.saturating_mul(new.len()).saturating_add(own.len()))?;
        Ok(Value::from(own.replacen(&*old, &new, hits)))
    }),
    method(&["join"], &["iterable"], |own, given, call| {
        let own = own_text(own);
        let items = collect(&given.need(0)?, call)?;
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
    method(&["split"], &["sep", "maxsplit"], |own, given, call| cut(own, given, false, call)),
    method(&["rsplit"], &["sep", "maxsplit"], |own, given, call| cut(own, given, true, call)),
    method(&["splitlines"], &[], |own, _, call| {
        call.charge(own_text(own).len())?;
        Ok(Value::list(own_text(own).lines().map(Value::str)))
    }),
    method(&["format"], &["**"], |own, given, call| {
        Ok(Value::from(template::format(own_text(own), &given.rest, call)?))
    }),
    index::METHOD,
];

fn own_text(own: &Value) -> &str {
    own.as_str().unwrap_or_default()
}

fn recase(own: &Value, call: &mut BuildContext, change: fn(&str) -> String) -> Result<Value> {
    call.charge(own_text(own).len())?;
    Ok(Value::from(change(own_text(own))))
}

fn strip(own: &Value, given: &Given, start: bool, end: bool) -> Result<Value> {
    let chars: Option<Arc<str>> = given.get(0)?;
    let cut = |c: char| chars.as_ref().map_or_else(|| is_space(c), |chars| chars.contains(c));
    let own = if start { own_text(own).trim_start_matches(cut) } else { own_text(own) };
    Ok(Value::str(if end { own.trim_end_matches(cut) } else { own }))
}

/// Split at most `maxsplit` times from the left or the right; without a separator at whitespace, without a limit.
fn cut(own: &Value, given: &Given, right: bool, call: &mut BuildContext) -> Result<Value> {
    let own = own_text(own);
    call.charge(own.len())?;
    let separator: Option<Arc<str>> = given.get(0)?;
    let limit = given.get(1)?.unwrap_or(-1i64);
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

fn begins(own: &Value, given: &Given, fits: fn(&str, &str) -> bool) -> Result<Value> {
    let options: Vec<Arc<str>> = match given.value(0) {
        Some(Value::Tuple(_)) => given.need(0)?,
        _ => vec![given.need(0)?],
    };
    Ok(Value::Bool(options.iter().any(|with| fits(own_text(own), with))))
}
