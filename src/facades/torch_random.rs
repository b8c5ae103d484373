//! torch's random tensors, drawn by libtorch's own generator: after `torch.manual_seed` or MONAI's `set_determinism` the
//! same numbers as in Python. Only the CPU's generator: what expressions compute lies in host memory.

use crate::component::{Args, BuildContext, FromValue, Function, Value};
use crate::error::{Kind, Result};
use crate::python::array::{Array, Type, dtype_argument, elements, need};
use crate::python::common::{reads, to};
use crate::python::numpy::{drop_ignored, end, next};
use crate::torch::{array_from_tensor, kind_of};
use crate::{bail, err};
use tch::{Device, Tensor};

pub const FUNCTIONS: &[Function] = &[
    reads("torch.rand", |args, call| {
        sized("torch.rand", args, call, |size, options| Ok(Tensor::f_rand(size, options)?))
    }),
    reads("torch.randn", |args, call| {
        sized("torch.randn", args, call, |size, options| Ok(Tensor::f_randn(size, options)?))
    }),
    reads("torch.rand_like", |args, call| {
        like("torch.rand_like", args, call, |size, options| Ok(Tensor::f_rand(size, options)?))
    }),
    reads("torch.randn_like", |args, call| {
        like("torch.randn_like", args, call, |size, options| Ok(Tensor::f_randn(size, options)?))
    }),
    reads("torch.randint", randint),
    reads("torch.randperm", |mut args, call| {
        const NAME: &str = "torch.randperm";
        let ty = options(NAME, &mut args)?.unwrap_or(Type::I64);
        let n: usize = to(NAME, &need(NAME, "n", next(&mut args, "n"))?)?;
        end(NAME, &args)?;
        draw(NAME, &[n], ty, call, |_, _| Ok(Tensor::f_randperm(n as i64, (tch::Kind::Int64, Device::Cpu))?))
    }),
];

/// What draws numbers into a shape.
type Draw = fn(&[i64], (tch::Kind, Device)) -> Result<Tensor>;

/// `dtype`; the rest of the keywords has no effect, but a generator of its own cannot be had.
fn options(name: &str, args: &mut Args) -> Result<Option<Type>> {
    drop_ignored(args);
    if args.take("generator").is_some_and(|value| !value.is_none()) {
        return Err(err!("{name}: there is one generator, `generator` cannot be given").kind(Kind::Unsupported));
    }
    dtype_argument(name, args)
}

fn draw(
    name: &str,
    shape: &[usize],
    ty: Type,
    call: &mut BuildContext,
    draw: impl FnOnce(&[i64], (tch::Kind, Device)) -> Result<Tensor>,
) -> Result<Value> {
    let kind = kind_of(ty).ok_or_else(|| err!("{name}: torch has no tensors of {}", ty.name()).kind(Kind::Config))?;
    // Twice: the tensor and the array made of it.
    call.charge(elements(shape)? / 8 + 1)?;
    let size: Vec<i64> = shape.iter().map(|n| *n as i64).collect();
    Ok(Value::object(array_from_tensor(&draw(&size, (kind, Device::Cpu))?, call)?))
}

/// `rand(2, 3)`, `rand([2, 3])`, `rand(size=(2, 3))`
fn sized(name: &str, mut args: Args, call: &mut BuildContext, make: Draw) -> Result<Value> {
    let ty = options(name, &mut args)?.unwrap_or(Type::F32);
    if !ty.is_float() {
        bail!("{name}: expected a float type, found {}", ty.name());
    }
    let one_by_one =
        args.positional.iter().all(|value| i64::from_value(value).is_some()) && !args.positional.is_empty();
    let size = if one_by_one {
        Value::tuple(std::mem::take(&mut args.positional))
    } else {
        need(name, "size", next(&mut args, "size"))?
    };
    end(name, &args)?;
    let shape: Vec<usize> = to(&format!("{name}: argument `size`"), &size)?;
    draw(name, &shape, ty, call, make)
}

fn like(name: &str, mut args: Args, call: &mut BuildContext, make: Draw) -> Result<Value> {
    let ty = options(name, &mut args)?;
    let model: std::sync::Arc<Array> = to(name, &need(name, "input", next(&mut args, "input"))?)?;
    end(name, &args)?;
    let ty = ty.unwrap_or(model.ty);
    if !ty.is_float() {
        bail!("{name}: expected a float tensor, found {}", ty.name());
    }
    draw(name, model.shape(), ty, call, make)
}

/// `randint([low,] high, size)`
fn randint(mut args: Args, call: &mut BuildContext) -> Result<Value> {
    const NAME: &str = "torch.randint";
    let ty = options(NAME, &mut args)?.unwrap_or(Type::I64);
    let size = args.take("size").or_else(|| args.positional.pop());
    let high = args.take("high").or_else(|| args.positional.pop());
    let low = next(&mut args, "low").unwrap_or(Value::Int(0));
    end(NAME, &args)?;
    let bound = |key: &str, value: &Value| to::<i64>(&format!("{NAME}: argument `{key}`"), value);
    let (low, high) = (bound("low", &low)?, bound("high", &need(NAME, "high", high)?)?);
    if low >= high {
        return Err(err!("{NAME}: `low` must be below `high`, found {low} and {high}").kind(Kind::Config));
    }
    let shape: Vec<usize> = to(&format!("{NAME}: argument `size`"), &need(NAME, "size", size)?)?;
    draw(NAME, &shape, ty, call, |size, options| Ok(Tensor::f_randint_low(low, high, size, options)?))
}
