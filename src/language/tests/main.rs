//! Tests of the config language and its facades; none needs libtorch.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod expressions;
mod facades;
mod ids;
mod yaml;
