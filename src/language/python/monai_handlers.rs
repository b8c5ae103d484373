//! `monai.handlers.from_engine` and related functions (monai.handlers.utils, MONAI 1.6.1).

use super::common::pure;
use super::given::Given;
use crate::component::{Args, BuildContext, Function, Keys, Object, Value, found};
use crate::err;
use crate::error::{Kind, Result};
use std::sync::Arc;

pub const FUNCTIONS: &[Function] = &[
    pure("monai.handlers.from_engine", |args, _| {
        let given = Given::bind("monai.handlers.from_engine", &["keys", "first"], args)?;
        Ok(Value::object(FromEngine { keys: given.need::<Keys>(0)?.0, first: given.get(1)?.unwrap_or(false) }))
    }),
    pure("monai.handlers.ignore_data", |_, _| Ok(Value::None)),
];

/// Extracts `keys` from a batch or an output. A dict returns a tuple of values; a list of dicts returns one list per
/// key, or with `first` the value of the first dict. A single key returns its value without a tuple.
struct FromEngine {
    keys: Vec<Arc<str>>,
    first: bool,
}

impl FromEngine {
    fn extract(&self, data: &Value, call: &mut BuildContext) -> Result<Value> {
        let take = |data: &Value, key: &str| match data {
            Value::Dict(dict) => dict.get(key).ok_or_else(|| {
                let keys: Vec<String> = dict.items().iter().map(|(key, _)| key.to_value().to_string()).collect();
                err!("from_engine: the data has no key '{key}' (it has {})", keys.join(", ")).kind(Kind::Config)
            }),
            // An engine's object for a sample.
            Value::Object(object) => object.index(&Value::str(key)),
            other => Err(err!("from_engine: expected dict or list of dict, found {}", found(other)).kind(Kind::Config)),
        };
        let items = match data {
            Value::List(list) => list.items(),
            data => return Ok(Value::tuple(self.keys.iter().map(|key| take(data, key)).collect::<Result<Vec<_>>>()?)),
        };
        let Some(first) = items.first() else {
            return Err(err!("from_engine: expected at least one dict, found an empty list"));
        };
        call.charge(items.len().saturating_mul(self.keys.len()))?;
        let mut results = vec![];
        for key in &self.keys {
            results.push(if self.first {
                take(first, key)?
            } else {
                Value::list(items.iter().map(|item| take(item, key)).collect::<Result<Vec<_>>>()?)
            });
        }
        Ok(if results.len() == 1 { results.remove(0) } else { Value::tuple(results) })
    }
}

impl Object for FromEngine {
    fn type_name(&self) -> &str {
        "function"
    }
    fn repr(&self) -> String {
        format!("<from_engine {}>", self.keys.join(", "))
    }
    fn callable(&self) -> bool {
        true
    }
    fn call(&self, args: Args, call: &mut BuildContext) -> Result<Value> {
        let [data] = args.expect("from_engine", ["data"])?;
        self.extract(&data, call)
    }
}
