//! Foundations that all crates of the workspace share: the error type ([`error`]), machine and process environment
//! ([`env`](mod@env)), NumPy's random generator ([`random`]) percentiles and the reader of text files ([`text`]).

pub mod env;
pub mod error;
mod percentile;
pub mod random;
pub mod text;

pub use percentile::percentile;
