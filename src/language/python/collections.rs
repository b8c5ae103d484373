//! `collections.OrderedDict`, as a dict: all dicts keep the order of insertion.

use super::builtins::dict;
use super::common::pure;
use crate::component::Function;

pub const FUNCTIONS: &[Function] = &[pure("collections.OrderedDict", dict)];
