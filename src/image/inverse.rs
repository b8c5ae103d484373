//! Inverts recorded spatial operations: from the network's grid back to the grid of the file.
//!
//! Operations are inverted one by one, as in MONAI's `Invertd`: a crop by padding with a constant, a reorientation by
//! the opposite one, a resampling by resampling to the previous grid, with the affine that MONAI tracks on the way.
//! Consecutive axis-aligned nearest-neighbor operations are composed into one index table per axis, so that voxels are
//! gathered once.

use super::crop::shifted;
use super::gather::{Lookup, OUTSIDE, Source, gather_axes};
use super::linear_argmax::{Channels, linear_argmax, offsets};
use super::orient::turn_affine;
use super::sampling::{Sampler, Sampling};
use super::{Affine, Applied, Grid, Interpolation, Spatial};
use crate::error::Result;
use rayon::prelude::*;
use std::sync::Arc;

/// The inverse of a sequence of spatial operations.
#[derive(Debug, Clone)]
pub struct Inverse {
    from: Grid,
    to: Grid,
    /// Last operation first.
    steps: Vec<Step>,
}

#[derive(Debug, Clone)]
enum Step {
    Axes(AxesMap),
    /// With the recorded parameters, and as used by [`Inverse::nearest`].
    Resample {
        recorded: Box<Sampler>,
        nearest: Box<Sampler>,
        interpolation: Interpolation,
    },
}

/// Input axis i is read at `table[i][position along output axis axis[i]]`.
#[derive(Debug, Clone)]
struct AxesMap {
    from: [usize; 3],
    to: [usize; 3],
    axis: [usize; 3],
    table: [Vec<u32>; 3],
}

impl Inverse {
    /// Creates the inverse of `ops`, which are given oldest first.
    ///
    /// # Errors
    /// A recorded affine is singular.
    pub fn new(ops: &[Arc<Applied>]) -> Result<Inverse> {
        let identity = Grid { shape: [0; 3], affine: Affine::IDENTITY };
        let from = ops.last().map_or(identity, |op| op.after);
        let to = ops.first().map_or(identity, |op| op.before);
        // The grid in MONAI's metadata during the inversion. Its affine may differ from the recorded one in the last
        // bits, which can decide ties of nearest neighbors.
        let mut now = from;
        let mut steps = Vec::with_capacity(ops.len());
        for op in ops.iter().rev() {
            let before = op.before.shape;
            match op.what {
                Spatial::Orient { axes, flips } => {
                    // Axis axes[i] of the result is axis i, reversed if it was reversed before.
                    let mut back = [0; 3];
                    let mut reversed = [false; 3];
                    for (output, &input) in axes.iter().enumerate() {
                        back[input] = output;
                        reversed[input] = flips[output];
                    }
                    now.affine = now.affine.updated(&turn_affine(back, reversed, now.shape));
                    let table = |i: usize| {
                        let n = before[axes[i]] as u32;
                        (0..n).map(|at| if flips[i] { n - 1 - at } else { at }).collect()
                    };
                    steps.push(Step::Axes(AxesMap {
                        from: now.shape,
                        to: before,
                        axis: axes,
                        table: std::array::from_fn(table),
                    }));
                }
                Spatial::CropPad { start } => {
                    now.affine = shifted(&now.affine, start.map(|s| -s));
                    let table = |i: usize| {
                        let inside = |at: isize| (0..now.shape[i] as isize).contains(&at);
                        (0..before[i] as isize)
                            .map(|at| if inside(at - start[i]) { (at - start[i]) as u32 } else { OUTSIDE })
                            .collect()
                    };
                    steps.push(Step::Axes(AxesMap {
                        from: now.shape,
                        to: before,
                        axis: [0, 1, 2],
                        table: std::array::from_fn(table),
                    }));
                }
                Spatial::Resample { interpolation, padding, align_corners } => {
                    let sampling = |align_corners| Sampling::new(&now, &op.before, padding, align_corners);
                    // MONAI's `convert_applied_interp_mode` removes align_corners when it switches an inversion to
                    // nearest.
                    if let (Sampling::Resample(recorded), Sampling::Resample(nearest)) =
                        (sampling(align_corners)?, sampling(false)?)
                    {
                        now.affine = recorded.affine;
                        steps.push(Step::Resample { recorded, nearest, interpolation });
                    }
                }
            }
            now.shape = before;
        }
        Ok(Inverse { from, to, steps })
    }
    /// Grid of the input, that is, of the network's output.
    pub fn from_grid(&self) -> Grid {
        self.from
    }
    /// Grid of the result, that is, of the file.
    pub fn to_grid(&self) -> Grid {
        self.to
    }
    /// Maps labels `[X,Y,Z]` in C order on [`Inverse::from_grid`] to [`Inverse::to_grid`] by nearest-neighbor
    /// interpolation. Regions that a crop removed get `fill`.
    pub fn nearest<T: Copy + Send + Sync>(&self, map: &[T], fill: T) -> Vec<T> {
        let mut current: Option<Vec<T>> = None;
        let mut composed: Option<AxesMap> = None;
        for step in &self.steps {
            let next = match step {
                Step::Axes(map) => map.clone(),
                Step::Resample { nearest, .. } if nearest.is_separable() => AxesMap::of(nearest),
                Step::Resample { nearest: sampler, .. } => {
                    if let Some(axes) = composed.take() {
                        current = Some(axes.apply(current.as_deref().unwrap_or(map), fill));
                    }
                    let mut out = vec![fill; sampler.to.iter().product()];
                    let source = Source::dense(current.as_deref().unwrap_or(map), sampler.from);
                    super::resample::nearest(source, sampler, fill, &mut out);
                    current = Some(out);
                    continue;
                }
            };
            composed = Some(match composed {
                None => next,
                Some(before) => before.then(&next),
            });
        }
        match (composed, current) {
            (Some(axes), current) => axes.apply(current.as_deref().unwrap_or(map), fill),
            (None, Some(current)) => current,
            (None, None) => map.to_vec(),
        }
    }
    /// Maps one channel `[X,Y,Z]` in C order, inverting each operation with its recorded interpolation. Regions that a
    /// crop removed get 0.
    ///
    /// # Errors
    /// The size of the channel differs from that of [`Inverse::from_grid`].
    pub fn linear(&self, channel: &[f32]) -> Result<Vec<f32>> {
        let expected: usize = self.from.shape.iter().product();
        if channel.len() != expected {
            crate::bail!(
                "expected a channel of {:?} voxels to invert, found {} voxels",
                self.from.shape,
                channel.len()
            );
        }
        let mut current: Option<Vec<f32>> = None;
        for step in &self.steps {
            let values = current.as_deref().unwrap_or(channel);
            current = Some(match step {
                Step::Axes(map) => map.apply(values, 0.0),
                Step::Resample { recorded: sampler, interpolation, .. } => {
                    let source = Source::dense(values, sampler.from);
                    let mut out = vec![0.0; sampler.to.iter().product()];
                    match interpolation {
                        Interpolation::Linear => super::resample::linear(source, sampler, &mut out),
                        Interpolation::Nearest => super::resample::nearest(source, sampler, 0.0, &mut out),
                    }
                    out
                }
            });
        }
        Ok(current.unwrap_or_else(|| channel.to_vec()))
    }
    /// Maps `values` `[C,X,Y,Z]` in C order by [`Inverse::linear`] and returns the channel with the largest value of
    /// each voxel: the first of equal ones, and NaN counts as the largest. Channels are interpolated only where they are
    /// needed for this. `check` is called now and then; its error ends the computation.
    ///
    /// # Errors
    /// The number of values is not a multiple of the voxels of [`Inverse::from_grid`], or there are more than 65,534
    /// channels.
    pub fn linear_argmax(&self, values: &[f32], check: impl Fn() -> Result<()> + Sync) -> Result<Vec<u16>> {
        let voxels: usize = self.from.shape.iter().product();
        let channels = values.len() / voxels.max(1);
        if channels * voxels != values.len() || channels >= usize::from(u16::MAX) {
            crate::bail!("expected up to 65534 channels of {voxels} voxels, found {} values", values.len());
        }
        if voxels == 0 {
            return Ok(vec![0; self.to.shape.iter().product()]);
        }
        if let Some((before, sampler, after)) = self.single_resampling() {
            let offsets = match &before {
                None => {
                    std::array::from_fn(|i| (0..self.from.shape[i]).map(|at| at * stride(self.from.shape, i)).collect())
                }
                Some(map) => {
                    let mut tables = [const { Vec::new() }; 3];
                    for i in 0..3 {
                        tables[map.axis[i]] = offsets(&map.table[i], stride(map.from, i));
                    }
                    tables
                }
            };
            let labels = linear_argmax(Channels { values, voxels, offsets: &offsets }, sampler, check)?;
            return Ok(match after {
                // All channels are zero in regions that a crop removed.
                Some(map) => map.apply(&labels, 0),
                None => labels,
            });
        }
        let mut labels = vec![0_u16; self.to.shape.iter().product()];
        let mut largest = vec![f32::NEG_INFINITY; labels.len()];
        for (number, channel) in values.chunks_exact(voxels).enumerate() {
            check()?;
            let values = self.linear(channel)?;
            let pairs = labels.par_iter_mut().zip(&mut largest).zip(&values).with_min_len(1 << 16);
            pairs.for_each(|((label, largest), value)| {
                if value > largest || (value.is_nan() && !largest.is_nan()) {
                    (*label, *largest) = (number as u16, *value);
                }
            });
        }
        Ok(labels)
    }
    /// Bytes of [`Inverse::linear_argmax`] per voxel of the result with one resampling: labels, twice if axes are
    /// reordered.
    pub const LINEAR_ARGMAX_BYTES: u64 = 2 * 2;
    /// Bytes of [`Inverse::linear_argmax`] per voxel of the result, [`Inverse::LINEAR_ARGMAX_BYTES`]; if several
    /// resamplings have to be inverted, also the largest value so far and a channel.
    pub fn linear_argmax_bytes(&self) -> u64 {
        if self.single_resampling().is_some() { Inverse::LINEAR_ARGMAX_BYTES } else { 2 + 4 + 2 * 4 }
    }
    /// The only linear resampling of the inverse, with the axis-aligned operations before and after it.
    fn single_resampling(&self) -> Option<(Option<AxesMap>, &Sampler, Option<AxesMap>)> {
        let at = self.steps.iter().position(|step| matches!(step, Step::Resample { .. }))?;
        let Step::Resample { recorded, interpolation: Interpolation::Linear, .. } = &self.steps[at] else {
            return None;
        };
        let composed = |steps: &[Step]| {
            let maps = steps.iter().map(|step| match step {
                Step::Axes(map) => Some(map.clone()),
                Step::Resample { .. } => None,
            });
            let maps = maps.collect::<Option<Vec<AxesMap>>>()?;
            Some(maps.into_iter().reduce(|first, next| first.then(&next)))
        };
        Some((composed(&self.steps[..at])?, recorded, composed(&self.steps[at + 1..])?))
    }
}

/// Stride along `axis` in a volume in C order.
fn stride(shape: [usize; 3], axis: usize) -> usize {
    shape[axis + 1..].iter().product()
}

impl AxesMap {
    /// Tables of an axis-aligned nearest-neighbor resampling.
    fn of(sampler: &Sampler) -> AxesMap {
        AxesMap {
            from: sampler.from,
            to: sampler.to,
            axis: [0, 1, 2],
            table: std::array::from_fn(|axis| sampler.nearest_axis(axis)),
        }
    }
    /// Composes two maps; `self` is applied first.
    fn then(&self, next: &AxesMap) -> AxesMap {
        let look = |i: usize| {
            let axis = self.axis[i];
            next.table[axis]
                .iter()
                .map(|&at| if at == OUTSIDE { OUTSIDE } else { self.table[i][at as usize] })
                .collect()
        };
        AxesMap {
            from: self.from,
            to: next.to,
            axis: self.axis.map(|axis| next.axis[axis]),
            table: std::array::from_fn(look),
        }
    }
    fn apply<T: Copy + Send + Sync>(&self, values: &[T], fill: T) -> Vec<T> {
        let source = Source::dense(values, self.from);
        let mut out = vec![fill; self.to.iter().product()];
        let mut axes = [Lookup { table: &[], stride: 0 }; 3];
        for i in 0..3 {
            axes[self.axis[i]] = Lookup { table: &self.table[i], stride: source.strides[i] };
        }
        gather_axes(source, axes, fill, &mut out);
        out
    }
}
