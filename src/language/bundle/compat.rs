//! Likely mistakes that MONAI accepts without an error, and names that MONAI has renamed.

use super::load::Warning;
use super::node::{Content, Node};
use super::plan::Plan;
use super::tree::{Override, Tree, walk};
use super::{args::RunArgs, id, names};
use crate::component::Key;
use crate::err;
use crate::error::{Error, Kind};
use crate::text::count;
use indexmap::IndexMap;
use std::collections::HashSet;

/// Deprecated and current names of top-level items in configs and metadata
/// (`monai.bundle.utils.DEPRECATED_ID_MAPPING`).
const RENAMED: [(&str, &str); 1] = [("optional_packages_version", "required_packages_version")];

/// Rename deprecated items; a renamed item moves to the end, as in MONAI.
pub fn rename_deprecated(node: &mut Node) {
    let Content::Dict(entries) = &mut node.content else { return };
    for (old, new) in RENAMED {
        if let Some(item) = entries.shift_remove(&Key::str(old)) {
            entries.insert(Key::str(new), item);
        }
    }
}

/// Check for `--x false`: Python reads it as the string 'false', which is true, except for `_disabled_`, where MONAI
/// compares strings with "true". An error if the config has a bool, a warning if it has no such item.
fn string_boolean(plan: &Plan, given: &Override) -> Option<(Error, bool)> {
    let Override { id, spelled, replaced } = given;
    let node = plan.tree.get(id)?;
    let text = node.as_str()?;
    let python = match text.trim().to_ascii_lowercase().as_str() {
        "false" | "no" | "off" => "False",
        "true" | "yes" | "on" => "True",
        _ => return None,
    };
    if plan.only_disables(id) || !matches!(replaced.as_deref(), None | Some("bool")) {
        return None;
    }
    let wrong = replaced.is_some() && python == "False";
    let error = match wrong {
        true => err!("`{spelled}` is set to the string '{text}', which counts as true, where the config has a bool"),
        false => err!("`{spelled}` is set to the string '{text}', not to {python}"),
    };
    let error = error.kind(Kind::Config).at(Some(&node.origin.text()), id);
    Some((error.hint(format!("write --{spelled} {python}")), wrong))
}

/// Check the overrides. Returns problems and warnings.
///
/// An unused override is a problem with `--strict`, or if the run reads an item whose id ends with the override's whole
/// path, which was probably meant; otherwise it is a warning.
pub fn check_overrides(plan: &Plan) -> (Vec<Error>, Vec<Warning>) {
    let (tree, reached) = (&plan.tree, plan.reached());
    let (mut problems, mut warnings) = (vec![], vec![]);
    for given in &tree.overrides {
        let target = &given.id;
        let pasted = |other: &String| id::is_within(other, target) || id::is_within(target, other);
        let read = reached.contains(target)
            || tree.macro_reads.iter().any(pasted)
            || reached.iter().any(|id| id::is_within(id, target));
        if read || target.is_empty() || id::is_within(target, "_meta_") || tree.broken.contains(target) {
            match string_boolean(plan, given) {
                Some((error, true)) => problems.push(error),
                Some((error, false)) => warnings.push(error),
                None => {}
            }
            continue;
        }
        let error = err!("the override `{}` changes nothing: no part of this run reads it", given.spelled);
        let error = error.kind(Kind::Config).at(Some(&tree.place(target)), target);
        let elsewhere = same_name(id::split_last(target).1, reached).filter(|other| other != target);
        // The run reads the item of the same path one or more levels down, such as `displayable_configs#highres`.
        let misleading =
            reached.iter().any(|id| id.strip_suffix(target.as_str()).is_some_and(|rest| rest.ends_with(id::SEPARATOR)));
        let near = elsewhere.or_else(|| spelled_alike(target, reached));
        let error = error.suggest(near.map(|near| format!("--{}", near.replace(id::SEPARATOR, "#"))));
        let found = if misleading || plan.rules.strict { &mut problems } else { &mut warnings };
        found.push(error);
    }
    (problems, warnings)
}

/// Warn about unreferenced top-level values that have no effect because the run reads an item of the same name
/// elsewhere.
pub fn dead_keys(tree: &Tree, reached: &HashSet<String>, referenced: &HashSet<String>) -> Vec<Warning> {
    let mut notes = Vec::new();
    for (name, node) in tree.root.children() {
        let overridden = tree.overrides.iter().any(|given| given.id == name);
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

/// Warn about dicts that name a component under a key other than `_target_`.
pub fn misspelled_components(plan: &Plan) -> Vec<Warning> {
    let mut notes = Vec::new();
    walk(&plan.tree.root, "", &mut |id, node| {
        if node.is_component() || !plan.reached().contains(id) {
            return;
        }
        for key in ["target", "_target", "target_", "__target__"] {
            let name = node.get(key).and_then(Node::as_str);
            if name.is_some_and(|name| names::target(plan.table, name).is_some() || names::monai_has(name)) {
                let note = err!("`{id}` has `{key}` and stays a dict").kind(Kind::Config);
                notes.push(note.at(Some(&node.origin.text()), id).hint("a component is written with `_target_`"));
            }
        }
    });
    notes
}

/// Warn about strings that look like a macro or a reference but are not one; once per text, since macros copy content.
pub fn lookalikes(tree: &Tree) -> Vec<Warning> {
    let mut found: IndexMap<String, (Warning, usize)> = IndexMap::new();
    walk(&tree.root, "", &mut |id, node| {
        let Some(text) = node.as_str() else { return };
        if let Some((_, places)) = found.get_mut(text) {
            *places += 1;
            return;
        }
        let note = if text.starts_with('%') {
            err!("macros inside pasted content resolve one level deep")
        } else if let Some((known, rest)) = half_reference(tree, text) {
            err!("only a whole string can be a reference")
                .hint(format!("to compute with `{known}` write `\"$@{known}{rest}\"`"))
        } else {
            return;
        };
        found.insert(text.to_owned(), (note.kind(Kind::Config).at(Some(&node.origin.text()), id), 1));
    });
    let named = |(text, (note, places)): (String, (Warning, usize))| match places {
        1 => note.context(format_args!("`{text}` stays text")),
        _ => note.context(format_args!("`{text}` stays text, here and in {}", count(places - 1, "other place"))),
    };
    found.into_iter().map(named).collect()
}

/// For `@x::-1` or `@x + 1` with an existing item `x`: its id, and the text that would follow it in an expression.
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

/// Check that the section to run exists, and those to run first and last if they do not have their default names.
pub fn check_run_ids(args: &RunArgs, tree: &Tree) -> Option<Error> {
    let exists = |id: &str| tree.get(&id::normalize(id)).is_some();
    let error = |id: &str| {
        err!("the config has no `{id}` to run")
            .kind(Kind::Config)
            .file(args.config_files.last().map_or("", String::as_str))
    };
    let given = [("init_id", &args.init_id, "initialize"), ("final_id", &args.final_id, "finalize")];
    let mut missing = given.into_iter().filter(|(_, id, default)| *id != default && !exists(id));
    if exists(&args.run_id) {
        let suggested = |option, id| error(id).suggest(tree.nearest(id).map(|near| format!("--{option} {near}")));
        return missing.next().map(|(option, id, _)| suggested(option, id));
    }
    let error = error(&args.run_id);
    // Both were given as words: `highres no` instead of `--highres no`.
    if args.run_id != "run" && missing.any(|(option, ..)| option == "init_id") {
        return Some(error.hint(format!("an override is written `--{} {}`", args.run_id, args.init_id)));
    }
    if let Some(hint) = tree.in_sibling(&args.run_id) {
        return Some(error.hint(hint));
    }
    let lists = runnable(args, tree);
    let near = tree.nearest(&args.run_id).filter(|near| lists.is_empty() || lists.contains(near));
    let error = error.suggest(near.map(|near| format!("--run_id {near}")));
    Some(match lists.split_last() {
        None => error.hint("name the list to run with `--run_id`"),
        Some((one, [])) => error.hint(format!("`--run_id {one}` runs the list `{one}`")),
        Some((last, others)) => {
            error.hint(format!("name the list to run with `--run_id`: {} or {last}", others.join(", ")))
        }
    })
}

/// Ids of lists of expressions and components that could be run, except for imports, initialize and finalize.
fn runnable(args: &RunArgs, tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    walk(&tree.root, "", &mut |id, node| {
        let Content::List(items) = &node.content else { return };
        let called = |item: &Node| item.expression().is_some_and(|text| text.contains('(') && !text.contains(" for "));
        let other = [&args.init_id, &args.final_id].iter().any(|other| id::normalize(other) == id);
        if !items.is_empty() && items.iter().all(called) && !other {
            found.push(id.replace(id::SEPARATOR, "#"));
        }
    });
    found
}

/// An id that the run reads and that equals `target` except for its spelling.
fn spelled_alike(target: &str, reached: &HashSet<String>) -> Option<String> {
    let mut ids: Vec<&str> = reached.iter().map(String::as_str).collect();
    ids.sort_unstable();
    crate::error::did_you_mean(target, ids).map(str::to_owned)
}

fn same_name(name: &str, reached: &HashSet<String>) -> Option<String> {
    let same = |other: &&String| other.contains(id::SEPARATOR) && id::split_last(other).1 == name;
    reached.iter().filter(same).min_by_key(|other| (other.len(), other.to_string())).cloned()
}
