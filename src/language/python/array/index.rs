//! `array[index]` with integers, slices, `...`, `None`, masks and lists of integers.
//!
//! An index can contain one mask or list of integers; several are not supported.

use super::{Array, Flavor, Type};
use crate::bundle::expr::values::index::bounds;
use crate::bundle::expr::values::position;
use crate::component::{BuildContext, FromValue, Value};
use crate::error::{Kind, Result};
use crate::python::common::wrong;
use crate::{bail, err};
use ndarray::{Axis, Slice};

/// Part of an index.
enum Part {
    At(i64),
    Range([Option<i64>; 3]),
    /// `None`: a new axis.
    New,
    /// `...`
    Rest,
    /// Positions on an axis.
    Many(Vec<i64>),
    /// A mask over as many axes as it has.
    Mask(Array),
}

impl Part {
    fn new(value: &Value, flavor: Flavor) -> Result<Part> {
        Ok(match value {
            Value::Int(i) => Part::At(*i),
            Value::Slice(parts) => Part::Range(**parts),
            Value::None => Part::New,
            Value::Ellipsis => Part::Rest,
            Value::List(_) | Value::Object(_) | Value::Bool(_) | Value::Tuple(_) => {
                let array = Array::of("index", value, flavor, &mut BuildContext::default())?;
                match (array.ty, array.ndim()) {
                    (Type::Bool, _) => Part::Mask(array),
                    (ty, 0) if !ty.is_float() => Part::At(i64::from_value(&array.item()?).unwrap_or(0)),
                    (ty, 0 | 1) if !ty.is_float() || array.is_empty() => {
                        Part::Many(array.values().into_iter().map(|i| i as i64).collect())
                    }
                    _ => return Err(wrong("array index", "integers in one list, or bools", value)),
                }
            }
            other => return Err(wrong("array index", "int, slice, ..., None, mask or list of int", other)),
        })
    }
    /// Number of axes of the array that it indexes.
    fn takes(&self) -> usize {
        match self {
            Part::At(_) | Part::Range(_) | Part::Many(_) => 1,
            Part::New | Part::Rest => 0,
            Part::Mask(mask) => mask.ndim(),
        }
    }
}

impl Array {
    pub(crate) fn take(&self, index: &Value) -> Result<Array> {
        let parts: Vec<Part> = match index {
            Value::Tuple(parts) => parts.iter().map(|part| Part::new(part, self.flavor)).collect::<Result<_>>()?,
            one => vec![Part::new(one, self.flavor)?],
        };
        let taken: usize = parts.iter().map(Part::takes).sum();
        if taken > self.ndim() {
            return Err(err!("too many indices: {taken} for an array of {} axes", self.ndim()).kind(Kind::Config));
        }
        if parts.iter().filter(|part| matches!(part, Part::Rest)).count() > 1 {
            bail!("array index: expected at most one `...`");
        }
        if parts.iter().filter(|part| matches!(part, Part::Many(_) | Part::Mask(_))).count() > 1 {
            bail!("array index: more than one mask or list of positions is not supported");
        }
        let mut data = self.data.clone();
        let mut at = 0;
        for part in &parts {
            let size = data.shape().get(at).copied().unwrap_or(0);
            match part {
                Part::At(i) => {
                    let i = checked(*i, size, at)?;
                    data = data.index_axis_move(Axis(at), i);
                }
                Part::Range(slice) => {
                    let (start, step, count) = bounds(slice, size)?;
                    if step < 0 && self.flavor == Flavor::Torch {
                        bail!("array index: torch's slices need a positive step");
                    }
                    if step > 0 {
                        let end = if count == 0 { start } else { start + (count as i64 - 1) * step + 1 };
                        data.slice_axis_inplace(
                            Axis(at),
                            Slice::new(start as isize, Some(end as isize), step as isize),
                        );
                    } else {
                        let positions: Vec<usize> = (0..count).map(|i| (start + i as i64 * step) as usize).collect();
                        data = data.select(Axis(at), &positions).into_shared();
                    }
                    at += 1;
                }
                Part::New => {
                    if data.ndim() >= 32 {
                        bail!("array index: more than 32 axes");
                    }
                    data = data.insert_axis(Axis(at));
                    at += 1;
                }
                Part::Rest => at += self.ndim() - taken,
                Part::Many(list) => {
                    let positions = list.iter().map(|i| checked(*i, size, at)).collect::<Result<Vec<_>>>()?;
                    data = data.select(Axis(at), &positions).into_shared();
                    at += 1;
                }
                // The axes of the mask are merged into one, from which the true elements are selected.
                Part::Mask(mask) => {
                    let (shape, end) = (data.shape().to_vec(), at + mask.ndim());
                    if shape.get(at..end) != Some(mask.shape()) {
                        bail!("array index: a mask of shape {:?} does not fit axes of {shape:?}", mask.shape());
                    }
                    let places: Vec<usize> =
                        mask.data.iter().enumerate().filter(|(_, x)| **x != 0.0).map(|(place, _)| place).collect();
                    let flat = [&shape[..at], &[mask.len()], &shape[end..]].concat();
                    let flat = self.with(data).shaped(&flat, &mut BuildContext::default())?;
                    data = flat.data.select(Axis(at), &places).into_shared();
                    at += 1;
                }
            }
        }
        Ok(self.with(data))
    }

    /// Positions of non-zero elements along each axis, in C order.
    pub(crate) fn true_positions(&self) -> Vec<Array> {
        let mut positions: Vec<Vec<f64>> = vec![vec![]; self.ndim()];
        for (index, x) in self.data.indexed_iter() {
            if *x != 0.0 {
                for (axis, list) in positions.iter_mut().enumerate() {
                    list.push(index[axis] as f64);
                }
            }
        }
        let list = |values: Vec<f64>| Array {
            data: ndarray::Array1::from_vec(values).into_dyn().into_shared(),
            ty: Type::I64,
            flavor: self.flavor,
        };
        positions.into_iter().map(list).collect()
    }
}

fn checked(i: i64, size: usize, axis: usize) -> Result<usize> {
    position(i, size)
        .ok_or_else(|| err!("index {i} is out of bounds for axis {axis} with size {size}").kind(Kind::Config))
}
