//! Ids such as `train::dataset::transform`: splitting, references, relative ids, and the `path::id` of macros.
//!
//! MONAI source: `monai/bundle/reference_resolver.py` and `config_parser.py`. `::` separates levels; its older spelling
//! `#` is rewritten in all strings.

use crate::err;
use crate::error::{Kind, Result};
use std::collections::BTreeSet;

/// Separates the levels of an id.
pub const SEPARATOR: &str = "::";

/// Replace `#` by `::`.
pub fn normalize(text: &str) -> String {
    text.replace('#', SEPARATOR)
}

/// Join `a` and `b` to `a::b`; below the root the result is `b`.
pub fn join(parent: &str, part: &str) -> String {
    if parent.is_empty() { part.to_owned() } else { format!("{parent}{SEPARATOR}{part}") }
}

/// Split an id into the parent's id and the last part; `""` is the root.
pub fn split_last(id: &str) -> (&str, &str) {
    id.rsplit_once(SEPARATOR).unwrap_or(("", id))
}

/// Whether `id` equals `ancestor` or is below it.
pub fn is_within(id: &str, ancestor: &str) -> bool {
    match id.strip_prefix(ancestor) {
        Some(rest) => rest.is_empty() || ancestor.is_empty() || rest.starts_with(SEPARATOR),
        None => false,
    }
}

/// The id in a string that consists of a reference, such as `@a::b`; `None` if it contains any other text.
pub fn whole_reference(text: &str) -> Option<&str> {
    let id = text.strip_prefix('@')?;
    (reference_end(id) == id.len()).then_some(id)
}

/// The reference at the start of a text, and the rest.
pub fn leading_reference(text: &str) -> Option<(&str, &str)> {
    let id = text.strip_prefix('@')?;
    Some(id.split_at(reference_end(id)))
}

/// End of the longest match of `\w*(::\w*)*` at the start of `text`.
fn reference_end(text: &str) -> usize {
    let word = |from: usize| {
        text[from..].find(|c: char| !(c.is_alphanumeric() || c == '_')).map_or(text.len(), |at| from + at)
    };
    let mut end = word(0);
    while text[end..].starts_with(SEPARATOR) {
        end = word(end + SEPARATOR.len());
    }
    end
}

/// Make the relative ids in the text of the item `id` absolute: after `@` or `%`, one separator denotes the same level,
/// and each further one a level up. Applies to all strings, as in MONAI.
pub fn resolve_relative(id: &str, written: &str) -> Result<String> {
    let mut text = normalize(written);
    let levels: Vec<&str> = id.split(SEPARATOR).collect();
    // Longer prefixes first, so that `@::::` is not read as two prefixes `@::`.
    for prefix in relative_prefixes(&text).into_iter().rev() {
        let up = prefix[1..].matches(SEPARATOR).count();
        let Some(kept) = levels.len().checked_sub(up) else {
            return Err(err!("the relative id in `{written}` goes {up} levels up, out of the range of the config")
                .kind(Kind::Config)
                .hint(format!("`{id}` is {} levels deep", levels.len())));
        };
        let mut absolute = prefix[..1].to_owned();
        for level in &levels[..kept] {
            absolute.push_str(level);
            absolute.push_str(SEPARATOR);
        }
        text = text.replace(&prefix, &absolute);
    }
    Ok(text)
}

/// All matches of `[@%]:` followed by one or more `:`.
fn relative_prefixes(text: &str) -> BTreeSet<String> {
    let marks = text.match_indices(['@', '%']);
    let colons = |at: usize| text[at + 1..].bytes().take_while(|b| *b == b':').count();
    marks.filter(|(at, _)| colons(*at) >= 2).map(|(at, _)| text[at..=at + colons(at)].to_owned()).collect()
}

/// Split a macro's text after `%` into the file (empty for this config) and the id.
pub fn split_path(text: &str) -> (String, String) {
    let text = normalize(text);
    let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    let is_end = |at: &usize| {
        super::load::is_config_name(&text[..*at]) && (*at == text.len() || text[*at..].starts_with(SEPARATOR))
    };
    match ends.rev().find(is_end) {
        None => (String::new(), text),
        Some(at) => {
            let rest = &text[at..];
            (text[..at].to_owned(), rest.strip_prefix(SEPARATOR).unwrap_or(rest).to_owned())
        }
    }
}
