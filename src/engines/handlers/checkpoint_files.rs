//! Checkpoint files of one rule of CheckpointSaver (ignite.handlers.checkpoint, ignite 0.5.5): names, retention and
//! writing.
//!
//! Deliberate differences: files are written atomically, and the new file exists before an old one is removed; a file
//! that should be removed may be missing.

use super::parts::{Part, cannot_save, weights};
use crate::checkpoint::{self, StateDict};
use crate::error::Result;
use crate::formats::atomic;
use crate::{bail, err};
use parking_lot::Mutex;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

/// A score, which Python formats differently for int and float.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Priority {
    /// Printed without decimals: an epoch or iteration.
    Int(i64),
    /// Printed with four decimals: a metric.
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
    /// Formats the score as in a file name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Priority::Int(x) => write!(f, "{x}"),
            Priority::Float(x) if x.is_nan() => f.write_str("nan"),
            Priority::Float(x) => write!(f, "{x:.4}"),
        }
    }
}

/// A retained file.
#[derive(Debug, Clone)]
struct Item {
    priority: Priority,
    /// The name derived from the score, even if a fixed name is used.
    filename: String,
}

/// Rule for the names and the number of files.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Folder of the files.
    pub folder: PathBuf,
    /// Prefix of the file names; may be empty.
    pub prefix: String,
    /// Name of the score in file names: `key_metric`, `epoch`, `iteration` or `final_iteration`.
    pub score: &'static str,
    /// Number of files to keep; `None` keeps all.
    pub keep: Option<usize>,
    /// Fixed name, if a single file is kept.
    pub fixed: Option<String>,
    /// Whether a score equal to the worst one replaces it.
    pub or_equal: bool,
    /// Whether each file contains the list of files, under `checkpointer`.
    pub with_list: bool,
}

/// The files retained by one score.
pub struct Files {
    rule: Rule,
    kept: Mutex<Vec<Item>>,
}

impl Files {
    /// Creates an empty list; files of earlier runs are ignored.
    pub fn new(rule: Rule) -> Files {
        Files { rule, kept: Mutex::default() }
    }

    /// Name of the score.
    pub fn score(&self) -> &'static str {
        self.rule.score
    }

    fn path(&self, filename: &str) -> PathBuf {
        self.rule.folder.join(self.rule.fixed.as_deref().unwrap_or(filename))
    }

    /// Path of the newest file or of the one with the best score, as Python prints it.
    pub fn last(&self) -> String {
        if let Some(fixed) = &self.rule.fixed {
            return self.rule.folder.join(fixed).display().to_string();
        }
        let kept = self.kept.lock();
        let path = kept.last().map(|item| self.rule.folder.join(&item.filename)).unwrap_or_default();
        path.components().filter(|part| *part != Component::CurDir).collect::<PathBuf>().display().to_string()
    }

    /// Saves `parts` if `priority` is among the best; returns the file that is removed in exchange.
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

    /// Saves `parts` and removes the oldest file, which is returned.
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
        // Sorted by score; equal scores in order of insertion.
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

    /// Returns the list of files: pairs (priority, filename).
    pub fn save(&self) -> StateDict {
        list(&self.kept.lock())
    }

    /// Restores the state returned by [`Files::save`].
    pub fn load(&self, saved: &StateDict) -> Result<()> {
        let item = |saved: &StateDict| {
            let StateDict::Tuple(pair) = saved else { return None };
            let (priority, StateDict::Str(filename)) = (pair.first()?, pair.get(1)?) else { return None };
            let priority = match priority {
                StateDict::Int(x) => Priority::Int(*x),
                StateDict::Float(x) => Priority::Float(*x),
                _ => return None,
            };
            // File names from a checkpoint must not point outside the folder.
            let plain = Path::new(filename).file_name().is_some_and(|name| name == filename.as_str());
            plain.then(|| Item { priority, filename: filename.clone() })
        };
        let StateDict::List(items) = saved else { bail!("expected a list of saved checkpoints") };
        let items = items.iter().map(item).collect::<Option<Vec<_>>>();
        *self.kept.lock() = items.ok_or_else(|| err!("expected saved checkpoints as pairs (priority, filename)"))?;
        Ok(())
    }
}

/// `(priority, filename)` of each file, as ignite saves them.
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

/// Writes the state of a single object, or a dict of the states of several ones.
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

/// Checks that files can be written, before hours of training, and removes temporary files of a killed run.
pub fn check(folder: &Path) -> Result<()> {
    atomic::remove_stale(folder);
    check_writable(folder)
}

/// Checks that checkpoints can be written to `folder`.
pub fn check_writable(folder: &Path) -> Result<()> {
    atomic::check_writable(&folder.join("checkpoint.pt"))
}
