//! What an engine's events reach.

pub mod checkpoint_files;
pub mod checkpoint_loader;
pub mod checkpoint_saver;
pub mod early_stop;
pub mod lr_schedule;
mod parts;
pub mod stats;
pub mod tensorboard_stats;
pub mod validation;
mod when;

use crate::contracts::EngineState;

/// The name of an engine's own logger, as ignite gives it.
fn logger(engine: &EngineState) -> String {
    format!("ignite.engine.engine.{}", engine.engine)
}
