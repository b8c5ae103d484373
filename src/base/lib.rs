//! What every other crate of the workspace uses: the error type ([`error`]) and the process environment ([`env`]).

pub mod env;
pub mod error;
