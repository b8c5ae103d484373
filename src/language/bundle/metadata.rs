//! `metadata.json`: its location, its item `_meta_` in the config, and its required entries.
//!
//! MONAI source: `BundleWorkflow.__init__`, `ConfigParser.read_meta`, `monai/bundle/properties.py`.

use super::args::{Rules, RunArgs};
use super::compat;
use super::node::{Content, Entries, Node, Origin};
use super::tree::Tree;
use crate::component::Key;
use crate::err;
use crate::error::{Kind, Result};
use std::path::Path;

/// Id of the metadata in the config.
pub const ID: &str = "_meta_";

/// Entries of the metadata that MONAI's bundle specification requires.
pub const REQUIRED: [&str; 10] = [
    "version",
    "monai_version",
    "pytorch_version",
    "numpy_version",
    "required_packages_version",
    "task",
    "description",
    "authors",
    "copyright",
    "network_data_format",
];

/// Load and merge metadata files. Renamed entries get their current name.
pub fn load(files: &[String], rules: Rules) -> Result<Tree> {
    let origin = Origin::new(files.first().map_or("", String::as_str), 1);
    let mut tree = Tree::new(Node::dict(Entries::new(), origin));
    for file in files {
        tree.merge_file(file, rules)?;
    }
    compat::rename_deprecated(&mut tree.root);
    Ok(tree)
}

/// Read the metadata into `_meta_`. A missing file is a warning if it was given, or else a note.
pub fn read(args: &RunArgs, tree: &mut Tree) -> Result<()> {
    let beside = args.config_root().join("metadata.json").display().to_string();
    let files = args.meta_files.clone().unwrap_or_else(|| vec![beside]);
    if let Some(missing) = files.iter().find(|file| !Path::new(file.as_str()).is_file()) {
        let note = err!("cannot find the metadata file `{missing}`").kind(Kind::Config).file(missing);
        let note = note.hint("it is usually in the folder of the config files; the run continues without it");
        if args.meta_files.is_some() { &mut tree.warnings } else { &mut tree.notes }.push(note);
        return Ok(());
    }
    let mut meta = load(&files, args.rules)?;
    tree.warnings.append(&mut meta.warnings);
    tree.errors.append(&mut meta.errors);
    if let Content::Dict(entries) = &meta.root.content {
        let missing: Vec<&str> = REQUIRED.iter().filter(|key| !entries.contains_key(&Key::str(key))).copied().collect();
        if !missing.is_empty() {
            let note = err!("the metadata lacks {}", missing.join(", ")).kind(Kind::Config).file(&files[0]);
            tree.notes.push(note.hint("MONAI's bundle specification requires these"));
        }
    }
    tree.root.insert(ID, meta.root);
    Ok(())
}

/// The definition of the prediction's channels, with the name of its output: the first `channel_def` among the outputs of
/// [`NETWORK_OUTPUTS`](crate::run::NETWORK_OUTPUTS).
pub fn channel_definition(outputs: &Node) -> Option<(String, &Node)> {
    outputs.children().into_iter().find_map(|(name, output)| Some((name, output.child("channel_def")?)))
}
