//! Loading of named tensors into a network, strictly or partially.

use super::Network;
use crate::err;
use crate::error::Result;
use indexmap::IndexMap;
use std::collections::HashMap;
use std::fmt;
use tch::Tensor;

/// Strictness of [`restore`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strictness {
    /// File and network must have the same names.
    pub names: bool,
    /// Tensors of the same name must have the same shape.
    pub shapes: bool,
}

/// Result of [`restore`].
#[derive(Debug, Default)]
pub struct Restored {
    /// Number of tensors of the network.
    total: usize,
    /// Names of the network's tensors that were not restored, with the shapes where these differ.
    kept: Vec<String>,
    /// Names in the file that do not exist in the network.
    unused: Vec<String>,
    /// Prefix that was removed from all names in the file, such as `module.`.
    prefix: Option<String>,
}

impl Restored {
    /// Whether every tensor of the network and of the file was used.
    pub fn is_complete(&self) -> bool {
        self.kept.is_empty() && self.unused.is_empty()
    }
    /// Logs a removed prefix and a partial restore; `source` describes where the tensors came from.
    pub fn report(&self, source: &str) {
        if let Some(prefix) = &self.prefix {
            tracing::info!("removed the prefix `{prefix}` from all names in {source}");
        }
        if self.is_complete() {
            return;
        }
        tracing::warn!("restored from {source}: {self}");
    }
}

impl fmt::Display for Restored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} variables", self.total - self.kept.len(), self.total)?;
        for (what, names) in [("kept as they were", &self.kept), ("not in the network", &self.unused)] {
            if !names.is_empty() {
                write!(f, "; {what}: {}", some_of(names))?;
            }
        }
        Ok(())
    }
}

/// Copies `tensors` into the network's tensors of the same names, as `strictness` permits.
///
/// A prefix common to all names (`module.` of DataParallel, `_orig_mod.` of torch.compile, `net.` of Lightning modules)
/// is removed if every tensor of the network is then found.
///
/// # Errors
/// With strict names, missing and unexpected names; with strict shapes, shape mismatches; in any case, a file without a
/// matching tensor. The network is then unchanged.
pub fn restore(
    network: &mut dyn Network,
    mut tensors: Vec<(String, Tensor)>,
    strictness: Strictness,
) -> Result<Restored> {
    let own = &network.state().tensors;
    let mut restored = Restored { total: own.len(), ..Restored::default() };
    let mut hint = None;
    match common_prefix(&tensors, own) {
        Some((prefix, found)) if found == own.len() => {
            tensors.iter_mut().for_each(|(name, _)| drop(name.drain(..prefix.len())));
            restored.prefix = Some(prefix);
        }
        Some((prefix, found)) => {
            hint = Some(format!(
                "all names in the file begin with `{prefix}`; without it {found} of {} are the network's",
                tensors.len()
            ));
        }
        None => {}
    }
    if !strictness.names {
        restored.unused =
            tensors.iter().map(|(name, _)| name).filter(|name| !own.contains_key(*name)).cloned().collect();
        let given: HashMap<&str, &Tensor> = tensors.iter().map(|(name, tensor)| (&**name, tensor)).collect();
        let mut filled = vec![];
        for (name, own) in own {
            let tensor = match given.get(&**name) {
                Some(given) if strictness.shapes || given.size() == own.size() => given,
                Some(given) => {
                    restored.kept.push(format!("{name} (shape {:?}, in the file {:?})", own.size(), given.size()));
                    own
                }
                None => {
                    restored.kept.push(name.clone());
                    own
                }
            };
            filled.push((name.clone(), tensor.shallow_clone()));
        }
        if restored.kept.len() == own.len() && !own.is_empty() {
            let error = err!("none of the {} variables of {} can be restored", own.len(), network.name());
            let names = |names: &mut dyn Iterator<Item = &String>| some_of(&names.take(2).cloned().collect::<Vec<_>>());
            return Err(error.hint(hint.unwrap_or_else(|| match restored.unused.is_empty() {
                true => format!("the file was saved with other arguments of the network: {}", some_of(&restored.kept)),
                false => format!(
                    "the network has {}, …; the file has {}, …",
                    names(&mut own.keys()),
                    names(&mut tensors.iter().map(|(name, _)| name))
                ),
            })));
        }
        tensors = filled;
    }
    network.load(&tensors).map_err(|error| match hint {
        Some(hint) => error.hint(hint),
        None => error,
    })?;
    Ok(restored)
}

/// The common prefix of all names, up to a dot, without which most names exist in the network, and the number of these;
/// `None` if a name exists in the network with its prefix, or none without.
fn common_prefix(tensors: &[(String, Tensor)], own: &IndexMap<String, Tensor>) -> Option<(String, usize)> {
    let (first, _) = tensors.first()?;
    if tensors.iter().any(|(name, _)| own.contains_key(name)) {
        return None;
    }
    let prefixes = first.match_indices('.').map(|(at, _)| &first[..=at]);
    let common = prefixes.take_while(|prefix| tensors.iter().all(|(name, _)| name.starts_with(prefix)));
    let found = |prefix: &str| tensors.iter().filter(|(name, _)| own.contains_key(&name[prefix.len()..])).count();
    let best = common.map(|prefix| (prefix.to_owned(), found(prefix))).max_by_key(|(_, found)| *found);
    best.filter(|(_, found)| *found > 0)
}

/// The first names of a list, and the number of the remaining ones.
fn some_of(names: &[String]) -> String {
    const SHOWN: usize = 8;
    match names.len().checked_sub(SHOWN) {
        None | Some(0) => names.join(", "),
        Some(more) => format!("{} and {more} more", names[..SHOWN].join(", ")),
    }
}
