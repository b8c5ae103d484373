//! Methods of arrays and tensors by name, which NumPy's and torch's functions of the same names share.

use super::reduce::Over;
use super::shape::{axes_argument, axis, integers, sizes};
use super::{Array, DTypeObject, Flavour, Type, charge, dtype_argument, joined, need, ops};
use crate::component::{Args, BuildContext, FromValue, Object, Value};
use crate::error::{Kind, Result};
use crate::python::common::{to, wrong};
use crate::python::device::Device;
use crate::{bail, err};

/// For "did you mean".
pub(super) const NAMES: &[&str] = &[
    "shape",
    "size",
    "ndim",
    "dtype",
    "device",
    "T",
    "sum",
    "mean",
    "std",
    "var",
    "min",
    "max",
    "argmax",
    "argmin",
    "prod",
    "any",
    "all",
    "median",
    "abs",
    "round",
    "clip",
    "clamp",
    "reshape",
    "view",
    "squeeze",
    "unsqueeze",
    "transpose",
    "permute",
    "swapaxes",
    "flatten",
    "ravel",
    "expand",
    "repeat",
    "astype",
    "to",
    "type",
    "float",
    "double",
    "half",
    "int",
    "long",
    "bool",
    "cpu",
    "numpy",
    "detach",
    "clone",
    "copy",
    "contiguous",
    "tolist",
    "item",
    "unique",
    "sort",
    "argsort",
    "cumsum",
    "nonzero",
    "softmax",
    "sigmoid",
    "exp",
    "log",
    "sqrt",
    "flip",
    "dim",
    "numel",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "add",
    "sub",
    "mul",
    "div",
    "pow",
];

/// `array.name(args)`. `called` is what errors call it, such as `numpy.sum`; `None` if there is no such method.
pub fn method(
    array: &Array,
    called: &str,
    name: &str,
    args: &mut Args,
    call: &mut BuildContext,
) -> Result<Option<Value>> {
    let method = Method { array, called, torch: array.flavour == Flavour::Torch };
    // In-place methods would change what others hold.
    if name.ends_with('_') && !name.starts_with("__") && NAMES.contains(&name.trim_end_matches('_')) {
        return Err(err!("{called}: arrays cannot be changed in place here")
            .kind(Kind::Config)
            .hint(format!("use `{}`", name.trim_end_matches('_'))));
    }
    let mut own = std::mem::take(args);
    if let Some(result) = method.element(name, &mut own, call)? {
        return Ok(Some(result));
    }
    if let Some(result) = method.over(name, &mut own, call)? {
        return Ok(Some(result));
    }
    if let Some(result) = method.form(name, &mut own, call)? {
        return Ok(Some(result));
    }
    if let Some(result) = method.order(name, &mut own, call)? {
        return Ok(Some(result));
    }
    *args = own;
    Ok(None)
}

/// `numpy.name(array, ...)` and `torch.name(tensor, ...)`: the method on the first argument.
pub fn function(path: &str, mut args: Args, flavour: Flavour, call: &mut BuildContext) -> Result<Value> {
    let name = path.rsplit('.').next().unwrap_or(path);
    let first = if args.positional.is_empty() {
        ["input", "a", "x", "arr", "x1", "m", "self", "v"].iter().find_map(|key| args.take(key))
    } else {
        Some(args.positional.remove(0))
    };
    let first = need(path, if flavour == Flavour::Torch { "input" } else { "a" }, first)?;
    let array = match first.downcast::<Array>() {
        Some(array) => (*array).clone(),
        None if flavour == Flavour::Torch => return Err(wrong(&format!("{path}: argument `input`"), "tensor", &first)),
        None => Array::of(&format!("{path}: argument `a`"), &first, flavour, call)?,
    };
    method(&array, path, name, &mut args, call)?.ok_or_else(|| err!("{path} is not supported").kind(Kind::Unsupported))
}

struct Method<'a> {
    array: &'a Array,
    called: &'a str,
    torch: bool,
}

fn done(array: Array) -> Result<Option<Value>> {
    Ok(Some(Value::object(array)))
}

impl Method<'_> {
    /// The next argument by position, or one of these names.
    fn next(&self, args: &mut Args, names: &[&str]) -> Option<Value> {
        if let Some(value) = names.iter().find_map(|name| args.take(name)) {
            return Some(value);
        }
        (!args.positional.is_empty()).then(|| args.positional.remove(0))
    }
    fn number<T: FromValue>(&self, args: &mut Args, names: &[&str]) -> Result<Option<T>> {
        match self.next(args, names) {
            None | Some(Value::None) => Ok(None),
            Some(value) => to(&format!("{}: argument `{}`", self.called, names[0]), &value).map(Some),
        }
    }
    fn required<T: FromValue>(&self, args: &mut Args, names: &[&str]) -> Result<T> {
        let value = need(self.called, names[0], self.next(args, names))?;
        to(&format!("{}: argument `{}`", self.called, names[0]), &value)
    }
    /// Nothing may be left.
    fn end(&self, args: &Args) -> Result<()> {
        if let Some((key, _)) = args.named.first() {
            return Err(err!("{} has no argument `{key}`", self.called).kind(Kind::Config));
        }
        if !args.positional.is_empty() {
            return Err(err!("{}: {} arguments too many", self.called, args.positional.len()).kind(Kind::Config));
        }
        Ok(())
    }

    /// Element by element.
    fn element(&self, name: &str, args: &mut Args, call: &mut BuildContext) -> Result<Option<Value>> {
        if let Some(result) = self.array.elementwise(name, call)? {
            self.end(args)?;
            return done(result);
        }
        let operator = match name {
            "add" => "+",
            "sub" | "subtract" => "-",
            "mul" | "multiply" => "*",
            "div" | "divide" | "true_divide" => "/",
            "floor_divide" => "//",
            "remainder" | "mod" => "%",
            "pow" | "power" | "float_power" => "**",
            "matmul" | "dot" | "mm" | "mv" => "@",
            "eq" | "equal" => "==",
            "ne" | "not_equal" => "!=",
            "lt" | "less" => "<",
            "le" | "less_equal" => "<=",
            "gt" | "greater" => ">",
            "ge" | "greater_equal" => ">=",
            "bitwise_and" => "&",
            "bitwise_or" => "|",
            "bitwise_xor" => "^",
            "left_shift" => "<<",
            "right_shift" => ">>",
            "arctan2" | "atan2" => "arctan2",
            // torch's max and min of two tensors.
            "max" if self.torch && args.positional.first().is_some_and(|value| value.downcast::<Array>().is_some()) => {
                "maximum"
            }
            "min" if self.torch && args.positional.first().is_some_and(|value| value.downcast::<Array>().is_some()) => {
                "minimum"
            }
            "maximum" | "minimum" | "logical_and" | "logical_or" | "logical_xor" | "hypot" | "fmod" => name,
            "clip" | "clamp" => return self.clip(args, call),
            "round" | "around" | "__round__" => {
                let decimals = self.number(args, &["decimals"])?.unwrap_or(0);
                self.end(args)?;
                return done(self.array.rounded(decimals, call)?);
            }
            "nan_to_num" => return self.nan_to_num(args, call),
            "isin" => {
                let wanted: Value = self.required(args, &["test_elements"])?;
                let wanted = Array::of(self.called, &wanted, self.array.flavour, call)?;
                let invert: bool = args.take("invert").map_or(Ok(false), |value| to(self.called, &value))?;
                call.charge(wanted.len())?;
                let known: std::collections::HashSet<u64> = wanted.data.iter().map(|x| (x + 0.0).to_bits()).collect();
                return done(
                    self.array.map(Type::Bool, call, |x| {
                        f64::from(u8::from(known.contains(&(x + 0.0).to_bits()) != invert))
                    })?,
                );
            }
            "isclose" | "allclose" => return self.close(name == "allclose", args, call),
            "array_equal" | "equals" => {
                let other: Value = self.required(args, &["other"])?;
                return Ok(Some(
                    (Array::of(self.called, &other, self.array.flavour, call)?.data == self.array.data).into(),
                ));
            }
            "where" | "masked_fill" => return self.choose(name, args, call),
            _ => return Ok(None),
        };
        // torch.equal is one truth for all.
        if name == "equal" && self.torch {
            let other: Value = self.required(args, &["other"])?;
            return Ok(Some(other.downcast::<Array>().is_some_and(|other| other.data == self.array.data).into()));
        }
        let other: Value = self.required(args, &["other", "x2", "b"])?;
        self.end(args)?;
        done(ops::binary(operator, &Value::object(self.array.clone()), &other, false, self.array.flavour, call)?)
    }

    fn clip(&self, args: &mut Args, call: &mut BuildContext) -> Result<Option<Value>> {
        let low = self.next(args, &["min", "a_min"]).filter(|value| !value.is_none());
        let high = self.next(args, &["max", "a_max"]).filter(|value| !value.is_none());
        self.end(args)?;
        let mut result = self.array.clone();
        for (bound, operator) in [(low, "maximum"), (high, "minimum")] {
            if let Some(bound) = bound {
                result = ops::binary(operator, &Value::object(result), &bound, false, self.array.flavour, call)?;
            }
        }
        done(result)
    }

    fn nan_to_num(&self, args: &mut Args, call: &mut BuildContext) -> Result<Option<Value>> {
        args.take("copy");
        let nan: f64 = self.number(args, &["nan"])?.unwrap_or(0.0);
        let (high, low): (Option<f64>, Option<f64>) =
            (self.number(args, &["posinf"])?, self.number(args, &["neginf"])?);
        self.end(args)?;
        let top = match self.array.ty {
            Type::F16 => 65504.0,
            Type::BF16 => half::bf16::MAX.to_f64(),
            Type::F32 => f64::from(f32::MAX),
            _ => f64::MAX,
        };
        let (high, low) = (high.unwrap_or(top), low.unwrap_or(-top));
        done(self.array.map(self.array.ty, call, |x| match x {
            x if x.is_nan() => nan,
            f64::INFINITY => high,
            f64::NEG_INFINITY => low,
            x => x,
        })?)
    }

    fn close(&self, all: bool, args: &mut Args, call: &mut BuildContext) -> Result<Option<Value>> {
        let other: Value = self.required(args, &["other", "b"])?;
        let rtol: f64 = self.number(args, &["rtol"])?.unwrap_or(1e-5);
        let atol: f64 = self.number(args, &["atol"])?.unwrap_or(1e-8);
        let nan: bool = self.number(args, &["equal_nan"])?.unwrap_or(false);
        self.end(args)?;
        let other = Array::of(self.called, &other, self.array.flavour, call)?;
        let close = ops::zip(self.array, &other, Type::Bool, call, |a, b| {
            f64::from(u8::from(
                a == b || nan && a.is_nan() && b.is_nan() || b.is_finite() && (a - b).abs() <= atol + rtol * b.abs(),
            ))
        })?;
        if all { Ok(Some(close.data.iter().all(|x| *x != 0.0).into())) } else { done(close) }
    }

    /// `where(condition, a, b)`, `tensor.where(condition, b)`, `tensor.masked_fill(mask, value)`, `where(condition)`.
    fn choose(&self, name: &str, args: &mut Args, call: &mut BuildContext) -> Result<Option<Value>> {
        let flavour = self.array.flavour;
        let own = Value::object(self.array.clone());
        let function = self.called.contains('.');
        let (condition, a, b) = match (name, args.positional.len()) {
            ("where", 0) if args.named.is_empty() => {
                return Ok(Some(Value::tuple(self.array.true_positions().into_iter().map(Value::object))));
            }
            ("masked_fill", _) => {
                let mask: Value = self.required(args, &["mask"])?;
                (mask, self.required(args, &["value"])?, own)
            }
            ("where", _) if function => {
                (own, self.required(args, &["x", "input"])?, self.required(args, &["y", "other"])?)
            }
            _ => {
                let condition = self.required(args, &["condition"])?;
                (condition, own, self.required(args, &["other"])?)
            }
        };
        self.end(args)?;
        let condition = Array::of(self.called, &condition, flavour, call)?;
        // The sum with a zero of the other's type has the type in which both meet.
        let zero = |value: &Value| match value {
            Value::Float(_) => Value::Float(0.0),
            Value::Int(_) => Value::Int(0),
            Value::Bool(_) => Value::Bool(false),
            value => value
                .downcast::<Array>()
                .map_or(Value::Int(0), |array| Value::object(Array::scalar(0.0, array.ty, array.flavour))),
        };
        let (wrapped_a, wrapped_b) = (Value::object(Array::of(self.called, &a, flavour, call)?), &zero(&b));
        let ty = match (a.downcast::<Array>(), b.downcast::<Array>(), name) {
            (_, _, "masked_fill") => self.array.ty,
            (None, Some(_), _) => {
                ops::binary(
                    "+",
                    &Value::object(Array::of(self.called, &b, flavour, call)?),
                    &zero(&a),
                    false,
                    flavour,
                    call,
                )?
                .ty
            }
            _ => ops::binary("+", &wrapped_a, wrapped_b, false, flavour, call)?.ty,
        };
        let (a, b) = (Array::of(self.called, &a, flavour, call)?, Array::of(self.called, &b, flavour, call)?);
        let shape = ops::broadcast_shape(&ops::broadcast_shape(condition.shape(), a.shape())?, b.shape())?;
        let wide: Vec<i64> = shape.iter().map(|n| *n as i64).collect();
        let [condition, a, b] = [condition, a, b].map(|array| array.expanded(self.called, &wide, call));
        let (condition, a, b) = (condition?, a?, b?);
        let values = condition
            .data
            .iter()
            .zip(a.data.iter())
            .zip(b.data.iter())
            .map(|((c, a), b)| if *c != 0.0 { *a } else { *b })
            .collect();
        done(Array::from_values(&shape, values, ty, flavour)?)
    }

    /// Over axes.
    fn over(&self, name: &str, args: &mut Args, call: &mut BuildContext) -> Result<Option<Value>> {
        let reduces = matches!(
            name,
            "sum"
                | "nansum"
                | "prod"
                | "mean"
                | "average"
                | "nanmean"
                | "max"
                | "amax"
                | "min"
                | "amin"
                | "ptp"
                | "all"
                | "any"
                | "count_nonzero"
                | "median"
                | "argmax"
                | "argmin"
                | "std"
                | "var"
                | "percentile"
                | "quantile"
        );
        if !reduces {
            return Ok(None);
        }
        let fraction: Option<Value> =
            matches!(name, "percentile" | "quantile").then(|| self.required(args, &["q"])).transpose()?;
        if let Some(first) = args.positional.first().cloned()
            && !(first.is_none() || i64::from_value(&first).is_none() && Vec::<i64>::from_value(&first).is_none())
        {
            args.positional.remove(0);
            args.named.push(("axis".into(), first));
        } else if args.positional.first().is_some_and(Value::is_none) {
            args.positional.remove(0);
        }
        let keep = args
            .take("keepdims")
            .or_else(|| args.take("keepdim"))
            .or_else(|| (!args.positional.is_empty()).then(|| args.positional.remove(0)));
        let axes = axes_argument(self.called, args)?;
        let over = Over {
            keep: keep.map_or(Ok(false), |value| to(&format!("{}: argument `keepdims`", self.called), &value))?,
            ty: dtype_argument(self.called, args)?,
            axes,
        };
        if let Some(fraction) = fraction {
            self.end(args)?;
            let scale = if name == "percentile" { 100.0 } else { 1.0 };
            if let Some(q) = f64::from_value(&fraction) {
                return done(self.array.quantiles(self.called, q / scale, &over, call)?);
            }
            let all: Vec<f64> = to(&format!("{}: argument `q`", self.called), &fraction)?;
            let rows = all
                .iter()
                .map(|q| self.array.quantiles(self.called, q / scale, &over, call))
                .collect::<Result<Vec<_>>>()?;
            return done(joined(self.called, &rows, 0, true, call)?);
        }
        if matches!(name, "std" | "var") {
            let unbiased: Option<bool> = args.take("unbiased").map(|value| to(self.called, &value)).transpose()?;
            let less = args
                .take("ddof")
                .or_else(|| args.take("correction"))
                .map(|value| to::<f64>(self.called, &value))
                .transpose()?;
            self.end(args)?;
            let less = less.or(unbiased.map(|b| f64::from(u8::from(b)))).unwrap_or(if self.torch { 1.0 } else { 0.0 });
            return done(self.array.spread(self.called, &over, less, name == "std", call)?);
        }
        self.end(args)?;
        // torch's max, min and median along an axis also tell where.
        if self.torch && matches!(name, "max" | "min" | "median") && over.axes.is_some() {
            let values = need(self.called, "dim", self.array.reduction(name, &over, call)?)?;
            let at = match name {
                "median" => bail!("{}: the median along an axis is not supported", self.called),
                "max" => "argmax",
                _ => "argmin",
            };
            let indices = need(self.called, "dim", self.array.reduction(at, &over, call)?)?;
            return Ok(Some(Value::object(Pair { name: if name == "max" { "max" } else { "min" }, values, indices })));
        }
        match self.array.reduction(name, &over, call)? {
            Some(result) => done(result),
            None => Ok(None),
        }
    }

    /// Shapes, types and copies.
    fn form(&self, name: &str, args: &mut Args, call: &mut BuildContext) -> Result<Option<Value>> {
        let array = self.array;
        let cast = |ty: Type, call: &mut BuildContext| array.cast(ty, call).map(|array| Some(Value::object(array)));
        let all = |args: &mut Args, key: &[&str]| {
            key.iter()
                .find_map(|key| args.take(key))
                .map_or_else(|| std::mem::take(&mut args.positional), |value| vec![value])
        };
        let result = match name {
            "reshape" | "view" => {
                args.take("order");
                match args.positional.first().and_then(|value| value.downcast::<DTypeObject>()) {
                    Some(_) => bail!("{}: bits cannot be read as another type here, use `to` or `astype`", self.called),
                    None => {
                        array.reshape(self.called, &integers(self.called, &all(args, &["shape", "newshape"]))?, call)?
                    }
                }
            }
            "flatten" | "ravel" => {
                // NumPy's only argument is the memory order.
                if args.positional.first().is_some_and(|value| value.as_str().is_some()) {
                    args.positional.clear();
                }
                let from = self.number(args, &["start_dim"])?.unwrap_or(0);
                array.flattened(self.called, from, self.number(args, &["end_dim"])?.unwrap_or(-1), call)?
            }
            "squeeze" => match self.next(args, &["axis", "dim"]) {
                None | Some(Value::None) => array.squeezed(self.called, None)?,
                Some(value) => array.squeezed(self.called, Some(&integers(self.called, &[value])?))?,
            },
            "unsqueeze" | "expand_dims" => array.unsqueezed(self.called, self.required(args, &["dim", "axis"])?)?,
            "permute" => array.permuted(self.called, &integers(self.called, &all(args, &["dims"]))?)?,
            "transpose" if self.torch => {
                let a = self.required(args, &["dim0"])?;
                array.swapped(self.called, a, self.required(args, &["dim1"])?)?
            }
            "transpose" => match all(args, &["axes"]) {
                axes if axes.is_empty() || axes[0].is_none() => array.with(array.data.clone().reversed_axes()),
                axes => array.permuted(self.called, &integers(self.called, &axes)?)?,
            },
            "t" => array.with(array.data.clone().reversed_axes()),
            "swapaxes" | "swapdims" => {
                let a = self.required(args, &["axis1", "dim0"])?;
                array.swapped(self.called, a, self.required(args, &["axis2", "dim1"])?)?
            }
            "moveaxis" | "movedim" => {
                let from = axis(self.called, self.required(args, &["source"])?, array.ndim())?;
                let target = axis(self.called, self.required(args, &["destination"])?, array.ndim())?;
                let mut order: Vec<i64> = (0..array.ndim() as i64).collect();
                let moved = order.remove(from);
                order.insert(target, moved);
                array.permuted(self.called, &order)?
            }
            "expand" | "broadcast_to" | "expand_as" => match args
                .positional
                .first()
                .and_then(|value| value.downcast::<Array>())
            {
                Some(other) if name == "expand_as" => {
                    args.positional.clear();
                    array.expanded(self.called, &other.shape().iter().map(|n| *n as i64).collect::<Vec<_>>(), call)?
                }
                _ => array.expanded(self.called, &integers(self.called, &all(args, &["size", "shape"]))?, call)?,
            },
            "repeat" if self.torch => array.tiled(self.called, &sizes(self.called, &all(args, &["repeats"]))?, call)?,
            "tile" => array.tiled(self.called, &sizes(self.called, &all(args, &["reps", "dims"]))?, call)?,
            "repeat" | "repeat_interleave" => {
                let times = self.required(args, &["repeats"])?;
                array.repeated(self.called, times, self.number(args, &["axis", "dim"])?, call)?
            }
            "flip" => match all(args, &["axis", "dims"]) {
                axes if axes.is_empty() => array.flipped(self.called, &(0..array.ndim() as i64).collect::<Vec<_>>())?,
                axes => array.flipped(self.called, &integers(self.called, &axes)?)?,
            },
            "roll" => {
                let shift = self.required(args, &["shift", "shifts"])?;
                array.rolled(self.called, shift, self.number(args, &["axis", "dims"])?, call)?
            }
            "astype" | "type" => {
                args.take("copy");
                let ty: Type = self.required(args, &["dtype"])?;
                array.cast(ty, call)?
            }
            "to" => return self.to(args, call),
            "float" => return cast(Type::F32, call),
            "double" => return cast(Type::F64, call),
            "half" => return cast(Type::F16, call),
            "bfloat16" => return cast(Type::BF16, call),
            "int" => return cast(Type::I32, call),
            "long" => return cast(Type::I64, call),
            "short" => return cast(Type::I16, call),
            "byte" => return cast(Type::U8, call),
            "bool" => return cast(Type::Bool, call),
            "cpu" | "detach" | "clone" | "copy" | "contiguous" | "as_tensor" | "requires_grad_"
            | "ascontiguousarray" => {
                args.named.clear();
                array.clone()
            }
            "cuda" => bail!("{}: arrays in expressions stay in host memory", self.called),
            "numpy" | "__array__" => Array { flavour: Flavour::Numpy, ..array.clone() },
            "type_as" => {
                let other: Value = self.required(args, &["other"])?;
                let other = other.downcast::<Array>().ok_or_else(|| wrong(self.called, "tensor", &other))?;
                array.cast(other.ty, call)?
            }
            "dim" | "ndimension" => return Ok(Some(Value::Int(array.ndim() as i64))),
            "numel" | "nelement" => return Ok(Some(Value::Int(array.len() as i64))),
            "size" => {
                let at: Option<i64> = self.number(args, &["dim", "axis"])?;
                return match at {
                    Some(at) => Ok(Some(Value::Int(array.shape()[axis(self.called, at, array.ndim())?] as i64))),
                    None if self.torch => Ok(Some(Value::tuple(array.shape().iter().map(|n| Value::Int(*n as i64))))),
                    None => Ok(Some(Value::Int(array.len() as i64))),
                };
            }
            "shape" | "ndim" => return array.attr(name),
            "is_floating_point" => return Ok(Some(array.ty.is_float().into())),
            "item" | "__float__" | "__int__" | "__bool__" if args.positional.is_empty() => {
                return match name {
                    "item" => array.item().map(Some).map_err(|e| e.context(self.called)),
                    name => array.attr(name),
                };
            }
            "item" => return array.take(&Value::tuple(std::mem::take(&mut args.positional)))?.item().map(Some),
            "tolist" => return array.to_list(call).map(Some),
            _ => return Ok(None),
        };
        self.end(args)?;
        done(result)
    }

    /// `tensor.to(...)`: a type, a device (only the CPU), or both.
    fn to(&self, args: &mut Args, call: &mut BuildContext) -> Result<Option<Value>> {
        let mut ty = dtype_argument(self.called, args)?;
        let device = args.take("device");
        ["non_blocking", "copy", "memory_format"].iter().for_each(|key| drop(args.take(key)));
        for value in std::mem::take(&mut args.positional).into_iter().chain(device) {
            if let Some(device) = Device::from_value(&value) {
                if device != Device::Cpu {
                    return Err(err!("{}: arrays in expressions stay in host memory, found {device}", self.called)
                        .kind(Kind::Config));
                }
            } else if let Some(found) = Type::from_value(&value) {
                ty = Some(found);
            } else if let Some(other) = value.downcast::<Array>() {
                ty = Some(other.ty);
            } else if !matches!(value, Value::Bool(_) | Value::None) {
                return Err(wrong(self.called, "dtype or device", &value));
            }
        }
        self.end(args)?;
        done(match ty {
            Some(ty) => self.array.cast(ty, call)?,
            None => self.array.clone(),
        })
    }

    /// Sorting, running sums, sets of values.
    fn order(&self, name: &str, args: &mut Args, call: &mut BuildContext) -> Result<Option<Value>> {
        let array = self.array;
        match name {
            "sort" | "argsort" | "msort" => {
                let at = self.number(args, &["axis", "dim"])?.unwrap_or(-1);
                let descending: bool = self.number(args, &["descending"])?.unwrap_or(false);
                ["kind", "stable"].iter().for_each(|key| drop(args.take(key)));
                self.end(args)?;
                if name == "argsort" {
                    return done(array.order(self.called, at, descending, call)?);
                }
                let values = array.sorted(self.called, at, descending, call)?;
                if !self.torch {
                    return done(values);
                }
                Ok(Some(Value::object(Pair {
                    name: "sort",
                    values,
                    indices: array.order(self.called, at, descending, call)?,
                })))
            }
            "cumsum" | "cumprod" => {
                let at = self.number(args, &["axis", "dim"])?;
                self.end(args)?;
                done(array.running(
                    self.called,
                    at,
                    call,
                    if name == "cumsum" { |a, b| a + b } else { |a, b| a * b },
                )?)
            }
            "diff" => {
                self.end(args)?;
                if array.ndim() != 1 {
                    bail!("{}: expected one axis, found {}", self.called, array.ndim());
                }
                let values = array.values();
                done(Array::from_values(
                    &[values.len().saturating_sub(1)],
                    values.windows(2).map(|w| w[1] - w[0]).collect(),
                    array.ty,
                    array.flavour,
                )?)
            }
            "softmax" | "log_softmax" => {
                let at = self.required(args, &["dim", "axis"])?;
                let array = match dtype_argument(self.called, args)? {
                    Some(ty) => array.cast(ty, call)?,
                    None => array.clone(),
                };
                self.end(args)?;
                done(array.softmax(self.called, at, name == "log_softmax", call)?)
            }
            "unique" => {
                let counts: bool = args.take("return_counts").map_or(Ok(false), |value| to(self.called, &value))?;
                let places: bool = args.take("return_index").map_or(Ok(false), |value| to(self.called, &value))?;
                args.take("sorted");
                self.end(args)?;
                let [distinct, count, place] = array.unique(call)?;
                let mut results = vec![Value::object(distinct)];
                results.extend(places.then(|| Value::object(place)));
                results.extend(counts.then(|| Value::object(count)));
                Ok(Some(if results.len() == 1 { results.remove(0) } else { Value::tuple(results) }))
            }
            "nonzero" | "argwhere" | "flatnonzero" => {
                charge(call, array.len().saturating_mul(array.ndim().max(1)))?;
                self.end(args)?;
                let flat = if name == "flatnonzero" { array.shaped(&[array.len()], call)? } else { array.clone() };
                let lists = flat.true_positions();
                if name == "flatnonzero" {
                    return Ok(lists.into_iter().next().map(Value::object));
                }
                if name == "nonzero" && !self.torch {
                    return Ok(Some(Value::tuple(lists.into_iter().map(Value::object))));
                }
                if lists.is_empty() {
                    return done(Array::filled(
                        &[usize::from(array.truthy()), 0],
                        0.0,
                        Type::I64,
                        array.flavour,
                        call,
                    )?);
                }
                done(joined(self.called, &lists, 1, true, call)?)
            }
            "split" | "chunk" | "array_split" | "unbind" => {
                let how: Value = if name == "unbind" {
                    Value::None
                } else {
                    self.required(args, &["split_size_or_sections", "indices_or_sections", "chunks"])?
                };
                let at = axis(self.called, self.number(args, &["axis", "dim"])?.unwrap_or(0), array.ndim())?;
                self.end(args)?;
                charge(call, array.len())?;
                if name == "unbind" {
                    let data = |i| array.data.clone().index_axis_move(ndarray::Axis(at), i);
                    return Ok(Some(Value::tuple((0..array.shape()[at]).map(|i| Value::object(array.with(data(i)))))));
                }
                let bounds = self.bounds(name, &how, array.shape()[at])?;
                let parts = array.parts(at, &bounds).into_iter().map(Value::object);
                Ok(Some(if self.torch { Value::tuple(parts) } else { Value::list(parts) }))
            }
            _ => Ok(None),
        }
    }

    /// Where an axis of `n` is cut.
    fn bounds(&self, name: &str, how: &Value, n: usize) -> Result<Vec<usize>> {
        if let Some(count) = usize::from_value(how) {
            if count == 0 {
                bail!("{}: expected at least 1 part, found 0", self.called);
            }
            return Ok(match (self.torch, name) {
                (true, "split") => (1..).map(|i| i * count).take_while(|end| *end < n).collect(),
                (true, _) => (1..).map(|i| i * n.div_ceil(count).max(1)).take_while(|end| *end < n).collect(),
                (false, "split") if !n.is_multiple_of(count) => {
                    bail!("{}: {n} elements do not make {count} equal parts", self.called)
                }
                // The first parts are longer by one.
                (false, _) => {
                    if count > n.max(1) * 64 {
                        bail!("{}: {count} parts are too many for {n} elements", self.called);
                    }
                    (1..count).map(|i| i * (n / count) + i.min(n % count)).collect()
                }
            });
        }
        let list: Vec<usize> = to(self.called, how)?;
        if !self.torch {
            return Ok(list);
        }
        if list.iter().sum::<usize>() != n {
            bail!("{}: parts of {list:?} do not make up {n}", self.called);
        }
        let ends = list.iter().scan(0, |end, size| {
            *end += size;
            Some(*end)
        });
        Ok(ends.take(list.len().saturating_sub(1)).collect())
    }
}

/// `values` and `indices`, as torch returns them together.
struct Pair {
    /// The function that made it.
    name: &'static str,
    values: Array,
    indices: Array,
}

impl Object for Pair {
    fn type_name(&self) -> &str {
        "torch.return_types"
    }
    fn repr(&self) -> String {
        format!("torch.return_types.{}(\nvalues={},\nindices={})", self.name, self.values.repr(), self.indices.repr())
    }
    fn attr_names(&self) -> &[&str] {
        &["values", "indices"]
    }
    fn attr(&self, name: &str) -> Result<Option<Value>> {
        Ok(match name {
            "values" => Some(Value::object(self.values.clone())),
            "indices" => Some(Value::object(self.indices.clone())),
            _ => None,
        })
    }
    fn index(&self, index: &Value) -> Result<Value> {
        match i64::from_value(index) {
            Some(0 | -2) => Ok(Value::object(self.values.clone())),
            Some(1 | -1) => Ok(Value::object(self.indices.clone())),
            _ => Err(wrong("index of values and indices", "0 or 1", index)),
        }
    }
    fn iterate(&self) -> Option<Result<Vec<Value>>> {
        Some(Ok(vec![Value::object(self.values.clone()), Value::object(self.indices.clone())]))
    }
    fn length(&self) -> Option<usize> {
        Some(2)
    }
}
