//! Engines and their handlers.
//!
//! `evaluator` is the component; the run itself goes `cases` (names, inputs, outputs) → `pipeline` (threads, over the
//! `write_behind`), which plans each case from its headers (`case_plan`) and reads it as planned → `resume` (what a result was made
//! from) and `record` (`run.json`). `explain` shows the plans without carrying them out.

mod amp;
mod case_plan;
mod cases;
mod evaluator;
mod explain;
pub mod handlers;
mod pipeline;
mod record;
mod resume;
mod trainer;
mod training_state;
mod workflow;
mod write_behind;

pub use explain::bytes_text;

use crate::component::Component;

pub static COMPONENTS: &[&Component] = &[
    &evaluator::COMPONENT,
    &trainer::COMPONENT,
    &handlers::checkpoint_loader::COMPONENT,
    &handlers::checkpoint_saver::COMPONENT,
    &handlers::early_stop::COMPONENT,
    &handlers::lr_schedule::COMPONENT,
    &handlers::stats::COMPONENT,
    &handlers::tensorboard_stats::COMPONENT,
    &handlers::validation::COMPONENT,
];
