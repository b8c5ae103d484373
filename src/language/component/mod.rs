//! How a config reaches Rust: values, objects, arguments, and the table of everything that can be named.
//!
//! - [`Value`] is what a config holds and an expression computes, with Python's types and equality.
//! - [`Object`] is anything else that a config can hold: a network, a transform, a `torch.device`.
//! - [`args!`](crate::args) declares a component's arguments once: struct, documentation and parser.
//! - [`Component`] is a `_target_`; [`Function`] is what an expression may call; [`Table`] holds both by name, and
//!   nothing outside it can be reached from a config.

mod args;
mod convert;
mod discard;
mod number_text;
mod object;
mod table;
mod value;

pub use args::{Args, Declared, Param, check_names, convert};
pub use convert::{Accepted, FromArc, FromShared, FromValue, Keys, NotSupported, OneOrMany};
pub use discard::discard;
pub use number_text::as_number;
pub use object::{BuildContext, ConfigSource, Object};
pub use table::{Component, Constant, Effect, Entry, Function, Table};
pub use value::{Dict, Key, List, MAX_KEY_PARTS, MAX_NESTING, Tuple, Value};
