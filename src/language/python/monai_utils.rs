//! `monai.utils`: small helpers (MONAI 1.6.1 monai.utils.misc, monai.utils.module).

use super::array::Array;
use super::common::{PathText, charge_text, items, iterate, one, pure, reads, to};
use crate::component::{Declared, Function, Value};
use crate::error::{Kind, Result};
use crate::{args, err};

pub const FUNCTIONS: &[Function] = &[
    pure("monai.utils.first", first),
    pure("monai.utils.misc.first", first),
    pure("monai.utils.ensure_tuple", |args, call| {
        let args = EnsureTuple::parse("monai.utils.ensure_tuple", args)?;
        if args.wrap_array && args.vals.downcast::<Array>().is_some() {
            return Ok(Value::tuple([args.vals]));
        }
        let parts = sequence(&args.vals)?;
        call.charge(parts.as_ref().map_or(1, Vec::len))?;
        Ok(Value::tuple(parts.unwrap_or_else(|| vec![args.vals])))
    }),
    pure("monai.utils.ensure_tuple_rep", |args, call| {
        let [value, dim] = args.expect("monai.utils.ensure_tuple_rep", ["tup", "dim"])?;
        let dim: usize = to("monai.utils.ensure_tuple_rep: argument `dim`", &dim)?;
        call.charge(dim)?;
        let Some(parts) = sequence(&value)? else { return Ok(Value::tuple(vec![value; dim])) };
        if parts.len() == dim {
            return Ok(Value::tuple(parts));
        }
        Err(err!("monai.utils.ensure_tuple_rep: expected one value or {dim}, found {}", parts.len()).kind(Kind::Config))
    }),
    reads("monai.utils.path_to_uri", |args, call| uri("monai.utils.path_to_uri", "file://", "", args, call)),
    reads("monai.utils.path_to_sqlite_uri", |args, call| {
        uri("monai.utils.path_to_sqlite_uri", "sqlite:///", ":", args, call)
    }),
];

args! {
    struct First {
        iterable: Value,
        default: Value = (),
    }
}
args! {
    struct EnsureTuple {
        vals: Value,
        wrap_array: bool = false,
    }
}
/// An absolute path as a URI; what stands neither in `kept` nor among letters, digits and `_.-~/` is percent-encoded.
fn uri(
    name: &str,
    scheme: &str,
    kept: &str,
    args: crate::component::Args,
    call: &mut crate::component::BuildContext,
) -> Result<Value> {
    let path: PathText = one(name, "path", args)?;
    charge_text(call, path.0.len())?;
    let full = std::path::absolute(&path.0).map_err(|e| err!("{name}: {e}").file(&path.0))?;
    let mut out = scheme.to_owned();
    for byte in full.to_string_lossy().bytes() {
        match byte {
            b'_' | b'.' | b'-' | b'~' | b'/' => out.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() || kept.as_bytes().contains(&byte) => out.push(char::from(byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    Ok(out.into())
}

fn first(args: crate::component::Args, call: &mut crate::component::BuildContext) -> Result<Value> {
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
