//! What every other crate of the workspace uses: the error type ([`error`]), the process
//! environment ([`env`]) and NumPy's random generator ([`random`]).

pub mod env;
pub mod error;
pub mod random;
