//! The resolved config of a run, with values in place of expressions.
//!
//! [`Session::resolved`] is the complete config for the run's record. [`Session::fingerprint`] contains only the items
//! that results depend on: the list of cases, the location of results and arguments without effect are omitted, so that
//! finished cases remain valid if the list grows or files move.

use super::node::{Content, Node, key_text};
use super::session::Session;
use super::{id, names};
use crate::component::{Component, Value};
use crate::python::{array::DTypeObject, device::Device, pathlib::Path};
use serde_json::{Map, Value as Json, json};

/// Values nested deeper are omitted.
const MAX_DEPTH: usize = 100;

impl Session {
    /// All items that the run reaches and has built so far, in the structure of the config.
    pub fn resolved(&self) -> Json {
        self.shown("", &self.plan().tree.root).unwrap_or(Json::Null)
    }

    fn shown(&self, id: &str, node: &Node) -> Option<Json> {
        if let Some(value) = self.plain_value(id, node, false) {
            return Some(value);
        }
        let reached = self.plan().reached();
        match &node.content {
            Content::Leaf(value) => Some(plain(value, MAX_DEPTH, false).unwrap_or_else(|| json!(value.to_string()))),
            Content::List(items) => Some(
                items
                    .iter()
                    .enumerate()
                    .filter_map(|(at, item)| self.shown(&id::join(id, &at.to_string()), item))
                    .collect(),
            ),
            Content::Dict(entries) => {
                let whole = reached.contains(id);
                let mut out = Map::new();
                for (key, item) in entries {
                    let name = key_text(key);
                    let sub = id::join(id, &name);
                    // Items that are not reached are not part of this run.
                    let inside = || reached.iter().any(|other| id::is_within(other, &sub));
                    if (whole || reached.contains(&sub) || inside())
                        && let Some(shown) = self.shown(&sub, item)
                    {
                        out.insert(name, shown);
                    }
                }
                Some(Json::Object(out))
            }
        }
    }

    /// The items that results depend on, by id. Equal fingerprints imply equal results for equal inputs and weights.
    pub fn fingerprint(&self) -> Json {
        let plan = self.plan();
        let mut todo: Vec<String> =
            [&plan.roots.initialize, &plan.roots.run].into_iter().flat_map(|section| plan.section(section)).collect();
        let mut out = std::collections::BTreeMap::new();
        while let Some(id) = todo.pop() {
            if out.contains_key(&id) {
                continue;
            }
            let Some(node) = plan.tree.get(&id) else { continue };
            let canonical = self.canonical(&id, node, &mut todo);
            out.insert(id, canonical);
        }
        out.into_iter().collect::<Map<String, Json>>().into()
    }

    fn canonical(&self, id: &str, node: &Node, todo: &mut Vec<String>) -> Json {
        if let Some(value) = self.plain_value(id, node, true) {
            return value;
        }
        match &node.content {
            Content::Leaf(value) => {
                if let Some(text) = value.as_str() {
                    match self.plan().expression(id) {
                        Some(parsed) => todo.extend(parsed.references().iter().map(|reference| reference.id.clone())),
                        None => todo.extend(id::whole_reference(&id::normalize(text)).map(str::to_owned)),
                    }
                }
                plain(value, MAX_DEPTH, false).unwrap_or_else(|| json!(value.to_string()))
            }
            Content::List(items) => items
                .iter()
                .enumerate()
                .map(|(at, item)| self.canonical(&id::join(id, &at.to_string()), item, todo))
                .collect(),
            Content::Dict(entries) => {
                let component = self.component_of(node);
                let mut out = Map::new();
                for (key, item) in entries {
                    let name = key_text(key);
                    let counts = component.is_none_or(|component| {
                        !component.params.iter().any(|param| !param.affects_results && param.name == name)
                    });
                    if counts && name != "_desc_" {
                        let canonical = self.canonical(&id::join(id, &name), item, todo);
                        out.insert(name, canonical);
                    }
                }
                Json::Object(out)
            }
        }
    }

    fn component_of(&self, node: &Node) -> Option<&'static Component> {
        let target = node.get("_target_")?.as_str()?;
        match names::target(self.plan().table, target)? {
            Value::Component(component) => Some(component),
            _ => None,
        }
    }

    /// Value of an expression or reference, if it can be represented in JSON; with `hashed`, arrays and tensors are
    /// represented by their fingerprints.
    fn plain_value(&self, id: &str, node: &Node, hashed: bool) -> Option<Json> {
        let text = node.as_str()?;
        if node.expression().is_some() {
            return plain(&self.known(id)?, MAX_DEPTH, hashed);
        }
        let text = id::normalize(text);
        let target = id::whole_reference(&text)?;
        plain(&self.known(target).or_else(|| self.constant(target))?, MAX_DEPTH, hashed)
    }

    /// Value of an item that does not need to be resolved: a number, or text that is not a reference.
    fn constant(&self, id: &str) -> Option<Value> {
        match &self.plan().tree.get(id)?.content {
            Content::Leaf(Value::Str(text))
                if text.starts_with('$') || id::whole_reference(&id::normalize(text)).is_some() =>
            {
                None
            }
            Content::Leaf(value) => Some(value.clone()),
            _ => None,
        }
    }
}

/// Convert a value to JSON; `None` for networks, transforms and other objects.
fn plain(value: &Value, depth: usize, hashed: bool) -> Option<Json> {
    let depth = depth.checked_sub(1)?;
    Some(match value {
        Value::None => Json::Null,
        Value::Bool(value) => json!(value),
        Value::Int(value) => json!(value),
        // JSON has no NaN and infinity.
        Value::Float(value) if !value.is_finite() => json!(value.to_string()),
        Value::Float(value) => json!(value),
        Value::Str(text) => json!(&**text),
        Value::List(items) => items.items().iter().map(|item| plain(item, depth, hashed)).collect::<Option<_>>()?,
        Value::Tuple(items) => items.iter().map(|item| plain(item, depth, hashed)).collect::<Option<_>>()?,
        Value::Set(items) => items.iter().map(|item| plain(&item.to_value(), depth, hashed)).collect::<Option<_>>()?,
        Value::Dict(dict) => {
            let pairs =
                dict.items().into_iter().map(|(key, item)| Some((key_text(&key), plain(&item, depth, hashed)?)));
            Json::Object(pairs.collect::<Option<_>>()?)
        }
        Value::Object(object)
            if value.downcast::<Device>().is_some()
                || value.downcast::<DTypeObject>().is_some()
                || value.downcast::<Path>().is_some() =>
        {
            json!(object.repr())
        }
        Value::Object(object) if hashed => json!(object.fingerprint()?),
        _ => return None,
    })
}
