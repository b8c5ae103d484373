//! `segbundle components [NAME]`: what a config can build, from the same declarations that parse it.

use crate::component::{Component, Param};
use crate::error::Result;
use crate::{err, registry};
use std::collections::BTreeMap;
use std::fmt::Write as _;

pub fn components(name: Option<&str>) -> Result<()> {
    let table = registry::table();
    let text = match name {
        None => list(table.components()),
        Some(name) => match table.component(name) {
            Some(component) => describe(component),
            None => {
                let error = err!("there is no component `{name}`").kind(crate::error::Kind::Config);
                return Err(match table.nearest_component(name) {
                    Some(near) => error.hint(format!("did you mean `{near}`?")),
                    None => error.hint("`segbundle components` lists all"),
                });
            }
        },
    };
    super::show(&text)
}

/// All components by module.
fn list(components: impl Iterator<Item = &'static Component>) -> String {
    let mut by_module: BTreeMap<&str, Vec<&Component>> = BTreeMap::new();
    for component in components {
        let module = component.path.rsplit_once('.').map_or("", |(module, _)| module);
        by_module.entry(module).or_default().push(component);
    }
    let mut out = String::new();
    for (module, components) in by_module {
        let _ = writeln!(out, "{module}");
        for component in components {
            let _ = writeln!(out, "  {:<26} {}", component.name, component.doc);
        }
    }
    out
}

/// One component: parameters, types, defaults, differences from MONAI.
fn describe(component: &Component) -> String {
    let mut out = format!("{}  ({})\n\n{}\n", component.name, component.path, component.doc);
    if !component.params.is_empty() {
        out.push_str("\nArguments\n");
    }
    for param in component.params {
        let _ = writeln!(out, "  {}", signature(param));
        for line in param.doc.trim().lines() {
            let _ = writeln!(out, "      {}", line.trim());
        }
    }
    if !component.differences.is_empty() {
        out.push_str("\nDifferences from MONAI\n");
    }
    for difference in component.differences {
        let _ = writeln!(out, "  - {difference}");
    }
    let short: Vec<&str> = component.aliases.iter().copied().filter(|alias| !alias.contains('.')).collect();
    if !short.is_empty() {
        let _ = writeln!(out, "\nAlso called {}", short.join(", "));
    }
    out
}

fn signature(param: &Param) -> String {
    let expected = (param.expected)();
    match param.default {
        None => format!("{}: {expected} (required)", param.name),
        Some(_) if param.accepted => format!("{}: accepted, without effect", param.name),
        Some(default) => format!("{}: {expected} = {:?}", param.name, default()),
    }
}
