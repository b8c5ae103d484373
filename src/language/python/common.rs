//! Code shared by the facades: declarations of functions, conversion of arguments.

use super::given::Given;
use super::pathlib::Path;
use crate::component::{Args, BuildContext, Effect, FromValue, Function, Value, found};
use crate::err;
use crate::error::{Error, Kind, Result};

/// Implementation of a function.
pub type Body = fn(Args, &mut BuildContext) -> Result<Value>;

/// Constants such as `math.pi`, by name.
pub type Constants = &'static [(&'static str, fn() -> Value)];

/// Declare a function without side effects.
pub const fn pure(path: &'static str, call: Body) -> Function {
    Function { path, effect: Effect::Pure, call }
}
/// Declare a function that reads files, folders, the clock or the environment.
pub const fn reads(path: &'static str, call: Body) -> Function {
    Function { path, effect: Effect::Reads, call }
}
/// Declare a function that changes files, settings or objects.
pub const fn acts(path: &'static str, call: Body) -> Function {
    Function { path, effect: Effect::Acts, call }
}

/// A path argument (`str` or `pathlib.Path`) as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathText(pub String);

impl FromValue for PathText {
    fn expected() -> String {
        "str or Path".into()
    }
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Str(text) => Some(PathText(text.to_string())),
            value => value.downcast::<Path>().map(|path| PathText(path.0.clone())),
        }
    }
}

/// Error "NAME: expected WHAT, found ...".
pub fn wrong(name: &str, expected: &str, value: &Value) -> Error {
    err!("{name}: expected {expected}, found {}", found(value)).kind(Kind::Config)
}

/// Convert an argument of the function `name` to `T`.
pub fn to<T: FromValue>(name: &str, value: &Value) -> Result<T> {
    T::from_value(value).ok_or_else(|| wrong(name, &T::expected(), value))
}

/// Take exactly one positional or named argument.
pub fn one<T: FromValue>(name: &str, argument: &str, args: Args) -> Result<T> {
    to(name, &Given::bind(name, &[argument], args)?.need::<Value>(0)?)
}

/// Check that there are no arguments.
pub fn none(name: &str, args: Args) -> Result<()> {
    let [] = args.expect(name, [])?;
    Ok(())
}

/// Take positional arguments only.
pub fn positional(name: &str, args: Args) -> Result<Vec<Value>> {
    match args.named.first() {
        Some((key, _)) => Err(err!("{name} takes no argument by name, found `{key}`").kind(Kind::Config)),
        None => Ok(args.positional),
    }
}

/// Charge the steps for creating or searching a text of `bytes` bytes.
pub fn charge_text(call: &mut BuildContext, bytes: usize) -> Result<()> {
    call.charge(bytes / 16 + 1)
}
