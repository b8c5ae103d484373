//! `numpy`: constants, types, and functions on small arrays ([`super::array`]). Random numbers are left out.

use super::array::{
    Array, DTypeObject, Flavour, Type, arange, charge, dtype_argument, from_rows, function, joined, need,
};
use super::common::{iterate, pure, to, wrong};
use crate::component::{Args, BuildContext, FromValue, Function, Object, Value};
use crate::error::{Kind, Result};
use crate::{bail, err};
use Flavour::Numpy;

pub const CONSTANTS: super::common::Constants = &[
    ("numpy.pi", || std::f64::consts::PI.into()),
    ("numpy.e", || std::f64::consts::E.into()),
    ("numpy.inf", || f64::INFINITY.into()),
    ("numpy.nan", || f64::NAN.into()),
    ("numpy.newaxis", || Value::None),
    ("numpy.bool", || DTypeObject::class(Type::Bool)),
    ("numpy.bool_", || DTypeObject::class(Type::Bool)),
    ("numpy.uint8", || DTypeObject::class(Type::U8)),
    ("numpy.ubyte", || DTypeObject::class(Type::U8)),
    ("numpy.int8", || DTypeObject::class(Type::I8)),
    ("numpy.uint16", || DTypeObject::class(Type::U16)),
    ("numpy.int16", || DTypeObject::class(Type::I16)),
    ("numpy.uint32", || DTypeObject::class(Type::U32)),
    ("numpy.int32", || DTypeObject::class(Type::I32)),
    ("numpy.intc", || DTypeObject::class(Type::I32)),
    ("numpy.uint64", || DTypeObject::class(Type::U64)),
    ("numpy.int64", || DTypeObject::class(Type::I64)),
    ("numpy.int_", || DTypeObject::class(Type::I64)),
    ("numpy.float16", || DTypeObject::class(Type::F16)),
    ("numpy.half", || DTypeObject::class(Type::F16)),
    ("numpy.float32", || DTypeObject::class(Type::F32)),
    ("numpy.single", || DTypeObject::class(Type::F32)),
    ("numpy.float64", || DTypeObject::class(Type::F64)),
    ("numpy.double", || DTypeObject::class(Type::F64)),
];

/// Functions that are a method of their first argument.
macro_rules! methods {
    ($module:literal, $flavour:expr, [$($name:literal)*], [$($rest:expr),* $(,)?]) => {
        &[$(pure(concat!($module, $name), |args, call| function(concat!($module, $name), args, $flavour, call)),)* $($rest),*]
    };
}
pub(super) use methods;

pub const FUNCTIONS: &[Function] = methods!(
    "numpy.", Numpy,
    [
        "sum" "nansum" "prod" "mean" "average" "nanmean" "std" "var" "min" "max" "amin" "amax" "ptp" "median" "percentile" "quantile"
        "all" "any" "count_nonzero" "argmax" "argmin"
        "abs" "absolute" "fabs" "floor" "ceil" "trunc" "fix" "round" "around" "sign" "square" "sqrt" "exp" "expm1" "log" "log2" "log10"
        "log1p" "sin" "cos" "tan" "arcsin" "arccos" "arctan" "sinh" "cosh" "tanh" "deg2rad" "rad2deg" "radians" "degrees" "reciprocal"
        "negative" "isnan" "isinf" "isfinite" "logical_not" "nan_to_num" "clip"
        "add" "subtract" "multiply" "divide" "true_divide" "floor_divide" "mod" "remainder" "fmod" "power" "arctan2" "hypot"
        "maximum" "minimum" "logical_and" "logical_or" "logical_xor" "bitwise_and" "bitwise_or" "bitwise_xor"
        "equal" "not_equal" "less" "less_equal" "greater" "greater_equal" "isin" "isclose" "allclose" "array_equal" "where" "matmul" "dot"
        "reshape" "ravel" "squeeze" "expand_dims" "transpose" "swapaxes" "moveaxis" "broadcast_to" "repeat" "tile" "flip" "roll"
        "copy" "ascontiguousarray" "shape" "ndim" "size"
        "sort" "argsort" "cumsum" "cumprod" "diff" "unique" "nonzero" "argwhere" "flatnonzero" "split" "array_split"
    ],
    [
        pure("numpy.array", |args, call| new("numpy.array", "object", args, Numpy, call)),
        pure("numpy.asarray", |args, call| new("numpy.asarray", "a", args, Numpy, call)),
        pure("numpy.zeros", |args, call| filled("numpy.zeros", Some(0.0), args, Numpy, call)),
        pure("numpy.empty", |args, call| filled("numpy.empty", Some(0.0), args, Numpy, call)),
        pure("numpy.ones", |args, call| filled("numpy.ones", Some(1.0), args, Numpy, call)),
        pure("numpy.full", |args, call| filled("numpy.full", None, args, Numpy, call)),
        pure("numpy.zeros_like", |args, call| like("numpy.zeros_like", Some(0.0), args, Numpy, call)),
        pure("numpy.empty_like", |args, call| like("numpy.empty_like", Some(0.0), args, Numpy, call)),
        pure("numpy.ones_like", |args, call| like("numpy.ones_like", Some(1.0), args, Numpy, call)),
        pure("numpy.full_like", |args, call| like("numpy.full_like", None, args, Numpy, call)),
        pure("numpy.arange", |args, call| range("numpy.arange", args, Numpy, call)),
        pure("numpy.linspace", |args, call| linspace("numpy.linspace", args, Numpy, call)),
        pure("numpy.eye", |args, call| eye("numpy.eye", args, Numpy, call)),
        pure("numpy.identity", |args, call| eye("numpy.identity", args, Numpy, call)),
        pure("numpy.diag", |args, call| diag("numpy.diag", args, Numpy, call)),
        pure("numpy.concatenate", |args, call| join("numpy.concatenate", "arrays", false, args, Numpy, call)),
        pure("numpy.stack", |args, call| join("numpy.stack", "arrays", true, args, Numpy, call)),
        pure("numpy.meshgrid", |args, call| meshgrid("numpy.meshgrid", args, Numpy, call)),
        pure("numpy.vstack", |args, call| {
            let [arrays] = args.expect("numpy.vstack", ["tup"])?;
            let arrays = arrays_of("numpy.vstack", &arrays, Numpy, call)?;
            let rows: Vec<Array> = arrays.into_iter().map(|array| if array.shape().len() < 2 { array.shaped(&[1, array.len()], call) } else { Ok(array) }).collect::<Result<_>>()?;
            Ok(Value::object(joined("numpy.vstack", &rows, 0, false, call)?))
        }),
        pure("numpy.hstack", |args, call| {
            let [arrays] = args.expect("numpy.hstack", ["tup"])?;
            let arrays = arrays_of("numpy.hstack", &arrays, Numpy, call)?;
            let axis = i64::from(arrays.first().is_some_and(|array| array.shape().len() > 1));
            Ok(Value::object(joined("numpy.hstack", &arrays, axis, false, call)?))
        }),
        // For `isinstance`.
        pure("numpy.ndarray", |_, _| Err(err!("numpy.ndarray: make arrays with np.array or np.zeros").kind(Kind::Config))),
        pure("numpy.dtype", |args, _| {
            let [dtype] = args.expect("numpy.dtype", ["dtype"])?;
            Ok(DTypeObject::of(to("numpy.dtype", &dtype)?, Numpy))
        }),
        pure("numpy.iinfo", |args, _| {
            let [dtype] = args.expect("numpy.iinfo", ["type"])?;
            let ty: Type = to("numpy.iinfo", &dtype)?;
            let Some((min, max)) = ty.range() else { return Err(wrong("numpy.iinfo", "integer type", &dtype)) };
            let int = |i: i128| i64::try_from(i).map(Value::Int).unwrap_or(Value::Float(i as f64));
            Ok(Value::object(Limits { ty, fields: vec![("min", int(min)), ("max", int(max))] }))
        }),
        pure("numpy.finfo", |args, _| {
            let [dtype] = args.expect("numpy.finfo", ["dtype"])?;
            finfo("numpy.finfo", &dtype, Numpy)
        }),
        pure("numpy.isscalar", |args, _| {
            let [value] = args.expect("numpy.isscalar", ["element"])?;
            let array = value.downcast::<Array>().is_some_and(|array| array.shape().is_empty());
            Ok((array || matches!(value, Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Str(_))).into())
        }),
    ]
);

/// `np.iinfo` and `np.finfo`.
struct Limits {
    ty: Type,
    fields: Vec<(&'static str, Value)>,
}

impl Object for Limits {
    fn type_name(&self) -> &str {
        if self.ty.is_float() { "finfo" } else { "iinfo" }
    }
    fn attr_names(&self) -> &[&str] {
        &["min", "max", "bits", "eps", "tiny"]
    }
    fn attr(&self, name: &str) -> Result<Option<Value>> {
        if name == "bits" {
            return Ok(Some(Value::Int(i64::from(self.ty.bits()))));
        }
        Ok(self.fields.iter().find(|field| field.0 == name).map(|field| field.1.clone()))
    }
}

pub(super) fn finfo(name: &str, dtype: &Value, flavour: Flavour) -> Result<Value> {
    let ty: Type = to(name, dtype)?;
    let (max, eps, tiny) = match ty {
        Type::F16 => (65504.0, half::f16::EPSILON.to_f64(), half::f16::MIN_POSITIVE.to_f64()),
        Type::BF16 => (half::bf16::MAX.to_f64(), half::bf16::EPSILON.to_f64(), half::bf16::MIN_POSITIVE.to_f64()),
        Type::F32 => (f64::from(f32::MAX), f64::from(f32::EPSILON), f64::from(f32::MIN_POSITIVE)),
        Type::F64 => (f64::MAX, f64::EPSILON, f64::MIN_POSITIVE),
        _ => return Err(wrong(name, "float type", dtype)),
    };
    let number = |x: f64| if flavour == Numpy { Value::object(Array::scalar(x, ty, Numpy)) } else { Value::Float(x) };
    let fields = [("max", max), ("min", -max), ("eps", eps), ("tiny", tiny)].map(|(name, x)| (name, number(x)));
    Ok(Value::object(Limits { ty, fields: fields.to_vec() }))
}

/// What has no effect on values that cannot be changed and lie in host memory.
pub fn drop_ignored(args: &mut Args) {
    ["copy", "order", "device", "requires_grad", "pin_memory", "layout", "memory_format", "like"]
        .iter()
        .for_each(|key| drop(args.take(key)));
}

/// The next argument by name or position.
pub fn next(args: &mut Args, key: &str) -> Option<Value> {
    args.take(key).or_else(|| (!args.positional.is_empty()).then(|| args.positional.remove(0)))
}

pub fn end(name: &str, args: &Args) -> Result<()> {
    match (args.named.first(), args.positional.len()) {
        (Some((key, _)), _) => Err(err!("{name} has no argument `{key}`").kind(Kind::Config)),
        (None, 0) => Ok(()),
        (None, n) => Err(err!("{name}: {n} arguments too many").kind(Kind::Config)),
    }
}

/// `dtype` by name or, last of all, by position.
fn take_type(name: &str, args: &mut Args) -> Result<Option<Type>> {
    match dtype_argument(name, args)? {
        Some(ty) => Ok(Some(ty)),
        None => match args.positional.first().map(Type::from_value) {
            Some(Some(ty)) => {
                args.positional.remove(0);
                Ok(Some(ty))
            }
            _ => Ok(None),
        },
    }
}

pub(super) fn new(
    name: &str,
    argument: &str,
    mut args: Args,
    flavour: Flavour,
    call: &mut BuildContext,
) -> Result<Value> {
    drop_ignored(&mut args);
    let value = need(name, argument, next(&mut args, argument))?;
    let ty = take_type(name, &mut args)?;
    end(name, &args)?;
    let array = Array::of(name, &value, flavour, call)?;
    Ok(Value::object(match ty {
        Some(ty) => array.cast(ty, call)?,
        None => array,
    }))
}

/// `zeros`, `ones`, `full`: torch also takes sizes one by one.
pub(super) fn filled(
    name: &str,
    fill: Option<f64>,
    mut args: Args,
    flavour: Flavour,
    call: &mut BuildContext,
) -> Result<Value> {
    drop_ignored(&mut args);
    let by_one = flavour == Flavour::Torch
        && fill.is_some()
        && args.positional.first().is_some_and(|value| i64::from_value(value).is_some());
    let shape = if by_one {
        let count = args.positional.iter().take_while(|value| usize::from_value(value).is_some()).count();
        args.positional.drain(..count).map(|value| to(name, &value)).collect::<Result<Vec<usize>>>()?
    } else {
        let key = if flavour == Flavour::Torch { "size" } else { "shape" };
        let shape = need(name, key, next(&mut args, key))?;
        match usize::from_value(&shape) {
            Some(n) => vec![n],
            None => to(&format!("{name}: argument `{key}`"), &shape)?,
        }
    };
    let float = if flavour == Flavour::Torch { Type::F32 } else { Type::F64 };
    let (x, default) = fill_value(name, fill, &mut args, float, flavour, call)?;
    let ty = take_type(name, &mut args)?.unwrap_or(default);
    end(name, &args)?;
    Ok(Value::object(Array::filled(&shape, x, ty, flavour, call)?))
}

fn fill_value(
    name: &str,
    fill: Option<f64>,
    args: &mut Args,
    float: Type,
    flavour: Flavour,
    call: &mut BuildContext,
) -> Result<(f64, Type)> {
    if let Some(x) = fill {
        return Ok((x, float));
    }
    let value = need(name, "fill_value", next(args, "fill_value"))?;
    let x = to(&format!("{name}: argument `fill_value`"), &value)?;
    Ok((x, Array::of(name, &value, flavour, call)?.ty))
}

pub(super) fn like(
    name: &str,
    fill: Option<f64>,
    mut args: Args,
    flavour: Flavour,
    call: &mut BuildContext,
) -> Result<Value> {
    drop_ignored(&mut args);
    let model = need(name, "a", args.take("input").or_else(|| next(&mut args, "a")))?;
    let model = Array::of(name, &model, flavour, call)?;
    let (x, _) = fill_value(name, fill, &mut args, model.ty, flavour, call)?;
    let ty = take_type(name, &mut args)?.unwrap_or(model.ty);
    end(name, &args)?;
    Ok(Value::object(Array::filled(model.shape(), x, ty, flavour, call)?))
}

pub(super) fn range(name: &str, mut args: Args, flavour: Flavour, call: &mut BuildContext) -> Result<Value> {
    drop_ignored(&mut args);
    let ty = dtype_argument(name, &mut args)?;
    let named = |key: &str, args: &mut Args| args.take(key);
    let (start, stop, step) =
        (named("start", &mut args), named("stop", &mut args).or_else(|| args.take("end")), args.take("step"));
    let mut given = std::mem::take(&mut args.positional).into_iter();
    let (start, stop) = match (given.next(), given.next()) {
        (Some(start), Some(stop)) => (Some(start), Some(stop)),
        (Some(one), None) if start.is_some() || stop.is_none() => (start, Some(one)),
        (Some(one), None) => (Some(one), stop),
        (None, _) => (start, stop),
    };
    let step = given.next().or(step).unwrap_or(Value::Int(1));
    end(name, &args)?;
    let stop = need(name, if flavour == Flavour::Torch { "end" } else { "stop" }, stop)?;
    Ok(Value::object(arange(name, [&start.unwrap_or(Value::Int(0)), &stop, &step], ty, flavour, call)?))
}

pub(super) fn linspace(name: &str, mut args: Args, flavour: Flavour, call: &mut BuildContext) -> Result<Value> {
    drop_ignored(&mut args);
    let ty = dtype_argument(name, &mut args)?;
    let with_end: bool = args.take("endpoint").map_or(Ok(true), |value| to(name, &value))?;
    let start: f64 = to(name, &need(name, "start", next(&mut args, "start"))?)?;
    let stop = args.take("end").or_else(|| next(&mut args, "stop"));
    let stop: f64 = to(name, &need(name, "stop", stop)?)?;
    let count = args.take("steps").or_else(|| next(&mut args, "num")).or((flavour == Numpy).then_some(Value::Int(50)));
    let n: usize = to(name, &need(name, "steps", count)?)?;
    end(name, &args)?;
    charge(call, n)?;
    let gaps = if with_end { n.saturating_sub(1) } else { n };
    let step = (stop - start) / gaps.max(1) as f64;
    let mut values: Vec<f64> = (0..n).map(|i| start + i as f64 * step).collect();
    if with_end && n > 1 {
        values[n - 1] = stop;
    }
    let ty = ty.unwrap_or(if flavour == Flavour::Torch { Type::F32 } else { Type::F64 });
    Ok(Value::object(Array::from_values(&[n], values, ty, flavour)?))
}

pub(super) fn eye(name: &str, mut args: Args, flavour: Flavour, call: &mut BuildContext) -> Result<Value> {
    drop_ignored(&mut args);
    let ty = dtype_argument(name, &mut args)?.unwrap_or(if flavour == Flavour::Torch { Type::F32 } else { Type::F64 });
    let rows = args.take("N").or_else(|| next(&mut args, "n"));
    let n: usize = to(name, &need(name, "n", rows)?)?;
    let columns = args.take("M").or_else(|| next(&mut args, "m"));
    let m: usize = columns.filter(|value| !value.is_none()).map_or(Ok(n), |value| to(name, &value))?;
    end(name, &args)?;
    charge(call, n.saturating_mul(m))?;
    let values = (0..n).flat_map(|row| (0..m).map(move |column| f64::from(u8::from(row == column)))).collect();
    Ok(Value::object(Array::from_values(&[n, m], values, ty, flavour)?))
}

pub(super) fn diag(name: &str, args: Args, flavour: Flavour, call: &mut BuildContext) -> Result<Value> {
    let [value] = args.expect(name, ["v"])?;
    let array = Array::of(name, &value, flavour, call)?;
    let values = array.values();
    Ok(Value::object(match *array.shape() {
        [n] => {
            charge(call, n.saturating_mul(n))?;
            let rows: Vec<Vec<f64>> =
                (0..n).map(|i| (0..n).map(|j| if i == j { values[i] } else { 0.0 }).collect()).collect();
            from_rows(&rows, array.ty, flavour)?
        }
        [rows, columns] => {
            let n = rows.min(columns);
            Array::from_values(&[n], (0..n).map(|i| values[i * columns + i]).collect(), array.ty, flavour)?
        }
        _ => bail!("{name}: expected 1 or 2 axes, found {}", array.shape().len()),
    }))
}

pub(super) fn arrays_of(name: &str, value: &Value, flavour: Flavour, call: &mut BuildContext) -> Result<Vec<Array>> {
    iterate(name, value, call)?
        .iter()
        .map(|item| match (flavour, item.downcast::<Array>()) {
            (Flavour::Torch, None) => Err(wrong(name, "list of tensors", item)),
            _ => Array::of(name, item, flavour, call),
        })
        .collect()
}

pub(super) fn join(
    name: &str,
    argument: &str,
    new: bool,
    mut args: Args,
    flavour: Flavour,
    call: &mut BuildContext,
) -> Result<Value> {
    let arrays = need(name, argument, next(&mut args, argument))?;
    let axis = args.take("dim").or_else(|| next(&mut args, "axis")).unwrap_or(Value::Int(0));
    let ty = dtype_argument(name, &mut args)?;
    end(name, &args)?;
    let mut arrays = arrays_of(name, &arrays, flavour, call)?;
    // NumPy's axis=None joins flat arrays.
    let axis = match axis {
        Value::None => {
            arrays = arrays.iter().map(|array| array.shaped(&[array.len()], call)).collect::<Result<_>>()?;
            0
        }
        axis => to(&format!("{name}: argument `axis`"), &axis)?,
    };
    let array = joined(name, &arrays, axis, new, call)?;
    Ok(Value::object(match ty {
        Some(ty) => array.cast(ty, call)?,
        None => array,
    }))
}

pub(super) fn meshgrid(name: &str, mut args: Args, flavour: Flavour, call: &mut BuildContext) -> Result<Value> {
    let indexing: String = args
        .take("indexing")
        .map_or(Ok(if flavour == Numpy { "xy" } else { "ij" }.into()), |value| to(name, &value))?;
    if !matches!(&*indexing, "xy" | "ij") {
        bail!("{name}: argument `indexing`: expected 'xy' or 'ij', found '{indexing}'");
    }
    let given = match &args.positional[..] {
        [one] if flavour == Flavour::Torch && one.downcast::<Array>().is_none() => one.clone(),
        many => Value::tuple(many.to_vec()),
    };
    args.positional.clear();
    end(name, &args)?;
    let lists = arrays_of(name, &given, flavour, call)?;
    let n = lists.len();
    // "xy" swaps the first two axes.
    let place = |i: usize| if indexing == "xy" && n > 1 && i < 2 { 1 - i } else { i };
    let mut shape = vec![0i64; n];
    lists.iter().enumerate().for_each(|(i, list)| shape[place(i)] = list.len() as i64);
    let grids = lists.iter().enumerate().map(|(i, list)| {
        let mut own = vec![1; n];
        own[place(i)] = list.len();
        Ok(Value::object(list.shaped(&own, call)?.expanded(name, &shape, call)?))
    });
    Ok(Value::tuple(grids.collect::<Result<Vec<_>>>()?))
}
