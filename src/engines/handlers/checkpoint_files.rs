//! The files that one rule of CheckpointSaver keeps (ignite.handlers.checkpoint, ignite 0.5.5): their names, which of
//! them stay, and writing them.
//!
//! Deliberate differences: a file is replaced as a whole, and the new one is there before an old one is removed; a file
//! to be removed may be gone already.

use super::parts::{Part, cannot_save, weights};
use crate::checkpoint::{self, StateDict};
use crate::error::Result;
use crate::formats::atomic;
use crate::{bail, err};
use parking_lot::Mutex;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

/// A score, as Python tells whole numbers from others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Priority {
    Int(i64),
    Float(f64),
}

impl Priority {
    fn number(self) -> f64 {
        match self {
            Priority::Int(x) => x as f64,
            Priority::Float(x) => x,
        }
    }
}

impl fmt::Display for Priority {
    /// As it stands in a file's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Priority::Int(x) => write!(f, "{x}"),
            Priority::Float(x) if x.is_nan() => f.write_str("nan"),
            Priority::Float(x) => write!(f, "{x:.4}"),
        }
    }
}

/// A file that is kept.
#[derive(Debug, Clone)]
struct Item {
    priority: Priority,
    /// The name that the score gives it, also where a fixed one is used.
    filename: String,
}

/// Which files there are.
#[derive(Debug, Clone)]
pub struct Rule {
    pub folder: PathBuf,
    pub prefix: String,
    /// The score's name in file names: `key_metric`, `epoch`, `iteration`, `final_iteration`.
    pub score: &'static str,
    /// How many to keep; None: all.
    pub keep: Option<usize>,
    /// A name for the one file there is.
    pub fixed: Option<String>,
    /// Whether an equal score replaces the worst.
    pub or_equal: bool,
    /// Whether the list of files goes into each file, under `checkpointer`.
    pub with_list: bool,
}

/// What is kept by one score.
pub struct Files {
    rule: Rule,
    kept: Mutex<Vec<Item>>,
}

impl Files {
    pub fn new(rule: Rule) -> Files {
        Files { rule, kept: Mutex::default() }
    }

    /// The score's name.
    pub fn score(&self) -> &'static str {
        self.rule.score
    }

    fn path(&self, filename: &str) -> PathBuf {
        self.rule.folder.join(self.rule.fixed.as_deref().unwrap_or(filename))
    }

    /// The newest file, or the one with the best score, as Python shows it.
    pub fn last(&self) -> String {
        if let Some(fixed) = &self.rule.fixed {
            return self.rule.folder.join(fixed).display().to_string();
        }
        let kept = self.kept.lock();
        let path = kept.last().map(|item| self.rule.folder.join(&item.filename)).unwrap_or_default();
        path.components().filter(|part| *part != Component::CurDir).collect::<PathBuf>().display().to_string()
    }

    /// Save the parts if `priority` is among the best; the file that goes for it.
    pub fn offer(&self, parts: &[(String, Part)], priority: Priority) -> Result<Option<String>> {
        let kept = self.kept.lock().clone();
        let rule = &self.rule;
        let room = rule.keep.is_none_or(|keep| kept.len() < keep);
        let beaten = kept.first().is_some_and(|worst| match rule.or_equal {
            true => priority.number() >= worst.priority.number(),
            false => priority.number() > worst.priority.number(),
        });
        if room || beaten { self.put(parts, priority, kept, !room) } else { Ok(None) }
    }

    /// Save the parts in place of the file that was saved first.
    pub fn replace(&self, parts: &[(String, Part)], priority: Priority) -> Result<Option<String>> {
        let kept = self.kept.lock().clone();
        let full = !kept.is_empty();
        self.put(parts, priority, kept, full)
    }

    fn put(
        &self,
        parts: &[(String, Part)],
        priority: Priority,
        mut kept: Vec<Item>,
        full: bool,
    ) -> Result<Option<String>> {
        let name = if let [(name, _)] = parts { name } else { "checkpoint" };
        let prefix = if self.rule.prefix.is_empty() { String::new() } else { format!("{}_", self.rule.prefix) };
        let filename = format!("{prefix}{name}_{}={priority}.pt", self.rule.score);
        let same = kept.iter().position(|item| item.filename == filename);
        let old = same.or(full.then_some(0)).map(|at| kept.remove(at));
        // Sorted by score, equal ones in the order in which they came.
        let at = kept.iter().position(|item| item.priority.number() > priority.number()).unwrap_or(kept.len());
        let path = self.path(&filename);
        kept.insert(at, Item { priority, filename });
        write(&path, parts, self.rule.with_list.then(|| StateDict::dict([("_saved", list(&kept))])))
            .map_err(cannot_save)?;
        *self.kept.lock() = kept;
        let Some(old) = old else { return Ok(None) };
        let old_path = self.path(&old.filename);
        if old_path != path {
            remove(&old_path);
        }
        Ok(Some(old.filename))
    }

    pub fn save(&self) -> StateDict {
        list(&self.kept.lock())
    }

    /// Take over what [`Files::save`] gave.
    pub fn load(&self, saved: &StateDict) -> Result<()> {
        let item = |saved: &StateDict| {
            let StateDict::Tuple(pair) = saved else { return None };
            let (priority, StateDict::Str(filename)) = (pair.first()?, pair.get(1)?) else { return None };
            let priority = match priority {
                StateDict::Int(x) => Priority::Int(*x),
                StateDict::Float(x) => Priority::Float(*x),
                _ => return None,
            };
            // A name from a file must not lead out of the folder.
            let plain = Path::new(filename).file_name().is_some_and(|name| name == filename.as_str());
            plain.then(|| Item { priority, filename: filename.clone() })
        };
        let StateDict::List(items) = saved else { bail!("the saved list of checkpoints is none") };
        let items = items.iter().map(item).collect::<Option<Vec<_>>>();
        *self.kept.lock() = items.ok_or_else(|| err!("the saved list of checkpoints is damaged"))?;
        Ok(())
    }
}

/// `(priority, filename)` of each, as ignite saves them.
fn list(kept: &[Item]) -> StateDict {
    let item = |item: &Item| {
        let priority = match item.priority {
            Priority::Int(x) => StateDict::Int(x),
            Priority::Float(x) => StateDict::Float(x),
        };
        StateDict::Tuple(vec![priority, StateDict::Str(item.filename.clone())])
    };
    StateDict::List(kept.iter().map(item).collect())
}

/// One part: its state itself; several: a dict of states.
fn write(path: &Path, parts: &[(String, Part)], list: Option<StateDict>) -> Result<()> {
    let state = match (parts, &list) {
        ([(_, Part::Network(network))], None) => {
            let weights = weights(&*network.lock())?;
            return checkpoint::save(path, &weights);
        }
        ([(_, part)], _) => part.state()?,
        _ => StateDict::dict(parts.iter().map(|(name, part)| Ok((name, part.state()?))).collect::<Result<Vec<_>>>()?),
    };
    let state = match (state, list) {
        (StateDict::Dict(mut items), Some(list)) => {
            items.push((StateDict::Str("checkpointer".into()), list));
            StateDict::Dict(items)
        }
        (state, _) => state,
    };
    checkpoint::save_state(path, &state)
}

fn remove(path: &Path) {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            tracing::warn!("cannot remove {}: {error}", path.display())
        }
        _ => {}
    }
}

/// An early error where files could not be written at all, before hours of training; clears away what a killed run left.
pub fn check(folder: &Path) -> Result<()> {
    atomic::remove_stale(folder);
    atomic::check_writable(&folder.join("checkpoint.pt"))
}
