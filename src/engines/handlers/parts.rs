//! Objects that a checkpoint can hold: networks, optimizers and schedules, each saved as its `state_dict()`.

use crate::checkpoint::StateDict;
use crate::component::{Dict, FromValue, Value};
use crate::contracts::{Network, Optimizer, Schedule, Shared};
use crate::err;
use crate::error::{Error, Kind, Result};
use tch::{Kind as Type, Tensor};

/// An object that a checkpoint can hold.
pub enum Part {
    /// A network: parameters and buffers.
    Network(Shared<dyn Network>),
    /// An optimizer with its learning rates.
    Optimizer(Shared<dyn Optimizer>),
    /// A learning-rate schedule.
    Schedule(Shared<dyn Schedule>),
}

/// The objects of `save_dict` or `load_dict`, by name.
pub fn parts_of(argument: &str, dict: &Dict) -> Result<Vec<(String, Part)>> {
    let wrong = |text: String| err!("argument `{argument}` {text}").kind(Kind::Config);
    let expected = "expected a network, optimizer or learning-rate schedule";
    let part = |value: &Value| {
        let network = Shared::<dyn Network>::from_value(value).map(Part::Network);
        let optimizer = || Shared::<dyn Optimizer>::from_value(value).map(Part::Optimizer);
        network.or_else(optimizer).or_else(|| Shared::<dyn Schedule>::from_value(value).map(Part::Schedule))
    };
    let parts = dict.items().into_iter().map(|(key, value)| match (key.as_str(), part(&value)) {
        (Some(key), Some(part)) => Ok((key.to_owned(), part)),
        _ => Err(wrong(format!("has {} under {:?}, {expected}", value.type_name(), key.to_value()))),
    });
    let parts = parts.collect::<Result<Vec<_>>>()?;
    if parts.is_empty() {
        return Err(wrong(format!("is empty, {expected}: {{'model': network}}")));
    }
    Ok(parts)
}

/// A network's tensors by name; floating-point tensors are converted to f32.
pub fn weights(network: &dyn Network) -> Result<Vec<(String, Tensor)>> {
    let one = |(name, tensor): (&String, &Tensor)| {
        let tensor = tensor.f_detach()?;
        let tensor = if tensor.is_floating_point() { tensor.f_to_kind(Type::Float)? } else { tensor };
        Ok((name.clone(), tensor))
    };
    network.state().tensors.iter().map(one).collect()
}

impl Part {
    /// Returns its `state_dict()`; floating-point weights of a network are converted to f32.
    pub fn state(&self) -> Result<StateDict> {
        match self {
            Part::Network(network) => {
                let weights = weights(&*network.lock())?;
                Ok(StateDict::dict(weights.into_iter().map(|(name, tensor)| (name, StateDict::Tensor(tensor)))))
            }
            Part::Optimizer(optimizer) => optimizer.lock().state(),
            Part::Schedule(schedule) => Ok(schedule.lock().state()),
        }
    }
}

/// Adds a hint to the error of a checkpoint that cannot be written.
pub fn cannot_save(error: Error) -> Error {
    error.hint(
        "free disk space or choose another folder, then resume from the last saved state with `segbundle --resume run …`",
    )
}
