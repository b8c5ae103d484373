//! `copy`. Lists and dicts are copied; parts (transforms, networks) are shared: a config cannot change them in place,
//! except by methods that act on all who hold them.

use super::common::pure;
use crate::component::{BuildContext, Dict, Function, List, Value};
use crate::error::Result;
use std::collections::HashMap;

pub const FUNCTIONS: &[Function] = &[
    pure("copy.copy", |args, call| {
        let [value] = args.expect("copy.copy", ["x"])?;
        Ok(match value {
            Value::List(list) => {
                call.charge(list.len())?;
                Value::list(list.items())
            }
            Value::Dict(dict) => {
                call.charge(dict.len())?;
                Value::Dict(Dict::new(dict.items()))
            }
            value => value,
        })
    }),
    pure("copy.deepcopy", |args, call| {
        let [value] = args.expect("copy.deepcopy", ["x"])?;
        deep(&value, &mut HashMap::new(), call)
    }),
];

/// A copy that shares no list or dict; what is shared or circular inside stays so. `known` holds, by identity, the
/// copy of each original, and the original to keep its identity taken.
fn deep(value: &Value, known: &mut HashMap<usize, (Value, Value)>, call: &mut BuildContext) -> Result<Value> {
    call.charge(1)?;
    if matches!(value, Value::List(_) | Value::Dict(_) | Value::Tuple(_))
        && let Some((_, copy)) = known.get(&value.identity())
    {
        return Ok(copy.clone());
    }
    call.nested(|call| match value {
        Value::List(list) => {
            let copy = List::default();
            known.insert(value.identity(), (value.clone(), Value::List(copy.clone())));
            for item in list.items() {
                let item = deep(&item, known, call)?;
                copy.0.write().push(item);
            }
            Ok(Value::List(copy))
        }
        Value::Dict(dict) => {
            let copy = Dict::default();
            known.insert(value.identity(), (value.clone(), Value::Dict(copy.clone())));
            for (key, item) in dict.items() {
                let item = deep(&item, known, call)?;
                copy.0.write().insert(key, item);
            }
            Ok(Value::Dict(copy))
        }
        Value::Tuple(items) => {
            let copy = Value::tuple(items.iter().map(|item| deep(item, known, call)).collect::<Result<Vec<_>>>()?);
            known.insert(value.identity(), (value.clone(), copy.clone()));
            Ok(copy)
        }
        other => Ok(other.clone()),
    })
}
