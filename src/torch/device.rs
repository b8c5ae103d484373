//! Where tensors live: the CPU or a CUDA GPU.

use crate::err;
use crate::error::{Kind, Result};
use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Device {
    Cpu,
    Cuda(usize),
}

impl Device {
    /// `cpu`, `cuda`, `cuda:1`, as `torch.device` reads them.
    pub fn parse(text: &str) -> Result<Device> {
        match text.split_once(':') {
            None if text == "cpu" => Ok(Device::Cpu),
            None if text == "cuda" => Ok(Device::Cuda(0)),
            Some(("cpu", "0")) => Ok(Device::Cpu),
            Some(("cuda", index)) if index.parse::<usize>().is_ok_and(|index| index < 1024) => {
                Ok(Device::Cuda(index.parse().unwrap_or(0)))
            }
            _ => Err(err!("'{text}' is no device; expected cpu, cuda or cuda:N").kind(Kind::Config)),
        }
    }
    /// Whether this machine has it, else an error with the override that helps.
    pub fn check(self) -> Result<Device> {
        match self {
            Device::Cpu => Ok(self),
            Device::Cuda(_) if !tch::Cuda::is_available() => Err(err!(
                "the config asks for {self}, but CUDA is not available here"
            )
            .hint("run with `--device \"$torch.device('cpu')\"`, or set up the CUDA build with `make setup CUDA=1`")
            .kind(Kind::Config)),
            Device::Cuda(index) if index as i64 >= tch::Cuda::device_count() => {
                Err(err!("the config asks for {self}, but there are {} GPUs", tch::Cuda::device_count())
                    .kind(Kind::Config))
            }
            Device::Cuda(_) => Ok(self),
        }
    }
    pub fn tch(self) -> tch::Device {
        match self {
            Device::Cpu => tch::Device::Cpu,
            Device::Cuda(index) => tch::Device::Cuda(index),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu => f.write_str("cpu"),
            Device::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}
