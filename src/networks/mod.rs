//! Networks, and the blocks, layers and parameters that they are made of.

pub mod blocks;
pub mod layers;
pub mod params;
mod segresnet;
mod torchscript;
mod unet;

pub use segresnet::{SegResNet, SegResNetArgs};
pub use torchscript::{FUNCTIONS, TorchScript};
pub use unet::{UNet, UNetArgs};

use crate::component::Component;

pub static COMPONENTS: &[&Component] = &[&segresnet::COMPONENT, &unet::COMPONENT];
