//! Looks up names of a config: in the table of what segbundle has, then among the names of MONAI 1.6.1.

use crate::component::{Entry, Table, Value};
use crate::err;
use crate::error::{Error, Kind, did_you_mean};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

/// Names that MONAI's parser puts into every expression's scope.
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

/// Does MONAI (or torch, or ignite) know this `_target_` or dotted name?
pub fn monai_has(name: &str) -> bool {
    let known = known();
    match name.split_once('.') {
        None => known.short.contains(name),
        // MONAI's classes can be reached by several module paths.
        Some(("monai", _)) => name.rsplit('.').next().is_some_and(|last| known.short.contains(last)),
        Some(_) => known.dotted.contains(name),
    }
}

/// A `_target_` given as text: a short name, else a dotted path or a built-in.
pub fn target(table: &'static Table, name: &str) -> Option<Value> {
    match table.component(name) {
        Some(component) => Some(Value::Component(component)),
        None => table.lookup(name),
    }
}

/// Why a `_target_` cannot be built.
pub fn unknown_target(table: &'static Table, name: &str) -> Error {
    if monai_has(name) {
        return err!("MONAI has `{name}`, segbundle does not build it yet")
            .kind(Kind::Unsupported)
            .hint("see `segbundle components`");
    }
    let error = err!("unknown component `{name}`").kind(Kind::Config);
    let last = name.rsplit('.').next().unwrap_or(name);
    if let Some(near) = table.nearest_component(name).or_else(|| table.nearest_component(last)) {
        return error.hint(format!("did you mean `{near}`?"));
    }
    if let Some(near) = did_you_mean(last, known().short.iter().copied()) {
        return error.hint(format!("did you mean `{near}`? MONAI has it, segbundle does not build it yet"));
    }
    match name.split_once('.') {
        Some((module, _)) if !matches!(module, "monai" | "torch" | "ignite") => {
            error.hint(format!("Python code of a bundle's own (`{module}`) cannot run here"))
        }
        _ => error.hint("`segbundle components` lists what there is"),
    }
}

/// What a dotted name in an expression starts from.
pub enum Found {
    /// An entry of the table; `whole` if the name ends there, else attributes follow.
    Entry {
        entry: Entry,
        path: String,
        whole: bool,
    },
    Module,
}

/// Look a name up as an expression would, without evaluating anything.
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
        // A module that was imported but that we do not have shows here, where it is used.
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
        None => error.hint(format!("`@{head}` is the config's item, `{head}` a name of Python's")),
    }
}

fn unreachable_name(table: &'static Table, full: &str, prefix: &str) -> Error {
    if monai_has(full) {
        return err!("MONAI has `{full}`, segbundle does not have it yet").kind(Kind::Unsupported);
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
