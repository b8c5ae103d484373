//! The config language.
pub mod expr;
