//! Methods of dicts.

use super::index;
use super::iter::{collect, key};
use super::views::{Part, View};
use crate::component::{Args, BuildContext, Dict, Key, Value};
use crate::error::Result;
use crate::python::given::{Method, method};
use crate::{bail, err};

pub static METHODS: &[Method<Value>] = &[
    method(&["get"], &["key", "default"], |own, given, _| {
        let found = dict(own).0.read().get(&key(&given.need(0)?)?).cloned();
        Ok(found.or(given.any(1).cloned()).unwrap_or_default())
    }),
    method(&["keys"], &[], |own, _, _| Ok(Value::object(View { dict: dict(own), part: Part::Keys }))),
    method(&["values"], &[], |own, _, _| Ok(Value::object(View { dict: dict(own), part: Part::Values }))),
    method(&["items"], &[], |own, _, _| Ok(Value::object(View { dict: dict(own), part: Part::Items }))),
    method(&["pop"], &["key", "default"], |own, given, _| {
        let wanted = given.need(0)?;
        let found = dict(own).0.write().shift_remove(&key(&wanted)?);
        found.or(given.any(1).cloned()).ok_or_else(|| err!("key {wanted:?} is not in the dict"))
    }),
    method(&["update"], &["**"], |own, given, call| {
        let pairs = arguments("update", given.rest.clone(), call)?;
        dict(own).0.write().extend(pairs);
        Ok(Value::None)
    }),
    method(&["copy"], &[], |own, _, call| {
        call.charge(dict(own).len())?;
        Ok(Value::Dict(Dict::new(dict(own).items())))
    }),
    index::METHOD,
];

fn dict(own: &Value) -> Dict {
    if let Value::Dict(dict) = own { dict.clone() } else { Dict::default() }
}

/// Entries of the arguments of `dict` and `update`: those of a dict or of pairs, then the named arguments.
pub fn arguments(name: &str, args: Args, call: &mut BuildContext) -> Result<Vec<(Key, Value)>> {
    let mut found = match &args.positional[..] {
        [] => vec![],
        [source] => pairs(source, call)?,
        several => bail!("{name} takes at most 1 arguments, found {}", several.len()),
    };
    found.extend(args.named.into_iter().map(|(name, value)| (Key::Str(name), value)));
    call.charge(found.len())?;
    Ok(found)
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
