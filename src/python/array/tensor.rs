//! Between small arrays and libtorch's tensors; always a copy.

use super::{Array, Flavour, Type, charge};
use crate::component::BuildContext;
use crate::err;
use crate::error::Result;
use tch::{Kind, Tensor};

impl Array {
    /// The values of a tensor of any device, as a torch array of the same shape. Complex and quantised types are errors.
    pub fn from_tensor(tensor: &Tensor, call: &mut BuildContext) -> Result<Array> {
        let kind = tensor.kind();
        let ty = Type::ALL
            .into_iter()
            .find(|ty| ty.to_tch() == Some(kind))
            .ok_or_else(|| err!("an expression cannot hold {kind:?}"))?;
        charge(call, tensor.numel())?;
        let shape: Vec<usize> = tensor.size().into_iter().map(|n| n as usize).collect();
        let flat = tensor.f_to_device(tch::Device::Cpu)?.f_to_kind(Kind::Double)?.f_contiguous()?.f_view([-1])?;
        Array::from_values(&shape, Vec::<f64>::try_from(&flat)?, ty, Flavour::Torch)
    }
    /// The values as a tensor on the CPU; unsigned types that torch lacks become the next larger signed one.
    pub fn to_tensor(&self) -> Result<Tensor> {
        let kind = self.ty.to_tch().unwrap_or(if self.ty == Type::U16 { Kind::Int } else { Kind::Int64 });
        let shape: Vec<i64> = self.shape().iter().map(|n| *n as i64).collect();
        Ok(Tensor::f_from_slice(&self.values())?.f_to_kind(kind)?.f_view(shape.as_slice())?)
    }
}
