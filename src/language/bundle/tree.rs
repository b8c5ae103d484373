//! The config as one tree: files and metadata merged in order, then modified by overrides.
//!
//! MONAI source: `ConfigParser.load_config_files`, `read_meta`, `__setitem__`. Errors in single items are collected, so
//! that all of them are reported; only a file that cannot be read is returned immediately as an error.

use super::args::{Rules, RunArgs};
use super::load::{self, Notes, Warning};
use super::merge::{extend, nothing_to_merge, top_key};
use super::node::{Content, Entries, Node, Origin};
use super::{compat, id, metadata};
use crate::component::Key;
use crate::err;
use crate::error::{Error, Kind, Result, did_you_mean};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// The merged config, with errors and warnings.
#[derive(Debug, Clone)]
pub struct Tree {
    /// The whole config, a dict.
    pub root: Node,
    /// Warnings of reading, merging and expanding.
    pub warnings: Vec<Warning>,
    /// What `verify` shows in addition: it does not concern this run.
    pub notes: Vec<Warning>,
    /// Errors in single items.
    pub errors: Vec<Error>,
    /// Overrides in the order of the command line.
    pub overrides: Vec<Override>,
    /// Ids that macros have copied.
    pub macro_reads: BTreeSet<String>,
    /// Ids whose content could not be created; no further errors are reported for them.
    pub broken: BTreeSet<String>,
    /// The config files, in the order in which they are merged.
    files: Vec<String>,
    /// Other config files in the folder of the first, with the keys at their top; read on first use.
    siblings: OnceLock<Vec<(String, Vec<String>)>>,
    /// Remaining number of items to search for suggestions, which bounds the time for large configs with many errors.
    search_budget: Arc<AtomicUsize>,
}

/// Initial search budget.
const MAX_SEARCHED: usize = 1_000_000;

/// An override from the command line.
#[derive(Debug, Clone)]
pub struct Override {
    /// Normalized id.
    pub id: String,
    /// Id as spelled by the user.
    pub spelled: String,
    /// Type of the replaced value; `None` if there was none.
    pub replaced: Option<String>,
}

impl Tree {
    /// Tree of a single dict, such as the file of a macro.
    pub fn new(root: Node) -> Tree {
        Tree {
            root,
            warnings: vec![],
            notes: vec![],
            errors: vec![],
            overrides: vec![],
            macro_reads: BTreeSet::new(),
            broken: BTreeSet::new(),
            search_budget: Arc::new(AtomicUsize::new(MAX_SEARCHED)),
            files: vec![],
            siblings: OnceLock::new(),
        }
    }

    /// Load and merge the config files and the metadata.
    pub fn load(args: &RunArgs) -> Result<Tree> {
        let origin = Origin::new(args.config_files.first().map_or("", String::as_str), 0);
        let mut tree = Tree::new(Node::dict(Entries::new(), origin.clone()));
        tree.root.insert(metadata::ID, Node::dict(Entries::new(), origin));
        tree.files = args.config_files.clone();
        tree.check_folders(args);
        for file in &args.config_files {
            if !Path::new(file).exists() {
                return Err(load::missing(file, &args.config_files).kind(Kind::Config).file(file));
            }
            tree.merge_file(file, args.rules)?;
        }
        compat::rename_deprecated(&mut tree.root);
        metadata::read(args, &mut tree)?;
        Ok(tree)
    }

    fn check_folders(&mut self, args: &RunArgs) {
        let root = args.config_root();
        if let Some(other) = args.config_files.iter().find(|file| Path::new(file).parent() != Some(root)) {
            let note = err!(
                "not all config files are in `{}`, which is searched for metadata.json and logging.conf",
                root.display()
            );
            self.warnings.push(note.kind(Kind::Config).file(other));
        }
    }

    /// Merge the keys of a file in order: `a#b` sets a nested item, `+a` merges.
    pub fn merge_file(&mut self, file: &str, rules: Rules) -> Result<()> {
        let mut notes = Notes { fail_on_duplicate: rules.fail_on_duplicate, ..Notes::default() };
        let node = load::read_file(file, &mut notes)?;
        self.warnings.append(&mut notes.warnings);
        let found = node.type_name();
        let Content::Dict(entries) = node.content else {
            return Err(err!("expected a dict at the top of a config file, found {found}")
                .kind(Kind::Config)
                .file(file));
        };
        for (key, node) in entries {
            let done = top_key(&key, &node).and_then(|key| self.merge_key(&key, node));
            let Err(error) = done else { continue };
            // One error for all items of a parent that no file defines.
            let parent = error.get_id().and_then(|id| id.split(id::SEPARATOR).next());
            if parent.is_none_or(|parent| self.root.child(parent).is_some() || self.broken.insert(parent.to_owned())) {
                self.errors.push(error);
            }
        }
        Ok(())
    }

    fn merge_key(&mut self, key: &str, node: Node) -> Result<()> {
        let Some(target) = key.strip_prefix('+') else { return self.set(key, node) };
        let target = id::normalize(target);
        match self.get_mut(&target) {
            Some(old) => extend(old, node, &target),
            None => {
                self.warnings.push(nothing_to_merge(&target, &node));
                self.set(&target, node)
            }
        }
    }

    /// Apply overrides in order.
    pub fn with(mut self, overrides: &[(String, Node)]) -> Tree {
        for (spelled, node) in overrides {
            let target = id::normalize(spelled);
            let replaced = self.get(&target).map(Node::type_name);
            self.overrides.push(Override { id: target.clone(), spelled: spelled.clone(), replaced });
            if let Err(error) = self.set(&target, node.clone()) {
                self.broken.insert(target);
                self.errors.push(error.context(format!("override `{spelled}`")));
            }
        }
        self
    }

    /// Item of an id, with non-negative indices only; `""` is the root.
    pub fn get(&self, id: &str) -> Option<&Node> {
        if id.is_empty() {
            return Some(&self.root);
        }
        id.split(id::SEPARATOR).try_fold(&self.root, |node, part| node.child(part))
    }

    /// Item of an id as in MONAI's `parser[id]`: whitespace around parts is ignored, and negative indices count from
    /// the end of a list.
    pub fn get_mut(&mut self, id: &str) -> Option<&mut Node> {
        let parts: Vec<String> =
            if id.is_empty() { vec![] } else { id.split(id::SEPARATOR).map(str::to_owned).collect() };
        parts.iter().try_fold(&mut self.root, |node, part| {
            let part = from_front(node, part.trim());
            node.child_mut(&part)
        })
    }

    /// Set an item.
    ///
    /// # Errors
    /// The parent does not exist, or is a list without this index.
    pub fn set(&mut self, id: &str, node: Node) -> Result<()> {
        let id = id::normalize(id);
        let place = node.origin.text();
        if id.is_empty() {
            self.root = node;
            return Ok(());
        }
        let (parent_id, last) = id::split_last(&id);
        let Some(parent) = self.get_mut(parent_id) else {
            let error =
                err!("cannot set `{last}`: `{parent_id}` does not exist").kind(Kind::Config).at(Some(&place), &id);
            return Err(match self.in_sibling(parent_id) {
                Some(hint) => error.hint(hint),
                None => error.suggest(self.nearest(parent_id).map(|near| id::join(&near, last))),
            });
        };
        let part = from_front(parent, last);
        let parent_type = parent.type_name();
        match &mut parent.content {
            Content::Dict(entries) => {
                entries.insert(Key::str(last), node);
                Ok(())
            }
            Content::List(items) => {
                let count = items.len();
                let slot = part.parse::<usize>().ok().and_then(|at| items.get_mut(at));
                *slot.ok_or_else(|| {
                    let error = err!("cannot set `{last}`: `{parent_id}` is a list of {count} items");
                    error.kind(Kind::Config).at(Some(&place), &id).hint("only an existing item of a list can be set")
                })? = node;
                Ok(())
            }
            Content::Leaf(_) => {
                let error = err!("`{parent_id}` is {parent_type}, not a dict or list, so `{last}` cannot be set in it");
                Err(error.kind(Kind::Config).at(Some(&place), &id))
            }
        }
    }

    /// The closest existing ancestor of `id` with its id, and the parts below it that do not exist.
    pub fn ancestor<'a>(&self, id: &'a str) -> (&Node, &'a str, &'a str) {
        let (mut node, mut end, mut start) = (&self.root, 0, 0);
        for part in id.split(id::SEPARATOR) {
            let Some(child) = node.child(part) else { return (node, &id[..end], &id[start..]) };
            (node, end) = (child, start + part.len());
            start = end + id::SEPARATOR.len();
        }
        (node, id, "")
    }

    /// Suggestion for a missing id: a similar name in the same container, or the same name elsewhere.
    pub fn nearest(&self, missing: &str) -> Option<String> {
        let (node, known, rest) = self.ancestor(missing);
        let part = rest.split(id::SEPARATOR).next().unwrap_or(rest);
        let names: Vec<String> = node.children().into_iter().map(|(name, _)| name).collect();
        self.charge_search(names.len() + 1)?;
        if let Some(near) = did_you_mean(part, names.iter().map(String::as_str)) {
            let near = id::join(known, near);
            let whole = near.clone() + &rest[part.len()..];
            return Some(if self.get(&whole).is_some() { whole } else { near });
        }
        let last = id::split_last(missing).1;
        if last.parse::<usize>().is_ok() { None } else { self.find(&self.root, "", last) }
    }

    /// First item below `node` with this name.
    fn find(&self, node: &Node, id: &str, name: &str) -> Option<String> {
        self.charge_search(1)?;
        node.children().into_iter().find_map(|(part, child)| {
            let sub = id::join(id, &part);
            if part == name { Some(sub) } else { self.find(child, &sub, name) }
        })
    }

    /// Hint about another config file in the folder of the first one that has the item `id`, to be named together with
    /// the given ones; `None` if there is none.
    pub fn in_sibling(&self, id: &str) -> Option<String> {
        let name = id.split(id::SEPARATOR).next()?;
        let siblings = self.siblings.get_or_init(|| siblings(&self.files));
        let having = siblings.iter().filter(|(_, keys)| keys.iter().any(|key| key == name));
        let found: Vec<&str> = having.map(|(file, _)| &**file).collect();
        let first = found.first()?;
        let files: Vec<String> = std::iter::once(*first)
            .chain(self.files.iter().map(String::as_str))
            .map(|file| format!("'{file}'"))
            .collect();
        Some(format!(
            "`{name}` is in {}: name the files together, `--config_file \"[{}]\"`",
            found.join(" and "),
            files.join(",")
        ))
    }

    /// Count `count` visited items against the limit; `None` if it is exhausted.
    fn charge_search(&self, count: usize) -> Option<()> {
        let take = |left: usize| (left > 0).then(|| left.saturating_sub(count));
        self.search_budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok().map(drop)
    }

    /// File and line of `id`, or of its closest existing ancestor.
    pub fn place(&self, id: &str) -> String {
        self.ancestor(id).0.origin.text()
    }
}

impl Node {
    /// Set an entry of a dict; does nothing for other nodes.
    pub fn insert(&mut self, key: &str, node: Node) {
        if let Content::Dict(entries) = &mut self.content {
            entries.insert(Key::str(key), node);
        }
    }
}

/// Config files in the folder of the first of `files` that are not among them, with the keys at their top. Files that
/// cannot be read, and long ones such as lists of cases, are skipped.
fn siblings(files: &[String]) -> Vec<(String, Vec<String>)> {
    const MOST: usize = 50;
    const MOST_BYTES: u64 = 1 << 20;
    let Some(folder) = files.first().and_then(|file| Path::new(file).parent()) else { return vec![] };
    let read = std::fs::read_dir(if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    let mut names: Vec<_> = read.into_iter().flatten().flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    let paths = names.iter().map(|name| folder.join(name).display().to_string());
    let short = |path: &String| std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() <= MOST_BYTES);
    let others = paths.filter(|path| load::is_config_name(path) && !files.contains(path)).filter(short).take(MOST);
    let keys = |path: String| {
        let Content::Dict(entries) = load::read_file(&path, &mut Notes::default()).ok()?.content else { return None };
        Some((path, entries.keys().filter_map(|key| key.as_str().map(str::to_owned)).collect()))
    };
    others.filter_map(keys).collect()
}

/// Convert a negative index of a list to a non-negative one.
fn from_front(node: &Node, part: &str) -> String {
    match (&node.content, part.parse::<i64>()) {
        (Content::List(items), Ok(at)) if at < 0 => (items.len() as i64 + at).to_string(),
        (Content::List(_), Ok(at)) => at.to_string(),
        _ => part.to_owned(),
    }
}

/// Visit all items, containers before their children.
pub fn walk(node: &Node, id: &str, visit: &mut dyn FnMut(&str, &Node)) {
    visit(id, node);
    for (part, child) in node.children() {
        walk(child, &id::join(id, &part), visit);
    }
}
