//! Axes and shapes.

use super::{Array, charge, elements};
use crate::bundle::expr::values::position;
use crate::component::BuildContext;
use crate::error::{Kind, Result};
use crate::{bail, err};
use ndarray::{Axis, IxDyn};

/// Non-negative number of an axis; negative axes count from the end.
pub(super) fn axis(name: &str, axis: i64, ndim: usize) -> Result<usize> {
    position(axis, ndim).ok_or_else(|| err!("{name}: axis {axis} is out of range for {ndim} axes").kind(Kind::Config))
}

impl Array {
    /// Change the shape, in C order; one size may be -1.
    pub(crate) fn reshape(&self, name: &str, sizes: &[i64], call: &mut BuildContext) -> Result<Array> {
        let bad = || err!("{name}: cannot reshape {:?} to {sizes:?}", self.shape()).kind(Kind::Config);
        let known =
            sizes.iter().filter(|n| **n >= 0).try_fold(1usize, |p, n| p.checked_mul(*n as usize)).ok_or_else(bad)?;
        let open = sizes.iter().filter(|n| **n < 0).count();
        if open > 1
            || sizes.iter().any(|n| *n < -1)
            || open == 1 && (known == 0 || !self.len().is_multiple_of(known))
            || open == 0 && known != self.len()
        {
            return Err(bad());
        }
        let shape: Vec<usize> = sizes.iter().map(|n| if *n < 0 { self.len() / known } else { *n as usize }).collect();
        self.shaped(&shape, call)
    }

    /// Change the shape to one with the same number of elements.
    pub fn shaped(&self, shape: &[usize], call: &mut BuildContext) -> Result<Array> {
        // Values in C order are shared, others are copied.
        if self.data.is_standard_layout() {
            let data = self.data.clone().into_shape_with_order(IxDyn(shape));
            return Ok(self.with(data.map_err(|_| err!("cannot reshape {:?} to {shape:?}", self.shape()))?));
        }
        charge(call, self.len())?;
        Array::from_values(shape, self.values(), self.ty, self.flavor)
    }

    pub(crate) fn permuted(&self, name: &str, axes: &[i64]) -> Result<Array> {
        let order: Vec<usize> = axes.iter().map(|at| axis(name, *at, self.ndim())).collect::<Result<_>>()?;
        let mut sorted = order.clone();
        sorted.sort_unstable();
        if sorted != (0..self.ndim()).collect::<Vec<_>>() {
            bail!("{name}: expected a permutation of {} axes, found {axes:?}", self.ndim());
        }
        Ok(self.with(self.data.clone().permuted_axes(IxDyn(&order))))
    }

    pub(crate) fn swapped(&self, name: &str, a: i64, b: i64) -> Result<Array> {
        let (a, b) = (axis(name, a, self.ndim())?, axis(name, b, self.ndim())?);
        let mut data = self.data.clone();
        data.swap_axes(a, b);
        Ok(self.with(data))
    }

    /// Remove all or the given axes of size 1. Other sizes are an error in NumPy, and kept in torch.
    pub(crate) fn squeezed(&self, name: &str, axes: Option<&[i64]>) -> Result<Array> {
        let mut drop: Vec<usize> = match axes {
            None => (0..self.ndim()).filter(|at| self.shape()[*at] == 1).collect(),
            Some(axes) => axes.iter().map(|at| axis(name, *at, self.ndim())).collect::<Result<_>>()?,
        };
        if self.flavor == super::Flavor::Numpy
            && let Some(at) = drop.iter().find(|at| self.shape()[**at] != 1)
        {
            bail!("{name}: axis {at} has size {}, expected 1", self.shape()[*at]);
        }
        drop.sort_unstable();
        drop.dedup();
        let mut data = self.data.clone();
        for at in drop.into_iter().rev().filter(|at| self.shape()[*at] == 1) {
            data = data.index_axis_move(Axis(at), 0);
        }
        Ok(self.with(data))
    }

    pub(crate) fn unsqueezed(&self, name: &str, at: i64) -> Result<Array> {
        if self.ndim() >= 32 {
            bail!("{name}: more than 32 axes");
        }
        let at = axis(name, at, self.ndim() + 1)?;
        Ok(self.with(self.data.clone().insert_axis(Axis(at))))
    }

    /// Merge the axes `from..=to` into one.
    pub(crate) fn flattened(&self, name: &str, from: i64, to: i64, call: &mut BuildContext) -> Result<Array> {
        if self.ndim() == 0 {
            return self.shaped(&[1], call);
        }
        let (from, to) = (axis(name, from, self.ndim())?, axis(name, to, self.ndim())?);
        if from > to {
            bail!("{name}: expected start_dim <= end_dim, found {from} and {to}");
        }
        let shape = self.shape();
        let middle = shape[from..=to].iter().product();
        let shape = [&shape[..from], &[middle], &shape[to + 1..]].concat();
        self.shaped(&shape, call)
    }

    /// Broadcast to a shape; -1 keeps the size of an axis.
    pub(crate) fn expanded(&self, name: &str, sizes: &[i64], call: &mut BuildContext) -> Result<Array> {
        let Some(new) = sizes.len().checked_sub(self.ndim()) else {
            bail!("{name}: {sizes:?} has fewer axes than {:?}", self.shape())
        };
        let shape: Vec<usize> = sizes
            .iter()
            .enumerate()
            .map(|(at, n)| match (*n, at.checked_sub(new).map(|at| self.shape()[at])) {
                (-1, Some(own)) => Ok(own),
                (n, _) => usize::try_from(n).map_err(|_| err!("{name}: negative size {n}").kind(Kind::Config)),
            })
            .collect::<Result<_>>()?;
        charge(call, elements(&shape)?)?;
        let view = self
            .data
            .broadcast(IxDyn(&shape))
            .ok_or_else(|| err!("{name}: cannot expand {:?} to {shape:?}", self.shape()).kind(Kind::Config))?;
        Ok(Array::new(view.to_owned(), self.ty, self.flavor))
    }

    pub(crate) fn flipped(&self, name: &str, axes: &[i64]) -> Result<Array> {
        let mut data = self.data.clone();
        for at in axes {
            data.invert_axis(Axis(axis(name, *at, self.ndim())?));
        }
        Ok(self.with(data))
    }
}
