//! Resolves names in a config: with the table of supported names, then with the names of MONAI 1.6.1 for messages.

use crate::component::{Entry, Table, Value};
use crate::err;
use crate::error::{Error, Kind, did_you_mean};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

/// Names that MONAI's parser adds to the scope of every expression, and their modules.
pub const SCOPE: [(&str, &str); 4] = [("monai", "monai"), ("torch", "torch"), ("np", "numpy"), ("numpy", "numpy")];

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
    table.component(name).map(Value::Component).or_else(|| table.lookup(name))
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
    let error = error.suggest(table.nearest_component(name).or_else(|| table.nearest_component(last)));
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

/// Result of [`resolve`].
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
    let default = || SCOPE.iter().find(|(name, _)| *name == head).map(|(_, path)| (*path).to_owned());
    let imported = imports.get(head).cloned().or_else(default);
    let base = match imported {
        Some(path) => path,
        None if table.entry(head).is_some() => head.to_owned(),
        None => return Err(undefined(table, imports.keys().map(String::as_str), head)),
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
            return Err(unreachable(table, if monai_has(&full) { &full } else { prefix }));
        }
    }
    Ok(Found::Module)
}

/// Error for an undefined name; besides built-ins, the hint can suggest the names in `known`.
pub fn undefined<'a>(table: &'static Table, known: impl IntoIterator<Item = &'a str>, name: &str) -> Error {
    let error = err!("the name `{name}` is not defined").kind(Kind::Config);
    if table.is_module(name) {
        return error.hint(format!("add \"$import {name}\" to the config"));
    }
    if let Some(component) = table.component(name) {
        return error.hint(format!("write its whole path: `{}`", component.path));
    }
    let known: Vec<&str> = known.into_iter().chain(table.builtins()).chain(SCOPE.map(|(name, _)| name)).collect();
    let error = error.suggest(did_you_mean(name, known));
    error.hint(format!("`@{name}` refers to an item of the config, `{name}` to a Python name"))
}

/// Error for a dotted name that is not in the table.
pub fn unreachable(table: &'static Table, path: &str) -> Error {
    if monai_has(path) {
        return err!("MONAI's `{path}` is not supported by segbundle yet").kind(Kind::Unsupported);
    }
    let error = err!("`{path}` is not among the functions that a config may call").kind(Kind::Config);
    let (module, last) = path.rsplit_once('.').unwrap_or((path, ""));
    if !table.is_module(module) {
        return error.hint(format!("the Python module `{module}` is not available"));
    }
    let mut names: Vec<&str> = table.names_in(module).collect();
    names.sort_unstable();
    names.dedup();
    match did_you_mean(last, names.iter().copied()) {
        Some(near) => error.hint(format!("did you mean `{module}.{near}`?")),
        None if names.len() <= 12 => error.hint(format!("available in `{module}`: {}", names.join(", "))),
        None => error.hint(format!("{} other names of `{module}` are available", names.len())),
    }
}
