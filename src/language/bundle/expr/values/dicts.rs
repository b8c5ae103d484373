//! Methods of dicts.

use super::iter::{collect, key};
use super::methods::{Method, any, method};
use super::views::{Part, View};
use super::{index, take};
use crate::component::{Args, BuildContext, Dict, Key, Value};
use crate::error::Result;
use crate::{bail, err};

pub static METHODS: &[Method] = &[
    method("get", &["key", "default"], 1, |own, given, _| {
        let found = dict(own).0.read().get(&key(&given.value(0))?).cloned();
        Ok(found.unwrap_or_else(|| given.value(1)))
    }),
    method("keys", &[], 0, |own, _, _| Ok(Value::object(View { dict: dict(own), part: Part::Keys }))),
    method("values", &[], 0, |own, _, _| Ok(Value::object(View { dict: dict(own), part: Part::Values }))),
    method("items", &[], 0, |own, _, _| Ok(Value::object(View { dict: dict(own), part: Part::Items }))),
    method("pop", &["key", "default"], 1, |own, given, _| {
        let wanted = given.value(0);
        match dict(own).0.write().shift_remove(&key(&wanted)?) {
            Some(found) => Ok(found),
            None if given.has(1) => Ok(given.value(1)),
            None => Err(err!("key {wanted:?} is not in the dict")),
        }
    }),
    any("update", |own, given, call| {
        let named = std::mem::take(&mut given.rest.named);
        let [other] = take(std::mem::take(&mut given.rest), "update", ["other"], 0)?;
        let mut pairs = other.map_or(Ok(vec![]), |other| pairs(&other, call))?;
        pairs.extend(named.into_iter().map(|(name, value)| (Key::Str(name), value)));
        call.charge(pairs.len())?;
        dict(own).0.write().extend(pairs);
        Ok(Value::None)
    }),
    method("copy", &[], 0, |own, _, call| {
        call.charge(dict(own).len())?;
        Ok(Value::Dict(Dict::new(dict(own).items())))
    }),
    method("__getitem__", &["key"], 1, |own, given, call| index::index(own, &given.value(0), call)),
];

fn dict(own: &Value) -> Dict {
    if let Value::Dict(dict) = own { dict.clone() } else { Dict::default() }
}

/// Entries of the argument of `dict(value)` or `**value`: a dict, or pairs.
pub fn pairs(value: &Value, call: &mut BuildContext) -> Result<Vec<(Key, Value)>> {
    if let Value::Dict(dict) = value {
        call.charge(dict.len())?;
        return Ok(dict.items());
    }
    // Mappings such as `os.environ` have a method `keys`.
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
