//! Merging of keys: a key replaces an existing value, `+key` extends it (`monai.bundle.utils.merge_kv`).

use super::load::Warning;
use super::node::{Content, Entries, Node, key_text};
use crate::component::Key;
use crate::err;
use crate::error::{Kind, Result};

/// Set `key` of a flat dict to `node`; `+key` merges into the existing value.
pub fn merge(entries: &mut Entries, key: &Key, node: Node, warnings: &mut Vec<Warning>) -> Result<()> {
    let Some(target) = key.as_str().and_then(|text| text.strip_prefix('+')) else {
        entries.insert(key.clone(), node);
        return Ok(());
    };
    match entries.get_mut(&Key::str(target)) {
        Some(old) => extend(old, node, target),
        None => {
            warnings.push(nothing_to_merge(target, &node));
            entries.insert(Key::str(target), node);
            Ok(())
        }
    }
}

/// Update a dict (shallowly) or extend a list.
///
/// # Errors
/// Values that are not two dicts or two lists.
pub fn extend(old: &mut Node, new: Node, target: &str) -> Result<()> {
    let (old_type, new_type) = (old.type_name(), new.type_name());
    let place = new.origin.text();
    match (&mut old.content, new.content) {
        (Content::Dict(old), Content::Dict(new)) => old.extend(new),
        (Content::List(old), Content::List(new)) => old.extend(new),
        _ => {
            let error = err!("`+{target}` merges two dicts or two lists, found {old_type} and {new_type}");
            return Err(error
                .kind(Kind::Config)
                .at(Some(&place), target)
                .hint(format!("`{target}` without `+` replaces the value")));
        }
    }
    Ok(())
}

pub fn nothing_to_merge(target: &str, node: &Node) -> Warning {
    let note = err!("`+{target}` is used like `{target}`, which does not exist yet");
    note.kind(Kind::Config).at(Some(&node.origin.text()), target)
}

/// A key of a file's top level, which must be a string.
pub fn top_key(key: &Key, node: &Node) -> Result<String> {
    if key.as_str().is_none() {
        let error = err!("expected a string as a key at the top of a config, found {}", key_text(key));
        return Err(error.kind(Kind::Config).file(node.origin.text()).hint("put the key in quotes"));
    }
    Ok(key_text(key))
}
