//! torch's random tensors, drawn from libtorch's CPU generator: after `torch.manual_seed` or MONAI's `set_determinism`
//! the numbers equal those in Python. Expressions compute in host memory, so that there is no CUDA generator.

use crate::component::{Args, BuildContext, Function, Value};
use crate::err;
use crate::error::{Kind, Result};
use crate::python::array::{Flavor, elements};
use crate::python::common::reads;
use crate::python::given::Given;
use crate::torch::{array_from_tensor, kind_of};
use tch::{Device, Tensor};

pub const FUNCTIONS: &[Function] = &[
    reads("torch.rand", |args, call| draw("torch.rand", args, call, Tensor::f_rand)),
    reads("torch.randn", |args, call| draw("torch.randn", args, call, Tensor::f_randn)),
];

type Draw = fn([i64; 1], (tch::Kind, Device)) -> std::result::Result<Tensor, tch::TchError>;

/// `rand(2, 3)`, `rand([2, 3])`, `rand(size=(2, 3))`
fn draw(name: &str, args: Args, call: &mut BuildContext, draw: Draw) -> Result<Value> {
    const PARAMS: &[&str] = &["*size", "dtype", "generator", "_device", "_requires_grad", "_pin_memory", "_layout"];
    let given = Given::bind(name, PARAMS, args)?;
    if given.value(2).is_some() {
        return Err(err!("{name}: argument `generator` is not supported, the default generator is always used")
            .kind(Kind::Unsupported));
    }
    let ty = given.get(1)?.unwrap_or(Flavor::Torch.float());
    let kind = kind_of(ty).filter(|_| ty.is_float());
    let kind = kind.ok_or_else(|| err!("{name}: expected a float type, found {}", ty.name()).kind(Kind::Config))?;
    let shape: Vec<i64> = given.sizes(0)?.into_iter().map(|n| n as i64).collect();
    let count = elements(&given.sizes(0)?)?;
    // Both the tensor and the array copied from it are in memory.
    call.charge(count / 8 + 1)?;
    let tensor = draw([count as i64], (kind, Device::Cpu))?.f_view(shape.as_slice())?;
    Ok(Value::object(array_from_tensor(&tensor, call)?))
}
