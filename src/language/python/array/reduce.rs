//! Reductions: sums, extremes, positions.

use super::dtype::Category;
use super::shape::axis;
use super::{Array, Flavor, Type, charge, joined};
use crate::component::{BuildContext, OneOrMany};
use crate::error::{Kind, Result};
use crate::python::given::Given;
use crate::{bail, err};
use ndarray::IxDyn;
use std::cmp::Ordering;

/// Arguments of a reduction.
pub(super) struct Over {
    /// Axes to reduce; `None` for all.
    pub axes: Option<Vec<i64>>,
    /// Whether the axes are kept with size 1.
    pub keep: bool,
    /// Data type of the result.
    pub ty: Option<Type>,
}

impl Over {
    /// Reads the parameters `axis|dim`, `keepdims|keepdim` and `dtype` (optional), which start at position `first`.
    pub fn new(given: &Given, first: usize) -> Result<Over> {
        let axes = given.integers(first)?;
        Ok(Over { axes, keep: given.get(first + 1)?.unwrap_or(false), ty: given.get(first + 2)? })
    }
}

impl Array {
    /// Sorted non-negative axes.
    ///
    /// # Errors
    /// Duplicate axes or axes out of range.
    fn which(&self, name: &str, axes: &Option<Vec<i64>>) -> Result<Vec<usize>> {
        let Some(axes) = axes else { return Ok((0..self.ndim()).collect()) };
        let mut which: Vec<usize> = axes.iter().map(|at| axis(name, *at, self.ndim())).collect::<Result<_>>()?;
        which.sort_unstable();
        which.dedup();
        if which.len() != axes.len() {
            bail!("{name}: duplicate axis in {axes:?}");
        }
        Ok(which)
    }

    /// Apply `f` to the elements along the axes of `over`.
    pub(super) fn reduce(
        &self,
        name: &str,
        over: &Over,
        ty: Type,
        call: &mut BuildContext,
        f: impl Fn(&[f64]) -> f64,
    ) -> Result<Array> {
        let axes = self.which(name, &over.axes)?;
        charge(call, self.len())?;
        let others: Vec<usize> = (0..self.ndim()).filter(|at| !axes.contains(at)).collect();
        // One row per element of the result, in C order.
        let view = self.data.view().permuted_axes(IxDyn(&[&others[..], &axes].concat()));
        let values: Vec<f64> = view.iter().copied().collect();
        let width: usize = axes.iter().map(|at| self.shape()[*at]).product();
        let sizes: Vec<usize> = others.iter().map(|at| self.shape()[*at]).collect();
        let count = sizes.iter().product();
        let results = if width == 0 { vec![f(&[]); count] } else { values.chunks(width).map(f).collect() };
        let shape: Vec<usize> = match over.keep {
            true => self.shape().iter().enumerate().map(|(at, n)| if axes.contains(&at) { 1 } else { *n }).collect(),
            false => sizes,
        };
        Array::from_values(&shape, results, ty, self.flavor)
    }

    /// `numpy.percentile` with `method='linear'`; several percentiles are the first axis of the result.
    pub(super) fn percentiles(&self, given: &Given, call: &mut BuildContext) -> Result<Array> {
        self.not_empty(given.called)?;
        let over = Over { axes: given.integers(1)?, keep: given.get(2)?.unwrap_or(false), ty: None };
        let ty = self.mean_type(given.called, None)?;
        let mut one = |q: &f64| {
            if !(0.0..=100.0).contains(q) {
                bail!("{}: expected percentiles from 0 to 100, found {q}", given.called);
            }
            call.charge(self.len())?;
            self.reduce(given.called, &over, ty, call, |row| percentile(row, *q))
        };
        match given.need(0)? {
            OneOrMany::One(q) => one(&q),
            OneOrMany::Many(list) => {
                let rows = list.iter().map(one).collect::<Result<Vec<_>>>()?;
                joined(given.called, &rows, 0, true, call)
            }
        }
    }

    /// Sorted distinct elements. NaNs are last, and equal in NumPy only.
    pub(super) fn unique(&self, call: &mut BuildContext) -> Result<Array> {
        call.charge(self.len())?;
        let mut values = self.values();
        values.sort_by(|a, b| a.is_nan().cmp(&b.is_nan()).then(a.partial_cmp(b).unwrap_or(Ordering::Equal)));
        let numpy = self.flavor == Flavor::Numpy;
        values.dedup_by(|a, b| a == b || numpy && a.is_nan() && b.is_nan());
        Array::from_values(&[values.len()], values, self.ty, self.flavor)
    }

    pub(super) fn not_empty(&self, name: &str) -> Result<()> {
        if self.is_empty() { Err(err!("{name}: the array has no elements").kind(Kind::Config)) } else { Ok(()) }
    }

    /// Data type of sums: 64-bit integers for integers.
    pub(super) fn sum_type(&self) -> Type {
        match (self.ty.category(), self.flavor, self.ty) {
            (Category::Float, _, ty) => ty,
            (_, Flavor::Numpy, Type::U8 | Type::U16 | Type::U32 | Type::U64) => Type::U64,
            _ => Type::I64,
        }
    }

    /// Data type of means and deviations; torch requires floats.
    pub(super) fn mean_type(&self, name: &str, asked: Option<Type>) -> Result<Type> {
        if self.flavor == Flavor::Torch && !asked.unwrap_or(self.ty).is_float() {
            return Err(err!("{name}: expected a float tensor, found {}", self.ty.name())
                .kind(Kind::Config)
                .hint("use `.float()` first"));
        }
        Ok(asked.unwrap_or(if self.ty.is_float() { self.ty } else { Type::F64 }))
    }

    /// Standard deviation (`root`) or variance; the default of `ddof` is 0 in NumPy and 1 in torch.
    pub(super) fn spread(&self, given: &Given, root: bool, call: &mut BuildContext) -> Result<Array> {
        let unbiased: Option<bool> = given.get(1)?;
        let over = Over { axes: given.integers(0)?, keep: given.get(2)?.unwrap_or(false), ty: given.get(4)? };
        let less: Option<f64> = given.get(3)?.or(unbiased.map(|unbiased| f64::from(u8::from(unbiased))));
        let less = less.unwrap_or(if self.torch() { 1.0 } else { 0.0 });
        let ty = self.mean_type(given.called, over.ty)?;
        self.reduce(given.called, &over, ty, call, |row| {
            let n = row.len() as f64;
            let mean = row.iter().sum::<f64>() / n;
            let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - less).max(0.0);
            if root { variance.sqrt() } else { variance }
        })
    }
}

/// Percentile `q` with linear interpolation between adjacent elements; NaN if there is any NaN.
fn percentile(row: &[f64], q: f64) -> f64 {
    if row.iter().any(|x| x.is_nan()) {
        return f64::NAN;
    }
    let mut sorted = row.to_vec();
    sorted.sort_by(f64::total_cmp);
    crate::percentile(sorted.len(), q, |at| (sorted[at], sorted[(at + 1).min(sorted.len() - 1)]))
}

/// Position of the first extreme; NaN takes precedence, as in NumPy and torch.
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

/// Value at [`first_extreme`].
pub(super) fn extreme(row: &[f64], better: impl Fn(f64, f64) -> bool) -> f64 {
    row.get(first_extreme(row, better)).copied().unwrap_or(f64::NAN)
}
