//! `copy`. Lists, tuples and dicts are copied; other objects, such as transforms and networks, are shared.

use super::common::pure;
use crate::component::{BuildContext, Dict, Function, Value};
use crate::error::Result;

pub const FUNCTIONS: &[Function] = &[
    pure("copy.copy", |args, call| {
        let [value] = args.expect("copy.copy", ["x"])?;
        call.charge(value.as_sequence().map_or(1, |items| items.len()))?;
        Ok(match value {
            Value::List(list) => Value::list(list.items()),
            Value::Dict(dict) => Value::Dict(Dict::new(dict.items())),
            value => value,
        })
    }),
    pure("copy.deepcopy", |args, call| {
        let [value] = args.expect("copy.deepcopy", ["x"])?;
        deep(&value, call)
    }),
];

/// Copy all nested lists and dicts; one that occurs several times is copied each time. A list that contains itself exceeds
/// the nesting limit.
fn deep(value: &Value, call: &mut BuildContext) -> Result<Value> {
    call.charge(1)?;
    call.nested(|call| match value {
        Value::List(list) => {
            list.items().iter().map(|item| deep(item, call)).collect::<Result<Vec<_>>>().map(Value::list)
        }
        Value::Tuple(items) => items.iter().map(|item| deep(item, call)).collect::<Result<Vec<_>>>().map(Value::tuple),
        Value::Dict(dict) => {
            let pairs = dict.items().into_iter().map(|(key, item)| Ok((key, deep(&item, call)?)));
            pairs.collect::<Result<Vec<_>>>().map(|pairs| Value::Dict(Dict::new(pairs)))
        }
        other => Ok(other.clone()),
    })
}
