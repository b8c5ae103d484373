//! `sys`, as far as configs look at it.
//!
//! `sys.path` can be appended to without effect: there is no Python code to import.

use crate::component::{List, Value};
use std::sync::LazyLock;

/// One list for all, as Python's is.
static PATH: LazyLock<List> = LazyLock::new(List::default);

pub const CONSTANTS: super::common::Constants = &[
    ("sys.path", || Value::List(PATH.clone())),
    ("sys.argv", || Value::list([])),
    ("sys.platform", || "linux".into()),
    ("sys.maxsize", || Value::Int(i64::MAX)),
    ("sys.byteorder", || "little".into()),
];
