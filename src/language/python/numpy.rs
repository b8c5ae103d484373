//! `numpy`: constants, types, and functions of small arrays ([`super::array`]). Random numbers are not supported.

use super::array::result_type;
use super::array::{Array, Flavor, arange, broadcast_shape, charge, function, joined};
use super::common::{Constants, pure, wrong};
use super::given::Given;
use crate::bundle::expr::values::iter::collect;
use crate::component::{Args, BuildContext, Function, Value};
use crate::err;
use crate::error::{Kind, Result};
use Flavor::Numpy;

pub const CONSTANTS: Constants = &[
    ("numpy.pi", || std::f64::consts::PI.into()),
    ("numpy.e", || std::f64::consts::E.into()),
    ("numpy.inf", || f64::INFINITY.into()),
    ("numpy.nan", || f64::NAN.into()),
    ("numpy.newaxis", || Value::None),
];

/// Declares functions: methods of their first argument, functions that also take a [`Flavor`], and others.
macro_rules! functions {
    ($module:literal, $flavor:expr, [$($method:literal)*],
     [$($name:literal = $function:ident $(($first:expr))?),* $(,)?], [$($rest:expr),* $(,)?]) => {
        &[
            $(pure(concat!($module, $method), |args, call| function(concat!($module, $method), args, $flavor, call)),)*
            $(pure(concat!($module, $name), |args, call| {
                $function(concat!($module, $name), $($first,)? args, $flavor, call)
            }),)*
            $($rest),*
        ]
    };
}
pub(super) use functions;

pub const FUNCTIONS: &[Function] = functions!(
    "numpy.", Numpy,
    [
        "abs" "absolute" "floor" "ceil" "round" "around" "sign" "square" "sqrt" "exp" "log" "log2" "log10" "isnan" "isinf"
        "isfinite" "logical_not" "nan_to_num" "clip" "maximum" "minimum" "logical_and" "logical_or" "power"
        "array_equal" "sum" "prod" "mean" "std" "var" "max" "min" "amax" "amin" "argmax" "argmin" "all" "any"
        "count_nonzero" "percentile" "unique" "reshape" "ravel" "squeeze" "expand_dims" "transpose" "broadcast_to" "flip"
        "copy"
    ],
    [
        "array" = array, "asarray" = array, "zeros" = filled(0.0), "ones" = filled(1.0), "full" = full,
        "zeros_like" = like(0.0), "ones_like" = like(1.0), "arange" = range, "concatenate" = join(false),
        "stack" = join(true), "where" = choose,
    ],
    [
        // For `isinstance`.
        pure("numpy.ndarray", |_, _| {
            Err(err!("numpy.ndarray cannot be called").kind(Kind::Config).hint("use np.array or np.zeros"))
        }),
    ]
);

/// Parameters, and those of NumPy and torch that have no effect: arrays are immutable and in host memory.
macro_rules! with_ignored {
    ($($param:literal),*) => {
        &[$($param,)* "_copy", "_order", "_device", "_requires_grad", "_pin_memory", "_layout", "_memory_format"]
    };
}

pub(super) fn array(name: &str, args: Args, flavor: Flavor, call: &mut BuildContext) -> Result<Value> {
    let given = Given::bind(name, with_ignored!("object|data|a", "dtype"), args)?;
    let array = Array::of(name, &given.need(0)?, flavor, call)?;
    let ty = given.get(1)?.unwrap_or(array.ty);
    Ok(Value::object(array.cast(ty, call)?))
}

/// `zeros` and `ones`. In torch, sizes can be separate arguments.
pub(super) fn filled(name: &str, x: f64, args: Args, flavor: Flavor, call: &mut BuildContext) -> Result<Value> {
    let params: &[&str] = match flavor {
        Numpy => with_ignored!("shape", "dtype"),
        Flavor::Torch => with_ignored!("*size", "dtype"),
    };
    let given = Given::bind(name, params, args)?;
    let ty = given.get(1)?.unwrap_or(flavor.float());
    Ok(Value::object(Array::filled(&given.sizes(0)?, x, ty, flavor, call)?))
}
pub(super) fn full(name: &str, args: Args, flavor: Flavor, call: &mut BuildContext) -> Result<Value> {
    let given = Given::bind(name, with_ignored!("shape|size", "fill_value", "dtype"), args)?;
    let fill = Array::of(name, &given.need(1)?, flavor, call)?;
    let ty = given.get(2)?.unwrap_or(fill.ty);
    Ok(Value::object(Array::filled(&given.sizes(0)?, given.need(1)?, ty, flavor, call)?))
}

/// `zeros_like` and `ones_like`.
pub(super) fn like(name: &str, x: f64, args: Args, flavor: Flavor, call: &mut BuildContext) -> Result<Value> {
    let given = Given::bind(name, with_ignored!("a|input", "dtype"), args)?;
    let model = Array::of(name, &given.need(0)?, flavor, call)?;
    Ok(Value::object(Array::filled(model.shape(), x, given.get(1)?.unwrap_or(model.ty), flavor, call)?))
}

/// `arange([start,] stop[, step])`
pub(super) fn range(name: &str, args: Args, flavor: Flavor, call: &mut BuildContext) -> Result<Value> {
    let given = Given::bind(name, with_ignored!("start", "stop|end", "step", "dtype"), args)?;
    let (start, stop) = match given.value(1) {
        Some(stop) => (given.value(0).cloned().unwrap_or(Value::Int(0)), stop.clone()),
        None => (Value::Int(0), given.need(0)?),
    };
    let step = given.value(2).cloned().unwrap_or(Value::Int(1));
    Ok(Value::object(arange(name, [&start, &stop, &step], given.get(3)?, flavor, call)?))
}

/// Joins arrays along an existing axis (`concatenate`, `cat`) or a new one (`stack`).
pub(super) fn join(name: &str, new: bool, args: Args, flavor: Flavor, call: &mut BuildContext) -> Result<Value> {
    let given = Given::bind(name, &["arrays|tensors", "axis|dim"], args)?;
    let arrays = collect(&given.need(0)?, call)?
        .iter()
        .map(|item| match (flavor, item.downcast::<Array>()) {
            (Flavor::Torch, None) => Err(wrong(name, "list of tensors", item)),
            _ => Array::of(name, item, flavor, call),
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Value::object(joined(name, &arrays, given.get(1)?.unwrap_or(0), new, call)?))
}

/// `where(condition, x, y)`; without `x` and `y` the positions of true elements.
pub(super) fn choose(name: &str, args: Args, flavor: Flavor, call: &mut BuildContext) -> Result<Value> {
    let given = Given::bind(name, &["condition", "x|input", "y|other"], args)?;
    let condition = Array::of(name, &given.need(0)?, flavor, call)?;
    let Some(x) = given.value(1) else {
        charge(call, condition.len())?;
        return Ok(Value::tuple(condition.true_positions().into_iter().map(Value::object)));
    };
    let y: Value = given.need(2)?;
    let ty = result_type(x, &y, flavor, call)?;
    let (x, y) = (Array::of(name, x, flavor, call)?, Array::of(name, &y, flavor, call)?);
    let shape = broadcast_shape(&broadcast_shape(condition.shape(), x.shape())?, y.shape())?;
    let wide: Vec<i64> = shape.iter().map(|n| *n as i64).collect();
    let [condition, x, y] = [condition, x, y].map(|array| array.expanded(name, &wide, call));
    let (condition, x, y) = (condition?.values(), x?.values(), y?.values());
    let values = condition.iter().zip(x.iter().zip(&y)).map(|(c, (x, y))| if *c != 0.0 { *x } else { *y }).collect();
    Ok(Value::object(Array::from_values(&shape, values, ty, flavor)?))
}
