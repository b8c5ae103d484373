//! From an image to a prediction with a network: sliding windows, or the whole image at once.

mod simple;
mod sliding_window;
mod stitch;
mod windows;

pub use simple::SimpleInferer;

use crate::component::Component;

pub static COMPONENTS: &[&Component] = &[&simple::COMPONENT, &sliding_window::COMPONENT];
