//! Traps of MONAI's config language that would run silently and do something else, and names that MONAI renamed.

use super::load::Warning;
use super::node::{Content, Node};
use super::tree::{Tree, walk};
use super::{args::RunArgs, id};
use crate::component::{Key, Value};
use crate::err;
use crate::error::{Error, Kind};
use std::collections::HashSet;

/// Old names and new ones, at the top of a config and of its metadata (`monai.bundle.utils.DEPRECATED_ID_MAPPING`).
const RENAMED: [(&str, &str); 1] = [("optional_packages_version", "required_packages_version")];

/// Rename what is deprecated; the item moves to the end, as in MONAI.
pub fn rename_deprecated(node: &mut Node, warnings: &mut Vec<Warning>) {
    let Content::Dict(entries) = &mut node.content else { return };
    for (old, new) in RENAMED {
        if let Some(item) = entries.shift_remove(&Key::str(old)) {
            let note = err!("`{old}` is an old name").kind(Kind::Config).file(item.origin.text());
            warnings.push(note.hint(format!("it is read as `{new}`")));
            entries.insert(Key::str(new), item);
        }
    }
}

/// `--x false`: in Python that is the string 'false', which is true.
pub fn check_override(tree: &mut Tree, spelled: &str, target: &str, node: &Node) {
    let Some(text) = node.as_str() else { return };
    let python = match text.trim().to_ascii_lowercase().as_str() {
        "false" | "no" | "off" => "False",
        "true" | "yes" | "on" => "True",
        _ => return,
    };
    let place = node.origin.text();
    let old = tree.get(target).map(|old| old.content.clone());
    match old {
        Some(Content::Leaf(Value::Bool(_))) if python == "False" => {
            let error =
                err!("`{spelled}` is set to the string '{text}', which counts as true, where the config has a bool");
            tree.errors
                .push(error.kind(Kind::Config).at(Some(&place), target).hint(format!("write --{spelled} False")));
            tree.broken.insert(target.to_owned());
        }
        Some(Content::Leaf(Value::Str(_))) => {}
        Some(Content::Leaf(Value::Bool(_))) | None => {
            let note = err!("`{spelled}` is set to the string '{text}', not to {python}");
            tree.warnings
                .push(note.kind(Kind::Config).at(Some(&place), target).hint(format!("write --{spelled} {python}")));
        }
        Some(_) => {}
    }
}

/// Overrides that no part of the run reads. `reached` holds every id that does get read.
pub fn unread_overrides(tree: &Tree, reached: &HashSet<String>) -> Vec<Error> {
    let mut errors = Vec::new();
    for (target, spelled) in &tree.overrides {
        let read = |other: &str| id::is_within(other, target) || id::is_within(target, other);
        let own = target.is_empty() || id::is_within(target, "_meta_") || tree.broken.contains(target);
        if own
            || reached.contains(target)
            || tree.macro_reads.iter().any(|id| read(id))
            || reached.iter().any(|id| id::is_within(id, target))
        {
            continue;
        }
        let place = tree.place(target);
        let error = err!("the override `{spelled}` changes nothing: no part of this run reads it");
        let error = error.kind(Kind::Config).at(Some(&place), target);
        errors.push(match read_instead(target, reached) {
            Some(near) => error.hint(format!("did you mean `--{}`?", near.replace(id::SEPARATOR, "#"))),
            None => error,
        });
    }
    errors
}

/// Plain values at the top of the config that nothing reads, where the run reads an item of the same name elsewhere:
/// whoever edits them expects an effect. What any other part of the config refers to is no such key.
pub fn dead_keys(tree: &Tree, reached: &HashSet<String>, referenced: &HashSet<String>) -> Vec<Warning> {
    let mut notes = Vec::new();
    for (name, node) in tree.root.children() {
        let overridden = tree.overrides.iter().any(|(target, _)| *target == name);
        if node.is_container()
            || reached.contains(&name)
            || referenced.contains(&name)
            || tree.macro_reads.contains(&name)
            || overridden
        {
            continue;
        }
        if let Some(other) = same_name(&name, reached) {
            let note = err!("`{name}` has no effect: the run reads `{other}`").kind(Kind::Config);
            notes.push(
                note.at(Some(&node.origin.text()), &name).hint(format!("remove it, or let `{other}` be \"@{name}\"")),
            );
        }
    }
    notes
}

/// Strings that look like a macro or a reference and stay text.
pub fn lookalikes(tree: &Tree) -> Vec<Warning> {
    let mut notes = Vec::new();
    walk(&tree.root, "", &mut |id, node| {
        let Some(text) = node.as_str() else { return };
        let note = if text.starts_with('%') {
            err!("`{text}` stays text: macros inside pasted content resolve one level deep")
        } else if let Some((known, rest)) = half_reference(tree, text) {
            err!("`{text}` stays text: it is no reference as a whole")
                .hint(format!("to compute with `{known}` write `\"$@{known}{rest}\"`"))
        } else {
            return;
        };
        notes.push(note.kind(Kind::Config).at(Some(&node.origin.text()), id));
    });
    notes
}

/// `@x::-1` or `@x + 1` where there is an `x`: the id, and what would follow it in an expression.
fn half_reference<'a>(tree: &Tree, text: &'a str) -> Option<(&'a str, String)> {
    if id::whole_reference(text).is_some() {
        return None;
    }
    let (known, rest) = id::leading_reference(text)?;
    let known = known.trim_end_matches(':');
    tree.get(known)?;
    let index = rest.parse::<i64>().is_ok();
    (!known.is_empty()).then(|| (known, if index { format!("[{rest}]") } else { rest.to_owned() }))
}

/// The run's own id must exist.
pub fn check_run_ids(args: &RunArgs, tree: &Tree) -> Vec<Error> {
    if tree.get(&id::normalize(&args.run_id)).is_some() {
        return vec![];
    }
    let error = err!("the config has no `{}` to run", args.run_id).kind(Kind::Config);
    let error = error.file(args.config_files.last().map_or("", String::as_str));
    vec![match tree.nearest(&args.run_id) {
        Some(near) => error.hint(format!("did you mean `--run_id {near}`?")),
        None => error.hint("name the list to run with `--run_id`"),
    }]
}

/// An id of the same last name that the run reads, or one spelled alike.
fn read_instead(target: &str, reached: &HashSet<String>) -> Option<String> {
    let by_name = same_name(id::split_last(target).1, reached).filter(|other| other != target);
    by_name.or_else(|| {
        let mut ids: Vec<&str> = reached.iter().map(String::as_str).collect();
        ids.sort_unstable();
        crate::error::did_you_mean(target, ids).map(str::to_owned)
    })
}

fn same_name(name: &str, reached: &HashSet<String>) -> Option<String> {
    let same = |other: &&String| other.contains(id::SEPARATOR) && id::split_last(other).1 == name;
    reached.iter().filter(same).min_by_key(|other| (other.len(), other.to_string())).cloned()
}
