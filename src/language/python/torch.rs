//! `torch`: types, devices, settings, and functions of small tensors ([`super::array`]).
//!
//! Tensors in expressions are on the CPU and have no gradients. Functions that need libtorch are in the root crate's
//! `facades`.

use super::array::{Array, Flavor, Type, function};
use super::common::{acts, none, one, pure, to, wrong};
use super::device::Device;
use super::numpy::{array, choose, filled, full, functions, join, like, range};
use crate::component::{Args, BuildContext, FromValue, Function, Value};
use crate::error::Result;
use Flavor::Torch;

pub const CONSTANTS: super::common::Constants = &[
    ("torch.pi", || std::f64::consts::PI.into()),
    ("torch.inf", || f64::INFINITY.into()),
    ("torch.nan", || f64::NAN.into()),
];

pub const FUNCTIONS: &[Function] = functions!(
    "torch.", Torch,
    [
        "abs" "floor" "ceil" "round" "sign" "square" "relu" "sqrt" "exp" "log" "log2" "log10" "sigmoid" "isnan" "isinf"
        "isfinite" "logical_not" "nan_to_num" "clip" "clamp" "maximum" "minimum" "logical_and" "logical_or" "pow"
        "equal" "sum" "prod" "mean" "std" "var" "max" "min" "amax" "amin" "argmax" "argmin" "all" "any"
        "count_nonzero" "unique" "reshape" "ravel" "flatten" "squeeze" "unsqueeze" "transpose" "permute" "flip" "clone" "numel"
    ],
    [
        "tensor" = array, "as_tensor" = array, "zeros" = filled(0.0), "ones" = filled(1.0), "full" = full,
        "zeros_like" = like(0.0), "ones_like" = like(1.0), "arange" = range, "cat" = join(false), "stack" = join(true),
        "where" = choose,
    ],
    [
        pure("torch.from_numpy", |args, _| {
            let [array] = args.expect("torch.from_numpy", ["ndarray"])?;
            match array.downcast::<Array>() {
                Some(array) if array.flavor == Flavor::Numpy => Ok(Value::object(Array { flavor: Torch, ..(*array).clone() })),
                _ => Err(wrong("torch.from_numpy", "ndarray", &array)),
            }
        }),
        pure("torch.Tensor", |args, call| typed("torch.Tensor", Type::F32, args, call)),
        pure("torch.FloatTensor", |args, call| typed("torch.FloatTensor", Type::F32, args, call)),
        pure("torch.LongTensor", |args, call| typed("torch.LongTensor", Type::I64, args, call)),
        pure("torch.is_tensor", |args, _| {
            let [value] = args.expect("torch.is_tensor", ["obj"])?;
            Ok(value.downcast::<Array>().is_some_and(|array| array.flavor == Torch).into())
        }),
        pure("torch.device", device),
        // No effect: components use the device of their arguments, not a current device.
        acts("torch.cuda.set_device", |args, _| {
            let [device] = args.expect("torch.cuda.set_device", ["device"])?;
            if i64::from_value(&device).is_none() && Device::from_value(&device).is_none() {
                return Err(wrong("torch.cuda.set_device", "torch.device, int or str", &device));
            }
            Ok(Value::None)
        }),
        acts("torch.cuda.empty_cache", |args, _| none("torch.cuda.empty_cache", args).map(|()| Value::None)),
        // No effect: `--threads` sets the number of threads.
        acts("torch.set_num_threads", |args, _| one::<usize>("torch.set_num_threads", "int", args).map(|_| Value::None)),
        acts("torch.set_num_interop_threads", |args, _| one::<usize>("torch.set_num_interop_threads", "int", args).map(|_| Value::None)),
        // No effect: there is one process.
        acts("torch.multiprocessing.set_sharing_strategy", |args, _| {
            one::<String>("torch.multiprocessing.set_sharing_strategy", "new_strategy", args).map(|_| Value::None)
        }),
    ]
);

fn device(args: Args, _: &mut BuildContext) -> Result<Value> {
    let mut args = args;
    if let Some(index) = args.take("index").or_else(|| (args.positional.len() == 2).then(|| args.positional.remove(1)))
    {
        let name: String = one("torch.device", "type", args)?;
        let index: usize = to("torch.device: argument `index`", &index)?;
        return Ok(Value::object(Device::parse(&format!("{name}:{index}")).map_err(|e| e.context("torch.device"))?));
    }
    let [device] = args.expect("torch.device", ["device"])?;
    match &device {
        Value::Str(text) => Ok(Value::object(Device::parse(text).map_err(|e| e.context("torch.device"))?)),
        Value::Int(index @ 0..1024) => Ok(Value::object(Device::Cuda(*index as usize))),
        value => match value.downcast::<Device>() {
            Some(device) => Ok(Value::object(*device)),
            None => Err(wrong("torch.device", "str, int or torch.device", &device)),
        },
    }
}

/// `torch.FloatTensor(list)`; for sizes a tensor of zeros.
fn typed(name: &str, ty: Type, args: Args, call: &mut BuildContext) -> Result<Value> {
    let sizes: Option<Vec<usize>> = args.positional.iter().map(usize::from_value).collect();
    if let Some(sizes) = sizes.filter(|_| args.named.is_empty()) {
        let shape = if sizes.is_empty() { vec![0] } else { sizes };
        return Ok(Value::object(Array::filled(&shape, 0.0, ty, Torch, call)?));
    }
    let [data] = args.expect(name, ["data"])?;
    Ok(Value::object(Array::of(name, &data, Torch, call)?.cast(ty, call)?))
}
