//! Datasets and loaders.

mod dataloader;
mod dataset;

pub use dataset::Transforms;

use crate::component::Component;

pub static COMPONENTS: &[&Component] = &[&dataset::COMPONENT, &dataloader::COMPONENT];
