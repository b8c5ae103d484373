//! Tensors among a config's values: as small arrays that expressions compute with (always a copy), or as handles.

use crate::component::{Args, BuildContext, Object, Value};
use crate::err;
use crate::error::Result;
use crate::python::array::{Array, DTypeObject, Flavour, Type, charge};
use crate::torch::Device;
use parking_lot::Mutex;
use tch::{Kind, Tensor};

/// torch's type; `None` for the unsigned ones that tch does not have.
pub fn kind_of(ty: Type) -> Option<tch::Kind> {
    Some(match ty {
        Type::Bool => tch::Kind::Bool,
        Type::U8 => tch::Kind::Uint8,
        Type::I8 => tch::Kind::Int8,
        Type::I16 => tch::Kind::Int16,
        Type::I32 => tch::Kind::Int,
        Type::I64 => tch::Kind::Int64,
        Type::F16 => tch::Kind::Half,
        Type::BF16 => tch::Kind::BFloat16,
        Type::F32 => tch::Kind::Float,
        Type::F64 => tch::Kind::Double,
        Type::U16 | Type::U32 | Type::U64 => return None,
    })
}

/// The inverse of [`kind_of`].
pub fn type_of(kind: Kind) -> Option<Type> {
    Type::ALL.into_iter().find(|ty| kind_of(*ty) == Some(kind))
}

/// The values of a tensor of any device, as a torch array of the same shape. Complex and quantised types are errors.
pub fn array_from_tensor(tensor: &Tensor, call: &mut BuildContext) -> Result<Array> {
    let kind = tensor.kind();
    let ty = type_of(kind).ok_or_else(|| err!("an expression cannot hold {kind:?}"))?;
    charge(call, tensor.numel())?;
    let shape: Vec<usize> = tensor.size().into_iter().map(|n| n as usize).collect();
    let flat = tensor.f_to_device(tch::Device::Cpu)?.f_to_kind(Kind::Double)?.f_contiguous()?.f_view([-1])?;
    Array::from_values(&shape, Vec::<f64>::try_from(&flat)?, ty, Flavour::Torch)
}

/// The values as a tensor on the CPU; unsigned types that torch lacks become the next larger signed one.
pub fn tensor_of(array: &Array) -> Result<Tensor> {
    let kind = kind_of(array.ty).unwrap_or(if array.ty == Type::U16 { Kind::Int } else { Kind::Int64 });
    let shape: Vec<i64> = array.shape().iter().map(|n| *n as i64).collect();
    Ok(Tensor::f_from_slice(&array.values())?.f_to_kind(kind)?.f_view(shape.as_slice())?)
}

/// The tensor that a value is: an array's values or a handle's tensor (a shallow clone); `None` for anything else.
pub fn tensor_from_value(value: &Value) -> Option<Tensor> {
    match value.downcast::<Array>() {
        Some(array) => tensor_of(&array).ok(),
        None => Some(value.downcast::<TensorHandle>()?.0.lock().shallow_clone()),
    }
}

/// A tensor that an expression can hand on and look at, but not compute with: it is too large for an [`Array`].
pub struct TensorHandle(pub Mutex<Tensor>);

impl Object for TensorHandle {
    fn type_name(&self) -> &str {
        "Tensor"
    }
    fn repr(&self) -> String {
        format!("<Tensor of shape {:?}>", self.0.lock().size())
    }
    fn attr_names(&self) -> &[&str] {
        &["shape", "dtype", "device", "ndim", "numel", "size", "dim", "to", "cpu", "detach"]
    }
    fn attr(&self, name: &str) -> Result<Option<Value>> {
        let tensor = self.0.lock();
        Ok(match name {
            "shape" => Some(Value::tuple(tensor.size().into_iter().map(Value::Int))),
            "ndim" => Some(Value::Int(tensor.dim() as i64)),
            "dtype" => type_of(tensor.kind()).map(DTypeObject::torch),
            "device" => Some(Value::object(Device::Cpu)),
            _ => None,
        })
    }
    fn call_method(&self, name: &str, args: &mut Args, _call: &mut BuildContext) -> Result<Option<Value>> {
        Ok(Some(match name {
            "numel" => Value::Int(self.0.lock().numel() as i64),
            "dim" => Value::Int(self.0.lock().dim() as i64),
            "size" if args.positional.is_empty() => return self.attr("shape"),
            // The network that takes it decides about device and type.
            "to" | "cpu" | "detach" => {
                drop(std::mem::take(args));
                Value::object(TensorHandle(Mutex::new(self.0.lock().shallow_clone())))
            }
            _ => return Ok(None),
        }))
    }
    fn length(&self) -> Option<usize> {
        self.0.lock().size().first().map(|n| *n as usize)
    }
}
