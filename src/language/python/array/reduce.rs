//! What makes one number of many: sums, extremes, positions; and sorting.

use super::dtype::Category;
use super::shape::axis;
use super::{Array, Flavour, Type, charge};
use crate::component::BuildContext;
use crate::error::{Kind, Result};
use crate::{bail, err};
use ndarray::IxDyn;

/// Over which axes, whether they stay with size 1, and the type to compute in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Over {
    pub axes: Option<Vec<i64>>,
    pub keep: bool,
    pub ty: Option<Type>,
}

impl Array {
    /// The axes as numbers from the front, without doubles.
    fn which(&self, name: &str, axes: &Option<Vec<i64>>) -> Result<Vec<usize>> {
        let Some(axes) = axes else { return Ok((0..self.ndim()).collect()) };
        let mut which: Vec<usize> = axes.iter().map(|at| axis(name, *at, self.ndim())).collect::<Result<_>>()?;
        which.sort_unstable();
        which.dedup();
        if which.len() != axes.len() {
            bail!("{name}: an axis is named twice in {axes:?}");
        }
        Ok(which)
    }

    /// The elements over `axes` as rows, in C order of the other axes; and those axes' sizes.
    fn lines(&self, axes: &[usize], call: &mut BuildContext) -> Result<(Vec<f64>, usize, Vec<usize>)> {
        let others: Vec<usize> = (0..self.ndim()).filter(|at| !axes.contains(at)).collect();
        let order = [&others[..], axes].concat();
        charge(call, self.len())?;
        let values = self.data.view().permuted_axes(IxDyn(&order)).iter().copied().collect();
        Ok((
            values,
            axes.iter().map(|at| self.shape()[*at]).product(),
            others.iter().map(|at| self.shape()[*at]).collect(),
        ))
    }

    fn reduce(
        &self,
        name: &str,
        over: &Over,
        ty: Type,
        call: &mut BuildContext,
        f: impl Fn(&[f64]) -> f64,
    ) -> Result<Array> {
        let axes = self.which(name, &over.axes)?;
        let (values, width, sizes) = self.lines(&axes, call)?;
        let count = sizes.iter().product();
        let results = if width == 0 { vec![f(&[]); count] } else { values.chunks(width).map(f).collect() };
        let shape: Vec<usize> = match over.keep {
            true => self.shape().iter().enumerate().map(|(at, n)| if axes.contains(&at) { 1 } else { *n }).collect(),
            false => sizes,
        };
        Array::from_values(&shape, results, ty, self.flavour)
    }

    fn not_empty(&self, name: &str) -> Result<()> {
        if self.is_empty() { Err(err!("{name}: the array has no elements").kind(Kind::Config)) } else { Ok(()) }
    }

    /// A reduction to numbers by NumPy's or torch's name; `None` if there is none of that name.
    pub(crate) fn reduction(&self, name: &str, over: &Over, call: &mut BuildContext) -> Result<Option<Array>> {
        let number = self.ty.category();
        // Sums of integers are wide.
        let sum_type = over.ty.unwrap_or(match (number, self.flavour, self.ty) {
            (Category::Float, _, ty) => ty,
            (_, Flavour::Numpy, Type::U8 | Type::U16 | Type::U32 | Type::U64) => Type::U64,
            _ => Type::I64,
        });
        let mean_type = over.ty.unwrap_or(if number == Category::Float { self.ty } else { Type::F64 });
        let total = |row: &[f64]| row.iter().sum::<f64>();
        let average = |row: &[f64]| row.iter().sum::<f64>() / row.len() as f64;
        let bool = |b: bool| f64::from(u8::from(b));
        Ok(Some(match name {
            "sum" => self.reduce(name, over, sum_type, call, total)?,
            "nansum" => self.reduce(name, over, sum_type, call, |row| row.iter().filter(|x| !x.is_nan()).sum())?,
            "prod" => self.reduce(name, over, sum_type, call, |row| row.iter().product())?,
            "mean" | "average" => {
                if self.flavour == Flavour::Torch && !mean_type.is_float()
                    || over.ty.is_none() && self.flavour == Flavour::Torch && number != Category::Float
                {
                    return Err(err!("{name}: expected a float tensor, found {}", self.ty.name())
                        .kind(Kind::Config)
                        .hint("use `.float()` first"));
                }
                self.reduce(name, over, mean_type, call, average)?
            }
            "nanmean" => self.reduce(name, over, mean_type, call, |row| {
                let valid: Vec<f64> = row.iter().copied().filter(|x| !x.is_nan()).collect();
                average(&valid)
            })?,
            "max" | "amax" => {
                self.not_empty(name)?;
                self.reduce(name, over, self.ty, call, |row| extreme(row, |a, b| a > b))?
            }
            "min" | "amin" => {
                self.not_empty(name)?;
                self.reduce(name, over, self.ty, call, |row| extreme(row, |a, b| a < b))?
            }
            "ptp" => {
                self.not_empty(name)?;
                self.reduce(name, over, self.ty, call, |row| extreme(row, |a, b| a > b) - extreme(row, |a, b| a < b))?
            }
            "all" => self.reduce(name, over, Type::Bool, call, |row| bool(row.iter().all(|x| *x != 0.0)))?,
            "any" => self.reduce(name, over, Type::Bool, call, |row| bool(row.iter().any(|x| *x != 0.0)))?,
            "count_nonzero" => {
                self.reduce(name, over, Type::I64, call, |row| row.iter().filter(|x| **x != 0.0).count() as f64)?
            }
            // torch's median is the lower of two middle elements, NumPy's their mean.
            "median" if self.flavour == Flavour::Torch => {
                self.reduce(name, over, self.ty, call, |row| quantile(row, 0.5, true))?
            }
            "median" => self.reduce(name, over, mean_type, call, |row| quantile(row, 0.5, false))?,
            "argmax" | "argmin" => {
                self.not_empty(name)?;
                let better: fn(f64, f64) -> bool = if name == "argmax" { |a, b| a > b } else { |a, b| a < b };
                self.reduce(name, over, Type::I64, call, |row| first_extreme(row, better) as f64)?
            }
            _ => return Ok(None),
        }))
    }

    /// Spread with `less` degrees of freedom taken off (0 in NumPy, 1 in torch, by default).
    pub(crate) fn spread(
        &self,
        name: &str,
        over: &Over,
        less: f64,
        root: bool,
        call: &mut BuildContext,
    ) -> Result<Array> {
        if self.flavour == Flavour::Torch && !self.ty.is_float() {
            return Err(err!("{name}: expected a float tensor, found {}", self.ty.name()).kind(Kind::Config));
        }
        let ty = over.ty.unwrap_or(if self.ty.is_float() { self.ty } else { Type::F64 });
        self.reduce(name, over, ty, call, |row| {
            let n = row.len() as f64;
            let mean = row.iter().sum::<f64>() / n;
            let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - less).max(0.0);
            if root { variance.sqrt() } else { variance }
        })
    }

    /// Linear between the nearest ranks.
    pub(crate) fn quantiles(&self, name: &str, q: f64, over: &Over, call: &mut BuildContext) -> Result<Array> {
        self.not_empty(name)?;
        if !(0.0..=1.0).contains(&q) {
            return Err(err!("{name}: expected a fraction of 0 to 1 (0 to 100 %), found {q}").kind(Kind::Config));
        }
        let ty = if self.ty.is_float() { self.ty } else { Type::F64 };
        self.reduce(name, over, ty, call, |row| quantile(row, q, false))
    }

    /// Running sums or products along an axis, of the flat array without one.
    pub(crate) fn running(
        &self,
        name: &str,
        at: Option<i64>,
        call: &mut BuildContext,
        f: fn(f64, f64) -> f64,
    ) -> Result<Array> {
        let ty = if self.ty.is_float() { self.ty } else { Type::I64 };
        let array = if at.is_none() { self.shaped(&[self.len()], call)? } else { self.clone() };
        let at = axis(name, at.unwrap_or(0), array.ndim())?;
        array.by_line(at, ty, call, |line| {
            let mut sum = None;
            line.iter().map(|x| *sum.insert(sum.map_or(*x, |sum| f(sum, *x)))).collect()
        })
    }

    /// Sorted values along an axis.
    pub(crate) fn sorted(&self, name: &str, at: i64, descending: bool, call: &mut BuildContext) -> Result<Array> {
        let at = axis(name, at, self.ndim())?;
        self.by_line(at, self.ty, call, |line| order(line, descending).into_iter().map(|i| line[i]).collect())
    }

    /// Positions of the sorted values along an axis; equal ones keep their order.
    pub(crate) fn order(&self, name: &str, at: i64, descending: bool, call: &mut BuildContext) -> Result<Array> {
        let at = axis(name, at, self.ndim())?;
        self.by_line(at, Type::I64, call, |line| order(line, descending).into_iter().map(|i| i as f64).collect())
    }

    pub(crate) fn softmax(&self, name: &str, at: i64, log: bool, call: &mut BuildContext) -> Result<Array> {
        if !self.ty.is_float() {
            return Err(err!("{name}: expected a float tensor, found {}", self.ty.name()).kind(Kind::Config));
        }
        let at = axis(name, at, self.ndim())?;
        self.by_line(at, self.ty, call, |line| {
            let top = extreme(line, |a, b| a > b);
            let sum: f64 = line.iter().map(|x| (x - top).exp()).sum();
            line.iter().map(|x| if log { x - top - sum.ln() } else { (x - top).exp() / sum }).collect()
        })
    }

    /// `f` on each line along an axis; as many values come out as go in.
    fn by_line(&self, at: usize, ty: Type, call: &mut BuildContext, f: impl Fn(&[f64]) -> Vec<f64>) -> Result<Array> {
        let (values, width, sizes) = self.lines(&[at], call)?;
        let results: Vec<f64> = if width == 0 { vec![] } else { values.chunks(width).flat_map(f).collect() };
        let moved = Array::from_values(&[&sizes[..], &[width]].concat(), results, ty, self.flavour)?;
        // The line's axis goes back from the end to its place.
        let back: Vec<usize> =
            (0..self.ndim()).map(|i| if i == at { self.ndim() - 1 } else { i - usize::from(i > at) }).collect();
        Ok(moved.with(moved.data.clone().permuted_axes(IxDyn(&back))))
    }

    /// Different values in order, how often each occurs, and where each first occurs in C order.
    pub(crate) fn unique(&self, call: &mut BuildContext) -> Result<[Array; 3]> {
        charge(call, self.len().saturating_mul(4))?;
        let values = self.values();
        let (mut distinct, mut counts, mut places): (Vec<f64>, Vec<f64>, Vec<f64>) = (vec![], vec![], vec![]);
        for i in order(&values, false) {
            match distinct.last() {
                Some(last) if *last == values[i] || last.is_nan() && values[i].is_nan() => {
                    if let Some(count) = counts.last_mut() {
                        *count += 1.0;
                    }
                }
                _ => {
                    distinct.push(values[i]);
                    counts.push(1.0);
                    places.push(i as f64);
                }
            }
        }
        let list = |values: Vec<f64>, ty| Array::from_values(&[values.len()], values, ty, self.flavour);
        Ok([list(distinct, self.ty)?, list(counts, Type::I64)?, list(places, Type::I64)?])
    }
}

/// NaN wins, as in NumPy and torch.
fn first_extreme(row: &[f64], better: impl Fn(f64, f64) -> bool) -> usize {
    let mut best = 0;
    for (i, x) in row.iter().enumerate() {
        if row[best].is_nan() {
            break;
        }
        if x.is_nan() || better(*x, row[best]) {
            best = i;
        }
    }
    best
}

fn extreme(row: &[f64], better: impl Fn(f64, f64) -> bool) -> f64 {
    row.get(first_extreme(row, better)).copied().unwrap_or(f64::NAN)
}

fn quantile(row: &[f64], q: f64, lower: bool) -> f64 {
    if row.is_empty() || row.iter().any(|x| x.is_nan()) {
        return f64::NAN;
    }
    let mut sorted = row.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let rank = q * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[rank.floor() as usize], sorted[rank.ceil() as usize]);
    if lower { low } else { low + (high - low) * rank.fract() }
}

/// Positions in order of value; NaN last in ascending order, first in descending; stable.
fn order(line: &[f64], descending: bool) -> Vec<usize> {
    let compare = |a: f64, b: f64| a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()));
    let mut positions: Vec<usize> = (0..line.len()).collect();
    positions.sort_by(|a, b| if descending { compare(line[*b], line[*a]) } else { compare(line[*a], line[*b]) });
    positions
}
