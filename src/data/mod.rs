//! Datasets and loaders.

mod dataloader;
mod dataset;
mod subset;

pub use dataset::Transforms;

pub mod random;

use crate::component::Component;

pub static COMPONENTS: &[&Component] = &[&dataset::COMPONENT, &dataloader::COMPONENT, &subset::COMPONENT];
