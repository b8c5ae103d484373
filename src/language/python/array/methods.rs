//! Methods of arrays and tensors. Functions of NumPy and torch with the same names call them on their first argument.

use super::reduce::{Over, extreme, first_extreme};
use super::shape::axis;
use super::{Array, DTypeObject, Flavor, Type, ops};
use crate::bundle::expr::values::to_int;
use crate::component::Member::{self, Attribute};
use crate::component::{Args, BuildContext, FromValue, Value, members};
use crate::err;
use crate::error::{Kind, Result};
use crate::python::common::wrong;
use crate::python::device::Device;
use crate::python::given::{Given, Method, method};

fn done(array: Array) -> Result<Value> {
    Ok(Value::object(array))
}

/// Apply a function with floating-point results to each element.
fn real(array: &Array, call: &mut BuildContext, f: fn(f64) -> f64) -> Result<Value> {
    done(array.map(array.real_type(), call, f)?)
}
/// Apply a predicate to each element.
fn test(array: &Array, call: &mut BuildContext, f: fn(f64) -> bool) -> Result<Value> {
    done(array.map(Type::Bool, call, |x| f64::from(u8::from(f(x))))?)
}
fn cast(array: &Array, ty: Type, call: &mut BuildContext) -> Result<Value> {
    done(array.cast(ty, call)?)
}
fn binary(array: &Array, operator: &str, given: &Given, call: &mut BuildContext) -> Result<Value> {
    let other: Value = given.need(0)?;
    done(ops::binary(operator, &Value::object(array.clone()), &other, false, array.flavor, call)?)
}

const AXIS: &[&str] = &["axis|dim", "keepdims|keepdim", "dtype"];
const OTHER: &[&str] = &["other|x2|b"];

static METHODS: &[Method<Array>] = &[
    // Elementwise functions.
    method(&["abs", "absolute"], &[], |a, _, call| done(a.map(a.ty, call, f64::abs)?)),
    method(&["floor"], &[], |a, _, call| done(a.map(a.ty, call, f64::floor)?)),
    method(&["ceil"], &[], |a, _, call| done(a.map(a.ty, call, f64::ceil)?)),
    method(&["sign"], &[], |a, _, call| {
        done(a.map(a.ty, call, |x| if x == 0.0 || x.is_nan() { x } else { x.signum() })?)
    }),
    method(&["square"], &[], |a, _, call| done(a.map(a.ty, call, |x| x * x)?)),
    method(&["relu"], &[], |a, _, call| done(a.map(a.ty, call, |x| x.max(0.0))?)),
    method(&["sqrt"], &[], |a, _, call| real(a, call, f64::sqrt)),
    method(&["exp"], &[], |a, _, call| real(a, call, f64::exp)),
    method(&["log"], &[], |a, _, call| real(a, call, f64::ln)),
    method(&["log2"], &[], |a, _, call| real(a, call, f64::log2)),
    method(&["log10"], &[], |a, _, call| real(a, call, f64::log10)),
    method(&["sigmoid"], &[], |a, _, call| real(a, call, |x| 1.0 / (1.0 + (-x).exp()))),
    method(&["isnan"], &[], |a, _, call| test(a, call, f64::is_nan)),
    method(&["isinf"], &[], |a, _, call| test(a, call, f64::is_infinite)),
    method(&["isfinite"], &[], |a, _, call| test(a, call, f64::is_finite)),
    method(&["logical_not"], &[], |a, _, call| test(a, call, |x| x == 0.0)),
    method(&["round", "around", "__round__"], &["decimals"], |a, given, call| {
        done(a.rounded(given.get(0)?.unwrap_or(0), call)?)
    }),
    method(&["clip", "clamp"], &["min|a_min", "max|a_max"], |a, given, call| {
        let mut result = a.clone();
        for (at, operator) in ["maximum", "minimum"].into_iter().enumerate() {
            if let Some(bound) = given.value(at) {
                result = ops::binary(operator, &Value::object(result), bound, false, a.flavor, call)?;
            }
        }
        done(result)
    }),
    method(&["nan_to_num"], &["_copy", "nan", "posinf", "neginf"], |a, given, call| {
        let top = match a.ty {
            Type::F16 => 65504.0,
            Type::BF16 => half::bf16::MAX.to_f64(),
            Type::F32 => f64::from(f32::MAX),
            _ => f64::MAX,
        };
        let nan = given.get(1)?.unwrap_or(0.0);
        let (high, low) = (given.get(2)?.unwrap_or(top), given.get(3)?.unwrap_or(-top));
        done(a.map(a.ty, call, |x| match x {
            x if x.is_nan() => nan,
            f64::INFINITY => high,
            f64::NEG_INFINITY => low,
            x => x,
        })?)
    }),
    // Functions of two arrays.
    method(&["maximum"], OTHER, |a, given, call| binary(a, "maximum", given, call)),
    method(&["minimum"], OTHER, |a, given, call| binary(a, "minimum", given, call)),
    method(&["logical_and"], OTHER, |a, given, call| binary(a, "logical_and", given, call)),
    method(&["logical_or"], OTHER, |a, given, call| binary(a, "logical_or", given, call)),
    method(&["power", "pow"], OTHER, |a, given, call| binary(a, "**", given, call)),
    method(&["array_equal", "equal"], OTHER, |a, given, call| {
        let other = Array::of(given.called, &given.need(0)?, a.flavor, call)?;
        Ok((other.data == a.data).into())
    }),
    // Reductions.
    method(&["sum"], AXIS, |a, given, call| {
        let over = Over::new(given, 0)?;
        done(a.reduce(given.called, &over, over.ty.unwrap_or(a.sum_type()), call, |row| row.iter().sum())?)
    }),
    method(&["prod"], AXIS, |a, given, call| {
        let over = Over::new(given, 0)?;
        done(a.reduce(given.called, &over, over.ty.unwrap_or(a.sum_type()), call, |row| row.iter().product())?)
    }),
    method(&["mean"], AXIS, |a, given, call| {
        let over = Over::new(given, 0)?;
        let ty = a.mean_type(given.called, over.ty)?;
        done(a.reduce(given.called, &over, ty, call, |row| row.iter().sum::<f64>() / row.len() as f64)?)
    }),
    method(&["std"], SPREAD, |a, given, call| done(a.spread(given, true, call)?)),
    method(&["var"], SPREAD, |a, given, call| done(a.spread(given, false, call)?)),
    method(&["max", "amax"], AXIS, |a, given, call| most(a, given, call, ["amax", "maximum"], |a, b| a > b)),
    method(&["min", "amin"], AXIS, |a, given, call| most(a, given, call, ["amin", "minimum"], |a, b| a < b)),
    method(&["argmax"], AXIS, |a, given, call| position(a, given, call, |a, b| a > b)),
    method(&["argmin"], AXIS, |a, given, call| position(a, given, call, |a, b| a < b)),
    method(&["all"], AXIS, |a, given, call| {
        let all = |row: &[f64]| f64::from(u8::from(row.iter().all(|x| *x != 0.0)));
        done(a.reduce(given.called, &Over::new(given, 0)?, Type::Bool, call, all)?)
    }),
    method(&["any"], AXIS, |a, given, call| {
        let any = |row: &[f64]| f64::from(u8::from(row.iter().any(|x| *x != 0.0)));
        done(a.reduce(given.called, &Over::new(given, 0)?, Type::Bool, call, any)?)
    }),
    method(&["count_nonzero"], AXIS, |a, given, call| {
        let count = |row: &[f64]| row.iter().filter(|x| **x != 0.0).count() as f64;
        done(a.reduce(given.called, &Over::new(given, 0)?, Type::I64, call, count)?)
    }),
    method(&["percentile"], &["q", "axis", "keepdims"], |a, given, call| done(a.percentiles(given, call)?)),
    method(&["unique"], &[], |a, _, call| done(a.unique(call)?)),
    // Shapes.
    method(&["reshape", "view"], &["*shape|newshape", "_order"], |a, given, call| {
        done(a.reshape(given.called, &given.need_integers(0)?, call)?)
    }),
    method(&["flatten", "ravel"], &["start_dim", "end_dim", "_order"], |a, given, call| {
        done(a.flattened(given.called, given.get(0)?.unwrap_or(0), given.get(1)?.unwrap_or(-1), call)?)
    }),
    method(&["squeeze"], &["axis|dim"], |a, given, _| done(a.squeezed(given.called, given.integers(0)?.as_deref())?)),
    method(&["unsqueeze", "expand_dims"], &["dim|axis"], |a, given, _| {
        done(a.unsqueezed(given.called, given.need(0)?)?)
    }),
    method(&["permute"], &["*dims"], |a, given, _| done(a.permuted(given.called, &given.need_integers(0)?)?)),
    // torch swaps two axes, NumPy permutes all axes.
    method(&["transpose"], &["*axes|dim0", "dim1"], |a, given, _| {
        let axes = [given.integers(0)?, given.integers(1)?].into_iter().flatten().flatten().collect::<Vec<i64>>();
        done(match axes[..] {
            [] => a.with(a.data.clone().reversed_axes()),
            [one, two] if a.torch() => a.swapped(given.called, one, two)?,
            _ => a.permuted(given.called, &axes)?,
        })
    }),
    method(&["expand", "broadcast_to"], &["*size|shape"], |a, given, call| {
        done(a.expanded(given.called, &given.need_integers(0)?, call)?)
    }),
    method(&["flip"], &["*axis|dims"], |a, given, _| {
        let axes = given.integers(0)?.unwrap_or_else(|| (0..a.ndim() as i64).collect());
        done(a.flipped(given.called, &axes)?)
    }),
    method(&["dim", "ndimension"], &[], |a, _, _| Ok(Value::Int(a.ndim() as i64))),
    method(&["numel", "nelement"], &[], |a, _, _| Ok(Value::Int(a.len() as i64))),
    method(&["size"], &["dim|axis"], |a, given, _| {
        Ok(match given.get(0)? {
            Some(at) => Value::Int(a.shape()[axis(given.called, at, a.ndim())?] as i64),
            None if a.torch() => Value::tuple(a.shape().iter().map(|n| Value::Int(*n as i64))),
            None => Value::Int(a.len() as i64),
        })
    }),
    // Conversions.
    method(&["astype", "type"], &["dtype", "_copy"], |a, given, call| cast(a, given.need(0)?, call)),
    method(&["to"], &["*to", "dtype", "device", "_non_blocking", "_copy", "_memory_format"], to),
    method(&["float"], &[], |a, _, call| cast(a, Type::F32, call)),
    method(&["double"], &[], |a, _, call| cast(a, Type::F64, call)),
    method(&["half"], &[], |a, _, call| cast(a, Type::F16, call)),
    method(&["int"], &[], |a, _, call| cast(a, Type::I32, call)),
    method(&["long"], &[], |a, _, call| cast(a, Type::I64, call)),
    method(&["bool"], &[], |a, _, call| cast(a, Type::Bool, call)),
    method(&["cpu", "detach", "clone", "copy", "contiguous"], &["_memory_format"], |a, _, _| done(a.clone())),
    method(&["numpy"], &[], |a, _, _| done(Array { flavor: Flavor::Numpy, ..a.clone() })),
    method(&["item"], &[], |a, given, _| a.item().map_err(|error| error.context(given.called))),
    method(&["tolist"], &[], |a, _, call| a.to_list(call)),
];

const SPREAD: &[&str] = &["axis|dim", "unbiased", "keepdims|keepdim", "ddof|correction", "dtype"];

static ATTRIBUTES: &[Member<Array>] = &[
    Attribute("shape", |a| Ok(Value::tuple(a.shape().iter().map(|n| Value::Int(*n as i64))))),
    Attribute("ndim", |a| Ok(Value::Int(a.ndim() as i64))),
    Attribute("dtype", |a| Ok(DTypeObject::of(a.ty, a.flavor))),
    Attribute("device", |_| Ok(Value::object(Device::Cpu))),
    Attribute("T", |a| done(a.with(a.data.clone().reversed_axes()))),
];

/// Names of methods and attributes, for hints.
pub(super) fn names() -> Vec<&'static str> {
    let methods = METHODS.iter().flat_map(|method| method.names).copied().filter(|name| !name.starts_with("__"));
    methods.chain(members::names(ATTRIBUTES)).collect()
}

/// `array.name(args)`. `called` is the name for errors, such as `numpy.sum`; `None` if there is no such method.
pub fn call_method(
    array: &Array,
    called: &str,
    name: &str,
    args: &mut Args,
    call: &mut BuildContext,
) -> Result<Option<Value>> {
    if let Some(method) = Method::find(METHODS, name) {
        return method.call(array, called, std::mem::take(args), call).map(Some);
    }
    // Arrays are shared, so that in-place methods would also change other variables.
    let plain = name.strip_suffix('_').filter(|_| !name.starts_with("__"));
    match plain.filter(|plain| Method::find(METHODS, plain).is_some()) {
        Some(plain) => {
            Err(err!("{called}: arrays cannot be modified in place").kind(Kind::Config).hint(format!("use `{plain}`")))
        }
        None => Ok(None),
    }
}

/// Evaluate `numpy.name(array, ...)` or `torch.name(tensor, ...)` by the method of the first argument.
pub fn function(path: &str, mut args: Args, flavor: Flavor, call: &mut BuildContext) -> Result<Value> {
    let name = path.rsplit('.').next().unwrap_or(path);
    let first = if args.positional.is_empty() {
        ["input", "a", "x", "arr", "x1"].iter().find_map(|key| args.take(key))
    } else {
        Some(args.positional.remove(0))
    };
    let name_of_first = if flavor == Flavor::Torch { "input" } else { "a" };
    let first = first.ok_or_else(|| err!("{path} needs argument `{name_of_first}`").kind(Kind::Config))?;
    let array = match first.downcast::<Array>() {
        Some(array) => (*array).clone(),
        None if flavor == Flavor::Torch => return Err(wrong(&format!("{path}: argument `input`"), "tensor", &first)),
        None => Array::of(&format!("{path}: argument `a`"), &first, flavor, call)?,
    };
    call_method(&array, path, name, &mut args, call)?
        .ok_or_else(|| err!("{path} is not supported").kind(Kind::Unsupported))
}

/// `max` and `min` of all elements, along axes, or (torch) of two tensors.
fn most(
    array: &Array,
    given: &Given,
    call: &mut BuildContext,
    [of_one, of_two]: [&'static str; 2],
    better: fn(f64, f64) -> bool,
) -> Result<Value> {
    if array.torch() && given.value(0).is_some_and(|value| value.downcast::<Array>().is_some()) {
        return binary(array, of_two, given, call);
    }
    array.not_empty(given.called)?;
    let over = Over::new(given, 0)?;
    // torch's max and min along an axis also return the positions.
    if array.torch() && over.axes.is_some() && !given.called.contains(of_one) {
        return Err(err!("{} along an axis is not supported", given.called)
            .kind(Kind::Unsupported)
            .hint(format!("use `{of_one}` for the values or `arg{}` for the positions", &of_one[1..])));
    }
    done(array.reduce(given.called, &over, array.ty, call, |row| extreme(row, better))?)
}

fn position(array: &Array, given: &Given, call: &mut BuildContext, better: fn(f64, f64) -> bool) -> Result<Value> {
    array.not_empty(given.called)?;
    let at = |row: &[f64]| first_extreme(row, better) as f64;
    done(array.reduce(given.called, &Over::new(given, 0)?, Type::I64, call, at)?)
}

/// `tensor.to(...)` with a data type, a device (the CPU only), or both.
fn to(array: &Array, given: &Given, call: &mut BuildContext) -> Result<Value> {
    let mut ty: Option<Type> = given.get(1)?;
    let several = match given.value(0) {
        Some(Value::Tuple(several)) => several.to_vec(),
        one => one.cloned().into_iter().collect(),
    };
    for value in several.iter().chain(given.value(2)) {
        if let Some(device) = Device::from_value(value) {
            if device != Device::Cpu {
                return Err(
                    err!("{}: tensors in expressions are on the CPU, found {device}", given.called).kind(Kind::Config)
                );
            }
        } else if let Some(found) = Type::from_value(value).or(value.downcast::<Array>().map(|other| other.ty)) {
            ty = Some(found);
        } else if !matches!(value, Value::Bool(_)) {
            return Err(wrong(given.called, "dtype or device", value));
        }
    }
    cast(array, ty.unwrap_or(array.ty), call)
}

impl Array {
    /// Value of an attribute, including `size` of NumPy and conversions to numbers, which not all arrays have.
    pub(super) fn plain_attribute(&self, name: &str) -> Result<Option<Value>> {
        let first = || self.data.first().copied().unwrap_or(f64::NAN);
        Ok(Some(match name {
            "size" if self.flavor == Flavor::Numpy => Value::Int(self.len() as i64),
            "__float__" if self.len() == 1 => Value::Float(first()),
            "__int__" if self.len() == 1 => Value::Int(to_int(first())?),
            "__index__" if self.ndim() == 0 && !self.ty.is_float() => Value::Int(first() as i64),
            _ => return members::attribute(self, ATTRIBUTES, name),
        }))
    }
}
