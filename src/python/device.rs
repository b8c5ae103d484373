//! `torch.device`.

use crate::component::{FromValue, Object, Value};
use crate::error::Result;
use crate::torch::Device;

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
    fn attr(&self, name: &str) -> Result<Option<Value>> {
        Ok(match (name, self) {
            ("type", Device::Cpu) => Some("cpu".into()),
            ("type", Device::Cuda(_)) => Some("cuda".into()),
            ("index", Device::Cpu) => Some(Value::None),
            ("index", Device::Cuda(index)) => Some(Value::Int(*index as i64)),
            _ => None,
        })
    }
    fn attr_names(&self) -> &[&str] {
        &["type", "index"]
    }
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
}
