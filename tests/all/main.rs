//! All integration tests in one binary; one module per topic.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bundle;
mod bundle_messages;
mod cache_dataset;
mod cli;
mod common;
mod expressions;
mod facades;
mod inverse;
mod layers;
mod losses;
mod metrics;
mod native;
mod network;
mod nifti_edge;
mod npz;
mod optimizers;
mod random_transforms;
mod sliding_window;
mod transform_parameters;
mod transforms;
