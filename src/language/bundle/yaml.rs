//! Reader of YAML 1.1, as PyYAML's `safe_load` (plain scalars are in [`super::yaml_scalar`]).
//!
//! MONAI's loader is `monai.utils.misc.CheckKeyDuplicatesYamlLoader`, which rejects merge keys (`<<`). Differences: an
//! alias is a copy of its anchor, so that relative ids in it are resolved at the location of the alias; dates remain
//! text; sets, binary data and recursive aliases are errors.

use super::load::{Limits, Notes};
use super::node::{Content, Entries, Node, Origin, key_text};
use super::yaml_scalar::{Scalar, plain, tagged};
use crate::component::{Key, Value};
use crate::err;
use crate::error::{Error, Kind, Result};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};
use std::collections::HashMap;
use std::sync::Arc;

/// Parse `text`; `file` is used in messages. An empty file is None.
pub fn read(text: &str, file: &str, notes: &mut Notes) -> Result<Node> {
    let file: Arc<str> = file.into();
    let mut builder = Builder {
        file: file.clone(),
        stack: vec![],
        anchors: HashMap::new(),
        result: None,
        limits: Limits::default(),
        notes,
    };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|e| {
            let mark = *e.marker();
            let error = syntax(&file, &mark, e.info());
            match e.info().contains("cannot start any token") || e.info().contains("unexpected character") {
                true => error.hint("a value that starts with `@`, `%` or a backtick needs quotes"),
                false => error,
            }
        })?;
        builder.event(event, &span.start)?;
    }
    Ok(builder.result.unwrap_or_else(|| Node::leaf(Value::None, Origin::new(&file, 1))))
}

fn syntax(file: &str, mark: &Marker, message: &str) -> Error {
    // saphyr counts columns from 0.
    err!("YAML syntax, line {}, column {}: {message}", mark.line(), mark.col() + 1).kind(Kind::Config).file(file)
}

/// A collection that is being read.
struct Frame {
    origin: Origin,
    anchor: usize,
    mapping: bool,
    items: Vec<Node>,
    entries: Entries,
    /// Key of the value that is read next.
    key: Option<(Key, Origin)>,
}

struct Builder<'a> {
    file: Arc<str>,
    stack: Vec<Frame>,
    /// Completed nodes with an anchor.
    anchors: HashMap<usize, Node>,
    result: Option<Node>,
    limits: Limits,
    notes: &'a mut Notes,
}

impl Builder<'_> {
    fn event(&mut self, event: Event, mark: &Marker) -> Result<()> {
        let origin = Origin { file: self.file.clone(), line: u32::try_from(mark.line()).unwrap_or(0) };
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) if self.result.is_some() => {
                Err(syntax(&self.file, mark, "expected one document, found another"))
            }
            Event::DocumentStart(_) => Ok(()),
            Event::SequenceStart(anchor, tag) => self.open(origin, anchor, false, tag.as_deref(), "seq", mark),
            Event::MappingStart(anchor, tag) => self.open(origin, anchor, true, tag.as_deref(), "map", mark),
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(frame) = self.stack.pop() else { return Ok(()) };
                let anchor = frame.anchor;
                let node = frame.close();
                self.push(node, anchor, mark)
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.count(mark)?;
                let plain_style = style == ScalarStyle::Plain;
                let value = self.scalar(&text, plain_style, tag.as_deref(), &origin, mark)?;
                self.push(Node::leaf(value, origin), anchor, mark)
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(syntax(&self.file, mark, "recursive alias"));
                };
                let at = format!("{}:{}", self.file, mark.line());
                self.limits.nodes(node.count(), self.stack.len() + node.depth()).map_err(|e| e.file(at))?;
                self.push(node, 0, mark)
            }
        }
    }

    fn count(&mut self, mark: &Marker) -> Result<()> {
        self.limits.nodes(1, self.stack.len()).map_err(|e| e.file(format!("{}:{}", self.file, mark.line())))
    }

    fn open(
        &mut self,
        origin: Origin,
        anchor: usize,
        mapping: bool,
        tag: Option<&Tag>,
        expected: &str,
        mark: &Marker,
    ) -> Result<()> {
        self.count(mark)?;
        if let Some(tag) = tag
            && !(tag.is_yaml_core_schema() && tag.suffix == expected)
            && !(tag.handle.is_empty() && tag.suffix == "!")
        {
            return Err(syntax(&self.file, mark, &format!("the tag `{}{}` is not supported", tag.handle, tag.suffix)));
        }
        self.stack.push(Frame { origin, anchor, mapping, items: vec![], entries: Entries::new(), key: None });
        Ok(())
    }

    fn scalar(
        &mut self,
        text: &str,
        plain_style: bool,
        tag: Option<&Tag>,
        origin: &Origin,
        mark: &Marker,
    ) -> Result<Value> {
        let scalar = match tag {
            Some(tag) if tag.is_yaml_core_schema() => tagged(&tag.suffix, text),
            Some(tag) if tag.handle.is_empty() && tag.suffix == "!" => Ok(Scalar::Value(Value::str(text))),
            Some(tag) => Err(format!("the tag `{}{}` is not supported", tag.handle, tag.suffix)),
            None if plain_style => plain(text),
            None => Ok(Scalar::Value(Value::str(text))),
        };
        match scalar.map_err(|message| syntax(&self.file, mark, &message))? {
            Scalar::Value(value) => Ok(value),
            Scalar::NumberText(number) => {
                let note = err!("`{text}` is text in YAML 1.1, not a number").kind(Kind::Config).file(origin.text());
                self.notes.warnings.push(note.hint(format!("write {number}, or put it in quotes")));
                Ok(Value::str(text))
            }
            Scalar::Date => {
                let note = err!("the date {text} is kept as text").kind(Kind::Config).file(origin.text());
                self.notes.warnings.push(note.hint("put it in quotes to avoid this warning"));
                Ok(Value::str(text))
            }
        }
    }

    /// Add a completed node to the enclosing collection.
    fn push(&mut self, node: Node, anchor: usize, mark: &Marker) -> Result<()> {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(frame) = self.stack.last_mut() else {
            self.result = Some(node);
            return Ok(());
        };
        if !frame.mapping {
            frame.items.push(node);
            return Ok(());
        }
        match frame.key.take() {
            None => {
                let value = node.to_value();
                let key = Key::new(&value).ok_or_else(|| syntax(&self.file, mark, "a list or dict cannot be a key"))?;
                if let Value::Bool(truth) = value {
                    let note = err!("this key is read as {} (YAML 1.1)", if truth { "True" } else { "False" });
                    self.notes
                        .warnings
                        .push(note.kind(Kind::Config).file(node.origin.text()).hint("put the key in quotes"));
                }
                frame.key = Some((key, node.origin));
            }
            Some((key, origin)) => {
                if frame.entries.contains_key(&key) {
                    self.notes.duplicate(&key_text(&key), &origin)?;
                }
                frame.entries.insert(key, node);
            }
        }
        Ok(())
    }
}

impl Frame {
    fn close(self) -> Node {
        match self.mapping {
            true => Node::dict(self.entries, self.origin),
            false => Node::new(Content::List(self.items), self.origin),
        }
    }
}
