//! The `params` argument of optimizers, and conversion of their state to and from torch's `state_dict()` (torch 2.11).

use crate::checkpoint::StateDict;
use crate::component::{FromValue, Key, Value};
use crate::contracts::{ParamGroup, Parameter};
use crate::error::{Kind, Result};
use crate::{bail, err};
use tch::Tensor;

/// `network.parameters()`, a list of parameters, or a list of dicts `{'params': …, 'lr': …}`.
pub struct Params(Vec<Group>);

struct Group {
    parameters: Vec<Tensor>,
    options: Vec<(String, Value)>,
}

fn parameters(value: &Value) -> Option<Vec<Tensor>> {
    let one = |value: &Value| value.downcast::<Parameter>().map(|parameter| parameter.tensor());
    match one(value) {
        Some(tensor) => Some(vec![tensor]),
        None => Vec::<Value>::from_value(value)?.iter().map(one).collect(),
    }
}

impl FromValue for Params {
    fn expected() -> String {
        "parameters of a network (`$@network.parameters()`), or list of dict with 'params'".into()
    }
    fn from_value(value: &Value) -> Option<Self> {
        if let Some(parameters) = parameters(value) {
            return Some(Params(vec![Group { parameters, options: vec![] }]));
        }
        let group = |value: &Value| {
            let Value::Dict(dict) = value else { return None };
            let options = dict.items().into_iter().filter(|(key, _)| *key != Key::str("params"));
            Some(Group {
                parameters: parameters(&dict.get("params")?)?,
                options: options.map(|(key, value)| Some((key.as_str()?.to_owned(), value))).collect::<Option<_>>()?,
            })
        };
        Some(Params(Vec::<Value>::from_value(value)?.iter().map(group).collect::<Option<_>>()?))
    }
}

impl Params {
    /// Returns the parameter groups and the options of each: `defaults` with the overrides of its dict. `set` assigns
    /// an option by name and returns whether an option of that name and type exists.
    ///
    /// # Errors
    /// `params` or a group is empty, an option is unknown, or a parameter is in two groups.
    pub fn groups<O: Clone>(
        self,
        lr: f64,
        defaults: &O,
        set: impl Fn(&mut O, &str, &Value) -> bool,
    ) -> Result<(Vec<ParamGroup>, Vec<O>)> {
        let fail = |message: String| Err(err!("{message}").kind(Kind::Config));
        let mut seen = std::collections::HashSet::new();
        let (mut groups, mut options) = (vec![], vec![]);
        for Group { parameters, options: given } in self.0 {
            if parameters.is_empty() {
                return fail("`params` has a group without parameters".into());
            }
            if parameters.iter().any(|parameter| parameter.numel() > 0 && !seen.insert(parameter.data_ptr())) {
                return fail("a parameter is in `params` twice".into());
            }
            let mut group = ParamGroup { parameters, lr, initial_lr: None };
            let mut own = defaults.clone();
            for (key, value) in given {
                match (key.as_str(), f64::from_value(&value)) {
                    ("lr", Some(lr)) if lr >= 0.0 => group.lr = lr,
                    ("initial_lr", Some(lr)) => group.initial_lr = Some(lr),
                    _ if set(&mut own, &key, &value) => {}
                    _ => {
                        return fail(format!(
                            "a group of `params` has the option `{key}` = {value:?}, which is unknown or of the wrong type"
                        ));
                    }
                }
            }
            groups.push(group);
            options.push(own);
        }
        if groups.is_empty() {
            return fail("`params` is empty".into());
        }
        Ok((groups, options))
    }
}

/// Builds torch's `{'state': …, 'param_groups': …}` from `entries` (states keyed by parameter index) and the `options`
/// of each group.
pub fn save(
    entries: Vec<(usize, StateDict)>,
    groups: &[ParamGroup],
    options: impl Fn(usize) -> Vec<(&'static str, StateDict)>,
) -> StateDict {
    let mut number = 0;
    let saved = groups.iter().enumerate().map(|(at, group)| {
        let mut items = vec![("lr", StateDict::Float(group.lr))];
        items.extend(options(at));
        items.extend(group.initial_lr.map(|lr| ("initial_lr", StateDict::Float(lr))));
        let numbers = group.parameters.iter().map(|_| {
            number += 1;
            StateDict::Int(number - 1)
        });
        items.push(("params", StateDict::List(numbers.collect())));
        StateDict::dict(items)
    });
    let saved = StateDict::List(saved.collect());
    let entries = entries.into_iter().map(|(number, state)| (StateDict::Int(number as i64), state)).collect();
    StateDict::dict([("state", StateDict::Dict(entries)), ("param_groups", saved)])
}

/// The parsed state dict of an optimizer.
pub struct ParsedState<'a> {
    /// States by parameter index, in the order of `groups`.
    pub entries: Vec<Option<&'a StateDict>>,
    /// Dicts of the parameter groups, as saved in `param_groups`.
    pub groups: Vec<&'a StateDict>,
}

/// Parses a saved state, whose parameter groups must match `groups` in number and size. Learning rates are assigned to
/// `groups` only by [`ParsedState::rates`].
pub fn load<'a>(name: &str, saved: &'a StateDict, groups: &[ParamGroup]) -> Result<ParsedState<'a>> {
    let (Some(StateDict::Dict(state)), Some(StateDict::List(list))) = (saved.get("state"), saved.get("param_groups"))
    else {
        bail!("{name}: expected an optimizer state dict with 'state' and 'param_groups'");
    };
    if list.len() != groups.len() {
        bail!("{name}: the saved state has {} parameter groups, the optimizer has {}", list.len(), groups.len());
    }
    let mut entries = vec![];
    for (at, (group, own)) in list.iter().zip(groups).enumerate() {
        let Some(StateDict::List(numbers)) = group.get("params") else {
            bail!("{name}: parameter group {at} of the saved state has no 'params'")
        };
        if numbers.len() != own.parameters.len() {
            bail!(
                "{name}: parameter group {at} of the saved state has {} parameters, the optimizer's group has {}",
                numbers.len(),
                own.parameters.len()
            );
        }
        for number in numbers {
            let StateDict::Int(number) = number else {
                bail!("{name}: expected integers in 'params' of parameter group {at} of the saved state")
            };
            entries.push(
                state
                    .iter()
                    .find(|(key, _)| matches!(key, StateDict::Int(key) if key == number))
                    .map(|(_, state)| state),
            );
        }
    }
    Ok(ParsedState { entries, groups: list.iter().collect() })
}

impl ParsedState<'_> {
    /// Assigns the saved learning rates to `groups`.
    pub fn rates(&self, name: &str, groups: &mut [ParamGroup]) -> Result<()> {
        let lrs = self.groups.iter().map(|saved| number(name, saved, "lr")).collect::<Result<Vec<_>>>()?;
        for ((group, saved), lr) in groups.iter_mut().zip(&self.groups).zip(lrs) {
            group.lr = lr;
            if saved.get("initial_lr").is_some() {
                group.initial_lr = Some(number(name, saved, "initial_lr")?);
            }
        }
        Ok(())
    }
}

/// Reads a number from a saved dict: an int, float, bool or a tensor of one element.
pub fn number(name: &str, saved: &StateDict, key: &str) -> Result<f64> {
    match saved.get(key) {
        Some(StateDict::Float(x)) => Ok(*x),
        Some(StateDict::Int(i)) => Ok(*i as f64),
        Some(StateDict::Bool(b)) => Ok(f64::from(u8::from(*b))),
        Some(StateDict::Tensor(tensor)) if tensor.numel() == 1 => Ok(tensor.f_double_value(&[])?),
        other => {
            bail!(
                "{name}: the saved state's `{key}` is {}, expected a number",
                if other.is_some() { "of another type" } else { "missing" }
            )
        }
    }
}

/// Reads a bool, or a number as a bool, from a saved dict.
pub fn flag(name: &str, saved: &StateDict, key: &str) -> Result<bool> {
    Ok(number(name, saved, key)? != 0.0)
}

/// Reads a tensor from a saved dict as a copy with the shape, dtype and device of the parameter.
pub fn tensor_like(name: &str, saved: &StateDict, key: &str, parameter: &Tensor) -> Result<Tensor> {
    match saved.get(key) {
        Some(StateDict::Tensor(tensor)) if tensor.size() == parameter.size() => {
            let out = parameter.detach().f_empty_like()?;
            out.shallow_clone().f_copy_(tensor)?;
            Ok(out)
        }
        Some(StateDict::Tensor(tensor)) => {
            bail!(
                "{name}: the saved state's `{key}` has shape {:?}, its parameter {:?}",
                tensor.size(),
                parameter.size()
            )
        }
        _ => bail!("{name}: the saved state has no tensor `{key}`"),
    }
}
