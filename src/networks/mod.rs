//! Networks, and the layers and parameters that they are made of.

pub mod layers;
pub mod params;
mod segresnet;

pub use segresnet::{SegResNet, SegResNetArgs};

use crate::component::Component;

pub static COMPONENTS: &[&Component] = &[&segresnet::COMPONENT];
