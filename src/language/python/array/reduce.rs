//! What makes one number of many: sums, extremes, positions.

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
        charge(call, self.len())?;
        let others: Vec<usize> = (0..self.ndim()).filter(|at| !axes.contains(at)).collect();
        // The elements over the axes as rows, in C order of the other axes.
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
