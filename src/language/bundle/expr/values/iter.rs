//! Iteration: cursors over values, and Python's lazy iterator objects (generators, map, zip, …).

use super::range::Range;
use super::views::View;
use crate::component::{BuildContext, Dict, Key, List, MAX_KEY_PARTS, Object, Tuple, Value, discard};
use crate::error::Result;
use crate::{bail, err};
use parking_lot::Mutex;
use std::sync::Arc;

/// Source of the values of an iterator.
pub trait Step: Send {
    /// Next value; `None` at the end.
    fn step(&mut self, call: &mut BuildContext) -> Result<Option<Value>>;
}

/// An iterator object, the argument of `next`.
pub struct Iter {
    name: &'static str,
    /// The source; `None` after it is exhausted.
    source: Mutex<Option<Box<dyn Step>>>,
}

impl Iter {
    /// Creates an iterator object; `name` is its type in Python.
    pub fn value(name: &'static str, source: impl Step + 'static) -> Value {
        Value::object(Iter { name, source: Mutex::new(Some(Box::new(source))) })
    }
    pub(crate) fn advance(&self, call: &mut BuildContext) -> Result<Option<Value>> {
        // A generator that iterates over itself would deadlock.
        let Some(mut source) = self.source.try_lock() else { bail!("{} already executing", self.name) };
        let Some(steps) = source.as_mut() else { return Ok(None) };
        let next = call.nested(|call| steps.step(call));
        if !matches!(next, Ok(Some(_))) {
            *source = None;
        }
        next
    }
}

impl Drop for Iter {
    fn drop(&mut self) {
        if let Some(source) = self.source.get_mut().take() {
            discard(source);
        }
    }
}

impl Object for Iter {
    fn type_name(&self) -> &str {
        self.name
    }
    fn repr(&self) -> String {
        format!("<{} object>", self.name)
    }
    fn iterate(&self) -> Option<Result<Vec<Value>>> {
        Some(BuildContext::with_lent(|call| {
            let mut items = Vec::new();
            while let Some(item) = self.advance(call)? {
                call.charge(1)?;
                items.push(item);
            }
            Ok(items)
        }))
    }
}

/// Position in an iterable. Changes of a list during iteration are visible, as in Python.
pub(crate) enum Cursor {
    List(List, usize),
    Tuple(Tuple, usize),
    Str(Arc<str>, usize),
    Range(Range, i64),
    /// A dict, the position, and the number of keys at the start.
    Keys(Dict, usize, usize),
    Items(std::vec::IntoIter<Value>),
    Iter(Arc<Iter>),
}

impl Cursor {
    pub fn new(value: &Value) -> Result<Cursor> {
        Ok(match value {
            Value::List(list) => Cursor::List(list.clone(), 0),
            Value::Tuple(items) => Cursor::Tuple(items.clone(), 0),
            Value::Str(text) => Cursor::Str(text.clone(), 0),
            Value::Dict(dict) => Cursor::Keys(dict.clone(), 0, dict.len()),
            Value::Set(keys) => Cursor::Items(keys.iter().map(Key::to_value).collect::<Vec<_>>().into_iter()),
            Value::Object(object) => {
                if let Some(iter) = value.downcast::<Iter>() {
                    Cursor::Iter(iter)
                } else if let Some(range) = value.downcast::<Range>() {
                    Cursor::Range(*range, 0)
                } else if let Some(view) = value.downcast::<View>() {
                    Cursor::Items(view.items().into_iter())
                } else if let Some(iterator) = object.iterator() {
                    Cursor::new(&iterator?)?
                } else {
                    let items =
                        object.iterate().ok_or_else(|| err!("'{}' object is not iterable", object.type_name()))?;
                    Cursor::Items(items?.into_iter())
                }
            }
            other => bail!("'{}' object is not iterable", other.type_name()),
        })
    }
    pub fn next(&mut self, call: &mut BuildContext) -> Result<Option<Value>> {
        call.charge(1)?;
        Ok(match self {
            Cursor::List(list, at) => {
                let item = list.0.read().get(*at).cloned();
                *at += 1;
                item
            }
            Cursor::Tuple(items, at) => {
                *at += 1;
                items.get(*at - 1).cloned()
            }
            Cursor::Str(text, at) => text[*at..].chars().next().map(|c| {
                *at += c.len_utf8();
                Value::str(c.encode_utf8(&mut [0; 4]))
            }),
            Cursor::Range(range, at) => {
                *at += 1;
                range.get(*at - 1).map(Value::Int)
            }
            Cursor::Keys(dict, at, len) => {
                let dict = dict.0.read();
                if dict.len() != *len {
                    bail!("dictionary changed size during iteration");
                }
                *at += 1;
                dict.get_index(*at - 1).map(|(key, _)| key.to_value())
            }
            Cursor::Items(items) => items.next(),
            Cursor::Iter(iter) => return iter.advance(call),
        })
    }
}

impl Step for Cursor {
    fn step(&mut self, call: &mut BuildContext) -> Result<Option<Value>> {
        self.next(call)
    }
}

/// All items of an iterable.
pub(crate) fn collect(value: &Value, call: &mut BuildContext) -> Result<Vec<Value>> {
    let mut cursor = Cursor::new(value)?;
    let mut items = Vec::new();
    while let Some(item) = cursor.next(call)? {
        items.push(item);
    }
    Ok(items)
}

/// All distinct items as keys, in order.
pub(crate) fn collect_keys(value: &Value, call: &mut BuildContext) -> Result<Vec<Key>> {
    collect(value, call)?.iter().map(key).collect()
}

/// Convert a value to a key.
///
/// # Errors
/// Unhashable values and tuples with too many parts.
pub(crate) fn key(value: &Value) -> Result<Key> {
    Key::new(value).ok_or_else(|| match value {
        Value::Tuple(_) => {
            err!("expected a key of at most {MAX_KEY_PARTS} hashable parts, found a larger or too deeply nested tuple")
        }
        _ => err!("unhashable type: '{}'", value.type_name()),
    })
}
