//! All integration tests in one binary; one module per topic.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bad_input;
mod bundle;
mod bundle_messages;
mod cache_dataset;
mod checkpoint_saver;
mod cli;
mod commands;
mod common;
mod config_values;
mod declarations;
mod demo;
mod explain;
mod gradients;
mod handlers;
mod inverse;
mod layers;
mod logging_file;
mod losses;
mod merge_labels;
mod metrics;
mod metrics_saver;
mod mutations;
mod native;
mod network;
mod network_files;
mod npz;
mod optimizers;
mod outputs;
mod phantom;
mod plans;
mod published_expressions;
mod random_transforms;
mod report;
mod resume;
mod run_objects;
mod sliding_window;
mod surface_metrics;
mod tensorboard_stats;
mod training;
mod transform_parameters;
mod transforms;
mod unet;
mod verify;
mod view;
