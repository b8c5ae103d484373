//! When a handler acts: always, never, every so often, or as a config's function says (ignite's event filters).

use crate::component::{Args, BuildContext, FromValue, Value};
use crate::contracts::EngineState;
use crate::error::Result;

pub enum When {
    Never,
    Every(usize),
    Asked(Value),
}

impl FromValue for When {
    fn expected() -> String {
        "bool, int or function of engine and event number".into()
    }
    fn from_value(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Bool(false) | Value::Int(0) => When::Never,
            Value::Bool(true) => When::Every(1),
            Value::Int(every) => When::Every(usize::try_from(*every).ok()?),
            value if value.callable() => When::Asked(value.clone()),
            _ => return None,
        })
    }
}

impl When {
    pub fn ever(&self) -> bool {
        !matches!(self, When::Never)
    }
    /// Whether it is time at iteration or epoch `number`, from 1.
    pub fn now(&self, engine: &EngineState, number: usize) -> Result<bool> {
        Ok(match self {
            When::Never => false,
            When::Every(every) => number.is_multiple_of(*every),
            When::Asked(ask) => ask
                .call(Args::positional([engine.as_engine(), Value::Int(number as i64)]), &mut BuildContext::default())?
                .truthy(),
        })
    }
}
