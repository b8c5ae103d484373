//! What every other crate of the workspace uses: the error type ([`error`]), the process environment ([`env`]), NumPy's
//! random generator ([`random`]) and the reader of text files ([`text`]).

pub mod env;
pub mod error;
pub mod random;
pub mod text;
