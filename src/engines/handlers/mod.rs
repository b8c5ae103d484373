//! What an engine's events reach.

pub mod checkpoint_loader;
pub mod stats;
pub mod validation;
mod when;
