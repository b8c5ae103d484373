//! `monai.utils`: small helpers (MONAI 1.6.1 monai.utils.misc, monai.utils.module).

use super::common::{items, iterate, pure};
use crate::args;
use crate::component::{Args, BuildContext, Declared, Function, Value};
use crate::error::Result;

pub const FUNCTIONS: &[Function] = &[pure("monai.utils.first", first), pure("monai.utils.misc.first", first)];

args! {
    struct First {
        iterable: Value,
        default: Value = (),
    }
}
fn first(args: Args, call: &mut BuildContext) -> Result<Value> {
    let args = First::parse("monai.utils.first", args)?;
    Ok(iterate("monai.utils.first", &args.iterable, call)?.into_iter().next().unwrap_or(args.default))
}

/// The items of what MONAI takes for a sequence: anything iterable but text, dicts' keys included.
pub fn sequence(value: &Value) -> Result<Option<Vec<Value>>> {
    match value {
        Value::Str(_) => Ok(None),
        Value::Object(object) if object.length().is_none() => Ok(None),
        value => items(value).transpose(),
    }
}
