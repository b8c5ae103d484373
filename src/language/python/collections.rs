//! `collections.OrderedDict`: dicts keep their order, so it is one. `defaultdict` and `Counter` serve statements, which
//! a config does not have, and are left out.

use super::common::{iterate, pure, wrong};
use crate::component::{Dict, Function, Key, Value};

pub const FUNCTIONS: &[Function] = &[pure("collections.OrderedDict", |args, call| {
    let mut items: Vec<(Key, Value)> = vec![];
    for source in &args.positional {
        match source {
            Value::Dict(dict) => items.extend(dict.items()),
            other => {
                for pair in iterate("collections.OrderedDict", other, call)? {
                    let parts = iterate("collections.OrderedDict: an item", &pair, call)?;
                    let [key, value] =
                        <[Value; 2]>::try_from(parts).map_err(|_| wrong("collections.OrderedDict", "pairs", &pair))?;
                    let key = Key::new(&key)
                        .ok_or_else(|| wrong("collections.OrderedDict: a key", "a hashable value", &key))?;
                    items.push((key, value));
                }
            }
        }
    }
    items.extend(args.named.into_iter().map(|(key, value)| (Key::Str(key), value)));
    call.charge(items.len())?;
    Ok(Value::Dict(Dict::new(items)))
})];
