//! Datasets and loaders.

mod dataloader;
mod dataset;

pub use dataset::Transforms;

pub use crate::random;

use crate::component::Component;

pub static COMPONENTS: &[&Component] = &[&dataset::COMPONENT, &dataloader::COMPONENT];
