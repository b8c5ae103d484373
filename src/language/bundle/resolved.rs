//! The config as a run really has it: values in place of the expressions that made them.
//!
//! Two views. [`Session::resolved`] is for people and goes into the run's record. [`Session::fingerprint`] is what the
//! results depend on, and nothing else: the list of cases, where results go and arguments without effect are left out,
//! so that a finished case stays finished when the list grows or moves.

use super::node::{Content, Node, key_text};
use super::session::Session;
use super::{id, names};
use crate::component::{Component, Value};
use serde_json::{Map, Value as Json, json};

/// Deeper values are cut off.
const MAX_DEPTH: usize = 100;

impl Session {
    /// Everything that the run reaches and has built so far, by id as in the config.
    pub fn resolved(&self) -> Json {
        self.shown("", &self.plan().tree.root).unwrap_or(Json::Null)
    }

    fn shown(&self, id: &str, node: &Node) -> Option<Json> {
        if let Some(value) = self.plain_value(id, node) {
            return Some(value);
        }
        let reached = self.plan().reached();
        match &node.content {
            Content::Leaf(value) => Some(plain(value, MAX_DEPTH).unwrap_or_else(|| json!(value.to_string()))),
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
                    // What nothing reaches is no part of this run.
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

    /// By id: the items that results depend on. Equal fingerprints give equal results for equal inputs and weights.
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
        if let Some(value) = self.plain_value(id, node) {
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
                plain(value, MAX_DEPTH).unwrap_or_else(|| json!(value.to_string()))
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

    /// The value that an expression or reference has become, if it is one that can be written down.
    fn plain_value(&self, id: &str, node: &Node) -> Option<Json> {
        let text = node.as_str()?;
        if node.expression().is_some() {
            return plain(&self.known(id)?, MAX_DEPTH);
        }
        let text = id::normalize(text);
        let target = id::whole_reference(&text)?;
        plain(&self.known(target).or_else(|| self.constant(target))?, MAX_DEPTH)
    }

    /// What is written out in the config needs no building: a number, or a text that is no reference.
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

/// As JSON, where that says all: no networks, transforms and the like.
fn plain(value: &Value, depth: usize) -> Option<Json> {
    let depth = depth.checked_sub(1)?;
    Some(match value {
        Value::None => Json::Null,
        Value::Bool(value) => json!(value),
        Value::Int(value) => json!(value),
        // NaN and infinity have no place in JSON.
        Value::Float(value) if !value.is_finite() => json!(value.to_string()),
        Value::Float(value) => json!(value),
        Value::Str(text) => json!(&**text),
        Value::List(items) => items.items().iter().map(|item| plain(item, depth)).collect::<Option<_>>()?,
        Value::Tuple(items) => items.iter().map(|item| plain(item, depth)).collect::<Option<_>>()?,
        Value::Set(items) => items.iter().map(|item| plain(&item.to_value(), depth)).collect::<Option<_>>()?,
        Value::Dict(dict) => {
            let pairs = dict.items().into_iter().map(|(key, item)| Some((key_text(&key), plain(&item, depth)?)));
            Json::Object(pairs.collect::<Option<_>>()?)
        }
        Value::Object(object) if ["torch.device", "torch.dtype", "Path"].contains(&object.type_name()) => {
            json!(object.repr())
        }
        _ => return None,
    })
}
