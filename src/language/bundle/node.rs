//! Content of config files before anything is built: nested dicts and lists with their source locations.

use crate::component::{Key, Value};
use indexmap::IndexMap;
use std::fmt;
use std::sync::Arc;

/// Entries of a dict, in the order of the file.
pub type Entries = IndexMap<Key, Node>;

/// An item of a config, with its source location.
#[derive(Clone)]
pub struct Node {
    /// Its value or child items.
    pub content: Content,
    /// Where it is defined.
    pub origin: Origin,
}

/// Content of a [`Node`].
#[derive(Clone)]
pub enum Content {
    /// Values without child items: scalars, and tuples or sets from the command line.
    Leaf(Value),
    /// A list of child items.
    List(Vec<Node>),
    /// A dict of child items.
    Dict(Entries),
}

/// Source location: file and line; line 0 for none, as on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Path of the file, or `command line`.
    pub file: Arc<str>,
    /// Line, counted from 1.
    pub line: u32,
}

impl Origin {
    /// Creates a location.
    pub fn new(file: &str, line: u32) -> Origin {
        Origin { file: file.into(), line }
    }
    /// Location of arguments on the command line.
    pub fn command_line() -> Origin {
        Origin::new("command line", 0)
    }
    /// The location as text, such as `configs/train.json:12`.
    pub fn text(&self) -> String {
        if self.line == 0 { self.file.to_string() } else { format!("{}:{}", self.file, self.line) }
    }
}

impl Node {
    /// Creates an item.
    pub fn new(content: Content, origin: Origin) -> Node {
        Node { content, origin }
    }
    /// Creates an item without child items.
    pub fn leaf(value: Value, origin: Origin) -> Node {
        Node::new(Content::Leaf(value), origin)
    }
    /// Creates a dict.
    pub fn dict(entries: Entries, origin: Origin) -> Node {
        Node::new(Content::Dict(entries), origin)
    }
    /// The text of a string, including references, macros and expressions.
    pub fn as_str(&self) -> Option<&str> {
        match &self.content {
            Content::Leaf(Value::Str(text)) => Some(text),
            _ => None,
        }
    }
    /// The entries of a dict.
    pub fn as_dict(&self) -> Option<&Entries> {
        match &self.content {
            Content::Dict(entries) => Some(entries),
            _ => None,
        }
    }
    pub(super) fn is_container(&self) -> bool {
        !matches!(self.content, Content::Leaf(_))
    }
    pub(super) fn is_none(&self) -> bool {
        matches!(self.content, Content::Leaf(Value::None))
    }
    /// Whether this is a dict with `_target_`.
    pub fn is_component(&self) -> bool {
        self.as_dict().is_some_and(|entries| entries.contains_key(&Key::str("_target_")))
    }
    /// The text after `$`, if this is an expression.
    pub fn expression(&self) -> Option<&str> {
        self.as_str()?.strip_prefix('$')
    }
    /// Entry of a dict under a string key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.as_dict()?.get(&Key::str(key))
    }
    /// Child items with their part of the id.
    pub fn children(&self) -> Vec<(String, &Node)> {
        match &self.content {
            Content::Leaf(_) => vec![],
            Content::List(items) => items.iter().enumerate().map(|(at, node)| (at.to_string(), node)).collect(),
            Content::Dict(entries) => entries.iter().map(|(key, node)| (key_text(key), node)).collect(),
        }
    }
    /// Child item for one part of an id: an index in a list, a key in a dict.
    pub fn child(&self, part: &str) -> Option<&Node> {
        match &self.content {
            Content::Leaf(_) => None,
            Content::List(items) => items.get(index(part)?),
            Content::Dict(entries) => Some(&entries[position(entries, part)?]),
        }
    }
    pub(super) fn child_mut(&mut self, part: &str) -> Option<&mut Node> {
        match &mut self.content {
            Content::Leaf(_) => None,
            Content::List(items) => items.get_mut(index(part)?),
            Content::Dict(entries) => {
                let at = position(entries, part)?;
                Some(&mut entries[at])
            }
        }
    }
    /// Name of the type for messages: "dict", "list", "int".
    pub fn type_name(&self) -> String {
        match &self.content {
            Content::Leaf(value) => value.type_name(),
            Content::List(_) => "list".into(),
            Content::Dict(_) => "dict".into(),
        }
    }
    /// The value without resolving references and expressions.
    pub fn to_value(&self) -> Value {
        match &self.content {
            Content::Leaf(value) => value.clone(),
            Content::List(items) => Value::list(items.iter().map(Node::to_value)),
            Content::Dict(entries) => Value::Dict(crate::component::Dict::new(
                entries.iter().map(|(key, node)| (key.clone(), node.to_value())),
            )),
        }
    }
    /// Node for a value: lists and dicts become containers with child items, other values leaves.
    pub fn from_value(value: &Value, origin: &Origin) -> Node {
        let content = match value {
            Value::List(items) => {
                Content::List(items.items().iter().map(|item| Node::from_value(item, origin)).collect())
            }
            Value::Dict(dict) => Content::Dict(
                dict.items().iter().map(|(key, item)| (key.clone(), Node::from_value(item, origin))).collect(),
            ),
            value => Content::Leaf(value.clone()),
        };
        Node::new(content, origin.clone())
    }
    /// Number of levels of containers, including this one.
    pub fn depth(&self) -> usize {
        match &self.content {
            Content::Leaf(_) => 0,
            Content::List(items) => 1 + items.iter().map(Node::depth).max().unwrap_or(0),
            Content::Dict(entries) => 1 + entries.values().map(Node::depth).max().unwrap_or(0),
        }
    }
    /// Number of nodes, including this one.
    pub fn count(&self) -> usize {
        1 + match &self.content {
            Content::Leaf(_) => 0,
            Content::List(items) => items.iter().map(Node::count).sum(),
            Content::Dict(entries) => entries.values().map(Node::count).sum(),
        }
    }
}

/// Formats the value as Python.
impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_value())
    }
}

/// Text of a key in an id.
pub fn key_text(key: &Key) -> String {
    match key.as_str() {
        Some(text) => text.to_owned(),
        None => key.to_value().to_string(),
    }
}

/// Position of the key that has the text `part`; a string is preferred.
fn position(entries: &Entries, part: &str) -> Option<usize> {
    entries.get_index_of(&Key::str(part)).or_else(|| entries.keys().position(|key| key_text(key) == part))
}

/// Parse an index such as `12`; `012` and `+12` are not indices, since ids are compared as text.
fn index(part: &str) -> Option<usize> {
    let at: usize = part.parse().ok()?;
    (at.to_string() == part).then_some(at)
}
