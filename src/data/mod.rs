//! Datasets and data loaders.
//!
//! - [`Transforms`]: the `transform` argument of a dataset.
//! - [`batches`] and [`pass`] iterate over a [`Loader`](crate::contracts::Loader), for training and evaluation.
//! - [`datalist`] reads lists of cases from files.
//! - [`alignment`] compares images and labels before a training.

pub mod alignment;
pub mod batches;
mod cache_dataset;
pub mod datalist;
mod dataloader;
mod dataset;
mod distributed_sampler;
mod objects;
pub mod pass;
mod prefetcher;
mod subset;

pub use dataset::{Transforms, single_case};

pub use crate::random;

use crate::component::Component;

/// Datasets and data loaders that a config can name.
pub static COMPONENTS: &[&Component] = &[
    &cache_dataset::COMPONENT,
    &dataset::COMPONENT,
    &dataloader::COMPONENT,
    &dataloader::THREADED,
    &distributed_sampler::COMPONENT,
    &subset::COMPONENT,
];
