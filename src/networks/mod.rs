//! Networks, and the layers and parameters that they are made of.

pub mod layers;
pub mod params;
mod segresnet;
mod torchscript;

pub use segresnet::{SegResNet, SegResNetArgs};
pub use torchscript::{FUNCTIONS, TorchScript};

use crate::component::Component;

pub static COMPONENTS: &[&Component] = &[&segresnet::COMPONENT];
