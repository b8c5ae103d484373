//! Python's built-in functions and types, which expressions call by their bare names.

mod convert;
mod inspect;
mod sequence;

pub(super) use convert::dict;

use super::common::{acts, pure};
use crate::component::Function;

/// Built-in functions and types.
pub static FUNCTIONS: &[Function] = &[
    pure("abs", convert::abs),
    pure("all", sequence::all),
    pure("any", sequence::any),
    pure("bool", convert::bool),
    pure("callable", inspect::callable),
    pure("dict", convert::dict),
    pure("enumerate", sequence::enumerate),
    pure("filter", sequence::filter),
    pure("float", convert::float),
    pure("getattr", inspect::getattr),
    pure("hasattr", inspect::hasattr),
    pure("int", convert::int),
    pure("isinstance", inspect::isinstance),
    pure("iter", sequence::iter),
    pure("len", sequence::len),
    pure("list", convert::list),
    pure("map", sequence::map),
    pure("max", |args, call| sequence::extreme(args, "max", call)),
    pure("min", |args, call| sequence::extreme(args, "min", call)),
    pure("next", sequence::next),
    acts("print", inspect::print),
    pure("range", sequence::range),
    pure("repr", convert::repr),
    pure("reversed", sequence::reversed),
    pure("round", convert::round),
    pure("set", convert::set),
    acts("setattr", inspect::setattr),
    pure("sorted", sequence::sorted),
    pure("str", convert::str),
    pure("sum", sequence::sum),
    pure("tuple", convert::tuple),
    pure("type", inspect::type_of),
    pure("zip", sequence::zip),
];
