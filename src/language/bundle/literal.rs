//! Values on the command line, as python-fire reads them: a Python literal in which bare words are strings; anything
//! else is the text itself.
//!
//! Source: `fire/parser.py` (`DefaultParseValue`), which rests on `ast.literal_eval`. Deliberate differences: bytes and
//! complex numbers stay text, and so do integers beyond 64 bits.

use super::node::{Content, Entries, Node, Origin};
use crate::component::{Key, Value};
use std::iter::Peekable;
use std::str::CharIndices;

const MAX_DEPTH: usize = 100;
const KEYWORDS: [&str; 32] = [
    "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del", "elif", "else", "except",
    "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal", "not", "or", "pass", "raise",
    "return", "try", "while", "with", "yield",
];

/// The value of a command-line argument.
pub fn read(text: &str) -> Node {
    let origin = Origin::command_line();
    // Python's parser takes no indentation before an expression.
    if !text.starts_with([' ', '\t']) {
        let mut reader = Reader { chars: text.char_indices().peekable(), text, brackets: 0 };
        if let Some(node) = reader.top() {
            return node;
        }
    }
    Node::leaf(Value::str(text), origin)
}

struct Reader<'a> {
    chars: Peekable<CharIndices<'a>>,
    text: &'a str,
    brackets: usize,
}

/// `None` everywhere: no literal, so the argument is text.
impl Reader<'_> {
    fn peek(&mut self) -> Option<char> {
        self.chars.peek().map(|(_, c)| *c)
    }
    fn rest(&mut self) -> &str {
        let text = self.text;
        self.chars.peek().map_or("", |(at, _)| &text[*at..])
    }
    fn eat(&mut self, c: char) -> bool {
        self.chars.next_if(|(_, found)| *found == c).is_some()
    }
    fn skip(&mut self, count: usize) {
        for _ in 0..count {
            self.chars.next();
        }
    }
    /// Blanks, comments, and line breaks inside brackets.
    fn space(&mut self) {
        while let Some(c) = self.peek() {
            match c {
                ' ' | '\t' | '\u{c}' => {}
                '\n' | '\r' if self.brackets > 0 => {}
                '#' => {
                    while self.chars.next_if(|(_, c)| *c != '\n').is_some() {}
                    continue;
                }
                _ => return,
            }
            self.chars.next();
        }
    }

    fn top(&mut self) -> Option<Node> {
        self.space();
        let first = self.value(0)?;
        self.space();
        let node = if self.peek() == Some(',') {
            let mut items = vec![first];
            while self.eat(',') {
                self.space();
                if matches!(self.peek(), None | Some('\n')) {
                    break;
                }
                items.push(self.value(0)?);
                self.space();
            }
            leaf(Value::tuple(items.iter().map(Node::to_value)))
        } else {
            first
        };
        while matches!(self.peek(), Some('\n' | '\r' | ' ' | '\t')) {
            self.chars.next();
        }
        self.peek().is_none().then_some(node)
    }

    fn value(&mut self, depth: usize) -> Option<Node> {
        if depth > MAX_DEPTH {
            return None;
        }
        self.space();
        match self.peek()? {
            '[' => self.bracket(|reader| {
                let items = reader.items(']', depth)?.0;
                Some(Node::new(Content::List(items), Origin::command_line()))
            }),
            '(' => self.bracket(|reader| {
                let (mut items, comma) = reader.items(')', depth)?;
                match (items.len(), comma) {
                    (1, false) => items.pop(),
                    _ => Some(leaf(Value::tuple(items.iter().map(Node::to_value)))),
                }
            }),
            '{' => self.bracket(|reader| reader.braces(depth)),
            '\'' | '"' => self.strings(),
            '-' | '+' => self.signed(),
            '.' if self.rest().starts_with("...") => {
                self.skip(3);
                Some(leaf(Value::Ellipsis))
            }
            c if c.is_ascii_digit() || c == '.' => self.number().map(leaf),
            c if c.is_alphabetic() || c == '_' => self.word(),
            _ => None,
        }
    }

    fn bracket(&mut self, inner: impl FnOnce(&mut Self) -> Option<Node>) -> Option<Node> {
        self.chars.next();
        self.brackets += 1;
        let node = inner(self);
        self.brackets -= 1;
        node
    }

    /// Items up to the closing bracket, and whether there was a comma.
    fn items(&mut self, close: char, depth: usize) -> Option<(Vec<Node>, bool)> {
        let (mut items, mut comma) = (vec![], false);
        loop {
            self.space();
            if self.eat(close) {
                return Some((items, comma));
            }
            if !items.is_empty() && !comma {
                return None;
            }
            items.push(self.value(depth + 1)?);
            self.space();
            if !self.eat(',') {
                return self.eat(close).then_some((items, comma));
            }
            comma = true;
        }
    }

    /// A dict, or a set.
    fn braces(&mut self, depth: usize) -> Option<Node> {
        self.space();
        if self.eat('}') {
            return Some(Node::dict(Entries::new(), Origin::command_line()));
        }
        let first = self.value(depth + 1)?;
        self.space();
        if self.peek() != Some(':') {
            let mut items = vec![Key::new(&first.to_value())?];
            self.space();
            if self.eat(',') {
                for item in self.items('}', depth)?.0 {
                    let key = Key::new(&item.to_value())?;
                    if !items.contains(&key) {
                        items.push(key);
                    }
                }
            } else if !self.eat('}') {
                return None;
            }
            return Some(leaf(Value::Set(items.into())));
        }
        let mut entries = Entries::new();
        let mut key = Key::new(&first.to_value())?;
        loop {
            self.space();
            if !self.eat(':') {
                return None;
            }
            entries.insert(key, self.value(depth + 1)?);
            self.space();
            let comma = self.eat(',');
            self.space();
            if self.eat('}') {
                return Some(Node::dict(entries, Origin::command_line()));
            }
            if !comma {
                return None;
            }
            key = Key::new(&self.value(depth + 1)?.to_value())?;
        }
    }

    fn word(&mut self) -> Option<Node> {
        let rest = self.rest();
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let word = rest[..end].to_owned();
        if rest[end..].starts_with(['\'', '"']) {
            return match word.to_ascii_lowercase().as_str() {
                "u" => {
                    self.chars.next();
                    self.strings()
                }
                "r" => self.strings(),
                _ => None,
            };
        }
        self.skip(word.chars().count());
        match word.as_str() {
            "True" => Some(leaf(Value::Bool(true))),
            "False" => Some(leaf(Value::Bool(false))),
            "None" => Some(leaf(Value::None)),
            word if KEYWORDS.contains(&word) => None,
            word => Some(leaf(Value::str(word))),
        }
    }

    fn signed(&mut self) -> Option<Node> {
        let negative = self.chars.next()?.1 == '-';
        self.space();
        Some(leaf(match (self.number()?, negative) {
            (Value::Int(i), true) => Value::Int(i.checked_neg()?),
            (Value::Float(x), true) => Value::Float(-x),
            (value, _) => value,
        }))
    }

    fn number(&mut self) -> Option<Value> {
        let rest = self.rest();
        let mut end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.')).unwrap_or(rest.len());
        let prefix = rest.get(..2).map(str::to_ascii_lowercase);
        let radix = match prefix.as_deref() {
            Some("0x") => 16,
            Some("0o") => 8,
            Some("0b") => 2,
            _ => 10,
        };
        // The sign of an exponent.
        if radix == 10 && rest[..end].ends_with(['e', 'E']) && rest[end..].starts_with(['+', '-']) {
            end =
                rest[end + 1..].find(|c: char| !(c.is_ascii_digit() || c == '_')).map_or(rest.len(), |at| end + 1 + at);
        }
        let text = rest[..end].to_owned();
        let value = if radix == 10 {
            decimal(&text)?
        } else {
            Value::Int(i64::from_str_radix(&digits(&text[2..], true)?, radix).ok()?)
        };
        self.skip(text.chars().count());
        Some(value)
    }

    /// One string literal, or several in a row.
    fn strings(&mut self) -> Option<Node> {
        let mut out = String::new();
        loop {
            self.string(&mut out)?;
            self.space();
            let rest = self.rest();
            let raw = rest.starts_with(['r', 'R', 'u', 'U']) && rest[1..].starts_with(['\'', '"']);
            if !raw && !rest.starts_with(['\'', '"']) {
                return Some(leaf(Value::from(out)));
            }
            if rest.starts_with(['u', 'U']) {
                self.chars.next();
            }
        }
    }

    fn string(&mut self, out: &mut String) -> Option<()> {
        let raw = self.eat('r') || self.eat('R');
        let quote = self.chars.next()?.1;
        let triple = format!("{quote}{quote}");
        let long = self.rest().starts_with(&triple);
        if long {
            self.chars.next();
            self.chars.next();
        }
        loop {
            let c = self.chars.next()?.1;
            match c {
                _ if c == quote && !long => return Some(()),
                _ if c == quote && self.rest().starts_with(&triple) => {
                    self.chars.next();
                    self.chars.next();
                    return Some(());
                }
                '\n' if !long => return None,
                '\\' if raw => {
                    out.push('\\');
                    out.push(self.chars.next()?.1);
                }
                '\\' => self.escape(out)?,
                _ => out.push(c),
            }
        }
    }

    fn escape(&mut self, out: &mut String) -> Option<()> {
        let c = self.chars.next()?.1;
        let code = |reader: &mut Self, length: usize| {
            let digits = reader.rest().get(..length)?.to_owned();
            reader.skip(length);
            digits
                .bytes()
                .all(|b| b.is_ascii_hexdigit())
                .then(|| u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32))?
        };
        let escaped = match c {
            '\n' => return Some(()),
            '\\' | '\'' | '"' => c,
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            'x' => code(self, 2)?,
            'u' => code(self, 4)?,
            'U' => code(self, 8)?,
            'N' => return None,
            '0'..='7' => {
                let mut value = c.to_digit(8)?;
                for _ in 0..2 {
                    let Some(digit) = self.peek().and_then(|c| c.to_digit(8)) else { break };
                    value = value * 8 + digit;
                    self.chars.next();
                }
                char::from_u32(value)?
            }
            other => {
                out.push('\\');
                other
            }
        };
        out.push(escaped);
        Some(())
    }
}

fn leaf(value: Value) -> Node {
    Node::leaf(value, Origin::command_line())
}

/// Digits without the underscores, which stand singly and between digits (`lead`: also before the first).
fn digits(text: &str, lead: bool) -> Option<String> {
    let body = if lead { text.strip_prefix('_').unwrap_or(text) } else { text };
    let sound = !body.is_empty() && !body.starts_with('_') && !body.ends_with('_') && !body.contains("__");
    sound.then(|| body.replace('_', ""))
}

fn decimal(text: &str) -> Option<Value> {
    let is_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if !text.contains(['.', 'e', 'E']) {
        let clean = digits(text, false)?;
        // `007` is no Python number, `000` is.
        let padded = clean.starts_with('0') && !clean.bytes().all(|b| b == b'0');
        return (is_digits(&clean) && !padded).then(|| clean.parse().ok().map(Value::Int))?;
    }
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let part = |text: &str| {
        if text.is_empty() { Some(String::new()) } else { digits(text, false).filter(|clean| is_digits(clean)) }
    };
    let mut number = format!("{}.{}", part(whole)?, part(fraction)?);
    if let Some(exponent) = exponent {
        let (sign, rest) = exponent.split_at(usize::from(exponent.starts_with(['+', '-'])));
        number += &format!("e{sign}{}", digits(rest, false).filter(|clean| is_digits(clean))?);
    }
    // "5." and ".5" are floats in Rust as in Python.
    number.parse().ok().map(Value::Float)
}
