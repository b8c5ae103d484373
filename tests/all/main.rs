//! All integration tests in one binary; one module per topic.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bundle;
mod bundle_messages;
mod cli;
mod common;
mod dicom;
mod expressions;
mod facades;
mod inverse;
mod layers;
mod native;
mod network;
mod network_files;
mod nifti_edge;
mod npz;
mod other_images;
mod sliding_window;
mod transform_parameters;
mod transforms;
