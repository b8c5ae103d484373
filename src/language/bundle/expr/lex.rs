//! Lexer. `@id` is one token, and `#` is read as `::` everywhere, as in MONAI.

use super::Reference;
use super::text::{self, Literal};
use crate::error::{Error, Result};
use std::sync::Arc;

#[derive(Debug, Clone)]
pub struct Token {
    pub at: usize,
    pub tok: Tok,
}

#[derive(Debug, Clone)]
pub enum Tok {
    /// Also keywords.
    Name(Arc<str>),
    Int(i64),
    Float(f64),
    Str(String),
    FString(Vec<Part>),
    Reference(String),
    Op(&'static str),
    NewLine,
    End,
}

/// A part of an f-string, its expressions as tokens.
#[derive(Debug, Clone)]
pub enum Part {
    Text(String),
    Value { tokens: Vec<Token>, conversion: Option<char>, spec: Vec<Part> },
}

/// Operators, longest first.
const OPERATORS: [&str; 44] = [
    "...", "**=", "//=", ">>=", "<<=", "**", "//", "<<", ">>", "<=", ">=", "==", "!=", "->", ":=", "+=", "-=", "*=",
    "/=", "%=", "&=", "|=", "^=", "+", "-", "*", "/", "%", "&", "|", "^", "~", "<", ">", "=", "(", ")", "[", "]", "{",
    "}", ",", ".", ":",
];
/// Maximum nesting of f-strings.
const MAX_NESTED: usize = 16;

pub struct Lexer<'a> {
    pub text: &'a str,
    pub at: usize,
    pub references: Vec<Reference>,
    pub nested: usize,
    /// Python's syntax without MONAI's extensions: `@` is an operator and `#` starts a comment.
    pub plain: bool,
}

/// End of a sequence of tokens.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Until {
    End,
    /// The `}`, `!r` or `:` after the value in an f-string's braces.
    Field,
}

impl<'a> Lexer<'a> {
    pub fn new(text: &'a str) -> Self {
        Lexer { text, at: 0, references: vec![], nested: 0, plain: false }
    }
    pub fn error(&self, at: usize, message: impl Into<String>) -> Error {
        Error::config(message).place(self.text, at)
    }
    pub fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }
    pub fn starts(&self, with: &str) -> bool {
        self.text[self.at..].starts_with(with)
    }
    pub fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }
    pub fn eat(&mut self, with: &str) -> bool {
        let found = self.starts(with);
        if found {
            self.at += with.len();
        }
        found
    }
    fn take_while(&mut self, mut accept: impl FnMut(char) -> bool) -> &'a str {
        let start = self.at;
        while self.peek().is_some_and(&mut accept) {
            self.bump();
        }
        &self.text[start..self.at]
    }

    pub fn tokens(&mut self, until: Until) -> Result<Vec<Token>> {
        let mut tokens = Vec::new();
        let mut open: Vec<(&'static str, usize)> = Vec::new();
        loop {
            self.take_while(|c| matches!(c, ' ' | '\t' | '\x0c'));
            let at = self.at;
            let Some(c) = self.peek() else {
                if let Some((bracket, at)) = open.pop() {
                    return Err(self.error(at, format!("`{bracket}` was never closed")));
                }
                tokens.push(Token { at, tok: Tok::End });
                return Ok(tokens);
            };
            if until == Until::Field && open.is_empty() && self.field_ends(c) {
                tokens.push(Token { at, tok: Tok::End });
                return Ok(tokens);
            }
            let tok = match c {
                '\n' | '\r' => {
                    self.bump();
                    if !open.is_empty() || until == Until::Field {
                        continue;
                    }
                    Tok::NewLine
                }
                '\\' if self.eat("\\\n") || self.eat("\\\r\n") => continue,
                '@' if self.is_reference() => self.reference(),
                '@' if self.eat("@") => Tok::Op("@"),
                '#' if self.plain => {
                    self.take_while(|c| c != '\n');
                    continue;
                }
                '#' => {
                    self.bump();
                    tokens.push(Token { at, tok: Tok::Op(":") });
                    Tok::Op(":")
                }
                '0'..='9' => self.number()?,
                '.' if self.text[at + 1..].starts_with(|c: char| c.is_ascii_digit()) => self.number()?,
                '\'' | '"' => self.string("")?,
                c if c.is_alphabetic() || c == '_' => self.word()?,
                _ => Tok::Op(self.operator()?),
            };
            if let Tok::Op(op) = tok {
                match op {
                    "(" | "[" | "{" => open.push((op, at)),
                    ")" | "]" | "}" => match open.pop() {
                        Some((left, _)) if matches!((left, op), ("(", ")") | ("[", "]") | ("{", "}")) => {}
                        Some((left, _)) => return Err(self.error(at, format!("`{op}` does not match `{left}`"))),
                        None => return Err(self.error(at, format!("unmatched `{op}`"))),
                    },
                    _ => {}
                }
            }
            tokens.push(Token { at, tok });
        }
    }

    fn field_ends(&self, next: char) -> bool {
        match next {
            '}' | ':' | '#' => true,
            '!' => !self.starts("!="),
            _ => false,
        }
    }

    fn is_reference(&self) -> bool {
        let rest = &self.text[self.at + 1..];
        !self.plain && (rest.starts_with("::") || rest.starts_with('#') || rest.starts_with(is_word))
    }
    /// Read a reference: word characters and separators, as in MONAI's pattern.
    fn reference(&mut self) -> Tok {
        let offset = self.at;
        self.bump();
        let mut id = String::new();
        loop {
            id.push_str(self.take_while(is_word));
            if self.eat("::") || self.eat("#") {
                id.push_str("::");
            } else {
                break;
            }
        }
        self.references.push(Reference { id: id.clone(), offset });
        Tok::Reference(id)
    }

    fn operator(&mut self) -> Result<&'static str> {
        match OPERATORS.iter().find(|op| self.starts(op)) {
            Some(op) => {
                self.at += op.len();
                Ok(op)
            }
            None => {
                let c = self.peek().unwrap_or(' ');
                let error = self.error(self.at, format!("unexpected character `{c}`"));
                Err(if c == ';' { error.hint("write a single expression or import") } else { error })
            }
        }
    }

    /// A name, a keyword, or the prefix of a string.
    fn word(&mut self) -> Result<Tok> {
        let word = self.take_while(is_word);
        if word.len() <= 2 && matches!(self.peek(), Some('\'' | '"')) {
            let prefix = word.to_ascii_lowercase();
            if ["r", "u", "f", "rf", "fr"].contains(&prefix.as_str()) {
                return self.string(&prefix);
            }
            if ["b", "br", "rb"].contains(&prefix.as_str()) {
                return Err(self
                    .error(self.at - word.len(), "bytes are not supported in expressions")
                    .hint("use a plain string"));
            }
        }
        Ok(Tok::Name(word.into()))
    }

    fn string(&mut self, prefix: &str) -> Result<Tok> {
        let quote = match self.peek() {
            Some('"') if self.starts("\"\"\"") => "\"\"\"",
            Some('"') => "\"",
            _ if self.starts("'''") => "'''",
            _ => "'",
        };
        let start = self.at;
        self.at += quote.len();
        let literal = Literal { start, quote, raw: prefix.contains('r') };
        if prefix.contains('f') {
            if self.nested >= MAX_NESTED {
                return Err(self.error(start, "f-strings are nested too deeply"));
            }
            self.nested += 1;
            let parts = text::f_string(self, literal, None)?;
            self.nested -= 1;
            return Ok(Tok::FString(parts));
        }
        Ok(Tok::Str(text::string(self, literal)?))
    }

    fn number(&mut self) -> Result<Tok> {
        let start = self.at;
        for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
            if self.text[start..].get(..2).is_some_and(|head| head.eq_ignore_ascii_case(prefix)) {
                self.at += 2;
                let digits = self.take_while(|c| c.is_digit(radix) || c == '_');
                let good = digits.strip_prefix('_').unwrap_or(digits);
                return i64::from_str_radix(&self.plain(start, good)?, radix)
                    .map(Tok::Int)
                    .map_err(|_| self.too_large(start));
            }
        }
        let whole = self.take_while(|c| c.is_ascii_digit() || c == '_');
        let mut float = false;
        if self.starts(".") {
            float = true;
            self.bump();
            let fraction = self.take_while(|c| c.is_ascii_digit() || c == '_');
            if !fraction.is_empty() {
                self.plain(start, fraction)?;
            }
        }
        if matches!(self.peek(), Some('e' | 'E')) {
            let rest = self.text[self.at + 1..].trim_start_matches(['+', '-']);
            let sign = self.text.len() - self.at - 1 - rest.len();
            if sign <= 1 && rest.starts_with(|c: char| c.is_ascii_digit()) {
                float = true;
                self.at += 1 + sign;
                let exponent = self.take_while(|c| c.is_ascii_digit() || c == '_');
                self.plain(start, exponent)?;
            }
        }
        if matches!(self.peek(), Some('j' | 'J')) {
            return Err(self.error(start, "complex numbers are not supported in expressions"));
        }
        if !whole.is_empty() {
            self.plain(start, whole)?;
        }
        let digits = self.text[start..self.at].replace('_', "");
        if float {
            return digits.parse().map(Tok::Float).map_err(|_| self.error(start, format!("invalid number `{digits}`")));
        }
        if digits.len() > 1 && digits.starts_with('0') && digits.bytes().any(|digit| digit != b'0') {
            return Err(self
                .error(start, "a decimal integer cannot start with 0")
                .hint("octal integers start with 0o"));
        }
        digits.parse().map(Tok::Int).map_err(|_| self.too_large(start))
    }
    /// Remove underscores, which are allowed between two digits only.
    fn plain(&self, start: usize, digits: &str) -> Result<String> {
        if digits.is_empty() || digits.starts_with('_') || digits.ends_with('_') || digits.contains("__") {
            return Err(self.error(start, "invalid number: expected digits, separated by single underscores"));
        }
        Ok(digits.replace('_', ""))
    }
    fn too_large(&self, start: usize) -> Error {
        self.error(start, "integer overflow: the literal does not fit into 64 bits")
    }
}

/// Python's `\w`.
pub fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}
