//! `monai.utils.first`, and MONAI's notion of a sequence (monai.utils.misc, MONAI 1.6.1).

use super::common::{items, iterate, pure};
use crate::args;
use crate::component::{Args, BuildContext, Declared, Function, Value};
use crate::error::Result;

pub(super) const FUNCTIONS: &[Function] = &[pure("monai.utils.first", first), pure("monai.utils.misc.first", first)];

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

/// Items of an iterable that MONAI treats as a sequence (`issequenceiterable`): all except strings and iterators.
pub fn sequence(value: &Value) -> Result<Option<Vec<Value>>> {
    match value {
        Value::Str(_) => Ok(None),
        Value::Object(object) if object.length().is_none() => Ok(None),
        value => items(value).transpose(),
    }
}
