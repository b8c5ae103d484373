//! Taking strings apart.

use crate::bail;
use crate::component::Value;
use crate::error::Result;

/// Python's white space: Unicode's, and the four information separators.
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\x1c'..='\x1f')
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
            // The last part keeps its spaces.
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
