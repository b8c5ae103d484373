//! `monai.utils.first`, and MONAI's notion of a sequence (monai.utils.misc, MONAI 1.6.1).

use super::common::pure;
use super::given::Given;
use crate::bundle::expr::values::iter::{Cursor, collect};
use crate::component::{Args, BuildContext, Function, Value};
use crate::error::Result;

pub(super) const FUNCTIONS: &[Function] = &[pure("monai.utils.first", first), pure("monai.utils.misc.first", first)];

fn first(args: Args, call: &mut BuildContext) -> Result<Value> {
    let given = Given::bind("monai.utils.first", &["iterable", "default"], args)?;
    let first = Cursor::new(&given.need(0)?)?.next(call)?;
    Ok(first.or_else(|| given.any(1).cloned()).unwrap_or_default())
}

/// Items of an iterable that MONAI treats as a sequence (`issequenceiterable`): all except strings and iterators.
pub fn sequence(value: &Value) -> Result<Option<Vec<Value>>> {
    match value {
        Value::Str(_) => Ok(None),
        Value::Object(object) if object.length().is_none() => Ok(None),
        Value::List(_) | Value::Tuple(_) | Value::Dict(_) | Value::Set(_) | Value::Object(_) => {
            BuildContext::with_lent(|call| collect(value, call)).map(Some)
        }
        _ => Ok(None),
    }
}
