//! Live views returned by `dict.keys()`, `.values()` and `.items()`. Operators of sets are not supported.

use crate::component::{BuildContext, Dict, Key, Object, Value};
use crate::err;
use crate::error::Result;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Keys,
    Values,
    Items,
}

pub struct View {
    pub dict: Dict,
    pub part: Part,
}

impl View {
    pub fn items(&self) -> Vec<Value> {
        let dict = self.dict.0.read();
        match self.part {
            Part::Keys => dict.keys().map(Key::to_value).collect(),
            Part::Values => dict.values().cloned().collect(),
            Part::Items => dict.iter().map(|(key, value)| Value::tuple([key.to_value(), value.clone()])).collect(),
        }
    }
}

impl Object for View {
    fn type_name(&self) -> &str {
        match self.part {
            Part::Keys => "dict_keys",
            Part::Values => "dict_values",
            Part::Items => "dict_items",
        }
    }
    fn repr(&self) -> String {
        format!("{}({:?})", self.type_name(), Value::list(self.items()))
    }
    fn iterate(&self) -> Option<Result<Vec<Value>>> {
        Some(Ok(self.items()))
    }
    fn length(&self) -> Option<usize> {
        Some(self.dict.len())
    }
    fn operator(&self, op: &str, other: &Value, reflected: bool, _: &mut BuildContext) -> Result<Option<Value>> {
        if op == "in" && reflected && self.part == Part::Keys {
            return Ok(Some(Value::Bool(Key::new(other).is_some_and(|key| self.dict.0.read().contains_key(&key)))));
        }
        match op {
            // Python compares them as sets.
            "==" | "!=" | "<" | "<=" | ">" | ">=" if self.part != Part::Values => {
                Err(err!("comparing {} is not supported", self.type_name()).hint("compare sets: `set(d.keys())`"))
            }
            _ => Ok(None),
        }
    }
}
