//! Shared libtorch code: devices, tensors as config values, conversions, and the panic guard.

pub mod convert;
mod device;
mod guard;
mod tensor;

pub use device::{Device, DeviceExt};
pub use guard::{guard, joined};
pub use tensor::{TensorHandle, array_from_tensor, kind_of, tensor_bytes, tensor_from_value, tensor_of, type_of};
