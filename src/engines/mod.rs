//! Engines and their handlers.
//!
//! - `evaluator`: inference and validation. `cases` determines names, inputs and outputs of all cases; `pipeline` runs
//!   them with worker threads and a `write_behind` queue, each according to its `case_plan`; `share` divides them into
//!   parts; `resume` decides which cases can be skipped; `record` writes `run.json`. `explain` shows the plans without
//!   executing them.
//! - `trainer`: the training loop; `training_state` saves and restores it.
//! - `workflow`: state, metrics and handlers, shared by both.

mod amp;
mod case_plan;
mod cases;
mod evaluator;
mod explain;
pub mod handlers;
mod pipeline;
pub mod record;
mod resume;
mod share;
mod trainer;
mod training_state;
mod workflow;
mod write_behind;

use crate::component::Component;

/// Engines and handlers that a config can name.
pub static COMPONENTS: &[&Component] = &[
    &evaluator::COMPONENT,
    &trainer::COMPONENT,
    &handlers::checkpoint_loader::COMPONENT,
    &handlers::checkpoint_saver::COMPONENT,
    &handlers::early_stop::COMPONENT,
    &handlers::lr_schedule::COMPONENT,
    &handlers::metrics_saver::COMPONENT,
    &handlers::stats::COMPONENT,
    &handlers::tensorboard_stats::COMPONENT,
    &handlers::validation::COMPONENT,
];
