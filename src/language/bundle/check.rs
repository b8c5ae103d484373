//! Checks of config items that do not need their values: names of components and arguments, `_mode_`.

use super::expr::Parsed;
use super::names::{self, Found};
use super::node::{Content, Node, key_text};
use super::plan::Plan;
use super::{id, load::Warning, metadata};
use crate::component::{Component, Effect, Entry, Value, check_names, missing_argument};
use crate::err;
use crate::error::{Error, Kind, did_you_mean};

/// Keys of a component that are not arguments.
pub const RESERVED: [&str; 5] = ["_target_", "_disabled_", "_requires_", "_desc_", "_mode_"];

/// Result of checking an item.
#[derive(Default)]
pub struct Findings {
    pub errors: Vec<Error>,
    /// Problems that matter only if the run reaches the item.
    pub warnings: Vec<Warning>,
    /// Names of called functions and components that have side effects.
    pub effects: Vec<String>,
}

/// Value of `_disabled_`, as far as it is known before the run.
#[derive(PartialEq, Eq)]
enum Disabled {
    Yes,
    No,
    Depends,
}

/// MONAI's rule for `_disabled_`: the string "true" (in any case), or a true value of another type; `"1"` is false.
pub fn is_disabled(value: &Value) -> bool {
    match value {
        Value::Str(text) => text.trim().to_lowercase() == "true",
        other => other.truthy(),
    }
}

fn disabled(node: &Node) -> Disabled {
    let Some(flag) = node.get("_disabled_") else { return Disabled::No };
    match flag.as_str() {
        Some(text) if text.starts_with('$') || id::whole_reference(text).is_some() => Disabled::Depends,
        _ if flag.is_component() => Disabled::Depends,
        _ if is_disabled(&flag.to_value()) => Disabled::Yes,
        _ => Disabled::No,
    }
}

/// Check a component's `_target_`, `_mode_` and arguments.
pub fn component(plan: &Plan, id: &str, node: &Node) -> Findings {
    let mut findings = Findings::default();
    let place = node.origin.text();
    let state = disabled(node);
    if state == Disabled::Yes {
        return findings;
    }
    let mode = node.get("_mode_").map(|mode| (mode, mode.to_value()));
    if let Some((node, mode)) = &mode
        && node.expression().is_none()
        && let Err(error) = check_mode(mode)
    {
        findings.errors.push(error.at(Some(&node.origin.text()), &id::join(id, "_mode_")));
    }
    let Some(target) = node.get("_target_") else { return findings };
    match &target.content {
        Content::Leaf(Value::Str(name)) if !name.starts_with('$') && id::whole_reference(name).is_none() => {
            match names::target(plan.table, name) {
                None => {
                    findings.errors.push(names::unknown_target(plan.table, name).at(Some(&target.origin.text()), id))
                }
                Some(Value::Component(component)) => {
                    let partial = mode.is_some_and(|(_, mode)| mode.as_str().map(str::trim) == Some("callable"));
                    arguments(&mut findings, component, id, node, partial);
                    if component.effect == Effect::Acts && !partial {
                        findings.effects.push(component.path.to_owned());
                    }
                }
                Some(Value::Function(function)) if function.effect == Effect::Acts => {
                    findings.effects.push(function.path.to_owned())
                }
                Some(_) => {}
            }
        }
        Content::Leaf(Value::Str(_)) | Content::Dict(_) => {}
        _ => {
            // MONAI uses the value as it is, with a warning, unless it is None.
            let note = err!("`_target_`: expected a name, found {:?}", target.to_value()).kind(Kind::Config);
            let kind = if target.is_none() { &mut findings.errors } else { &mut findings.warnings };
            kind.push(note.at(Some(&place), id));
        }
    }
    if state == Disabled::Depends {
        // The component may be disabled when the run reaches it.
        findings.warnings.append(&mut findings.errors);
    }
    findings
}

/// Check `_mode_`: returns whether it is `callable`; `debug` is an error, as it starts Python's debugger.
pub fn check_mode(mode: &Value) -> Result<bool, Error> {
    match mode.as_str().map(str::trim) {
        Some("default") => Ok(false),
        Some("callable") => Ok(true),
        Some("debug") => {
            Err(err!("`_mode_: debug` is not supported: it starts Python's debugger").kind(Kind::Unsupported))
        }
        other => {
            let error = err!("`_mode_`: expected default or callable, found {mode:?}").kind(Kind::Config);
            Err(error.suggest(other.and_then(|text| did_you_mean(text, ["default", "callable"]))))
        }
    }
}

fn arguments(findings: &mut Findings, component: &'static Component, id: &str, node: &Node, partial: bool) {
    let Some(entries) = node.as_dict() else { return };
    let given: Vec<(String, &Node)> = entries
        .iter()
        .map(|(key, node)| (key_text(key), node))
        .filter(|(key, _)| !RESERVED.contains(&key.as_str()) && key != "_debug_")
        .collect();
    for (key, argument) in &given {
        for error in check_names(component.name, component.params, &[key.as_str()]) {
            findings.errors.push(error.at(Some(&argument.origin.text()), &id::join(id, key)));
        }
    }
    let needed = component.params.iter().filter(|param| param.default.is_none());
    for param in needed.filter(|param| !partial && !given.iter().any(|(key, _)| key == param.name)) {
        findings.errors.push(missing_argument(component.name, param).at(Some(&node.origin.text()), id));
    }
}

/// Check the names that an expression uses, and the functions that it calls.
pub fn expression(plan: &Plan, parsed: &Parsed) -> Findings {
    let mut findings = Findings::default();
    for used in parsed.uses() {
        let located = |error: Error| parsed.place(error, used.offset);
        match names::resolve(plan.table, &plan.imports, &used.path) {
            Err(error) => findings.errors.push(located(error)),
            Ok(Found::Entry { entry, path, whole: true }) => {
                let Some(call) = &used.call else { continue };
                called(&mut findings, &used.path, call, entry, path, &located);
            }
            Ok(_) => {}
        }
    }
    findings
}

fn called(
    findings: &mut Findings,
    written: &str,
    named: &[String],
    entry: Entry,
    path: String,
    located: &dyn Fn(Error) -> Error,
) {
    let effect = match entry {
        Entry::Function(function) => function.effect,
        Entry::Component(component) => {
            let given: Vec<&str> = named.iter().map(String::as_str).collect();
            findings.errors.extend(check_names(component.name, component.params, &given).into_iter().map(located));
            component.effect
        }
        entry @ (Entry::Constant(_) | Entry::Member(_)) => {
            if !entry.value().callable() {
                findings.errors.push(located(err!("`{written}` is not a function").kind(Kind::Config)));
            }
            Effect::Pure
        }
    };
    if effect == Effect::Acts {
        findings.effects.push(path);
    }
}

/// Error for a reference to an item that the config does not have.
pub fn missing_reference(plan: &Plan, missing: &str) -> Error {
    let tree = &plan.tree;
    let (node, known, rest) = tree.ancestor(missing);
    let part = rest.split(id::SEPARATOR).next().unwrap_or(rest);
    let error = err!("`@{missing}` is not defined in the config").kind(Kind::Config);
    if known == metadata::ID && node.children().is_empty() {
        return error.hint("no metadata was read: name its file with `--meta_file metadata.json`");
    }
    if let Some(hint) = tree.in_sibling(missing).filter(|_| known.is_empty()) {
        return error.hint(hint);
    }
    let near = tree.nearest(missing).filter(|_| !matches!(node.content, Content::List(_)));
    let error = error.suggest(near.map(|near| format!("@{near}")));
    match &node.content {
        Content::List(items) if part.is_empty() => error
            .hint(format!("an index from the end is written `$@{known}[-1]` (`{known}` has {} items)", items.len())),
        Content::List(items) => error.hint(match items.len() {
            0 => format!("`{known}` is an empty list"),
            count => format!("`{known}` has {count} items: 0 to {}", count - 1),
        }),
        Content::Dict(_) if node.is_component() => error.hint(format!(
            "`@{missing}` reads the config's arguments; an attribute of the object is `$@{known}.{part}`"
        )),
        Content::Leaf(_) if !known.is_empty() => {
            error.hint(format!("`{known}` is not a dict or list; did you mean `$@{known}.{part}`?"))
        }
        _ => error,
    }
}
