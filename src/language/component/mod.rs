//! Values, objects and arguments of configs, and the table of names that configs can use.
//!
//! - [`Value`] is a value of a config or an expression, with Python's types and equality.
//! - [`Object`] is the trait of all other objects in a config: networks, transforms, `torch.device`.
//! - [`members!`](crate::members) implements the attributes and methods of an object type by a table.
//! - [`args!`](crate::args) declares a component's arguments: struct, documentation and parser.
//! - [`Component`] is a `_target_`, [`Function`] a function that expressions can call; [`Table`] contains both by name.
//!   A config cannot use anything that is not in the table.

mod args;
mod convert;
mod discard;
pub mod members;
mod number_text;
mod object;
mod table;
mod value;

pub use args::{Args, Declared, Param, convert};
pub(crate) use args::{check_names, missing_argument};
pub use convert::{Accepted, FromArc, FromShared, FromValue, Keys, NotSupported, OneOrMany};
pub use discard::discard;
pub use members::Member;
pub(crate) use number_text::as_number;
pub use object::{BuildContext, ConfigSource, Object};
pub use table::{Component, Constant, Effect, Entry, Function, Table};
pub use value::{Dict, Key, List, Tuple, Value};
pub(crate) use value::{MAX_KEY_PARTS, found};
