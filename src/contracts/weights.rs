//! Loading of named tensors into a network, strictly or partially.

use super::Network;
use crate::err;
use crate::error::{Error, Result};
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

/// Names and shapes of tensors, in a file's order.
pub type Shapes = [(String, Vec<i64>)];

/// Names and shapes of `tensors`.
pub fn shapes(tensors: &[(String, Tensor)]) -> Vec<(String, Vec<i64>)> {
    tensors.iter().map(|(name, tensor)| (name.clone(), tensor.size())).collect()
}

/// Copies `tensors` into the network's tensors of the same names, as `strictness` permits.
///
/// # Errors
/// As [`compare`]; the network is then unchanged.
pub fn restore(
    network: &mut dyn Network,
    mut tensors: Vec<(String, Tensor)>,
    strictness: Strictness,
) -> Result<Restored> {
    let restored = compare(network, &shapes(&tensors), strictness)?;
    if let Some(prefix) = &restored.prefix {
        tensors.iter_mut().for_each(|(name, _)| drop(name.drain(..prefix.len())));
    }
    if !strictness.names {
        let mut given: HashMap<String, Tensor> = tensors.into_iter().collect();
        let fitting = |(name, own): (&String, &Tensor)| {
            let tensor = given.remove(name).filter(|given| given.size() == own.size());
            (name.clone(), tensor.unwrap_or_else(|| own.shallow_clone()))
        };
        tensors = network.state().tensors.iter().map(fitting).collect();
    }
    network.load(&tensors)?;
    Ok(restored)
}

/// Compares names and shapes of a file's tensors with those of a network, without reading tensors.
///
/// A prefix common to all names (`module.` of DataParallel, `_orig_mod.` of torch.compile, `net.` of Lightning modules)
/// is removed if every tensor of the network is then found.
///
/// # Errors
/// With strict names, missing and unexpected names; with strict shapes, shape mismatches; in any case, a file without a
/// matching tensor.
pub fn compare(network: &dyn Network, given: &Shapes, strictness: Strictness) -> Result<Restored> {
    let own = &network.state().tensors;
    let mut restored = Restored { total: own.len(), ..Restored::default() };
    let mut hint = None;
    let mut unprefixed = given.to_vec();
    match common_prefix(given, own) {
        Some((prefix, found)) if found == own.len() => {
            unprefixed.iter_mut().for_each(|(name, _)| drop(name.drain(..prefix.len())));
            restored.prefix = Some(prefix);
        }
        Some((prefix, found)) => {
            hint = Some(format!(
                "all names in the file begin with `{prefix}`; without it {found} of {} are the network's",
                given.len()
            ));
        }
        None => {}
    }
    let Differences { own: differences, unused } = Differences::new(network, &unprefixed);
    let refused = |difference: &Difference| match difference.found {
        Some(_) => strictness.shapes,
        None => strictness.names,
    };
    let differences = match strictness.names {
        true => Differences { own: differences, unused },
        false => {
            restored.kept = differences.iter().map(Difference::to_string).collect();
            restored.unused = unused.iter().map(|name| (*name).to_owned()).collect();
            let refused = differences.into_iter().filter(refused).collect();
            Differences { own: refused, unused: vec![] }
        }
    };
    if let Some(error) = differences.error(network, &unprefixed, hint.clone()) {
        return Err(error);
    }
    if restored.kept.len() == own.len() && !own.is_empty() {
        let error = err!("none of the {} variables of {} can be restored", own.len(), network.name());
        return Err(error.hint(hint.unwrap_or_else(|| match restored.unused.is_empty() {
            true => format!("the file was saved with other arguments of the network: {}", some_of(&restored.kept)),
            false => both_names(network, given),
        })));
    }
    Ok(restored)
}

/// Checks that names and shapes are those of the network, as `load_state_dict(strict=True)`.
///
/// # Errors
/// One error for all differences, with the first of them and a hint.
pub fn check_fit(network: &dyn Network, given: &Shapes) -> Result<()> {
    Differences::new(network, given).error(network, given, None).map_or(Ok(()), Err)
}

/// A tensor of a network that a file lacks or has in another shape.
struct Difference<'a> {
    name: &'a str,
    shape: Vec<i64>,
    /// Shape in the file.
    found: Option<&'a [i64]>,
}

impl fmt::Display for Difference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.found {
            Some(found) => write!(f, "{} (shape {:?}, in the file {found:?})", self.name, self.shape),
            None => write!(f, "{} (not in the file)", self.name),
        }
    }
}

/// Differences between a network and a file.
struct Differences<'a> {
    /// In the network's order.
    own: Vec<Difference<'a>>,
    /// Names in the file that do not exist in the network.
    unused: Vec<&'a str>,
}

impl<'a> Differences<'a> {
    fn new(network: &'a dyn Network, given: &'a Shapes) -> Self {
        let own = &network.state().tensors;
        let shapes: HashMap<&str, &[i64]> = given.iter().map(|(name, shape)| (&**name, &**shape)).collect();
        let difference = |(name, tensor): (&'a String, &Tensor)| {
            let (shape, found) = (tensor.size(), shapes.get(&**name).copied());
            (found != Some(&shape)).then_some(Difference { name, shape, found })
        };
        let unused = given.iter().map(|(name, _)| &**name).filter(|name| !own.contains_key(*name));
        Differences { own: own.iter().filter_map(difference).collect(), unused: unused.collect() }
    }

    /// The error that summarizes the differences; `None` if there are none. `hint`: a known cause.
    fn error(&self, network: &dyn Network, given: &Shapes, hint: Option<String>) -> Option<Error> {
        let (name, total) = (network.name(), network.state().tensors.len());
        let mut parts = vec![];
        if !self.own.is_empty() {
            let shown: Vec<String> = self.own.iter().map(Difference::to_string).collect();
            parts.push(format!("{} of {total} variables of {name} do not fit: {}", shown.len(), some_of(&shown)));
        }
        if !self.unused.is_empty() {
            let (count, shown) = (self.unused.len(), some_of(&self.unused));
            parts.push(format!("{count} of {} variables of the file are not in {name}: {shown}", given.len()));
        }
        let cause = || match (hint.or_else(|| self.channels_hint(network)), self.own.len() == total) {
            (Some(hint), _) => hint,
            (None, true) if self.own.iter().all(|difference| difference.found.is_none()) => both_names(network, given),
            _ => format!("the weights were saved with other arguments of {name}, or of another network"),
        };
        (!parts.is_empty()).then(|| err!("{}", parts.join("; ")).hint(cause()))
    }

    /// The hint where nothing but the number of input or output channels differs.
    fn channels_hint(&self, network: &dyn Network) -> Option<String> {
        let axes = |difference: &Difference| -> Option<Vec<(i64, i64)>> {
            let found = difference.found.filter(|found| found.len() == difference.shape.len())?;
            let pairs = difference.shape.iter().copied().zip(found.iter().copied());
            Some(pairs.filter(|(own, found)| own != found).collect())
        };
        let mut pairs: Vec<(i64, i64)> =
            self.own.iter().map(axes).collect::<Option<Vec<_>>>()?.into_iter().flatten().collect();
        pairs.sort_unstable();
        pairs.dedup();
        let (&[(own, found)], true) = (&pairs[..], self.unused.is_empty()) else { return None };
        // The first tensor of a network belongs to its input.
        let first = network.state().tensors.keys().next().is_some_and(|first| self.own[0].name == first);
        let (argument, expected, what) = match first {
            true => ("in_channels", network.in_channels(), "input"),
            false => ("out_channels", network.out_channels(), "output"),
        };
        (own == expected as i64).then(|| {
            format!(
                "the weights have {found} {what} channels, the network {own}: set its argument `{argument}` to {found}, \
                 or load other weights"
            )
        })
    }
}

/// The first names of network and file.
fn both_names(network: &dyn Network, given: &Shapes) -> String {
    let first = |names: &mut dyn Iterator<Item = &String>| names.take(2).cloned().collect::<Vec<_>>().join(", ");
    format!(
        "the file may be of another network: the network has {}, …; the file has {}, …",
        first(&mut network.state().tensors.keys()),
        first(&mut given.iter().map(|(name, _)| name))
    )
}

/// The common prefix of all names, up to a dot, without which most names exist in the network, and the number of these;
/// `None` if a name exists in the network with its prefix, or none without.
fn common_prefix(tensors: &Shapes, own: &IndexMap<String, Tensor>) -> Option<(String, usize)> {
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

/// The first items of a list, and the number of the remaining ones.
fn some_of(items: &[impl AsRef<str>]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<&str> = items.iter().take(SHOWN).map(AsRef::as_ref).collect();
    match items.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
