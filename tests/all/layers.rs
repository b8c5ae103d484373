//! Modules of the root crate use lower ones, never higher ones: reads every `crate::` path of the sources. The members of
//! the workspace are kept below by the compiler.

use std::fs;
use std::path::{Path, PathBuf};

/// Lowest first. A room may use itself and what stands before it.
const ROOMS: &[&str] = &[
    "torch",
    "case_context",
    "checkpoint",
    "prediction",
    "contracts",
    "tools",
    "data",
    "networks",
    "losses",
    "metrics",
    "optim",
    "inferers",
    "transforms",
    "facades",
    "engines",
    "registry",
    "workflow",
    "cli",
];

fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.join("Cargo.toml").exists() {
            sources(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            out.push(path);
        }
    }
}

/// Room names after each `crate::` outside tests and comments.
fn used(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]").next().unwrap_or("");
    let mut out = vec![];
    for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
        for (at, _) in line.match_indices("crate::") {
            if line[..at].ends_with('$') {
                continue;
            }
            let rest = &line[at + "crate::".len()..];
            let names = match rest.strip_prefix('{') {
                Some(list) => {
                    list.split(['{', '}']).next().unwrap_or("").split(',').map(|name| name.trim().to_owned()).collect()
                }
                None => vec![rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("").to_owned()],
            };
            out.extend(names);
        }
    }
    out
}

#[test]
fn rooms_use_only_lower_rooms() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = vec![];
    sources(&src, &mut files);
    assert!(files.len() > 50, "found only {} sources", files.len());
    let place = |room: &str| ROOMS.iter().position(|name| *name == room);
    let mut wrong = vec![];
    for file in files {
        let inner = file.strip_prefix(&src).unwrap();
        let room = inner.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned();
        let Some(own) = place(&room) else { continue };
        for name in used(&fs::read_to_string(&file).unwrap()) {
            let name = name.split("::").next().unwrap_or("").to_owned();
            if place(&name).is_some_and(|at| at > own) {
                wrong.push(format!("{} uses crate::{name}", inner.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
