//! Shared libtorch code: devices, tensors as config values, conversions, and the panic guard.

pub mod convert;
mod device;
mod guard;
mod tensor;
pub mod trial;

pub use device::{Device, DeviceExt};
pub use guard::{guard, joined};
pub use tensor::{TensorHandle, array_from_tensor, kind_of, tensor_bytes, tensor_from_value, tensor_of, type_of};

use crate::error::Result;
use crate::run::RunOptions;
use segbundle_native as native;

/// Limits libtorch's memory to what the process may take in addition, besides the tensors that exist; an allocation
/// beyond it fails. Returns that addition in bytes.
///
/// # Errors
/// The process takes more than the limit already.
pub fn limit_tensors(options: &RunOptions) -> Result<u64> {
    let room = options.room_bytes()?;
    native::set_limit(usize::try_from(room).ok().map(|room| room.saturating_add(native::memory().live)));
    Ok(room)
}
