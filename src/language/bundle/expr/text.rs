//! Lexer of string literals: escapes, and the parts of f-strings.

use super::lex::{Lexer, Part, Until, is_word};
use crate::error::{Error, Result};

/// An open string literal.
#[derive(Clone, Copy)]
pub struct Literal {
    /// Offset of its quote.
    pub start: usize,
    pub quote: &'static str,
    pub raw: bool,
}

/// Read up to and including the closing quote.
pub fn string(lexer: &mut Lexer, literal: Literal) -> Result<String> {
    let mut out = String::new();
    while !lexer.eat(literal.quote) {
        character(lexer, literal, &mut out)?;
    }
    Ok(out)
}

/// Read the parts of an f-string up to and including the closing quote or, with `spec_depth`, of a format specification
/// up to but excluding its `}`.
pub fn f_string(lexer: &mut Lexer, literal: Literal, spec_depth: Option<u32>) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    let mut out = String::new();
    loop {
        if spec_depth.is_some() && lexer.starts("}") {
            break;
        }
        if lexer.starts(literal.quote) {
            if spec_depth.is_some() {
                return Err(lexer.error(lexer.at, "the f-string ends before `}`"));
            }
            lexer.eat(literal.quote);
            break;
        }
        if spec_depth.is_none() && (lexer.starts("{{") || lexer.starts("}}")) {
            out.extend(lexer.bump());
            lexer.bump();
        } else if lexer.starts("{") {
            if !out.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut out)));
            }
            let depth = spec_depth.map_or(0, |depth| depth + 1);
            if depth > 1 {
                return Err(lexer.error(lexer.at, "format specifications are nested too deeply"));
            }
            parts.push(replacement(lexer, literal, depth)?);
        } else if lexer.starts("}") {
            return Err(lexer.error(lexer.at, "a single `}` in an f-string").hint("write `}}` for a brace"));
        } else {
            character(lexer, literal, &mut out)?;
        }
    }
    if !out.is_empty() {
        parts.push(Part::Text(out));
    }
    Ok(parts)
}

/// `{value!r:spec}`
fn replacement(lexer: &mut Lexer, literal: Literal, depth: u32) -> Result<Part> {
    let open = lexer.at;
    lexer.bump();
    let tokens = lexer.tokens(Until::Field)?;
    if tokens.len() <= 1 {
        return Err(lexer.error(open, "expected a value in the braces of the f-string"));
    }
    let mut conversion = None;
    if lexer.eat("!") {
        match lexer.bump() {
            Some(c @ ('r' | 's')) => conversion = Some(c),
            _ => return Err(lexer.error(open, "expected `!r` or `!s` in the f-string")),
        }
    }
    let mut spec = Vec::new();
    // `#` is read as `::`: the first colon starts the specification, the second is part of it.
    if lexer.starts(":") || lexer.starts("#") {
        spec.extend(lexer.starts("#").then(|| Part::Text(":".into())));
        lexer.bump();
        spec.extend(f_string(lexer, literal, Some(depth))?);
    }
    if !lexer.eat("}") {
        return Err(lexer.error(open, "`{` in the f-string was never closed"));
    }
    Ok(Part::Value { tokens, conversion, spec })
}

/// Read a character or an escape sequence.
fn character(lexer: &mut Lexer, literal: Literal, out: &mut String) -> Result<()> {
    let at = lexer.at;
    let unclosed = |lexer: &Lexer| lexer.error(literal.start, "this string was never closed");
    match lexer.bump() {
        None => return Err(unclosed(lexer)),
        Some('\n') if literal.quote.len() == 1 => return Err(unclosed(lexer)),
        Some('@') if !lexer.plain && (lexer.starts("::") || lexer.starts("#") || lexer.peek().is_some_and(is_word)) => {
            return Err(in_quotes(lexer, at));
        }
        Some('#') if !lexer.plain => out.push_str("::"),
        Some('\\') if literal.raw => {
            out.push('\\');
            // In a raw string, a quote after a backslash does not end the string.
            match lexer.peek() {
                Some('\'' | '"' | '\\') => out.extend(lexer.bump()),
                Some(_) => {}
                None => return Err(unclosed(lexer)),
            }
        }
        Some('\\') => escape(lexer, at, out)?,
        Some(c) => out.push(c),
    }
    Ok(())
}

fn in_quotes(lexer: &Lexer, at: usize) -> Error {
    let rest = &lexer.text[at + 1..];
    let id: String = rest.chars().take_while(|c| is_word(*c) || matches!(c, ':' | '#')).collect();
    lexer
        .error(at, format!("`@{id}` is inside a string, where references are not resolved"))
        .hint(format!("join the parts: `'…' + str(@{id})`, or write f'…{{@{id}}}…'; for a literal @ write '\\x40'"))
}

fn escape(lexer: &mut Lexer, at: usize, out: &mut String) -> Result<()> {
    let code = |lexer: &mut Lexer, digits: usize| -> Result<char> {
        let text =
            lexer.text.get(lexer.at..lexer.at + digits).filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()));
        let found = text.and_then(|text| u32::from_str_radix(text, 16).ok()).and_then(char::from_u32);
        let c = found.ok_or_else(|| lexer.error(at, format!("expected {digits} hexadecimal digits of a character")))?;
        lexer.at += digits;
        Ok(c)
    };
    let Some(c) = lexer.bump() else { return Err(lexer.error(at, "a string ends in a backslash")) };
    let c = match c {
        '\n' => return Ok(()),
        '\\' | '\'' | '"' => c,
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        'x' => code(lexer, 2)?,
        'u' => code(lexer, 4)?,
        'U' => code(lexer, 8)?,
        'N' => return Err(lexer.error(at, "named characters are not supported").hint("write \\uXXXX")),
        '0'..='7' => {
            let mut value = c.to_digit(8).unwrap_or(0);
            for _ in 0..2 {
                let Some(digit) = lexer.peek().and_then(|c| c.to_digit(8)) else { break };
                value = value * 8 + digit;
                lexer.bump();
            }
            char::from_u32(value).unwrap_or(char::REPLACEMENT_CHARACTER)
        }
        other => {
            out.push('\\');
            other
        }
    };
    out.push(c);
    Ok(())
}
