//! Tensors as config values: small arrays that expressions can compute with (always a copy), or opaque handles.

use crate::component::Member::{self, Attribute, Method};
use crate::component::{BuildContext, Object, Value};
use crate::error::Result;
use crate::formats::digest;
use crate::python::array::{Array, DTypeObject, Flavor, Type, charge};
use crate::torch::Device;
use crate::torch::convert::to_u8;
use crate::{err, members};
use parking_lot::Mutex;
use tch::{Kind, Tensor};

/// Converts a dtype to tch's `Kind`; `None` for unsigned types that tch lacks.
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

/// Copies a tensor of any device to a torch array of the same shape.
///
/// # Errors
/// The tensor has a complex or quantized dtype.
pub fn array_from_tensor(tensor: &Tensor, call: &mut BuildContext) -> Result<Array> {
    let kind = tensor.kind();
    let ty = type_of(kind).ok_or_else(|| err!("expected a real dtype for use in an expression, found {kind:?}"))?;
    charge(call, tensor.numel())?;
    let shape: Vec<usize> = tensor.size().into_iter().map(|n| n as usize).collect();
    let flat = tensor.f_to_device(tch::Device::Cpu)?.f_to_kind(Kind::Double)?.f_contiguous()?.f_view([-1])?;
    Array::from_values(&shape, Vec::<f64>::try_from(&flat)?, ty, Flavor::Torch)
}

/// Copies an array to a CPU tensor; unsigned types that torch lacks become the next larger signed type.
pub fn tensor_of(array: &Array) -> Result<Tensor> {
    let kind = kind_of(array.ty).unwrap_or(if array.ty == Type::U16 { Kind::Int } else { Kind::Int64 });
    let shape: Vec<i64> = array.shape().iter().map(|n| *n as i64).collect();
    Ok(Tensor::f_from_slice(&array.values())?.f_to_kind(kind)?.f_view(shape.as_slice())?)
}

/// Converts a value to a tensor: a copy of an array, or a shallow clone of a handle's tensor; `None` for other values.
pub fn tensor_from_value(value: &Value) -> Option<Tensor> {
    match value.downcast::<Array>() {
        Some(array) => tensor_of(&array).ok(),
        None => Some(value.downcast::<TensorHandle>()?.0.lock().shallow_clone()),
    }
}

/// The values of a tensor of any device in C order.
pub fn tensor_bytes(tensor: &Tensor) -> Result<Vec<u8>> {
    let flat = tensor.f_detach()?.f_to_device(tch::Device::Cpu)?.f_contiguous()?.f_view([-1])?;
    to_u8(&flat.f_view_dtype(Kind::Uint8)?)
}

/// A handle to a tensor that is too large for an [`Array`]: expressions can pass it on and read its attributes, but not
/// compute with it.
pub struct TensorHandle(pub Mutex<Tensor>);

static MEMBERS: &[Member<TensorHandle>] = &[
    Attribute("shape", |tensor| Ok(tensor.shape())),
    Attribute("ndim", |tensor| Ok(Value::Int(tensor.0.lock().dim() as i64))),
    Attribute("dtype", |tensor| {
        let kind = tensor.0.lock().kind();
        let ty = type_of(kind).ok_or_else(|| err!("the dtype {kind:?} is not supported in expressions"))?;
        Ok(DTypeObject::of(ty, Flavor::Torch))
    }),
    Attribute("device", |_| Ok(Value::object(Device::Cpu))),
    Method("size", |tensor, args, _| args.expect("size", []).map(|[]| tensor.shape())),
    Method("dim", |tensor, args, _| args.expect("dim", []).map(|[]| Value::Int(tensor.0.lock().dim() as i64))),
    Method("numel", |tensor, args, _| args.expect("numel", []).map(|[]| Value::Int(tensor.0.lock().numel() as i64))),
    // No effect: the network that receives the tensor converts device and dtype.
    Method("to", |tensor, _, _| Ok(tensor.shared())),
    Method("cpu", |tensor, _, _| Ok(tensor.shared())),
    Method("detach", |tensor, _, _| Ok(tensor.shared())),
];

impl TensorHandle {
    /// The shape as Python's tuple.
    fn shape(&self) -> Value {
        Value::tuple(self.0.lock().size().into_iter().map(Value::Int))
    }
    /// A handle to the same tensor.
    fn shared(&self) -> Value {
        Value::object(TensorHandle(Mutex::new(self.0.lock().shallow_clone())))
    }
}

impl Object for TensorHandle {
    fn type_name(&self) -> &str {
        "Tensor"
    }
    fn fingerprint(&self) -> Option<String> {
        let tensor = self.0.lock();
        let sha256 = tensor_bytes(&tensor).map(|bytes| digest::of_bytes(&bytes).sha256).ok()?;
        Some(format!("Tensor {:?} {:?} {sha256}", tensor.kind(), tensor.size()))
    }
    fn repr(&self) -> String {
        format!("<Tensor of shape {:?}>", self.0.lock().size())
    }
    members!(MEMBERS);
    fn length(&self) -> Option<usize> {
        self.0.lock().size().first().map(|n| *n as usize)
    }
}
