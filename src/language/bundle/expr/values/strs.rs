//! Methods of strings. Positions count characters, as in Python.

use super::iter::{collect, key};
use super::lists::given;
use super::{as_integer, index, integer, split, take, template};
use crate::component::{Args, BuildContext, Dict, Key, Value};
use crate::error::Result;
use crate::{bail, err};
use std::sync::Arc;

pub const METHODS: &[&str] = &[
    "capitalize",
    "casefold",
    "center",
    "count",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "format_map",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isprintable",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "maketrans",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "translate",
    "upper",
    "zfill",
    "__len__",
    "__contains__",
    "__getitem__",
];

/// A string argument.
pub fn text(value: &Value, function: &str) -> Result<Arc<str>> {
    match value {
        Value::Str(text) => Ok(text.clone()),
        other => bail!("{function}() needs a str, found {}", other.type_name()),
    }
}

/// `None` if strings have no such method.
pub fn method(own: &Arc<str>, name: &str, args: Args, call: &mut BuildContext) -> Result<Option<Value>> {
    call.charge(own.len() / 16)?;
    let own_str: &str = own;
    let result: Value = match name {
        "capitalize" | "casefold" | "lower" | "upper" | "swapcase" | "title" => {
            let [] = given(args, name, [])?;
            call.charge(own.len())?;
            Value::from(recase(own, name))
        }
        "isalnum" | "isalpha" | "isascii" | "isdecimal" | "isdigit" | "isidentifier" | "islower" | "isnumeric"
        | "isprintable" | "isspace" | "istitle" | "isupper" => {
            let [] = given(args, name, [])?;
            Value::Bool(is(own, name))
        }
        "center" | "ljust" | "rjust" => {
            let [width, fill] = take(args, name, ["width", "fillchar"], 1)?;
            let width = integer(&width.unwrap_or_default(), "widths")?;
            let fill = fill.map_or(Ok(" ".into()), |fill| text(&fill, name))?;
            let mut chars = fill.chars();
            let (Some(fill), None) = (chars.next(), chars.next()) else {
                bail!("the fill character must be exactly one character long")
            };
            Value::from(pad(own, width, fill, name, call)?)
        }
        "zfill" => {
            let [width] = given(args, name, ["width"])?;
            let (sign, digits) = match own.chars().next() {
                Some(sign @ ('+' | '-')) => (sign.to_string(), &own[1..]),
                _ => (String::new(), own_str),
            };
            let width = integer(&width, "widths")?.saturating_sub(sign.len() as i64);
            Value::from(sign + &pad(digits, width, '0', "rjust", call)?)
        }
        "find" | "rfind" | "index" | "rindex" | "count" => {
            let [wanted, start, stop] = take(args, name, ["sub", "start", "end"], 1)?;
            let wanted = text(&wanted.unwrap_or_default(), name)?;
            search(own, name, &wanted, [start, stop])?
        }
        "startswith" | "endswith" => {
            let [wanted, start, stop] = take(args, name, ["prefix", "start", "end"], 1)?;
            let within = window(own, [start, stop])?.map(|(_, part)| part);
            let options = match wanted.unwrap_or_default() {
                Value::Tuple(options) => options.iter().map(|option| text(option, name)).collect::<Result<Vec<_>>>()?,
                one => vec![text(&one, name)?],
            };
            Value::Bool(within.is_some_and(|part| {
                options.iter().any(|wanted| {
                    if name == "startswith" { part.starts_with(&**wanted) } else { part.ends_with(&**wanted) }
                })
            }))
        }
        "strip" | "lstrip" | "rstrip" => {
            let [chars] = take(args, name, ["chars"], 0)?;
            let chars = match chars {
                None | Some(Value::None) => None,
                Some(chars) => Some(text(&chars, name)?),
            };
            let cut = |c: char| chars.as_ref().map_or_else(|| split::is_space(c), |chars| chars.contains(c));
            Value::str(match name {
                "strip" => own.trim_matches(cut),
                "lstrip" => own.trim_start_matches(cut),
                _ => own.trim_end_matches(cut),
            })
        }
        "removeprefix" => {
            Value::str(own.strip_prefix(&*text(&given(args, name, ["prefix"])?[0], name)?).unwrap_or(own))
        }
        "removesuffix" => {
            Value::str(own.strip_suffix(&*text(&given(args, name, ["suffix"])?[0], name)?).unwrap_or(own))
        }
        "replace" => {
            let [old, new, count] = take(args, name, ["old", "new", "count"], 2)?;
            let (old, new) = (text(&old.unwrap_or_default(), name)?, text(&new.unwrap_or_default(), name)?);
            let count = count.map_or(Ok(-1), |count| integer(&count, "counts"))?;
            let hits = if old.is_empty() { own.len() + 1 } else { own.len() / old.len() };
            let hits = usize::try_from(count).map_or(hits, |count| hits.min(count));
            call.charge(hits.saturating_mul(new.len()).saturating_add(own.len()))?;
            Value::from(
                usize::try_from(count)
                    .map_or_else(|_| own.replace(&*old, &new), |count| own.replacen(&*old, &new, count)),
            )
        }
        "join" => {
            let [items] = given(args, name, ["iterable"])?;
            let items = collect(&items, call)?;
            let mut parts = Vec::with_capacity(items.len());
            for (at, item) in items.iter().enumerate() {
                let Value::Str(part) = item else {
                    return Err(err!("sequence item {at}: expected str, found {}", item.type_name())
                        .hint("join takes strings: `'…'.join(map(str, …))`"));
                };
                call.charge(part.len() + own.len())?;
                parts.push(&**part);
            }
            Value::from(parts.join(own))
        }
        "partition" | "rpartition" => {
            let separator = text(&given(args, name, ["sep"])?[0], name)?;
            split::partition(own, &separator, name == "rpartition")?
        }
        "split" | "rsplit" => {
            let [separator, limit] = take(args, name, ["sep", "maxsplit"], 0)?;
            let limit = limit.map_or(Ok(-1), |limit| integer(&limit, "split limits"))?;
            let separator = match separator {
                None | Some(Value::None) => None,
                Some(separator) => Some(text(&separator, name)?),
            };
            let parts = split::split(own, separator.as_deref(), limit, name == "rsplit")?;
            call.charge(parts.len() + own.len())?;
            Value::list(parts.into_iter().map(Value::str))
        }
        "splitlines" => {
            let [keep] = take(args, name, ["keepends"], 0)?;
            call.charge(own.len())?;
            Value::list(split::lines(own, keep.is_some_and(|keep| keep.truthy())).into_iter().map(Value::str))
        }
        "expandtabs" => {
            let [size] = take(args, name, ["tabsize"], 0)?;
            let size = usize::try_from(size.map_or(Ok(8), |size| integer(&size, "tab sizes"))?).unwrap_or(0);
            call.charge(own.matches('\t').count().saturating_mul(size).saturating_add(own.len()))?;
            Value::from(split::expand_tabs(own, size))
        }
        "format" => Value::from(template::format(own, &args, call)?),
        "format_map" => {
            let [mapping] = given(args, name, ["mapping"])?;
            Value::from(template::format_map(own, &mapping, call)?)
        }
        "maketrans" => make_translation(args, call)?,
        "translate" => {
            let [table] = given(args, name, ["table"])?;
            translate(own, &table, call)?
        }
        "__len__" => Value::Int(own.chars().count() as i64),
        "__contains__" => Value::Bool(own.contains(&*text(&given(args, name, ["key"])?[0], name)?)),
        "__getitem__" => index::index(&Value::Str(own.clone()), &given(args, name, ["index"])?[0], call)?,
        _ => return Ok(None),
    };
    Ok(Some(result))
}

fn recase(own: &str, name: &str) -> String {
    let swap =
        |c: char| -> String { if c.is_uppercase() { c.to_lowercase().collect() } else { c.to_uppercase().collect() } };
    match name {
        "lower" => own.to_lowercase(),
        "upper" => own.to_uppercase(),
        "casefold" => own.to_lowercase().replace('ß', "ss").replace('ς', "σ"),
        "swapcase" => own.chars().map(swap).collect(),
        "capitalize" => {
            let mut chars = own.chars();
            chars.next().map(titlecase).unwrap_or_default() + &chars.as_str().to_lowercase()
        }
        _ => {
            let mut inside = false;
            let mut out = String::new();
            for c in own.chars() {
                if inside {
                    out.extend(c.to_lowercase())
                } else {
                    out += &titlecase(c)
                }
                inside = c.is_alphabetic();
            }
            out
        }
    }
}

/// The first letter large, the rest of an expansion small: 'ß' gives 'Ss'.
fn titlecase(c: char) -> String {
    let mut upper = c.to_uppercase();
    let first: String = upper.next().into_iter().collect();
    first + &upper.collect::<String>().to_lowercase()
}

fn is(own: &str, name: &str) -> bool {
    let every = |test: fn(char) -> bool| !own.is_empty() && own.chars().all(test);
    let cased = |good: fn(char) -> bool, bad: fn(char) -> bool| own.chars().any(good) && !own.chars().any(bad);
    match name {
        "isalnum" => every(char::is_alphanumeric),
        "isalpha" => every(char::is_alphabetic),
        "isascii" => own.is_ascii(),
        "isdecimal" => every(|c| c.is_ascii_digit() || (c.is_numeric() && !c.is_ascii() && split::is_decimal(c))),
        "isdigit" => every(|c| {
            c.is_ascii_digit() || split::is_decimal(c) || matches!(c, '²' | '³' | '¹' | '⁰' | '⁴'..='⁹' | '₀'..='₉')
        }),
        "isnumeric" => every(char::is_numeric),
        "isspace" => every(split::is_space),
        "isprintable" => own.chars().all(|c| !c.is_control() && (c == ' ' || !c.is_whitespace())),
        "islower" => cased(char::is_lowercase, char::is_uppercase),
        "isupper" => cased(char::is_uppercase, char::is_lowercase),
        "isidentifier" => {
            let mut chars = own.chars();
            chars.next().is_some_and(|c| c.is_alphabetic() || c == '_') && chars.all(super::super::lex::is_word)
        }
        _ => {
            let (mut inside, mut found) = (false, false);
            for c in own.chars() {
                if c.is_uppercase() == inside && (c.is_uppercase() || c.is_lowercase()) {
                    return false;
                }
                inside = c.is_uppercase() || c.is_lowercase();
                found |= inside;
            }
            found
        }
    }
}

fn pad(own: &str, width: i64, fill: char, name: &str, call: &mut BuildContext) -> Result<String> {
    let len = own.chars().count();
    let width = usize::try_from(width).unwrap_or(0).max(len);
    call.charge(width)?;
    let gap = width - len;
    // CPython's choice of side where the gap is odd.
    let left = match name {
        "ljust" => 0,
        "rjust" => gap,
        _ => gap / 2 + (gap & width & 1),
    };
    let fill_of = |n: usize| std::iter::repeat_n(fill, n);
    Ok(fill_of(left).chain(own.chars()).chain(fill_of(gap - left)).collect())
}

/// The part of `own` between two character positions, and the first; `None` where they lie outside.
fn window(own: &str, [start, stop]: [Option<Value>; 2]) -> Result<Option<(usize, &str)>> {
    let part = |value: Option<Value>| match value {
        None | Some(Value::None) => Ok(None),
        Some(value) => {
            as_integer(&value).map(Some).ok_or_else(|| err!("positions must be integers, not {}", value.type_name()))
        }
    };
    let (start, stop) = (part(start)?, part(stop)?);
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

fn search(own: &str, name: &str, wanted: &str, range: [Option<Value>; 2]) -> Result<Value> {
    let Some((first, part)) = window(own, range)? else {
        return if name.ends_with("index") {
            Err(err!("substring not found"))
        } else {
            Ok(Value::Int(if name == "count" { 0 } else { -1 }))
        };
    };
    if name == "count" {
        return Ok(Value::Int(
            if wanted.is_empty() { part.chars().count() + 1 } else { part.matches(wanted).count() } as i64
        ));
    }
    let found = if name.starts_with('r') { part.rfind(wanted) } else { part.find(wanted) };
    match found {
        Some(at) => Ok(Value::Int((first + part[..at].chars().count()) as i64)),
        None if name.ends_with("index") => Err(err!("substring not found")),
        None => Ok(Value::Int(-1)),
    }
}

/// `str.maketrans`
pub fn make_translation(args: Args, call: &mut BuildContext) -> Result<Value> {
    let [from, to, gone] = take(args, "maketrans", ["x", "y", "z"], 1)?;
    let code = |c: char| Key::Int(i64::from(u32::from(c)));
    let mut pairs: Vec<(Key, Value)> = Vec::new();
    match (from.unwrap_or_default(), to) {
        (Value::Dict(dict), None) => {
            for (from, to) in dict.items() {
                let from = match from.as_str() {
                    Some(text) => match (text.chars().next(), text.chars().count()) {
                        (Some(c), 1) => code(c),
                        _ => bail!("string keys in translate table must be of length 1"),
                    },
                    None => from,
                };
                pairs.push((from, to));
            }
        }
        (from, Some(to)) => {
            let (from, to) = (text(&from, "maketrans")?, text(&to, "maketrans")?);
            if from.chars().count() != to.chars().count() {
                bail!("the first two maketrans arguments must have equal length");
            }
            pairs.extend(
                from.chars().zip(to.chars()).map(|(from, to)| (code(from), Value::Int(i64::from(u32::from(to))))),
            );
        }
        (other, None) => bail!("maketrans() with one argument needs a dict, found {}", other.type_name()),
    }
    if let Some(gone) = gone {
        pairs.extend(text(&gone, "maketrans")?.chars().map(|c| (code(c), Value::None)));
    }
    call.charge(pairs.len())?;
    Ok(Value::Dict(Dict::new(pairs)))
}

fn translate(own: &str, table: &Value, call: &mut BuildContext) -> Result<Value> {
    let Value::Dict(dict) = table else { bail!("translate() needs a dict, found {}", table.type_name()) };
    let mut out = String::new();
    for c in own.chars() {
        let found = dict.0.read().get(&key(&Value::Int(i64::from(u32::from(c))))?).cloned();
        match found {
            None => out.push(c),
            Some(Value::None) => {}
            Some(Value::Str(text)) => {
                call.charge(text.len())?;
                out.push_str(&text);
            }
            Some(Value::Int(code)) => out.push(character(code)?),
            Some(other) => bail!("a translation must be int, None or str, found {}", other.type_name()),
        }
    }
    call.charge(out.len())?;
    Ok(Value::from(out))
}

/// `chr(code)`
pub fn character(code: i64) -> Result<char> {
    u32::try_from(code).ok().and_then(char::from_u32).ok_or_else(|| err!("{code} is no character's code"))
}
