//! Methods of strings. Positions count characters, as in Python.

use super::iter::collect;
use super::methods::{Given, Method, any, method};
use super::{index, integer, split, template};
use crate::component::{BuildContext, Value};
use crate::error::Result;
use crate::{bail, err};
use std::sync::Arc;

/// A string argument.
pub fn text(value: &Value, function: &str) -> Result<Arc<str>> {
    match value {
        Value::Str(text) => Ok(text.clone()),
        other => bail!("{function}() needs a str, found {}", other.type_name()),
    }
}

const SUB: &[&str] = &["sub", "start", "end"];
const PREFIX: &[&str] = &["prefix", "start", "end"];
const SPLIT: &[&str] = &["sep", "maxsplit"];

pub static METHODS: &[Method] = &[
    method("lower", &[], 0, |own, _, call| recase(own, call, |text| text.to_lowercase())),
    method("upper", &[], 0, |own, _, call| recase(own, call, |text| text.to_uppercase())),
    method("capitalize", &[], 0, |own, _, call| {
        recase(own, call, |text| {
            let mut chars = text.chars();
            chars.next().map_or_else(String::new, |c| c.to_uppercase().collect()) + &chars.as_str().to_lowercase()
        })
    }),
    method("isdigit", &[], 0, |own, _, _| all(own, |c| c.is_ascii_digit())),
    method("isalpha", &[], 0, |own, _, _| all(own, char::is_alphabetic)),
    method("isalnum", &[], 0, |own, _, _| all(own, char::is_alphanumeric)),
    method("zfill", &["width"], 1, |own, given, call| {
        let own = own_text(own);
        let (sign, digits) = own.split_at(usize::from(own.starts_with(['+', '-'])));
        let width = usize::try_from(integer(&given.value(0), "widths")?).unwrap_or(0);
        call.charge(width)?;
        let zeros = width.saturating_sub(own.chars().count());
        Ok(Value::from(format!("{sign}{}{digits}", "0".repeat(zeros))))
    }),
    method("find", SUB, 1, |own, given, _| Ok(Value::Int(search(own, given, "find")?.unwrap_or(-1)))),
    method("rfind", SUB, 1, |own, given, _| Ok(Value::Int(search(own, given, "rfind")?.unwrap_or(-1)))),
    method("index", SUB, 1, |own, given, _| {
        search(own, given, "index")?.map(Value::Int).ok_or_else(|| err!("substring not found"))
    }),
    method("count", &["sub"], 1, |own, given, _| {
        let (own, wanted) = (own_text(own), text(&given.value(0), "count")?);
        let count = if wanted.is_empty() { own.chars().count() + 1 } else { own.matches(&*wanted).count() };
        Ok(Value::Int(count as i64))
    }),
    method("startswith", PREFIX, 1, |own, given, _| {
        begins(own, given, "startswith", |part, with| part.starts_with(with))
    }),
    method("endswith", PREFIX, 1, |own, given, _| begins(own, given, "endswith", |part, with| part.ends_with(with))),
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
    method("partition", &["sep"], 1, |own, given, _| {
        split::partition(own_text(own), &text(&given.value(0), "partition")?, false)
    }),
    method("rpartition", &["sep"], 1, |own, given, _| {
        split::partition(own_text(own), &text(&given.value(0), "rpartition")?, true)
    }),
    method("split", SPLIT, 0, |own, given, call| cut(own, given, false, call)),
    method("rsplit", SPLIT, 0, |own, given, call| cut(own, given, true, call)),
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
    let cut = |c: char| chars.as_ref().map_or_else(|| split::is_space(c), |chars| chars.contains(c));
    let own = if start { own_text(own).trim_start_matches(cut) } else { own_text(own) };
    Ok(Value::str(if end { own.trim_end_matches(cut) } else { own }))
}

fn cut(own: &Value, given: &mut Given, right: bool, call: &mut BuildContext) -> Result<Value> {
    let separator = given.option(0).map(|separator| text(&separator, "split")).transpose()?;
    let limit = given.option(1).map_or(Ok(-1), |limit| integer(&limit, "split limits"))?;
    let parts = split::split(own_text(own), separator.as_deref(), limit, right)?;
    call.charge(parts.len() + own_text(own).len())?;
    Ok(Value::list(parts.into_iter().map(Value::str)))
}

fn begins(own: &Value, given: &mut Given, name: &str, fits: fn(&str, &str) -> bool) -> Result<Value> {
    let options = match given.value(0) {
        Value::Tuple(options) => options.iter().map(|option| text(option, name)).collect::<Result<Vec<_>>>()?,
        one => vec![text(&one, name)?],
    };
    let part = window(own_text(own), given)?.map(|(_, part)| part);
    Ok(Value::Bool(part.is_some_and(|part| options.iter().any(|with| fits(part, with)))))
}

/// The part of `own` between the positions that are the arguments 1 and 2, and the first of them; `None` where they lie
/// outside.
fn window<'a>(own: &'a str, given: &mut Given) -> Result<Option<(usize, &'a str)>> {
    let mut part = |at| given.option(at).map(|value| integer(&value, "positions")).transpose();
    let (start, stop) = (part(1)?, part(2)?);
    if start.is_none() && stop.is_none() {
        return Ok(Some((0, own)));
    }
    let len = own.chars().count() as i64;
    let resolve = |at: i64| if at < 0 { (at + len).max(0) } else { at };
    let (start, stop) = (resolve(start.unwrap_or(0)), resolve(stop.unwrap_or(len)).min(len));
    if start > stop {
        return Ok(None);
    }
    let byte = |at: i64| own.char_indices().nth(at as usize).map_or(own.len(), |(at, _)| at);
    Ok(Some((start as usize, &own[byte(start)..byte(stop)])))
}

/// The position in characters, from the right for `rfind`.
fn search(own: &Value, given: &mut Given, name: &str) -> Result<Option<i64>> {
    let wanted = text(&given.value(0), name)?;
    let Some((first, part)) = window(own_text(own), given)? else { return Ok(None) };
    let found = if name == "rfind" { part.rfind(&*wanted) } else { part.find(&*wanted) };
    Ok(found.map(|at| (first + part[..at].chars().count()) as i64))
}
