//! What the facades share: how a function is declared, paths as arguments, iteration.

use crate::component::{Args, BuildContext, Effect, FromValue, Function, Value};
use crate::err;
use crate::error::{Error, Kind, Result};
use std::sync::Arc;

/// What a function does when it is called.
pub type Body = fn(Args, &mut BuildContext) -> Result<Value>;

/// Names of values, such as `math.pi`.
pub type Constants = &'static [(&'static str, fn() -> Value)];

/// A function that only computes.
pub const fn pure(path: &'static str, call: Body) -> Function {
    Function { path, effect: Effect::Pure, call }
}
/// A function that looks at files, folders, the clock or the environment.
pub const fn reads(path: &'static str, call: Body) -> Function {
    Function { path, effect: Effect::Reads, call }
}
/// A function that changes files, settings or objects.
pub const fn acts(path: &'static str, call: Body) -> Function {
    Function { path, effect: Effect::Acts, call }
}

/// A path: `str` or `pathlib.Path`, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathText(pub String);

impl FromValue for PathText {
    fn expected() -> String {
        "str or Path".into()
    }
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Str(text) => Some(PathText(text.to_string())),
            Value::Object(object) if object.type_name() == "Path" => Some(PathText(object.to_str())),
            _ => None,
        }
    }
}

/// Something that can be called.
pub struct Callable(pub Value);

impl FromValue for Callable {
    fn expected() -> String {
        "callable".into()
    }
    fn from_value(value: &Value) -> Option<Self> {
        value.callable().then(|| Callable(value.clone()))
    }
}

/// What `for x in value` would see; `None` if it cannot be iterated.
pub fn items(value: &Value) -> Option<Result<Vec<Value>>> {
    Some(Ok(match value {
        Value::List(list) => list.items(),
        Value::Tuple(items) => items.to_vec(),
        Value::Str(text) => text.chars().map(|c| Value::str(c.to_string())).collect(),
        Value::Dict(dict) => dict.items().into_iter().map(|(key, _)| key.to_value()).collect(),
        Value::Set(keys) => keys.iter().map(|key| key.to_value()).collect(),
        Value::Object(object) => return object.iterate(),
        _ => return None,
    }))
}

/// The same for an argument of `name`, charged.
pub fn iterate(name: &str, value: &Value, call: &mut BuildContext) -> Result<Vec<Value>> {
    let items = items(value).ok_or_else(|| wrong(name, "iterable", value))??;
    call.charge(items.len())?;
    Ok(items)
}

/// "NAME: expected WHAT, found ..."
pub fn wrong(name: &str, expected: &str, value: &Value) -> Error {
    err!("{name}: expected {expected}, found {}", found(value)).kind(Kind::Config)
}

/// Type and start of a value, for messages.
pub fn found(value: &Value) -> String {
    match value {
        Value::None => "None".to_owned(),
        Value::Object(object) => object.type_name().to_owned(),
        value => {
            let text = format!("{value:?}");
            let short: String = text.chars().take(80).collect();
            format!("{} {short}{}", value.type_name(), if short.len() < text.len() { "…" } else { "" })
        }
    }
}

/// An argument of `name` as a `T`.
pub fn to<T: FromValue>(name: &str, value: &Value) -> Result<T> {
    T::from_value(value).ok_or_else(|| wrong(name, &T::expected(), value))
}

/// Exactly one positional or named argument.
pub fn one<T: FromValue>(name: &str, argument: &str, args: Args) -> Result<T> {
    let [value] = args.expect(name, [argument])?;
    to(name, &value)
}

/// No arguments.
pub fn none(name: &str, args: Args) -> Result<()> {
    let [] = args.expect(name, [])?;
    Ok(())
}

/// Only positional arguments.
pub fn positional(name: &str, args: Args) -> Result<Vec<Value>> {
    match args.named.first() {
        Some((key, _)) => Err(err!("{name} takes no argument by name, found `{key}`").kind(Kind::Config)),
        None => Ok(args.positional),
    }
}

/// Charge the bytes of a text about to be made or searched.
pub fn charge_text(call: &mut BuildContext, bytes: usize) -> Result<()> {
    call.charge(bytes / 16 + 1)
}

pub fn strings(items: impl IntoIterator<Item = impl Into<Arc<str>>>) -> Value {
    Value::list(items.into_iter().map(|text| Value::Str(text.into())))
}
