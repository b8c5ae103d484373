//! Engines and their handlers.

mod evaluator;
pub mod handlers;

use crate::component::Component;

pub static COMPONENTS: &[&Component] = &[&evaluator::COMPONENT, &handlers::checkpoint_loader::COMPONENT, &handlers::stats::COMPONENT];
