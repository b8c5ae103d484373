//! Loads a config file as JSON or YAML, depending on its extension, as MONAI's `ConfigParser.load_config_file`.

use super::node::{Node, Origin};
use super::{json, yaml};
use crate::error::{Error, Kind, Result, did_you_mean};
use crate::{err, text};
use std::path::{Path, PathBuf};

/// A warning: printed like an error, but execution continues.
pub type Warning = Error;

/// Maximum size of a config file in bytes.
const MAX_BYTES: u64 = 64 << 20;
/// Maximum nesting of containers in a config file.
pub(crate) const MAX_DEPTH: usize = 200;
/// Maximum number of items in a config, with aliases expanded, as protection against "alias bombs".
pub(crate) const MAX_NODES: usize = 2_000_000;

/// Warnings and settings of reading files.
#[derive(Debug, Default)]
pub struct Notes {
    /// Warnings found so far.
    pub warnings: Vec<Warning>,
    /// MONAI_FAIL_ON_DUPLICATE_CONFIG=1.
    pub fail_on_duplicate: bool,
}

impl Notes {
    /// Report a duplicate key in a dict: the last value is used.
    pub(crate) fn duplicate(&mut self, key: &str, origin: &Origin) -> Result<()> {
        let note = err!("the key `{key}` occurs twice").kind(Kind::Config).file(origin.text());
        if self.fail_on_duplicate {
            return Err(note.hint("this is an error because of MONAI_FAIL_ON_DUPLICATE_CONFIG=1"));
        }
        self.warnings.push(note.hint("the last one is used"));
        Ok(())
    }
}

/// Counts nodes and depth against the limits.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    nodes: usize,
}

impl Limits {
    /// Count `more` nodes at a nesting of `depth` containers.
    ///
    /// # Errors
    /// A limit is exceeded.
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

/// Whether `path` has the extension of a config file (json, yaml, yml, in any case).
pub fn is_config_name(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    [".json", ".yaml", ".yml"].iter().any(|end| lower.ends_with(end))
}

/// Read a config file; its top level may be any value. At most 64 MiB, 2 million items and 200 levels are read.
pub fn read_file(path: &str, notes: &mut Notes) -> Result<Node> {
    let config = |e: Error| e.kind(Kind::Config).file(path);
    if !Path::new(path).exists() {
        return Err(config(missing(path, &[])));
    }
    if !is_config_name(path) {
        return Err(config(err!("expected a .json, .yaml or .yml file, found `{path}`")));
    }
    let text = text::read(path, MAX_BYTES).map_err(config)?;
    tracing::debug!("read {path}");
    read_text(&text, path, notes)
}

/// Parse `text` as JSON or YAML, depending on the extension of `path`.
pub fn read_text(text: &str, path: &str, notes: &mut Notes) -> Result<Node> {
    if path.to_ascii_lowercase().ends_with(".json") {
        json::read(text, path, notes)
    } else {
        yaml::read(text, path, notes)
    }
}

/// Error for a config file that does not exist; suggests one that is not among the files `given` with it.
pub fn missing(path: &str, given: &[String]) -> Error {
    let path = Path::new(path);
    let beside = given.iter().filter_map(|other| Some(Path::new(other).with_file_name(path.file_name()?)));
    let is_other = |path: &Path| {
        path.to_str().is_some_and(|text| is_config_name(text) && !given.iter().any(|other| other == text))
    };
    let near = beside.into_iter().find(|path| path.is_file()).or_else(|| similar(path, &is_other));
    err!("cannot find the config file `{}`", path.display()).suggest(near.as_deref().map(Path::display))
}

/// The existing path most similar to a misspelled one.
fn similar(path: &Path, wanted: &dyn Fn(&Path) -> bool) -> Option<PathBuf> {
    let parent = path.parent()?;
    let here = parent.as_os_str().is_empty();
    let folder = if here || parent.is_dir() { parent.to_owned() } else { similar(parent, &Path::is_dir)? };
    let names =
        std::fs::read_dir(if here { Path::new(".") } else { &folder }).ok()?.flatten().map(|entry| entry.file_name());
    let names: Vec<String> =
        names.filter(|name| wanted(&folder.join(name))).filter_map(|name| name.into_string().ok()).collect();
    Some(folder.join(did_you_mean(path.file_name()?.to_str()?, names.iter().map(String::as_str))?))
}
