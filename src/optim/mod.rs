//! Optimizers and learning-rate schedules. One file per optimizer; `schedule` contains the shared code of the
//! schedules.

mod adam;
mod grad_scaler;
mod parameters;
mod schedule;
mod schedules;
mod sgd;
mod warmup_cosine;

pub use grad_scaler::GradScaler;

use crate::component::Component;

/// Optimizers and learning-rate schedules that a config can name.
pub static COMPONENTS: &[&Component] = &[
    &adam::ADAM,
    &adam::ADAMW,
    &sgd::COMPONENT,
    &schedules::STEP,
    &schedules::MULTI_STEP,
    &schedules::EXPONENTIAL,
    &schedules::COSINE,
    &schedules::LINEAR,
    &schedules::POLYNOMIAL,
    &schedules::LAMBDA,
    &warmup_cosine::COMPONENT,
];
