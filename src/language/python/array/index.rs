//! `array[index]`: integers, slices, `...`, `None`, masks and lists of integers.
//!
//! Masks and lists of integers must stand side by side; NumPy's rule for those that do not is refused.

use super::{Array, Flavour, Type, elements};
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
    /// Positions, as an array of integers.
    Many(Array),
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
                    (ty, _) if !ty.is_float() || array.is_empty() => Part::Many(array),
                    _ => return Err(wrong("array index", "integers or bools", value)),
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
        let advanced = parts.iter().any(|part| matches!(part, Part::Many(_) | Part::Mask(_)));
        let mut data = self.data.clone();
        let mut at = 0;
        // First axis of the lists and masks, and the positions of each of their axes.
        let mut group: Option<(usize, Vec<Array>)> = None;
        for part in &parts {
            let size = data.shape().get(at).copied().unwrap_or(0);
            match part {
                // Next to a list, an integer is a list of one position.
                Part::At(i) if advanced && group.as_ref().is_some_and(|(first, all)| first + all.len() == at) => {
                    let position = position(*i, size, at)? as f64;
                    if let Some((_, all)) = &mut group {
                        all.push(Array::scalar(position, Type::I64, self.flavour));
                    }
                    at += 1;
                }
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
                Part::Many(_) | Part::Mask(_) => {
                    let lists = match part {
                        Part::Mask(mask) => {
                            if data.shape().get(at..at + mask.ndim()) != Some(mask.shape()) {
                                bail!(
                                    "array index: a mask of shape {:?} does not fit axes of {:?}",
                                    mask.shape(),
                                    data.shape()
                                );
                            }
                            mask.true_positions()
                        }
                        Part::Many(list) => {
                            let positions = list
                                .data
                                .iter()
                                .map(|i| Ok(position(*i as i64, size, at)? as f64))
                                .collect::<Result<Vec<_>>>()?;
                            vec![Array::from_values(list.shape(), positions, Type::I64, self.flavour)?]
                        }
                        _ => vec![],
                    };
                    let taken = lists.len();
                    match &mut group {
                        None => group = Some((at, lists)),
                        Some((first, all)) if *first + all.len() == at => all.extend(lists),
                        Some(_) => bail!("array index: lists of positions must stand side by side"),
                    }
                    at += taken;
                }
            }
        }
        let basic = self.with(data);
        match group {
            Some((first, lists)) => basic.gather(first, &lists),
            None => Ok(basic),
        }
    }

    /// The elements at `lists` of positions for the axes from `first` on; the lists are broadcast together.
    fn gather(&self, first: usize, lists: &[Array]) -> Result<Array> {
        let shape = lists.iter().try_fold(vec![], |shape, list| super::ops::broadcast_shape(&shape, list.shape()))?;
        let sizes = self.shape();
        let after = first + lists.len();
        let result = [&sizes[..first], &shape, &sizes[after..]].concat();
        elements(&result)?;
        let mut flat = vec![0usize; shape.iter().product()];
        for (list, size) in lists.iter().zip(&sizes[first..]) {
            let view = list
                .data
                .broadcast(ndarray::IxDyn(&shape))
                .ok_or_else(|| err!("array index: lists do not fit together"))?;
            flat.iter_mut().zip(view.iter()).for_each(|(flat, i)| *flat = *flat * size + *i as usize);
        }
        let call = &mut BuildContext::default();
        let together = [&sizes[..first], &[sizes[first..after].iter().product()], &sizes[after..]].concat();
        self.shaped(&together, call)?.selected(first, &flat).shaped(&result, call)
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
