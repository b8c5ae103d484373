//! One config file: JSON or YAML by its name's end, as MONAI's `ConfigParser.load_config_file` decides it.

use super::node::{Node, Origin};
use super::{json, yaml};
use crate::error::{Error, Kind, Result};
use crate::{err, text};
use std::path::Path;

/// Something that deserves a user's attention; printed like an error, but nothing stops.
pub type Warning = Error;

/// Larger than any config; a file beyond it is something else.
const MAX_BYTES: u64 = 64 << 20;
pub const MAX_DEPTH: usize = 200;
/// Items of one file, aliases expanded: an "alias bomb" ends here.
pub const MAX_NODES: usize = 2_000_000;

/// What reading leaves besides the content.
#[derive(Debug, Default)]
pub struct Notes {
    pub warnings: Vec<Warning>,
    /// MONAI_FAIL_ON_DUPLICATE_CONFIG=1.
    pub fail_on_duplicate: bool,
}

impl Notes {
    /// A key for the second time in one dict: the last value wins.
    pub fn duplicate(&mut self, key: &str, origin: &Origin) -> Result<()> {
        let note = err!("the key `{key}` occurs twice").kind(Kind::Config).file(origin.text());
        if self.fail_on_duplicate {
            return Err(note.hint("MONAI_FAIL_ON_DUPLICATE_CONFIG=1 makes this an error"));
        }
        self.warnings.push(note.hint("the last one wins"));
        Ok(())
    }
}

/// Counts nodes and depth against the limits.
#[derive(Debug, Default)]
pub struct Limits {
    nodes: usize,
}

impl Limits {
    /// `more` nodes down to `depth` levels of containers.
    pub fn nodes(&mut self, more: usize, depth: usize) -> Result<()> {
        self.nodes = self.nodes.saturating_add(more);
        if depth > MAX_DEPTH {
            return Err(err!("the config is nested more than {MAX_DEPTH} levels deep").kind(Kind::Config));
        }
        if self.nodes > MAX_NODES {
            return Err(err!("the config has more than {MAX_NODES} items").kind(Kind::Config));
        }
        Ok(())
    }
}

/// Does `path` end like a config file (json, yaml, yml, in any case)?
pub fn is_config_name(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    [".json", ".yaml", ".yml"].iter().any(|end| lower.ends_with(end))
}

/// Read a file whose top may be anything.
pub fn read_file(path: &str, notes: &mut Notes) -> Result<Node> {
    let config = |e: Error| e.kind(Kind::Config).file(path);
    if !is_config_name(path) {
        return Err(config(err!("expected a .json, .yaml or .yml file, found `{path}`")));
    }
    if !Path::new(path).exists() {
        return Err(config(missing(path)));
    }
    read_text(&text::read(path, MAX_BYTES).map_err(config)?, path, notes)
}

/// Read a text by the rules of its file name.
pub fn read_text(text: &str, path: &str, notes: &mut Notes) -> Result<Node> {
    if path.to_ascii_lowercase().ends_with(".json") {
        json::read(text, path, notes)
    } else {
        yaml::read(text, path, notes)
    }
}

fn missing(path: &str) -> Error {
    let error = err!("cannot find the config file `{path}`");
    let folder = Path::new(path).parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let names: Vec<String> = std::fs::read_dir(folder)
        .map(|entries| entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
        .unwrap_or_default();
    match crate::error::did_you_mean(&name, names.iter().map(String::as_str).filter(|name| is_config_name(name))) {
        Some(near) => error.hint(format!("did you mean `{}`?", folder.join(near).display())),
        None => error,
    }
}
