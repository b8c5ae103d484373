//! Resolves names in a config: with the table of supported names, then with the names of MONAI 1.6.1 for messages.

use crate::component::{Entry, Table, Value};
use crate::err;
use crate::error::{Error, Kind, did_you_mean};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

/// Names that MONAI's parser adds to the scope of every expression.
const DEFAULT_SCOPE: [(&str, &str); 4] = [("monai", "monai"), ("torch", "torch"), ("np", "numpy"), ("numpy", "numpy")];

/// MONAI 1.6.1's public names: short ones of MONAI itself, and dotted ones.
struct Known {
    short: BTreeSet<&'static str>,
    dotted: BTreeSet<&'static str>,
}

fn known() -> &'static Known {
    static KNOWN: OnceLock<Known> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let dotted: BTreeSet<&str> =
            include_str!("monai_names.txt").lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
        let own = dotted.iter().filter(|path| path.starts_with("monai."));
        Known { short: own.filter_map(|path| path.rsplit('.').next()).collect(), dotted }
    })
}

/// Whether MONAI, torch or ignite have this `_target_` or dotted name.
pub fn monai_has(name: &str) -> bool {
    let known = known();
    match name.split_once('.') {
        None => known.short.contains(name),
        // MONAI's classes are available under several module paths.
        Some(("monai", _)) => name.rsplit('.').next().is_some_and(|last| known.short.contains(last)),
        Some(_) => known.dotted.contains(name),
    }
}

/// Look up a `_target_` string: a short name, a dotted path or a built-in.
pub fn target(table: &'static Table, name: &str) -> Option<Value> {
    match table.component(name) {
        Some(component) => Some(Value::Component(component)),
        None => table.lookup(name),
    }
}

/// Error for a `_target_` that cannot be built.
pub fn unknown_target(table: &'static Table, name: &str) -> Error {
    if monai_has(name) {
        return err!("MONAI's `{name}` is not supported by segbundle yet")
            .kind(Kind::Unsupported)
            .hint("see `segbundle components`");
    }
    let error = err!("unknown component `{name}`").kind(Kind::Config);
    let last = name.rsplit('.').next().unwrap_or(name);
    if let Some(near) = table.nearest_component(name).or_else(|| table.nearest_component(last)) {
        return error.hint(format!("did you mean `{near}`?"));
    }
    if let Some(near) = did_you_mean(last, known().short.iter().copied()) {
        return error.hint(format!("did you mean `{near}`? MONAI has it, but segbundle does not support it yet"));
    }
    match name.split_once('.') {
        Some((module, _)) if !matches!(module, "monai" | "torch" | "ignite") => {
            error.hint(format!("Python code in a bundle (`{module}`) is not supported"))
        }
        _ => error.hint("`segbundle components` lists all components"),
    }
}

/// Start of a dotted name in an expression.
pub enum Found {
    /// An entry of the table; `whole` if the name ends there, otherwise attributes follow.
    Entry {
        entry: Entry,
        path: String,
        whole: bool,
    },
    Module,
}

/// Look up a name as an expression does, without evaluation.
pub fn resolve(table: &'static Table, imports: &BTreeMap<String, String>, name: &str) -> Result<Found, Error> {
    let (head, rest) = name.split_once('.').map_or((name, None), |(head, rest)| (head, Some(rest)));
    let default = || DEFAULT_SCOPE.iter().find(|(name, _)| *name == head).map(|(_, path)| (*path).to_owned());
    let imported = imports.get(head).cloned().or_else(default);
    let base = match imported {
        Some(path) => path,
        None if table.entry(head).is_some() => head.to_owned(),
        None => return Err(unknown_name(table, imports, head)),
    };
    let full = rest.map_or(base.clone(), |rest| format!("{base}.{rest}"));
    let ends: Vec<usize> = full.match_indices('.').map(|(at, _)| at).chain([full.len()]).collect();
    for end in ends {
        let prefix = &full[..end];
        if let Some(entry) = table.entry(prefix) {
            return Ok(Found::Entry { entry, path: prefix.to_owned(), whole: end == full.len() });
        }
        // An unsupported module is reported where it is used, not where it is imported.
        if !table.is_module(prefix) {
            return Err(unreachable_name(table, &full, prefix));
        }
    }
    Ok(Found::Module)
}

fn unknown_name(table: &'static Table, imports: &BTreeMap<String, String>, head: &str) -> Error {
    let error = err!("the name `{head}` is not defined").kind(Kind::Config);
    if table.is_module(head) {
        return error.hint(format!("add \"$import {head}\" to the config"));
    }
    match did_you_mean(head, imports.keys().map(String::as_str).chain(DEFAULT_SCOPE.map(|(name, _)| name))) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint(format!("`@{head}` refers to an item of the config, `{head}` to a Python name")),
    }
}

fn unreachable_name(table: &'static Table, full: &str, prefix: &str) -> Error {
    if monai_has(full) {
        return err!("MONAI's `{full}` is not supported by segbundle yet").kind(Kind::Unsupported);
    }
    let error = err!("a config cannot use `{full}`: `{prefix}` is not in the table of functions").kind(Kind::Config);
    let Some((module, last)) = prefix.rsplit_once('.') else {
        return error.hint(format!("the Python module `{prefix}` is not available here"));
    };
    let names: Vec<&str> = table.names_in(module).collect();
    match did_you_mean(last, names.iter().copied()) {
        Some(near) => error.hint(format!("did you mean `{module}.{near}`?")),
        None if names.len() <= 12 => error.hint(format!("`{module}` has {}", names.join(", "))),
        None => error,
    }
}
