//! What makes one number of many: sums, extremes, positions; and sorting.

use super::dtype::Category;
use super::given::Given;
use super::shape::axis;
use super::{Array, Flavour, Type, charge};
use crate::component::BuildContext;
use crate::error::{Kind, Result};
use crate::{bail, err};
use ndarray::IxDyn;

/// Over which axes, whether they stay with size 1, and the type to compute in.
pub(super) struct Over {
    pub axes: Option<Vec<i64>>,
    pub keep: bool,
    pub ty: Option<Type>,
}

impl Over {
    /// From the parameters `axis|dim`, `keepdims|keepdim` and, if there is one, `dtype` that begin at `first`.
    pub fn new(given: &Given, first: usize) -> Result<Over> {
        let axes = given.integers(first)?;
        Ok(Over { axes, keep: given.get(first + 1)?.unwrap_or(false), ty: given.get(first + 2)? })
    }
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

    /// `f` of the elements over the axes.
    pub(super) fn reduce(
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

    pub(super) fn not_empty(&self, name: &str) -> Result<()> {
        if self.is_empty() { Err(err!("{name}: the array has no elements").kind(Kind::Config)) } else { Ok(()) }
    }

    /// The type of sums: integers are summed as 64-bit integers.
    pub(super) fn sum_type(&self) -> Type {
        match (self.ty.category(), self.flavour, self.ty) {
            (Category::Float, _, ty) => ty,
            (_, Flavour::Numpy, Type::U8 | Type::U16 | Type::U32 | Type::U64) => Type::U64,
            _ => Type::I64,
        }
    }

    /// The type of means and spreads; torch takes floats only.
    pub(super) fn mean_type(&self, name: &str, asked: Option<Type>) -> Result<Type> {
        if self.flavour == Flavour::Torch && !asked.unwrap_or(self.ty).is_float() {
            return Err(err!("{name}: expected a float tensor, found {}", self.ty.name())
                .kind(Kind::Config)
                .hint("use `.float()` first"));
        }
        Ok(asked.unwrap_or(if self.ty.is_float() { self.ty } else { Type::F64 }))
    }

    /// Standard deviation (`root`) or variance, with 0 (NumPy) or 1 (torch) degrees of freedom taken off by default.
    pub(super) fn spread(&self, given: &Given, root: bool, call: &mut BuildContext) -> Result<Array> {
        let unbiased: Option<bool> = given.get(1)?;
        let over = Over { axes: given.integers(0)?, keep: given.get(2)?.unwrap_or(false), ty: given.get(4)? };
        let less: Option<f64> = given.get(3)?.or(unbiased.map(|unbiased| f64::from(u8::from(unbiased))));
        let less = less.unwrap_or(if given.torch() { 1.0 } else { 0.0 });
        let ty = self.mean_type(given.called, over.ty)?;
        self.reduce(given.called, &over, ty, call, |row| {
            let n = row.len() as f64;
            let mean = row.iter().sum::<f64>() / n;
            let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - less).max(0.0);
            if root { variance.sqrt() } else { variance }
        })
    }

    /// Running sums along an axis, of the flat array without one.
    pub(super) fn running_sum(&self, name: &str, at: Option<i64>, call: &mut BuildContext) -> Result<Array> {
        let ty = if self.ty.is_float() { self.ty } else { Type::I64 };
        let array = if at.is_none() { self.shaped(&[self.len()], call)? } else { self.clone() };
        let at = axis(name, at.unwrap_or(0), array.ndim())?;
        array.by_line(at, ty, call, |line| {
            let mut sum = 0.0;
            line.iter()
                .map(|x| {
                    sum += x;
                    sum
                })
                .collect()
        })
    }

    /// Sorted values along an axis.
    pub(super) fn sorted(&self, name: &str, at: i64, descending: bool, call: &mut BuildContext) -> Result<Array> {
        let at = axis(name, at, self.ndim())?;
        self.by_line(at, self.ty, call, |line| order(line, descending).into_iter().map(|i| line[i]).collect())
    }

    /// Positions of the sorted values along an axis; equal ones keep their order.
    pub(super) fn order(&self, name: &str, at: i64, descending: bool, call: &mut BuildContext) -> Result<Array> {
        let at = axis(name, at, self.ndim())?;
        self.by_line(at, Type::I64, call, |line| order(line, descending).into_iter().map(|i| i as f64).collect())
    }

    pub(super) fn softmax(&self, name: &str, at: i64, call: &mut BuildContext) -> Result<Array> {
        if !self.ty.is_float() {
            return Err(err!("{name}: expected a float tensor, found {}", self.ty.name()).kind(Kind::Config));
        }
        let at = axis(name, at, self.ndim())?;
        self.by_line(at, self.ty, call, |line| {
            let top = extreme(line, |a, b| a > b);
            let sum: f64 = line.iter().map(|x| (x - top).exp()).sum();
            line.iter().map(|x| (x - top).exp() / sum).collect()
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

    /// Different values in order, and how often each occurs.
    pub(super) fn unique(&self, call: &mut BuildContext) -> Result<[Array; 2]> {
        charge(call, self.len().saturating_mul(4))?;
        let mut values = self.values();
        values.sort_unstable_by(f64::total_cmp);
        let groups: Vec<&[f64]> = values.chunk_by(|a, b| a == b).collect();
        let list = |values: Vec<f64>, ty| Array::from_values(&[values.len()], values, ty, self.flavour);
        let distinct = groups.iter().map(|group| group[0]).collect();
        Ok([list(distinct, self.ty)?, list(groups.iter().map(|group| group.len() as f64).collect(), Type::I64)?])
    }
}

/// NaN wins, as in NumPy and torch.
pub(super) fn first_extreme(row: &[f64], better: impl Fn(f64, f64) -> bool) -> usize {
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

pub(super) fn extreme(row: &[f64], better: impl Fn(f64, f64) -> bool) -> f64 {
    row.get(first_extreme(row, better)).copied().unwrap_or(f64::NAN)
}

pub(super) fn quantile(row: &[f64], q: f64, lower: bool) -> f64 {
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
