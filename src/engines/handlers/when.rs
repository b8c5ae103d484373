//! Event filters of handlers: always, never, every N events, or by a function of the config (ignite's event filters).

use crate::component::{Args, BuildContext, FromValue, Value};
use crate::contracts::EngineState;
use crate::error::Result;

/// Selects the iterations or epochs at which a handler acts.
pub enum When {
    /// At none.
    Never,
    /// At every N-th.
    Every(usize),
    /// Where a function of engine and event number returns a true value.
    Function(Value),
}

impl FromValue for When {
    fn expected() -> String {
        "bool, int or function of engine and event number".into()
    }
    fn from_value(value: &Value) -> Option<Self> {
        Some(match value {
            Value::None | Value::Bool(false) | Value::Int(0) => When::Never,
            Value::Bool(true) => When::Every(1),
            Value::Int(every) => When::Every(usize::try_from(*every).ok()?),
            value if value.callable() => When::Function(value.clone()),
            _ => return None,
        })
    }
}

impl When {
    /// Interpretation of StatsHandler: any int other than 0 means always.
    pub fn without_interval(self, argument: &str) -> When {
        match self {
            When::Every(every) if every > 1 => {
                tracing::warn!(
                    "StatsHandler: `{argument}: {every}` logs every time, as in MONAI; \
                     for every {every}th use \"$lambda engine, count: count % {every} == 0\""
                );
                When::Every(1)
            }
            other => other,
        }
    }
    /// Whether the handler can act at all.
    pub fn ever(&self) -> bool {
        !matches!(self, When::Never)
    }
    /// Whether the handler acts at iteration or epoch `number`, counted from 1.
    pub fn now(&self, engine: &EngineState, number: usize) -> Result<bool> {
        Ok(match self {
            When::Never => false,
            When::Every(every) => number.is_multiple_of(*every),
            When::Function(function) => function
                .call(Args::positional([engine.as_engine(), Value::Int(number as i64)]), &mut BuildContext::default())?
                .truthy(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `if self.iteration_log: … if callable(self.iteration_log): …` of MONAI's StatsHandler; TensorBoardStatsHandler
    /// has an interval.
    #[test]
    fn an_int_is_an_interval_only_for_tensorboard() {
        let when = |value: Value| When::from_value(&value).unwrap();
        let at_3 = |when: When| when.now(&EngineState::default(), 3).unwrap();
        assert!(at_3(when(10.into()).without_interval("iteration_log")) && !at_3(when(10.into())));
        for never in [Value::None, 0.into(), false.into()] {
            assert!(!when(never).without_interval("iteration_log").ever());
        }
        assert!(at_3(when(true.into()).without_interval("iteration_log")));
    }
}
