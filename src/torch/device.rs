//! Conversion of [`Device`] to libtorch's device type.

use crate::err;
use crate::error::{Kind, Result};
pub use crate::python::device::Device;

/// libtorch operations of a [`Device`].
pub trait DeviceExt: Sized {
    /// Returns the device if it exists on this machine.
    ///
    /// # Errors
    /// CUDA is not available, or the index is beyond the number of GPUs.
    fn check(self) -> Result<Device>;
    /// Returns the device as `tch` represents it.
    fn tch(self) -> tch::Device;
}

impl DeviceExt for Device {
    fn check(self) -> Result<Device> {
        match self {
            Device::Cpu => Ok(self),
            Device::Cuda(_) if !tch::Cuda::is_available() => {
                Err(err!("the config selects {self}, but CUDA is not available")
                    .hint("run with `--device cpu`, or set up the CUDA build with `make setup CUDA=1`")
                    .kind(Kind::Config))
            }
            Device::Cuda(index) if index as i64 >= tch::Cuda::device_count() => Err(err!(
                "the config selects {self}, but this machine has {} GPUs, numbered from cuda:0",
                tch::Cuda::device_count()
            )
            .hint("run with `--device cuda:0` or `--device cpu`")
            .kind(Kind::Config)),
            Device::Cuda(_) => Ok(self),
        }
    }
    fn tch(self) -> tch::Device {
        match self {
            Device::Cpu => tch::Device::Cpu,
            Device::Cuda(index) => tch::Device::Cuda(index),
        }
    }
}
