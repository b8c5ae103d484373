//! JSON as Python's `json.load` reads it: `NaN` and `Infinity` are numbers, duplicate keys keep the last value.
//!
//! A reader of our own, because the usual ones hide duplicate keys and the line of each item. Deliberate differences:
//! integers beyond 64 bits and lone surrogates are errors, and nesting is limited.

use super::load::{Limits, Notes};
use super::node::{Content, Entries, Node, Origin};
use crate::component::{Key, Value};
use crate::err;
use crate::error::{Error, Kind, Result};
use std::sync::Arc;

/// Read `text`; `file` is for messages.
pub fn read(text: &str, file: &str, notes: &mut Notes) -> Result<Node> {
    let mut reader =
        Reader { text, at: 0, line: 1, line_start: 0, file: file.into(), limits: Limits::default(), notes };
    if text.starts_with('\u{feff}') {
        return Err(reader.error("a byte order mark before the JSON").hint("save the file as UTF-8 without BOM"));
    }
    reader.space();
    let node = reader.value(0)?;
    reader.space();
    match reader.peek() {
        None => Ok(node),
        Some(found) => Err(reader.error(format!("expected the end of the file, found `{found}`"))),
    }
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
    /// "…, line 3, column 7" at the current place.
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
                return Err(self.error("expected a value, found `'`").hint("JSON strings stand in double quotes"));
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

    /// After an item: true at the closing bracket, false after a comma.
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
                    _ => error.hint("JSON strings stand in double quotes"),
                });
            }
        };
        self.at += word.len();
        Ok(value)
    }

    fn number(&mut self) -> Result<Value> {
        let rest = &self.text[self.at..];
        if rest.starts_with("-Infinity") {
            self.at += "-Infinity".len();
            return Ok(Value::Float(f64::NEG_INFINITY));
        }
        let digits = |from: usize| rest[from..].bytes().take_while(u8::is_ascii_digit).count();
        let start = usize::from(rest.starts_with('-'));
        let mut end = start + if rest[start..].starts_with('0') { 1 } else { digits(start) };
        if end == start {
            return Err(self.error("expected a digit after `-`"));
        }
        let mut integer = true;
        if rest[end..].starts_with('.') && digits(end + 1) > 0 {
            end += 1 + digits(end + 1);
            integer = false;
        }
        if rest[end..].starts_with(['e', 'E']) {
            let sign = usize::from(rest[end + 1..].starts_with(['+', '-']));
            let exponent = digits(end + 1 + sign);
            if exponent > 0 {
                end += 1 + sign + exponent;
                integer = false;
            }
        }
        let text = &rest[..end];
        let value = if integer {
            Value::Int(
                text.parse()
                    .map_err(|_| self.error(format!("the integer {} does not fit into 64 bits", shorten(text))))?,
            )
        } else {
            Value::Float(text.parse().map_err(|_| self.error(format!("expected a number, found {}", shorten(text))))?)
        };
        self.at += end;
        Ok(value)
    }

    fn string(&mut self) -> Result<String> {
        self.next();
        let mut out = String::new();
        loop {
            let rest = &self.text[self.at..];
            let plain = rest.find(|c: char| c == '"' || c == '\\' || c < ' ').unwrap_or(rest.len());
            out.push_str(&rest[..plain]);
            self.at += plain;
            match self.peek() {
                None => return Err(self.error("the string does not end")),
                Some('"') => {
                    self.next();
                    return Ok(out);
                }
                Some('\\') => {
                    self.next();
                    out.push(self.escape()?);
                }
                Some(c) => {
                    let error = self.error(format!("the character {c:?} inside a string"));
                    return Err(error.hint("write a line break as `\\n` and a tab as `\\t`"));
                }
            }
        }
    }

    fn escape(&mut self) -> Result<char> {
        Ok(match self.peek() {
            Some(c @ ('"' | '\\' | '/')) => {
                self.next();
                c
            }
            Some('b') => self.escaped('\u{8}'),
            Some('f') => self.escaped('\u{c}'),
            Some('n') => self.escaped('\n'),
            Some('r') => self.escaped('\r'),
            Some('t') => self.escaped('\t'),
            Some('u') => {
                self.next();
                let high = self.hex4()?;
                let code = if (0xd800..0xdc00).contains(&high) && self.text[self.at..].starts_with("\\u") {
                    self.at += 2;
                    match self.hex4()? {
                        low @ 0xdc00..0xe000 => 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00),
                        _ => high,
                    }
                } else {
                    high
                };
                char::from_u32(code).ok_or_else(|| self.error("half of a surrogate pair"))?
            }
            _ => {
                return Err(self
                    .error(format!("expected an escape, found {}", self.found()))
                    .hint("write a backslash as `\\\\`"));
            }
        })
    }
    fn escaped(&mut self, c: char) -> char {
        self.next();
        c
    }
    fn hex4(&mut self) -> Result<u32> {
        let digits = self.text.get(self.at..self.at + 4).filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()));
        let code = digits
            .and_then(|text| u32::from_str_radix(text, 16).ok())
            .ok_or_else(|| self.error("expected four hex digits"))?;
        self.at += 4;
        Ok(code)
    }
}

fn shorten(text: &str) -> String {
    if text.len() <= 40 { text.into() } else { format!("{}…", &text[..40]) }
}
