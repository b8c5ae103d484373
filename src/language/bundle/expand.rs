//! Expansion of the tree: makes relative ids absolute and replaces `%` macros by copies of the items that they refer
//! to.
//!
//! MONAI source: `ConfigParser._do_resolve`. The tree is modified while it is visited in the order of its keys, so that
//! a macro copies earlier items after their expansion and later items before it. Copied content is not expanded again
//! in the same pass; MONAI's `run` makes two passes.

use super::load::{self, MAX_DEPTH, MAX_NODES, Notes};
use super::node::{Content, Node};
use super::tree::{Tree, walk};
use super::{compat, id};
use crate::component::Value;
use crate::err;
use crate::error::{Kind, Result};
use std::collections::HashMap;

/// Maximum number of items that the macros of a pass may copy: a macro that refers to an item that contains it multiplies
/// the config.
const MAX_COPIED: usize = 200_000;

impl Tree {
    /// Expand the tree in one pass.
    #[must_use]
    pub fn expand(mut self) -> Tree {
        let mut strings = Vec::new();
        walk(&self.root, "", &mut |id, node| {
            if node.as_str().is_some() {
                strings.push(id.to_owned());
            }
        });
        let mut files = Files::default();
        let mut budget = MAX_COPIED.min(MAX_NODES.saturating_sub(self.root.count()));
        for id in strings {
            if budget == 0 {
                break;
            }
            if let Err(error) = self.expand_string(&id, &mut files, &mut budget) {
                let place = self.place(&id);
                self.errors.push(error.kind(Kind::Config).at(Some(&place), &id));
                self.broken.insert(id.clone());
                // Replaced so that the item is not expanded again in this pass.
                if let Some(node) = self.get_mut(&id) {
                    node.content = Content::Leaf(Value::None);
                }
            }
        }
        self
    }

    fn expand_string(&mut self, id: &str, files: &mut Files, budget: &mut usize) -> Result<()> {
        let Some(text) = self.get(id).and_then(Node::as_str) else { return Ok(()) };
        let text = id::resolve_relative(id, text)?;
        let content = match text.strip_prefix('%') {
            None => Content::Leaf(Value::from(text)),
            Some(target) => {
                let pasted = self.macro_content(target, files, budget).map_err(|e| match *budget == 0 {
                    true => err!("the macro `{text}` makes the config too large")
                        .hint("does the macro refer to an item that contains it?"),
                    false => e,
                })?;
                if let Some(node) = self.get_mut(id) {
                    *node = pasted;
                }
                return Ok(());
            }
        };
        if let Some(node) = self.get_mut(id) {
            node.content = content;
        }
        Ok(())
    }

    /// Copy of the item that a macro refers to, in this config or in a file.
    ///
    /// # Errors
    /// A missing item or file; a copy of more items than `budget`, which is 0 then.
    fn macro_content(&mut self, target: &str, files: &mut Files, budget: &mut usize) -> Result<Node> {
        let mut copy = |node: &Node| {
            *budget = if node.depth() > 2 * MAX_DEPTH { 0 } else { budget.saturating_sub(node.count()) };
            if *budget == 0 { Err(err!("the copy would make the config too large")) } else { Ok(node.clone()) }
        };
        let (path, wanted) = id::split_path(target);
        if path.is_empty() {
            self.macro_reads.insert(wanted.clone());
            return match self.get_mut(&wanted) {
                Some(node) => copy(node),
                None => Err(missing(&wanted, "this config", self.nearest(&wanted))),
            };
        }
        let file = files.read(&path, self)?;
        match file.get_mut(&wanted) {
            Some(node) => copy(node),
            None => Err(missing(&wanted, &path, file.nearest(&wanted))),
        }
    }
}

fn missing(wanted: &str, place: &str, near: Option<String>) -> crate::error::Error {
    err!("the macro refers to `{wanted}`, which is not in {place}")
        .suggest(near.map(|near| format!("%{near}")))
        .hint("a string that starts with `%` is a macro; write text as `\"$'%…'\"`")
}

/// Files that macros refer to, each read once per pass.
#[derive(Default)]
struct Files(HashMap<String, Tree>);

impl Files {
    fn read(&mut self, path: &str, tree: &mut Tree) -> Result<&mut Tree> {
        if !self.0.contains_key(path) {
            let mut notes = Notes::default();
            let mut root = load::read_file(path, &mut notes)?;
            tree.warnings.append(&mut notes.warnings);
            compat::rename_deprecated(&mut root);
            self.0.insert(path.to_owned(), Tree::new(root));
        }
        self.0.get_mut(path).ok_or_else(|| err!("cannot find the config file `{path}`"))
    }
}
