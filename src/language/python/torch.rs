//! `torch`: types, devices, settings, and functions on small tensors ([`super::array`]).
//!
//! These are not libtorch's tensors: what expressions in configs compute is small. Everything that differentiates is left
//! out. What needs libtorch is in the root crate's `facades`.

use super::array::{Array, DTypeObject, Flavour, Type, function};
use super::common::{acts, none, one, pure, to, wrong};
use super::device::Device;
use super::numpy::{diag, eye, filled, finfo, join, like, linspace, meshgrid, methods, new, range};
use crate::component::{Args, BuildContext, FromValue, Function, Value};
use crate::error::Result;
use Flavour::Torch;

pub const CONSTANTS: super::common::Constants = &[
    ("torch.float32", || DTypeObject::torch(Type::F32)),
    ("torch.float", || DTypeObject::torch(Type::F32)),
    ("torch.float64", || DTypeObject::torch(Type::F64)),
    ("torch.double", || DTypeObject::torch(Type::F64)),
    ("torch.float16", || DTypeObject::torch(Type::F16)),
    ("torch.half", || DTypeObject::torch(Type::F16)),
    ("torch.bfloat16", || DTypeObject::torch(Type::BF16)),
    ("torch.uint8", || DTypeObject::torch(Type::U8)),
    ("torch.int8", || DTypeObject::torch(Type::I8)),
    ("torch.int16", || DTypeObject::torch(Type::I16)),
    ("torch.short", || DTypeObject::torch(Type::I16)),
    ("torch.int32", || DTypeObject::torch(Type::I32)),
    ("torch.int", || DTypeObject::torch(Type::I32)),
    ("torch.int64", || DTypeObject::torch(Type::I64)),
    ("torch.long", || DTypeObject::torch(Type::I64)),
    ("torch.bool", || DTypeObject::torch(Type::Bool)),
    ("torch.pi", || std::f64::consts::PI.into()),
    ("torch.inf", || f64::INFINITY.into()),
    ("torch.nan", || f64::NAN.into()),
];

pub const FUNCTIONS: &[Function] = methods!(
    "torch.", Torch,
    [
        "sum" "nansum" "prod" "mean" "nanmean" "std" "var" "min" "max" "amin" "amax" "median" "quantile" "all" "any" "count_nonzero"
        "argmax" "argmin"
        "abs" "absolute" "floor" "ceil" "trunc" "round" "sign" "square" "sqrt" "rsqrt" "exp" "expm1" "log" "log2" "log10" "log1p" "sin"
        "cos" "tan" "asin" "acos" "atan" "sinh" "cosh" "tanh" "sigmoid" "relu" "deg2rad" "rad2deg" "reciprocal" "neg" "isnan" "isinf"
        "isfinite" "logical_not" "nan_to_num" "clamp" "clip"
        "add" "sub" "subtract" "mul" "multiply" "div" "divide" "floor_divide" "remainder" "fmod" "pow" "atan2" "maximum" "minimum"
        "logical_and" "logical_or" "logical_xor" "bitwise_and" "bitwise_or" "eq" "ne" "lt" "le" "gt" "ge" "equal" "isin" "isclose"
        "allclose" "where" "masked_fill" "matmul" "dot" "mm"
        "reshape" "ravel" "flatten" "squeeze" "unsqueeze" "transpose" "permute" "swapaxes" "movedim" "moveaxis" "broadcast_to" "tile"
        "repeat_interleave" "flip" "roll" "clone" "numel" "is_floating_point"
        "sort" "argsort" "cumsum" "cumprod" "unique" "nonzero" "argwhere" "softmax" "log_softmax" "split" "chunk" "unbind"
    ],
    [
        pure("torch.tensor", |args, call| new("torch.tensor", "data", args, Torch, call)),
        pure("torch.as_tensor", |args, call| new("torch.as_tensor", "data", args, Torch, call)),
        pure("torch.from_numpy", |args, _| {
            let [array] = args.expect("torch.from_numpy", ["ndarray"])?;
            match array.downcast::<Array>() {
                Some(array) if array.flavour == Flavour::Numpy => Ok(Value::object(Array { flavour: Torch, ..(*array).clone() })),
                _ => Err(wrong("torch.from_numpy", "ndarray", &array)),
            }
        }),
        pure("torch.Tensor", |args, call| typed("torch.Tensor", Type::F32, args, call)),
        pure("torch.FloatTensor", |args, call| typed("torch.FloatTensor", Type::F32, args, call)),
        pure("torch.DoubleTensor", |args, call| typed("torch.DoubleTensor", Type::F64, args, call)),
        pure("torch.LongTensor", |args, call| typed("torch.LongTensor", Type::I64, args, call)),
        pure("torch.IntTensor", |args, call| typed("torch.IntTensor", Type::I32, args, call)),
        pure("torch.ByteTensor", |args, call| typed("torch.ByteTensor", Type::U8, args, call)),
        pure("torch.BoolTensor", |args, call| typed("torch.BoolTensor", Type::Bool, args, call)),
        pure("torch.zeros", |args, call| filled("torch.zeros", Some(0.0), args, Torch, call)),
        pure("torch.empty", |args, call| filled("torch.empty", Some(0.0), args, Torch, call)),
        pure("torch.ones", |args, call| filled("torch.ones", Some(1.0), args, Torch, call)),
        pure("torch.full", |args, call| filled("torch.full", None, args, Torch, call)),
        pure("torch.zeros_like", |args, call| like("torch.zeros_like", Some(0.0), args, Torch, call)),
        pure("torch.empty_like", |args, call| like("torch.empty_like", Some(0.0), args, Torch, call)),
        pure("torch.ones_like", |args, call| like("torch.ones_like", Some(1.0), args, Torch, call)),
        pure("torch.full_like", |args, call| like("torch.full_like", None, args, Torch, call)),
        pure("torch.arange", |args, call| range("torch.arange", args, Torch, call)),
        pure("torch.linspace", |args, call| linspace("torch.linspace", args, Torch, call)),
        pure("torch.eye", |args, call| eye("torch.eye", args, Torch, call)),
        pure("torch.diag", |args, call| diag("torch.diag", args, Torch, call)),
        pure("torch.cat", |args, call| join("torch.cat", "tensors", false, args, Torch, call)),
        pure("torch.concat", |args, call| join("torch.concat", "tensors", false, args, Torch, call)),
        pure("torch.concatenate", |args, call| join("torch.concatenate", "tensors", false, args, Torch, call)),
        pure("torch.stack", |args, call| join("torch.stack", "tensors", true, args, Torch, call)),
        pure("torch.meshgrid", |args, call| meshgrid("torch.meshgrid", args, Torch, call)),
        pure("torch.nn.functional.softmax", |args, call| function("torch.nn.functional.softmax", args, Torch, call)),
        pure("torch.nn.functional.relu", |args, call| function("torch.nn.functional.relu", args, Torch, call)),
        pure("torch.nn.functional.sigmoid", |args, call| function("torch.nn.functional.sigmoid", args, Torch, call)),
        pure("torch.finfo", |args, _| {
            let [dtype] = args.expect("torch.finfo", ["dtype"])?;
            finfo("torch.finfo", &dtype, Torch)
        }),
        pure("torch.Size", |args, call| {
            let [sizes] = args.expect("torch.Size", ["sizes"])?;
            let sizes = super::common::iterate("torch.Size", &sizes, call)?;
            Ok(Value::tuple(sizes.iter().map(|n| to::<i64>("torch.Size", n).map(Value::Int)).collect::<Result<Vec<_>>>()?))
        }),
        pure("torch.is_tensor", |args, _| {
            let [value] = args.expect("torch.is_tensor", ["obj"])?;
            Ok(value.downcast::<Array>().is_some_and(|array| array.flavour == Torch).into())
        }),
        pure("torch.device", device),
        // Components carry their device with them; there is no current one to set.
        acts("torch.cuda.set_device", |args, _| {
            let [device] = args.expect("torch.cuda.set_device", ["device"])?;
            if i64::from_value(&device).is_none() && Device::from_value(&device).is_none() {
                return Err(wrong("torch.cuda.set_device", "torch.device, int or str", &device));
            }
            Ok(Value::None)
        }),
        acts("torch.cuda.empty_cache", |args, _| none("torch.cuda.empty_cache", args).map(|()| Value::None)),
        // The command line's `--threads` decides.
        acts("torch.set_num_threads", |args, _| one::<usize>("torch.set_num_threads", "int", args).map(|_| Value::None)),
        acts("torch.set_num_interop_threads", |args, _| one::<usize>("torch.set_num_interop_threads", "int", args).map(|_| Value::None)),
        // Processes share nothing here.
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

/// `torch.FloatTensor(list)`, or of sizes: zeros.
fn typed(name: &str, ty: Type, args: Args, call: &mut BuildContext) -> Result<Value> {
    let sizes: Option<Vec<usize>> = args.positional.iter().map(usize::from_value).collect();
    if let Some(sizes) = sizes.filter(|_| args.named.is_empty()) {
        let shape = if sizes.is_empty() { vec![0] } else { sizes };
        return Ok(Value::object(Array::filled(&shape, 0.0, ty, Torch, call)?));
    }
    let [data] = args.expect(name, ["data"])?;
    Ok(Value::object(Array::of(name, &data, Torch, call)?.cast(ty, call)?))
}
