//! `segbundle components [NAME]`: list or describe components, from the declarations that also parse their arguments.

use crate::component::{Component, Param};
use crate::error::{Kind, Result};
use crate::{err, registry};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

#[derive(clap::Args)]
pub struct Args {
    /// Component to describe, for example SlidingWindowInferer or monai.transforms.Spacingd
    name: Option<String>,
    /// Print a table, or JSON with everything that is declared
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

pub fn components(args: &Args) -> Result<()> {
    let table = registry::table();
    let one = match &args.name {
        None => None,
        Some(name) => Some(table.component(name).ok_or_else(|| {
            let error = err!("unknown component `{name}`").kind(Kind::Config);
            match table.nearest_component(name) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint("`segbundle components` lists all components"),
            }
        })?),
    };
    let text = match (args.format, one) {
        (Format::Text, None) => list(table.components()),
        (Format::Text, Some(component)) => describe(component),
        (Format::Json, None) => format!("{:#}\n", table.components().map(row).collect::<Json>()),
        (Format::Json, Some(component)) => format!("{:#}\n", row(component)),
    };
    super::show(&text)
}

/// List all components by module, each with its summary.
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
            let _ = writeln!(out, "  {:<26} {}", component.name, component.summary());
        }
    }
    out
}

/// Describe a component: arguments with types, defaults and documentation, differences from MONAI, aliases.
fn describe(component: &Component) -> String {
    let mut out = format!("{}  ({})\n\n", component.name, component.path);
    for line in lines(component.doc) {
        let _ = writeln!(out, "{line}");
    }
    if !component.params.is_empty() {
        out.push_str("\nArguments\n");
    }
    for param in component.params {
        let _ = writeln!(out, "  {}", signature(param));
        for line in lines(param.doc) {
            let _ = writeln!(out, "      {line}");
        }
    }
    if !component.differences.is_empty() {
        out.push_str("\nDifferences from MONAI\n");
    }
    for difference in component.differences {
        let _ = writeln!(out, "  - {difference}");
    }
    let paths: Vec<String> = component.paths().skip(1).collect();
    if !paths.is_empty() {
        out.push_str("\nOther names\n");
    }
    if !component.also.is_empty() {
        let _ = writeln!(out, "  {}", component.also.join(", "));
    }
    for path in paths {
        let _ = writeln!(out, "  {path}");
    }
    out
}

fn lines(doc: &str) -> impl Iterator<Item = &str> {
    doc.trim().lines().map(str::trim)
}

fn signature(param: &Param) -> String {
    let expected = (param.expected)();
    match param.default {
        None => format!("{}: {expected} (required)", param.name),
        Some(_) if param.accepted => format!("{}: accepted, without effect", param.name),
        Some(default) => format!("{}: {expected} = {:?}", param.name, default()),
    }
}

/// The declaration as JSON. Defaults are formatted as in Python; null if the argument is required.
fn row(component: &Component) -> Json {
    let argument = |param: &Param| {
        json!({
            "name": param.name,
            "type": (param.expected)(),
            "default": param.default.map(|make| format!("{:?}", make())),
            "doc": lines(param.doc).collect::<Vec<_>>().join(" "),
            "accepted_without_effect": param.accepted,
            "affects_results": param.affects_results,
        })
    };
    json!({
        "name": component.name,
        "path": component.path,
        "aliases": component.also.iter().map(|&name| name.to_owned()).chain(component.paths().skip(1)).collect::<Vec<_>>(),
        "doc": lines(component.doc).collect::<Vec<_>>().join(" "),
        "arguments": component.params.iter().map(argument).collect::<Vec<_>>(),
        "differences": component.differences,
    })
}
