//! `array[index]`: integers, slices, `...`, `None`, masks and lists of integers.
//!
//! One mask or list of integers per index: NumPy's rules for several are left out.

use super::{Array, Flavour, Type};
use crate::component::{BuildContext, FromValue, Value};
use crate::error::{Kind, Result};
use crate::python::common::wrong;
use crate::{bail, err};
use ndarray::{Axis, Slice};

enum Part {
    At(i64),
    Range([Option<i64>; 3]),
    New,
    Rest,
    /// Positions on an axis.
    Many(Vec<i64>),
    /// Elements where it is true; takes as many axes as it has.
    Mask(Array),
}

impl Part {
    fn new(value: &Value, flavour: Flavour) -> Result<Part> {
        Ok(match value {
            Value::Int(i) => Part::At(*i),
            Value::Slice(parts) => Part::Range(**parts),
            Value::None => Part::New,
            Value::Ellipsis => Part::Rest,
            Value::List(_) | Value::Object(_) | Value::Bool(_) | Value::Tuple(_) => {
                let array = Array::of("index", value, flavour, &mut BuildContext::default())?;
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
    /// Axes of the array that it takes.
    fn takes(&self) -> usize {
        match self {
            Part::At(_) | Part::Range(_) | Part::Many(_) => 1,
            Part::New | Part::Rest => 0,
            Part::Mask(mask) => mask.ndim(),
        }
    }
}

/// A slice of an axis of `n` as first position, number of positions, step.
fn range([start, stop, step]: [Option<i64>; 3], n: usize) -> Result<(usize, usize, i64)> {
    let step = step.unwrap_or(1);
    if step == 0 {
        bail!("array index: the slice's step must not be 0");
    }
    let n = n as i64;
    let clamp =
        |bound: i64, low: i64, high: i64| if bound < 0 { bound.saturating_add(n) } else { bound }.clamp(low, high);
    if step > 0 {
        let (start, stop) = (start.map_or(0, |s| clamp(s, 0, n)), stop.map_or(n, |s| clamp(s, 0, n)));
        let count = if stop > start { (stop - start - 1) / step + 1 } else { 0 };
        Ok((start as usize, count as usize, step))
    } else {
        let (start, stop) = (start.map_or(n - 1, |s| clamp(s, -1, n - 1)), stop.map_or(-1, |s| clamp(s, -1, n - 1)));
        let count = if start > stop { (start - stop - 1) / step.saturating_neg() + 1 } else { 0 };
        Ok((start.max(0) as usize, count as usize, step))
    }
}

impl Array {
    pub(crate) fn take(&self, index: &Value) -> Result<Array> {
        let parts: Vec<Part> = match index {
            Value::Tuple(parts) => parts.iter().map(|part| Part::new(part, self.flavour)).collect::<Result<_>>()?,
            one => vec![Part::new(one, self.flavour)?],
        };
        let taken: usize = parts.iter().map(Part::takes).sum();
        if taken > self.ndim() {
            return Err(err!("too many indices: {taken} for an array of {} axes", self.ndim()).kind(Kind::Config));
        }
        if parts.iter().filter(|part| matches!(part, Part::Rest)).count() > 1 {
            bail!("array index: `...` may stand once");
        }
        if parts.iter().filter(|part| matches!(part, Part::Many(_) | Part::Mask(_))).count() > 1 {
            bail!("array index: several lists of positions are not supported");
        }
        let mut data = self.data.clone();
        let mut at = 0;
        for part in &parts {
            let size = data.shape().get(at).copied().unwrap_or(0);
            match part {
                Part::At(i) => {
                    let i = position(*i, size, at)?;
                    data = data.index_axis_move(Axis(at), i);
                }
                Part::Range(bounds) => {
                    let (start, count, step) = range(*bounds, size)?;
                    if step < 0 && self.flavour == Flavour::Torch {
                        bail!("array index: torch's slices need a positive step");
                    }
                    if step > 0 {
                        let last = if count == 0 { start } else { start + (count - 1) * step as usize + 1 };
                        data.slice_axis_inplace(
                            Axis(at),
                            Slice::new(start as isize, Some(last as isize), step.min(isize::MAX as i64) as isize),
                        );
                    } else {
                        let positions: Vec<usize> =
                            (0..count).map(|i| (start as i64 + i as i64 * step) as usize).collect();
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
                    let positions = list.iter().map(|i| position(*i, size, at)).collect::<Result<Vec<_>>>()?;
                    data = data.select(Axis(at), &positions).into_shared();
                    at += 1;
                }
                // The axes of the mask become one, from which its true places are taken.
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

    /// For each axis, where the elements are that are not zero, in C order.
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
            flavour: self.flavour,
        };
        positions.into_iter().map(list).collect()
    }
}

fn position(i: i64, size: usize, axis: usize) -> Result<usize> {
    let at = if i < 0 { i.saturating_add(size as i64) } else { i };
    usize::try_from(at)
        .ok()
        .filter(|at| *at < size)
        .ok_or_else(|| err!("index {i} is out of bounds for axis {axis} with size {size}").kind(Kind::Config))
}
