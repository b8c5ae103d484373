//! Engines and their handlers.
//!
//! `evaluator` is the component; the run itself goes `cases` (what there is to do) → `pipeline` (threads, over the
//! `queues`) → `resume` (what a result was made from) and `record` (`run.json`); `explain` says
//! what would run, and `needs` what memory a case takes at least, from headers (`headers`).

mod amp;
mod cases;
mod evaluator;
mod explain;
pub mod handlers;
mod headers;
mod needs;
mod pipeline;
mod queues;
mod record;
mod resume;
mod trainer;
mod training_state;
mod workflow;

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
