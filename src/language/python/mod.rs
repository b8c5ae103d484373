//! Facades of the Python names that a config may call.
//!
//! One file per Python module. Each declares its names in a static table, with their effects for `verify`; a config
//! cannot use other names. Errors name the function and the argument.

pub mod array;
pub mod builtins;
mod collections;
pub mod common;
mod copy;
pub mod datetime;
pub mod device;
mod enums;
mod fnmatch;
pub(crate) mod functools;
pub mod given;
mod glob;
mod io;
mod json;
pub mod logging;
mod math;
mod monai_data;
mod monai_handlers;
pub mod monai_utils;
mod numpy;
mod os;
mod os_path;
pub(crate) mod pathlib;
mod sys;
mod torch;

use crate::component::Table;

/// Add all functions and constants.
pub fn register(table: &mut Table) {
    for functions in [
        builtins::FUNCTIONS,
        collections::FUNCTIONS,
        copy::FUNCTIONS,
        datetime::FUNCTIONS,
        functools::FUNCTIONS,
        glob::FUNCTIONS,
        io::FUNCTIONS,
        json::FUNCTIONS,
        logging::FUNCTIONS,
        math::FUNCTIONS,
        monai_data::FUNCTIONS,
        monai_handlers::FUNCTIONS,
        monai_utils::FUNCTIONS,
        numpy::FUNCTIONS,
        os::FUNCTIONS,
        os_path::FUNCTIONS,
        pathlib::FUNCTIONS,
        torch::FUNCTIONS,
    ] {
        table.add_functions(functions);
    }
    for constants in [
        array::CONSTANTS,
        logging::CONSTANTS,
        math::CONSTANTS,
        numpy::CONSTANTS,
        os::CONSTANTS,
        sys::CONSTANTS,
        torch::CONSTANTS,
    ] {
        table.add_constants(constants);
    }
    table.add_members(&enums::MEMBERS);
}
