//! `torch.device`: CPU or CUDA devices.

use crate::component::Member::{self, Attribute};
use crate::component::{FromValue, Object, Value};
use crate::error::{Error, Kind, Result};
use crate::{err, members};
use std::fmt;

/// Device on which tensors are allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Device {
    /// Host memory.
    Cpu,
    /// A GPU, by its index.
    Cuda(usize),
}

impl Device {
    /// Parse `cpu`, `cuda` or `cuda:1`, as `torch.device`.
    pub fn parse(text: &str) -> Result<Device> {
        match text.split_once(':') {
            None if text == "cpu" => Ok(Device::Cpu),
            None if text == "cuda" => Ok(Device::Cuda(0)),
            Some(("cpu", "0")) => Ok(Device::Cpu),
            Some(("cuda", index)) if index.parse::<usize>().is_ok_and(|index| index < 1024) => {
                Ok(Device::Cuda(index.parse().unwrap_or(0)))
            }
            _ => Err(err!("unknown device '{text}': expected cpu, cuda or cuda:N").kind(Kind::Config).of_value()),
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

static MEMBERS: &[Member<Device>] = &[
    Attribute("type", |device| Ok(if *device == Device::Cpu { "cpu" } else { "cuda" }.into())),
    Attribute("index", |device| {
        Ok(if let Device::Cuda(index) = device { Value::Int(*index as i64) } else { Value::None })
    }),
];

impl Object for Device {
    fn type_name(&self) -> &str {
        "torch.device"
    }
    fn repr(&self) -> String {
        match self {
            Device::Cpu => "device(type='cpu')".into(),
            Device::Cuda(index) => format!("device(type='cuda', index={index})"),
        }
    }
    fn to_str(&self) -> String {
        self.to_string()
    }
    members!(MEMBERS);
    fn equals(&self, other: &Value) -> bool {
        other.downcast::<Device>().is_some_and(|other| *other == *self)
    }
}

impl FromValue for Device {
    fn expected() -> String {
        "torch.device or str".into()
    }
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Str(text) => Device::parse(text).ok(),
            value => value.downcast::<Device>().map(|device| *device),
        }
    }
    fn refusal(value: &Value) -> Option<Error> {
        Device::parse(value.as_str()?).err()
    }
}
