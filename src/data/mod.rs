//! Datasets and loaders.

pub mod alignment;
pub mod batches;
mod cache_dataset;
mod dataloader;
mod dataset;
mod objects;
pub mod pass;
mod prefetcher;
mod subset;

pub use dataset::Transforms;

pub use crate::random;

use crate::component::Component;

pub static COMPONENTS: &[&Component] = &[
    &cache_dataset::COMPONENT,
    &dataset::COMPONENT,
    &dataloader::COMPONENT,
    &dataloader::THREADED,
    &subset::COMPONENT,
];
