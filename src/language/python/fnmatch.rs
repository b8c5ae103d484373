//! Shell patterns (`*`, `?`, `[a-z]`, `[!a]`) on names, for `glob`, with Python's reading of brackets.

use crate::err;
use crate::error::{Kind, Result};
use fancy_regex::{Regex, escape};

/// A pattern as a regular expression for the whole of a name, as Python's `fnmatch.translate` makes it. It has no
/// backreferences and no lookarounds, so matching takes linear time.
///
/// # Errors
/// If it is too large to compile, or a range in brackets runs backwards.
pub fn translate(pattern: &str) -> Result<Regex> {
    let mut regex = String::from("(?s)^");
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        // A `]` that comes first is a member of the set.
        let closing = rest.char_indices().skip(1 + usize::from(rest.starts_with('!'))).find(|(_, c)| *c == ']');
        match (c, closing) {
            ('*', _) => regex.push_str(".*"),
            ('?', _) => regex.push('.'),
            ('[', Some((end, _))) => {
                let (members, negated) = rest[..end].strip_prefix('!').map_or((&rest[..end], ""), |rest| (rest, "^"));
                let members = members.replace('\\', r"\\").replace('[', r"\[").replace(']', r"\]").replace('^', r"\^");
                regex.push_str(&format!(
                    "[{negated}{}]",
                    members.replace('&', r"\&").replace('~', r"\~").replace("--", r"\--")
                ));
                rest = &rest[end + 1..];
            }
            (c, _) => regex.push_str(&escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    Regex::new(&(regex + "$")).map_err(|_| err!("`{pattern}` is no pattern for names").kind(Kind::Config))
}
