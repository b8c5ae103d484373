//! Facades of the Python names that a config may call.

mod device;

use crate::component::Table;

/// Add all functions and constants.
pub fn register(_table: &mut Table) {}
