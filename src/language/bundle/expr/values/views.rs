//! What `dict.keys()`, `.values()` and `.items()` give: live views.

use super::sets;
use crate::component::{BuildContext, Dict, Key, Object, Value};
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
    /// The view as a set, where it is one: keys, or items that can be keys.
    pub fn as_set(&self) -> Option<Vec<Key>> {
        match self.part {
            Part::Values => None,
            _ => self.items().iter().map(Key::new).collect(),
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
    fn operator(
        &self,
        operator: &str,
        other: &Value,
        reflected: bool,
        call: &mut BuildContext,
    ) -> Result<Option<Value>> {
        if operator == "in" && reflected && self.part == Part::Keys {
            return Ok(Some(Value::Bool(Key::new(other).is_some_and(|key| self.dict.0.read().contains_key(&key)))));
        }
        let Some(own) = self.as_set() else { return Ok(None) };
        call.charge(own.len())?;
        let own = Value::Set(own.into());
        let other = match other.downcast::<View>().and_then(|view| view.as_set()) {
            Some(keys) => Value::Set(keys.into()),
            // `|`, `&`, `-` and `^` of a view take any iterable.
            None if matches!(operator, "|" | "&" | "-" | "^") => {
                if !matches!(other, Value::Set(_) | Value::List(_) | Value::Tuple(_) | Value::Dict(_)) {
                    return Ok(None);
                }
                Value::Set(super::iter::collect_keys(other, call)?.into())
            }
            None => other.clone(),
        };
        let (left, right) = if reflected { (other, own) } else { (own, other) };
        sets::operator(operator, &left, &right, call)
    }
    fn equals(&self, other: &Value) -> bool {
        match (self.as_set(), other.downcast::<View>().map(|view| view.as_set())) {
            (Some(own), Some(Some(other))) => own.len() == other.len() && own.iter().all(|key| other.contains(key)),
            (Some(own), None) => {
                matches!(other, Value::Set(keys) if own.len() == keys.len() && own.iter().all(|key| keys.contains(key)))
            }
            _ => false,
        }
    }
}
