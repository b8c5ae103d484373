//! Layers that configs select by name or `(name, {arguments})`: activations, normalizations and dropout.
//!
//! MONAI source: `monai.networks.layers.factories` and `monai.networks.layers.utils` (1.6.1), which pass the arguments
//! to `torch.nn`. Names are case-insensitive; `""` is the identity. Only arguments that change values have an effect;
//! `inplace` overwrites the input, as in torch.

mod act;
mod dropout;
mod norm;

pub use act::Act;
pub use dropout::Dropout;
pub use norm::{Norm, Running};

use crate::component::{Args, Key, Value};
use crate::err;
use crate::error::{Kind, Result};

/// Splits `"name"` or `("name", {…})` into the upper-case name and the arguments.
fn split(what: &str, value: &Value) -> Result<(String, Args)> {
    let wrong = || err!("{what}: expected a name or (name, {{arguments}}), found {value:?}").kind(Kind::Config);
    if let Some(name) = value.as_str() {
        return Ok((name.to_uppercase(), Args::default()));
    }
    let parts = value.as_sequence().ok_or_else(wrong)?;
    let [name, Value::Dict(dict)] = &parts[..] else { return Err(wrong()) };
    let name = name.as_str().ok_or_else(wrong)?.to_uppercase();
    let named = dict.items().into_iter().map(|(key, value)| match key {
        Key::Str(key) => Ok((key, value)),
        _ => Err(wrong()),
    });
    Ok((name, Args::named(named.collect::<Result<Vec<_>>>()?)))
}

fn unsupported(what: &str, name: &str, known: &str) -> crate::error::Error {
    err!("{what} `{name}` is not supported").hint(format!("supported are {known}")).kind(Kind::Unsupported)
}
