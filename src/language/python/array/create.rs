//! Creation of arrays from lists, ranges and other arrays.

use super::{Array, Flavor, Type, charge, elements, promote};
use crate::component::{BuildContext, FromValue, Value};
use crate::error::{Kind, Result};
use crate::python::common::wrong;
use crate::{bail, err};
use ndarray::{Axis, concatenate};

impl Array {
    /// Create an array from a number, a list (of lists ...), or an array of either flavor.
    pub fn of(name: &str, value: &Value, flavor: Flavor, call: &mut BuildContext) -> Result<Array> {
        if let Some(array) = value.downcast::<Array>() {
            return Ok(Array { flavor, ..(*array).clone() });
        }
        let float = flavor.float();
        match value {
            Value::Bool(b) => Ok(Array::scalar(f64::from(u8::from(*b)), Type::Bool, flavor)),
            Value::Int(i) => Ok(Array::scalar(*i as f64, Type::I64, flavor)),
            Value::Float(x) => Ok(Array::scalar(*x, float, flavor)),
            value => {
                let list = match value {
                    Value::Object(object) => object.iterate().transpose()?,
                    value => value.as_sequence(),
                };
                let list = list.ok_or_else(|| wrong(name, "number, list or array", value))?;
                // An array costs more than the steps for its elements.
                call.charge(list.len() + 16)?;
                if list.is_empty() {
                    return Array::from_values(&[0], vec![], float, flavor);
                }
                // A list of numbers, without creating an array for each of them.
                if list.iter().all(|item| matches!(item, Value::Bool(_) | Value::Int(_) | Value::Float(_))) {
                    let ty = match () {
                        () if list.iter().all(|item| matches!(item, Value::Bool(_))) => Type::Bool,
                        () if list.iter().any(|item| matches!(item, Value::Float(_))) => float,
                        () => Type::I64,
                    };
                    let values = list.iter().filter_map(f64::from_value).collect();
                    return Array::from_values(&[list.len()], values, ty, flavor);
                }
                let rows = list
                    .iter()
                    .map(|item| call.nested(|call| Array::of(name, item, flavor, call)))
                    .collect::<Result<Vec<_>>>()?;
                joined(name, &rows, 0, true, call).map_err(|e| e.hint("rows must have one length"))
            }
        }
    }
}

/// Join arrays along a new axis (`stack`) or an existing one (`concatenate`).
pub fn joined(name: &str, arrays: &[Array], axis: i64, new: bool, call: &mut BuildContext) -> Result<Array> {
    let Some(first) = arrays.first() else { bail!("{name}: expected at least one array, found none") };
    let ndim = first.ndim() + usize::from(new);
    if ndim == 0 {
        bail!("{name}: arrays without axes cannot be joined");
    }
    let axis = super::shape::axis(name, axis, ndim)?;
    charge(call, arrays.iter().map(Array::len).sum())?;
    let mut ty = first.ty;
    let mut parts = vec![];
    for array in arrays {
        ty = promote(first.flavor, ty, array.ty);
        let same = array.ndim() == first.ndim()
            && array.shape().iter().zip(first.shape()).enumerate().all(|(at, (a, b))| a == b || !new && at == axis);
        if !same {
            return Err(err!("{name}: shapes {:?} and {:?} do not fit together", first.shape(), array.shape())
                .kind(Kind::Config));
        }
        parts.push(if new { array.data.view().insert_axis(Axis(axis)) } else { array.data.view() });
    }
    let data = concatenate(Axis(axis), &parts).map_err(|e| err!("{name}: {e}"))?;
    Ok(Array::new(data, ty, first.flavor))
}

/// Values `start + i·step` in the half-open interval up to `stop`.
pub fn arange(
    name: &str,
    [start, stop, step]: [&Value; 3],
    dtype: Option<Type>,
    flavor: Flavor,
    call: &mut BuildContext,
) -> Result<Array> {
    let float = [start, stop, step].iter().any(|value| i64::from_value(value).is_none());
    let number =
        |value: &Value| f64::from_value(value).filter(|x| x.is_finite()).ok_or_else(|| wrong(name, "number", value));
    let (start, stop, step) = (number(start)?, number(stop)?, number(step)?);
    if step == 0.0 {
        bail!("{name}: the step must not be 0");
    }
    let ty = dtype.unwrap_or(if float { flavor.float() } else { Type::I64 });
    let n = ((stop - start) / step).ceil().max(0.0);
    if n > super::LIMIT as f64 {
        bail!("{name}: {n} elements are too many for an expression");
    }
    let n = n as usize;
    charge(call, elements(&[n])?)?;
    // NumPy uses the difference of the first two elements as step.
    let delta = if flavor == Flavor::Numpy { (start + step) - start } else { step };
    Array::from_values(&[n], (0..n).map(|i| start + i as f64 * delta).collect(), ty, flavor)
}
