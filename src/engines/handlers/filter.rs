//! At which events a handler acts: MONAI's `iteration_log` and `epoch_log`, a bool, an interval, or a function.

use crate::component::{Args, Call, FromValue, Value};
use crate::contracts::EngineState;
use crate::err;
use crate::error::{Kind, Result};

/// When to act.
pub enum Filter {
    Never,
    /// At every so manieth; 1: always.
    Every(usize),
    /// `filter(engine, count)`.
    Asked(Value),
}

impl Filter {
    /// `name` is the argument, for messages.
    pub fn new(name: &str, value: Value) -> Result<Filter> {
        if value.callable() {
            return Ok(Filter::Asked(value));
        }
        match usize::from_value(&value) {
            Some(0) => Ok(Filter::Never),
            Some(every) => Ok(Filter::Every(every)),
            None => Err(err!("argument `{name}`: expected bool, int of at least 0, or a function of engine and count, found {value:?}")
                .kind(Kind::Config)),
        }
    }
    pub fn is_never(&self) -> bool {
        matches!(self, Filter::Never)
    }
    /// Whether to act at the event that `count` counts.
    pub fn passes(&self, engine: &EngineState, count: usize) -> Result<bool> {
        match self {
            Filter::Never => Ok(false),
            Filter::Every(every) => Ok(count.is_multiple_of(*every)),
            Filter::Asked(function) => {
                let args = Args::positional([engine.as_engine(), Value::Int(count as i64)]);
                Ok(function.call(args, &mut Call::default())?.truthy())
            }
        }
    }
}
