//! Facades of Python functions that need libtorch; all others are in [`crate::python`].

mod determinism;
mod distributed;
mod torch;
mod torch_load;
mod torch_random;

use crate::component::Table;

pub use determinism::seed;

/// Add all functions and constants.
pub fn register(table: &mut Table) {
    for functions in [
        determinism::FUNCTIONS,
        distributed::FUNCTIONS,
        torch::FUNCTIONS,
        torch_load::FUNCTIONS,
        torch_random::FUNCTIONS,
    ] {
        table.add_functions(functions);
    }
    table.add_constants(torch::CONSTANTS);
}
