//! Operators and functions of one or two arrays, element by element, with broadcasting and type promotion.

use super::dtype::Category;
use super::{Array, Flavor, Type, charge, elements, promote};
use crate::component::{BuildContext, Value, found};
use crate::error::{Kind, Result};
use crate::python::common::wrong;
use crate::{bail, err};
use ndarray::{IxDyn, Zip};

const OPERATORS: [&str; 16] = ["+", "-", "*", "/", "//", "%", "**", "==", "!=", "<", "<=", ">", ">=", "&", "|", "^"];

pub(crate) fn is_operator(operator: &str) -> bool {
    OPERATORS.contains(&operator)
}

/// An operand of an operator.
struct Operand {
    array: Array,
    /// Whether it is a Python number, whose type has the lowest precedence in promotion.
    plain: bool,
}

impl Operand {
    fn new(value: &Value, flavor: Flavor, call: &mut BuildContext) -> Result<Option<Operand>> {
        let plain = matches!(value, Value::Bool(_) | Value::Int(_) | Value::Float(_));
        let list = matches!(value, Value::List(_) | Value::Tuple(_)) && flavor == Flavor::Numpy;
        if plain || list || value.downcast::<Array>().is_some() {
            return Ok(Some(Operand { array: Array::of("operator", value, flavor, call)?, plain }));
        }
        Ok(None)
    }
}

/// Data type to which both operands are promoted.
fn common_type(flavor: Flavor, a: &Operand, b: &Operand) -> Result<Type> {
    match flavor {
        Flavor::Numpy => match (a.plain, b.plain) {
            (true, false) => weak(b.array.ty, &a.array),
            (false, true) => weak(a.array.ty, &b.array),
            _ => Ok(promote(flavor, a.array.ty, b.array.ty)),
        },
        // torch ranks tensors with axes before those without, and these before Python numbers: a lower rank decides the
        // type only if its category is higher.
        Flavor::Torch => {
            let rank = |operand: &Operand| if operand.plain { 2 } else { u8::from(operand.array.ndim() == 0) };
            let (ra, rb) = (rank(a), rank(b));
            if ra == rb {
                return Ok(promote(flavor, a.array.ty, b.array.ty));
            }
            let (first, later) = if ra < rb { (a.array.ty, b.array.ty) } else { (b.array.ty, a.array.ty) };
            Ok(if later.category() > first.category() { later } else { first })
        }
    }
}

/// Data type to which two values are promoted, as `numpy.result_type`.
pub(crate) fn result_type(a: &Value, b: &Value, flavor: Flavor, call: &mut BuildContext) -> Result<Type> {
    let operand = |value: &Value, call: &mut BuildContext| {
        Operand::new(value, flavor, call)?.ok_or_else(|| wrong("where", "number, list or array", value))
    };
    common_type(flavor, &operand(a, call)?, &operand(b, call)?)
}

/// Data type of an array and a Python number in NumPy (NEP 50).
fn weak(array: Type, number: &Array) -> Result<Type> {
    if number.ty.category() > array.category() {
        return Ok(if number.ty.is_float() { Type::F64 } else { Type::I64 });
    }
    if let (Some((low, high)), Some(x)) = (array.range(), number.data.first())
        && !(low..=high).contains(&(*x as i128))
    {
        return Err(err!("Python integer {x} is out of bounds for {}", array.name()).kind(Kind::Config));
    }
    Ok(array)
}

/// Shape to which two shapes are broadcast.
pub(crate) fn broadcast_shape(a: &[usize], b: &[usize]) -> Result<Vec<usize>> {
    let n = a.len().max(b.len());
    let size = |shape: &[usize], at: usize| (at + shape.len()).checked_sub(n).map_or(1, |at| shape[at]);
    (0..n)
        .map(|at| match (size(a, at), size(b, at)) {
            (a, b) if a == b || b == 1 => Ok(a),
            (1, b) => Ok(b),
            _ => Err(err!("shapes {a:?} and {b:?} cannot be broadcast together").kind(Kind::Config)),
        })
        .collect()
}

/// Apply `f` to each pair of elements, with broadcasting; the result has the type `ty`.
fn zip(a: &Array, b: &Array, ty: Type, call: &mut BuildContext, f: impl Fn(f64, f64) -> f64) -> Result<Array> {
    let shape = broadcast_shape(a.shape(), b.shape())?;
    charge(call, elements(&shape)?)?;
    let fits = || err!("shapes {:?} and {:?} cannot be broadcast together", a.shape(), b.shape());
    let va = a.data.broadcast(IxDyn(&shape)).ok_or_else(fits)?;
    let vb = b.data.broadcast(IxDyn(&shape)).ok_or_else(fits)?;
    Ok(Array::new(Zip::from(va).and(vb).map_collect(|a, b| f(*a, *b)), ty, a.flavor))
}

/// Evaluate an operator or function of two values, of which at least one is an array.
pub(crate) fn binary(
    operator: &str,
    left: &Value,
    right: &Value,
    reflected: bool,
    flavor: Flavor,
    call: &mut BuildContext,
) -> Result<Array> {
    let flavor = match right.downcast::<Array>() {
        Some(other) if other.flavor == Flavor::Torch => Flavor::Torch,
        _ => flavor,
    };
    let unsupported =
        |value: &Value| err!("`{operator}` of an array and {} is not supported", found(value)).kind(Kind::Config);
    let Some(a) = Operand::new(left, flavor, call)? else { return Err(unsupported(left)) };
    let Some(b) = Operand::new(right, flavor, call)? else {
        // Values of other types are not equal to any element.
        return match operator {
            "==" => a.array.map(Type::Bool, call, |_| 0.0),
            "!=" => a.array.map(Type::Bool, call, |_| 1.0),
            _ => Err(unsupported(right)),
        };
    };
    let (a, b) = if reflected { (b, a) } else { (a, b) };
    let compare = matches!(operator, "==" | "!=" | "<" | "<=" | ">" | ">=");
    let ty = match common_type(flavor, &a, &b) {
        Ok(ty) => ty,
        // Numbers outside of the array's type can be compared, but not converted to it.
        Err(_) if compare => Type::F64,
        Err(error) => return Err(error),
    };
    let (x, y) = (a.array.cast(ty, call)?, b.array.cast(ty, call)?);
    let whole = ty.category() != Category::Float;
    let bool = |b: bool| f64::from(u8::from(b));
    match operator {
        "+" => zip(&x, &y, ty, call, |a, b| a + b),
        "-" if ty == Type::Bool => Err(err!("`-` of bools is not supported").kind(Kind::Config).hint("use `^` or `~`")),
        "-" => zip(&x, &y, ty, call, |a, b| a - b),
        "*" => zip(&x, &y, ty, call, |a, b| a * b),
        "/" => zip(&x, &y, if whole { flavor.float() } else { ty }, call, |a, b| a / b),
        "//" | "%" => {
            if whole && flavor == Flavor::Torch && y.data.iter().any(|y| *y == 0.0) {
                bail!("`{operator}`: division of integers by zero");
            }
            // NumPy converts bools to int8.
            let ty = if ty == Type::Bool { Type::I8 } else { ty };
            match operator {
                "%" => zip(&x, &y, ty, call, modulo),
                // An integer divided by zero is 0 in NumPy.
                _ if whole => zip(&x, &y, ty, call, |a, b| if b == 0.0 { 0.0 } else { floor_div(a, b) }),
                _ => zip(&x, &y, ty, call, floor_div),
            }
        }
        "**" => {
            if whole && y.data.iter().any(|y| *y < 0.0) {
                return Err(err!("`**`: integers to negative integer powers are not supported")
                    .kind(Kind::Config)
                    .hint("convert one of them to float"));
            }
            let ty = if ty == Type::Bool && flavor == Flavor::Numpy { Type::I8 } else { ty };
            zip(&x, &y, ty, call, f64::powf)
        }
        "==" => zip(&x, &y, Type::Bool, call, |a, b| bool(a == b)),
        "!=" => zip(&x, &y, Type::Bool, call, |a, b| bool(a != b)),
        "<" => zip(&x, &y, Type::Bool, call, |a, b| bool(a < b)),
        "<=" => zip(&x, &y, Type::Bool, call, |a, b| bool(a <= b)),
        ">" => zip(&x, &y, Type::Bool, call, |a, b| bool(a > b)),
        ">=" => zip(&x, &y, Type::Bool, call, |a, b| bool(a >= b)),
        "&" | "|" | "^" if !whole => {
            Err(err!("`{operator}` of {} and {} is not supported", a.array.ty.name(), b.array.ty.name())
                .kind(Kind::Config))
        }
        "&" => zip(&x, &y, ty, call, |a, b| (a as i64 & b as i64) as f64),
        "|" => zip(&x, &y, ty, call, |a, b| (a as i64 | b as i64) as f64),
        "^" => zip(&x, &y, ty, call, |a, b| (a as i64 ^ b as i64) as f64),
        // Functions of two arrays.
        "maximum" => zip(&x, &y, ty, call, |a, b| if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }),
        "minimum" => zip(&x, &y, ty, call, |a, b| if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) }),
        "logical_and" => zip(&x, &y, Type::Bool, call, |a, b| bool(a != 0.0 && b != 0.0)),
        "logical_or" => zip(&x, &y, Type::Bool, call, |a, b| bool(a != 0.0 || b != 0.0)),
        other => bail!("arrays have no operator `{other}`"),
    }
}

/// Python's remainder, with the sign of the divisor. An integer modulo zero is 0, as in NumPy.
fn modulo(a: f64, b: f64) -> f64 {
    let r = a % b;
    if r != 0.0 && (r < 0.0) != (b < 0.0) { r + b } else { r }
}

fn floor_div(a: f64, b: f64) -> f64 {
    if b == 0.0 {
        return a / b;
    }
    let quotient = ((a - modulo(a, b)) / b).round();
    if quotient.is_nan() { (a / b).floor() } else { quotient }
}

impl Array {
    /// Evaluate `-x`, `+x`, `~x` or `abs(x)`; `None` for other operators.
    pub(crate) fn unary(&self, operator: &str, call: &mut BuildContext) -> Result<Option<Array>> {
        Ok(Some(match operator {
            "neg" if self.ty == Type::Bool => {
                return Err(err!("`-` of bools is not supported").kind(Kind::Config).hint("use `~`"));
            }
            "neg" => self.map(self.ty, call, |x| -x)?,
            "pos" => self.clone(),
            "abs" => self.map(self.ty, call, f64::abs)?,
            "invert" | "~" | "inv" if self.ty.is_float() => bail!("`~` of {} is not supported", self.ty.name()),
            "invert" | "~" | "inv" if self.ty == Type::Bool => self.map(Type::Bool, call, |x| 1.0 - x)?,
            "invert" | "~" | "inv" => self.map(self.ty, call, |x| !(x as i64) as f64)?,
            _ => return Ok(None),
        }))
    }

    /// Whether any element equals `value`.
    pub(super) fn contains(&self, value: &Value, call: &mut BuildContext) -> Result<bool> {
        let equal = binary("==", &Value::object(self.clone()), value, false, self.flavor, call)?;
        Ok(equal.data.iter().any(|x| *x != 0.0))
    }

    /// Data type of the result of functions such as `sqrt`: integers become floats.
    pub(super) fn real_type(&self) -> Type {
        match (self.flavor, self.ty.category()) {
            (_, Category::Float) => self.ty,
            (Flavor::Torch, _) => Type::F32,
            (Flavor::Numpy, _) => match self.ty.bits() {
                8 => Type::F16,
                16 => Type::F32,
                _ => Type::F64,
            },
        }
    }

    /// Round half to even to `decimals` places.
    pub(super) fn rounded(&self, decimals: i64, call: &mut BuildContext) -> Result<Array> {
        let scale = 10f64.powi(decimals.clamp(-300, 300) as i32);
        self.map(
            self.ty,
            call,
            |x| if decimals == 0 { x.round_ties_even() } else { (x * scale).round_ties_even() / scale },
        )
    }
}
