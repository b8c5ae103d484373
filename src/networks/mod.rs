//! Networks, and their blocks, layers and parameters.

pub mod blocks;
mod distributed;
pub mod layers;
pub mod params;
mod segresnet;
mod torchscript;
mod unet;

pub use segresnet::{SegResNet, SegResNetArgs};
pub use torchscript::{FUNCTIONS, TorchScript};
pub use unet::{UNet, UNetArgs};

use crate::component::Component;

/// Networks that a config can name.
pub static COMPONENTS: &[&Component] = &[&distributed::COMPONENT, &segresnet::COMPONENT, &unet::COMPONENT];
