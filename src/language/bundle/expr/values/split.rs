//! Taking strings apart.

use crate::bail;
use crate::component::Value;
use crate::error::Result;

/// Python's white space: Unicode's, and the four information separators.
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\x1c'..='\x1f')
}

/// A decimal digit outside ASCII: those whose block of ten starts at a multiple that Unicode keeps for them.
pub fn is_decimal(c: char) -> bool {
    // The scripts' digits that occur in practice; fractions, superscripts and letters are not among them.
    const ZEROS: [u32; 20] = [
        0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6, 0xe50, 0xed0, 0xf20,
        0x1040, 0x17e0, 0x1810, 0xff10,
    ];
    ZEROS.iter().any(|zero| (*zero..*zero + 10).contains(&u32::from(c)))
}

pub fn partition(own: &str, separator: &str, last: bool) -> Result<Value> {
    if separator.is_empty() {
        bail!("empty separator");
    }
    let found = if last { own.rsplit_once(separator) } else { own.split_once(separator) };
    let parts = match found {
        Some((head, tail)) => [head, separator, tail],
        None if last => ["", "", own],
        None => [own, "", ""],
    };
    Ok(Value::tuple(parts.map(Value::str)))
}

/// At most `limit` cuts, from the left or the right; a negative limit is none.
pub fn split<'a>(own: &'a str, separator: Option<&str>, limit: i64, right: bool) -> Result<Vec<&'a str>> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let Some(separator) = separator else { return Ok(split_spaces(own, limit, right)) };
    if separator.is_empty() {
        bail!("empty separator");
    }
    let parts = limit.saturating_add(1);
    if right {
        let mut found: Vec<&str> = own.rsplitn(parts, separator).collect();
        found.reverse();
        return Ok(found);
    }
    Ok(own.splitn(parts, separator).collect())
}

fn split_spaces(own: &str, limit: usize, right: bool) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = if right { own.trim_end_matches(is_space) } else { own.trim_start_matches(is_space) };
    while !rest.is_empty() {
        let cut = if right { rest.rfind(is_space) } else { rest.find(is_space) };
        let (part, left) = match cut {
            Some(at) if parts.len() < limit => {
                if right {
                    let after = at + rest[at..].chars().next().map_or(1, char::len_utf8);
                    (&rest[after..], rest[..at].trim_end_matches(is_space))
                } else {
                    (&rest[..at], rest[at..].trim_start_matches(is_space))
                }
            }
            // The last part keeps the spaces within, and those at its far end only when going left to right.
            _ if parts.len() >= limit => (rest, ""),
            _ => (rest, ""),
        };
        parts.push(part);
        rest = left;
    }
    if right {
        parts.reverse();
    }
    parts
}

pub fn lines(own: &str, keep: bool) -> Vec<&str> {
    let ends =
        |c: char| matches!(c, '\n' | '\r' | '\x0b' | '\x0c' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}');
    let mut found = Vec::new();
    let mut rest = own;
    while !rest.is_empty() {
        let (line, end) = match rest.find(ends) {
            Some(at) if rest[at..].starts_with("\r\n") => (at, at + 2),
            Some(at) => (at, at + rest[at..].chars().next().map_or(1, char::len_utf8)),
            None => (rest.len(), rest.len()),
        };
        found.push(&rest[..if keep { end } else { line }]);
        rest = &rest[end..];
    }
    found
}

pub fn expand_tabs(own: &str, size: usize) -> String {
    let mut out = String::new();
    let mut column = 0;
    for c in own.chars() {
        match c {
            '\t' if size > 0 => {
                let gap = size - column % size;
                out.extend(std::iter::repeat_n(' ', gap));
                column += gap;
            }
            '\t' => {}
            c => {
                out.push(c);
                column = if matches!(c, '\n' | '\r') { 0 } else { column + 1 };
            }
        }
    }
    out
}
