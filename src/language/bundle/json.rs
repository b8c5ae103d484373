//! Reader and writer of JSON as in Python's `json`: `NaN` and `Infinity` are numbers, and the last of duplicate keys is
//! used.
//!
//! serde_json neither reports duplicate keys and lines of items nor accepts `NaN`; it is used to unescape strings.
//! Differences from Python: integers beyond 64 bits and lone surrogates are errors, and nesting is limited.
//!
//! [`write()`] uses the layout of Python's `json.dump`, including `NaN`, which serde_json writes as null.

use super::load::{Limits, Notes};
use super::node::{Content, Entries, Node, Origin, key_text};
use crate::component::{Key, Value};
use crate::err;
use crate::error::{Error, Kind, Result};
use std::sync::Arc;

/// Parse `text`; `file` is used in messages.
pub fn read(text: &str, file: &str, notes: &mut Notes) -> Result<Node> {
    let mut reader =
        Reader { text, at: 0, line: 1, line_start: 0, file: file.into(), limits: Limits::default(), notes };
    reader.space();
    let node = reader.value(0)?;
    reader.space();
    match reader.peek() {
        None => Ok(node),
        Some(found) => Err(reader.error(format!("expected the end of the file, found `{found}`"))),
    }
}

/// Format `value` as JSON with an indentation of four: keys become strings, tuples lists, `NaN` remains a number.
///
/// # Errors
/// A set or an object in `value`.
pub fn write(value: &Value) -> Result<String> {
    let mut out = String::new();
    put(&mut out, value, "\n")?;
    out.push('\n');
    Ok(out)
}

/// Append `value`; `line_end` is a line break with the indentation of the enclosing container.
fn put(out: &mut String, value: &Value, line_end: &str) -> Result<()> {
    let inner = format!("{line_end}    ");
    let mut block = |brackets: &str, items: Vec<(Option<Key>, Value)>| {
        out.push_str(&brackets[..1]);
        let last = items.len();
        for (at, (key, item)) in items.into_iter().enumerate() {
            out.push_str(&inner);
            if let Some(key) = key {
                let name = if key == Key::None { "null".into() } else { key_text(&key) };
                out.push_str(&format!("{}: ", serde_json::Value::from(name)));
            }
            put(out, &item, &inner)?;
            out.push_str(if at + 1 < last { "," } else { line_end });
        }
        out.push_str(&brackets[1..]);
        Ok(())
    };
    match value {
        Value::Dict(dict) => {
            return block("{}", dict.items().into_iter().map(|(key, item)| (Some(key), item)).collect());
        }
        Value::List(_) | Value::Tuple(_) => {
            return block("[]", value.as_sequence().unwrap_or_default().into_iter().map(|item| (None, item)).collect());
        }
        Value::None => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Float(x) if x.is_nan() => out.push_str("NaN"),
        Value::Float(x) if x.is_infinite() => out.push_str(if *x > 0.0 { "Infinity" } else { "-Infinity" }),
        Value::Int(_) | Value::Float(_) => out.push_str(&value.to_string()),
        Value::Str(text) => out.push_str(&serde_json::Value::from(&**text).to_string()),
        other => return Err(err!("a value of type {} cannot be written as JSON", other.type_name()).kind(Kind::Config)),
    }
    Ok(())
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    line: u32,
    line_start: usize,
    file: Arc<str>,
    limits: Limits,
    notes: &'a mut Notes,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }
    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        if c == '\n' {
            self.line += 1;
            self.line_start = self.at;
        }
        Some(c)
    }
    fn space(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t' | '\n' | '\r')) {
            self.next();
        }
    }
    fn origin(&self) -> Origin {
        Origin { file: self.file.clone(), line: self.line }
    }
    /// Error at the current position: "…, line 3, column 7".
    fn error(&self, message: impl std::fmt::Display) -> Error {
        let column = self.text[self.line_start..self.at].chars().count() + 1;
        err!("JSON syntax, line {}, column {column}: {message}", self.line).kind(Kind::Config).file(&*self.file)
    }
    fn found(&self) -> String {
        self.peek().map_or("the end of the file".into(), |c| format!("`{c}`"))
    }

    fn value(&mut self, depth: usize) -> Result<Node> {
        self.limits.nodes(1, depth).map_err(|e| e.file(&*self.file))?;
        let origin = self.origin();
        let content = match self.peek() {
            Some('{') => Content::Dict(self.dict(depth)?),
            Some('[') => Content::List(self.list(depth)?),
            Some('"') => Content::Leaf(Value::from(self.string()?)),
            Some(c) if c == '-' || c.is_ascii_digit() => Content::Leaf(self.number()?),
            Some(c) if c.is_ascii_alphabetic() => Content::Leaf(self.word()?),
            Some('\'') => {
                return Err(self.error("expected a value, found `'`").hint("JSON strings need double quotes"));
            }
            Some('/' | '#') => {
                return Err(self
                    .error(format!("expected a value, found {}", self.found()))
                    .hint("JSON has no comments"));
            }
            _ => return Err(self.error(format!("expected a value, found {}", self.found()))),
        };
        Ok(Node::new(content, origin))
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>> {
        self.next();
        let mut items = Vec::new();
        self.space();
        if self.peek() == Some(']') {
            self.next();
            return Ok(items);
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.comma(']')? {
                return Ok(items);
            }
        }
    }

    fn dict(&mut self, depth: usize) -> Result<Entries> {
        self.next();
        let mut entries = Entries::new();
        self.space();
        if self.peek() == Some('}') {
            self.next();
            return Ok(entries);
        }
        loop {
            if self.peek() != Some('"') {
                return Err(self.error(format!("expected a key in double quotes, found {}", self.found())));
            }
            let origin = self.origin();
            let key = self.string()?;
            self.space();
            if self.peek() != Some(':') {
                return Err(self.error(format!("expected `:` after the key `{key}`, found {}", self.found())));
            }
            self.next();
            self.space();
            let node = self.value(depth + 1)?;
            if entries.insert(Key::str(&key), node).is_some() {
                self.notes.duplicate(&key, &origin)?;
            }
            if self.comma('}')? {
                return Ok(entries);
            }
        }
    }

    /// Read the separator after an item: true at the closing bracket, false after a comma.
    fn comma(&mut self, close: char) -> Result<bool> {
        self.space();
        match self.peek() {
            Some(c) if c == close => {
                self.next();
                Ok(true)
            }
            Some(',') => {
                self.next();
                self.space();
                if self.peek() == Some(close) {
                    return Err(self
                        .error(format!("expected another item, found `{close}`"))
                        .hint("remove the comma before it"));
                }
                Ok(false)
            }
            _ => Err(self
                .error(format!("expected `,` or `{close}`, found {}", self.found()))
                .hint("is a comma missing?")),
        }
    }

    fn word(&mut self) -> Result<Value> {
        let rest = &self.text[self.at..];
        let word = &rest[..rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len())];
        let value = match word {
            "null" => Value::None,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "NaN" => Value::Float(f64::NAN),
            "Infinity" => Value::Float(f64::INFINITY),
            _ => {
                let error = self.error(format!("expected a value, found `{word}`"));
                return Err(match word {
                    "True" | "False" => error.hint(format!("JSON writes `{}`", word.to_lowercase())),
                    "None" => error.hint("JSON writes `null`"),
                    _ => error.hint("JSON strings need double quotes"),
                });
            }
        };
        self.at += word.len();
        Ok(value)
    }

    /// Read a number of the JSON standard, or Python's `-Infinity`.
    fn number(&mut self) -> Result<Value> {
        let rest = &self.text[self.at..];
        if rest.starts_with("-Infinity") {
            self.at += "-Infinity".len();
            return Ok(Value::Float(f64::NEG_INFINITY));
        }
        let end = rest.find(|c: char| !(c.is_ascii_digit() || "+-.eE".contains(c))).unwrap_or(rest.len());
        let text = &rest[..end];
        let digit = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let sound = digit(unsigned)
            && !unsigned.strip_prefix('0').is_some_and(digit)
            && unsigned.split_once('.').is_none_or(|(_, fraction)| digit(fraction));
        let value = match unsigned.contains(['.', 'e', 'E']) {
            true => text.parse().ok().map(Value::Float),
            false => text.parse().ok().map(Value::Int),
        };
        let value = value.filter(|_| sound).ok_or_else(|| {
            let shown: String = text.chars().take(40).collect();
            self.error(format!("expected a number of at most 64 bits, found `{shown}`"))
        })?;
        self.at += end;
        Ok(value)
    }

    fn string(&mut self) -> Result<String> {
        let start = self.at;
        self.next();
        let (mut escaped, mut plain) = (false, true);
        loop {
            match self.peek() {
                None => return Err(self.error("the string does not end")),
                Some('"') if !escaped => break,
                Some(c) if c < ' ' => {
                    let error = self.error(format!("expected the end of the string, found the character {c:?}"));
                    return Err(error.hint("write a line break as `\\n` and a tab as `\\t`"));
                }
                Some(c) => {
                    escaped = c == '\\' && !escaped;
                    plain &= c != '\\';
                    self.next();
                }
            }
        }
        self.next();
        let quoted = &self.text[start..self.at];
        if plain {
            return Ok(quoted[1..quoted.len() - 1].to_owned());
        }
        serde_json::from_str(quoted)
            .map_err(|e| self.error(format!("invalid escape in a string: {e}")).hint("write a backslash as `\\\\`"))
    }
}
