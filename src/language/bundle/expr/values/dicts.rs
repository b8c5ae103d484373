//! Methods of dicts.

use super::iter::{collect, key};
use super::lists::given;
use super::take;
use super::views::{Part, View};
use crate::component::{Args, BuildContext, Dict, Key, Value};
use crate::error::Result;
use crate::{bail, err};

pub const METHODS: &[&str] = &[
    "get",
    "keys",
    "values",
    "items",
    "pop",
    "popitem",
    "update",
    "setdefault",
    "copy",
    "clear",
    "fromkeys",
    "__getitem__",
    "__setitem__",
    "__len__",
    "__contains__",
];

/// `None` if dicts have no such method.
pub fn method(dict: &Dict, name: &str, args: Args, call: &mut BuildContext) -> Result<Option<Value>> {
    let view = |part| Value::object(View { dict: dict.clone(), part });
    Ok(Some(match name {
        "get" => {
            let [wanted, default] = take(args, name, ["key", "default"], 1)?;
            let wanted = key(&wanted.unwrap_or_default())?;
            dict.0.read().get(&wanted).cloned().or(default).unwrap_or_default()
        }
        "keys" | "values" | "items" => {
            let [] = given(args, name, [])?;
            view(match name {
                "keys" => Part::Keys,
                "values" => Part::Values,
                _ => Part::Items,
            })
        }
        "pop" => {
            let [wanted, default] = take(args, name, ["key", "default"], 1)?;
            let wanted = wanted.unwrap_or_default();
            let found = dict.0.write().shift_remove(&key(&wanted)?);
            found.or(default).ok_or_else(|| err!("key {wanted:?} is not in the dict"))?
        }
        "popitem" => {
            let [] = given(args, name, [])?;
            let last = dict.0.write().pop();
            match last {
                Some((key, value)) => Value::tuple([key.to_value(), value]),
                None => bail!("popitem(): dictionary is empty"),
            }
        }
        "update" => {
            let mut args = args;
            let named = std::mem::take(&mut args.named);
            let [other] = take(args, name, ["other"], 0)?;
            let mut pairs = other.map_or(Ok(vec![]), |other| pairs(&other, call))?;
            pairs.extend(named.into_iter().map(|(name, value)| (Key::Str(name), value)));
            call.charge(pairs.len())?;
            dict.0.write().extend(pairs);
            Value::None
        }
        "setdefault" => {
            let [wanted, default] = take(args, name, ["key", "default"], 1)?;
            let wanted = key(&wanted.unwrap_or_default())?;
            call.charge(1)?;
            dict.0.write().entry(wanted).or_insert(default.unwrap_or_default()).clone()
        }
        "copy" => {
            let [] = given(args, name, [])?;
            call.charge(dict.len())?;
            Value::Dict(Dict::new(dict.items()))
        }
        "clear" => {
            let [] = given(args, name, [])?;
            let items = std::mem::take(&mut *dict.0.write());
            drop(items);
            Value::None
        }
        "fromkeys" => from_keys(args, call)?,
        "__getitem__" => {
            let [wanted] = given(args, name, ["key"])?;
            super::index::index(&Value::Dict(dict.clone()), &wanted, call)?
        }
        "__setitem__" => {
            let [wanted, value] = given(args, name, ["key", "value"])?;
            call.charge(1)?;
            let old = dict.0.write().insert(key(&wanted)?, value);
            drop(old);
            Value::None
        }
        "__len__" => Value::Int(dict.len() as i64),
        "__contains__" => {
            let [wanted] = given(args, name, ["key"])?;
            Value::Bool(dict.0.read().contains_key(&key(&wanted)?))
        }
        _ => return Ok(None),
    }))
}

/// `dict.fromkeys(keys, value)`
pub fn from_keys(args: Args, call: &mut BuildContext) -> Result<Value> {
    let [keys, value] = take(args, "fromkeys", ["iterable", "value"], 1)?;
    let value = value.unwrap_or_default();
    let keys = super::iter::collect_keys(&keys.unwrap_or_default(), call)?;
    Ok(Value::Dict(Dict::new(keys.into_iter().map(|key| (key, value.clone())))))
}

/// What `dict(value)` and `**value` take: a dict, or pairs.
pub fn pairs(value: &Value, call: &mut BuildContext) -> Result<Vec<(Key, Value)>> {
    if let Value::Dict(dict) = value {
        call.charge(dict.len())?;
        return Ok(dict.items());
    }
    // Objects that are mappings, such as `os.environ`, say so by their keys.
    if let Value::Object(object) = value
        && let Some(keys) = object.call_method("keys", &mut Args::default(), call)?
    {
        let keys = collect(&keys, call)?;
        return keys.iter().map(|wanted| Ok((key(wanted)?, object.index(wanted)?))).collect();
    }
    let mut found = Vec::new();
    for (at, item) in collect(value, call)?.iter().enumerate() {
        match collect(item, call)?.as_slice() {
            [first, second] => found.push((key(first)?, second.clone())),
            other => bail!("dictionary update sequence element {at} has length {}; 2 is required", other.len()),
        }
    }
    Ok(found)
}
