//! Shell patterns (`*`, `?`, `[a-z]`, `[!a]`) for `glob`, with the semantics of Python's `fnmatch`.

use crate::err;
use crate::error::{Kind, Result};
use fancy_regex::{Regex, escape};

/// Convert a pattern to a regular expression that matches whole names, as `fnmatch.translate`. It has no backreferences
/// and lookarounds, so that matching takes linear time.
///
/// # Errors
/// A pattern that is too large, or a reversed range in brackets.
pub fn translate(pattern: &str) -> Result<Regex> {
    let mut regex = String::from("(?s)^");
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        // A leading `]` is a member of the set.
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
    Regex::new(&(regex + "$")).map_err(|_| err!("invalid file name pattern `{pattern}`").kind(Kind::Config))
}
