//! Foundations that all crates of the workspace share: the error type ([`error`]), machine and process environment
//! ([`env`](mod@env)), NumPy's random generator ([`random`]) and the reader of text files ([`text`]).

pub mod env;
pub mod error;
pub mod random;
pub mod text;
