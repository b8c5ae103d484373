//! Attributes of `sys`. Appending to `sys.path` has no effect, since no Python code is imported.

use crate::component::{List, Value};
use std::sync::LazyLock;

/// Value of `sys.path`, shared by all expressions as in Python.
static PATH: LazyLock<List> = LazyLock::new(List::default);

pub const CONSTANTS: super::common::Constants = &[
    ("sys.path", || Value::List(PATH.clone())),
    ("sys.argv", || Value::list([])),
    ("sys.platform", || "linux".into()),
    ("sys.maxsize", || Value::Int(i64::MAX)),
    ("sys.byteorder", || "little".into()),
];
