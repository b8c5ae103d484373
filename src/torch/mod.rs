//! What every user of libtorch shares: devices, and the guards around foreign code.

pub mod convert;
mod device;
mod guard;

pub use device::Device;
pub use guard::guard;
