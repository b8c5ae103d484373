//! Handlers of engine events, one file per `_target_`.

pub mod checkpoint_files;
pub mod checkpoint_loader;
pub mod checkpoint_saver;
pub mod early_stop;
pub mod lr_schedule;
pub mod metrics_saver;
mod parts;
pub mod stats;
pub mod tensorboard_stats;
pub mod validation;
mod when;

use crate::component::{Args, BuildContext, FromValue, Value};
use crate::contracts::{EngineState, logger_name};
use crate::error::Result;

/// Name of an engine's logger in ignite.
fn logger(engine: &EngineState) -> String {
    logger_name(engine.engine)
}

/// Result of an `output_transform`: scalars sorted by name, and the values that are not scalars.
struct Picked {
    numbers: Vec<(String, Value)>,
    /// Name and type of each value that is not a scalar.
    others: Vec<String>,
}

/// Applies `transform` to an iteration's output; without one, uses the first item's values. A single value is named `tag`.
fn picked(transform: &Value, tag: &str, engine: &EngineState) -> Result<Picked> {
    let found = if transform.is_none() {
        engine.output.first().cloned().unwrap_or_default()
    } else {
        let output = Value::list(engine.output.iter().cloned());
        transform
            .call(Args::positional([output]), &mut BuildContext::default())
            .map_err(|error| error.context("output_transform"))?
    };
    let mut named = match found {
        Value::None => vec![],
        Value::Dict(dict) => dict.items().into_iter().map(|(key, value)| (key.to_value().to_string(), value)).collect(),
        value => vec![(tag.to_owned(), value)],
    };
    named.sort_by(|a, b| a.0.cmp(&b.0));
    let (numbers, others): (Vec<_>, Vec<_>) =
        named.into_iter().partition(|(_, value)| f64::from_value(value).is_some());
    Ok(Picked {
        numbers,
        others: others.into_iter().map(|(name, value)| format!("{name} ({})", value.type_name())).collect(),
    })
}
