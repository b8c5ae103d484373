//! Argmax over channels that are interpolated linearly. Most voxels need no interpolation: a channel that is the largest
//! at all neighbors of a voxel is the largest between them. Where many voxels lie between the same neighbors, channels that
//! cannot be the largest there are left out.

use super::gather::OUTSIDE;
use super::resample::each_neighbor;
use super::sampling::Sampler;
use crate::error::Result;
use rayon::prelude::*;
use std::ops::Range;

/// Marks a voxel without a channel that is larger than the others by [`MARGIN`].
const UNCLEAR: u16 = u16::MAX;

/// Relative margin of the largest channel, far above the rounding error of f32 (6e-8): interpolated values of two
/// channels then differ after rounding, too.
const MARGIN: f32 = 1e-5;

/// Voxels whose channels are interpolated together: their neighbors and weights stay in the cache.
const BATCH: usize = 2048;

/// Smallest mean number of voxels with the same neighbors for which [`Undecided::bound`] is computed, which takes about as
/// long as the interpolation of one of them.
const MIN_CELL: usize = 2;

/// Channels `[C,X,Y,Z]` in C order, seen through index tables.
#[derive(Clone, Copy)]
pub(crate) struct Channels<'a> {
    pub values: &'a [f32],
    /// Voxels of one channel.
    pub voxels: usize,
    /// Offsets in a channel by index along X, Y and Z of the sampler's input; [`usize::MAX`] for voxels that are zero.
    pub offsets: &'a [Vec<usize>; 3],
}

/// Returns the channel with the largest interpolated value (the first of equal ones) for each voxel of the sampler's
/// output, in C order. The values are those of [`linear`](super::resample::linear). `check` is called now and then; its
/// error ends the computation.
pub(crate) fn linear_argmax(
    channels: Channels,
    sampler: &Sampler,
    check: impl Fn() -> Result<()> + Sync,
) -> Result<Vec<u16>> {
    let clear = clear_winners(channels);
    let [_, ny, nz] = sampler.to;
    let mut labels = vec![0; sampler.to.iter().product()];
    if labels.is_empty() {
        return Ok(labels);
    }
    let state = (sampler.lines(), Undecided::default());
    labels.par_chunks_mut(ny * nz).enumerate().try_for_each_with(
        state,
        |(lines, undecided), (x, plane)| -> Result<()> {
            check()?;
            for y in 0..ny {
                let [xs, ys, zs] = sampler.row(lines, x, y);
                for z in 0..nz {
                    let at = [xs[z], ys[z], zs[z]];
                    match shared_winner(&clear, channels.offsets, at) {
                        Some(winner) => plane[y * nz + z] = winner,
                        None => undecided.add(y * nz + z, channels, sampler.from, at),
                    }
                }
                if undecided.voxels.len() >= BATCH {
                    undecided.decide(channels, plane);
                }
            }
            undecided.decide(channels, plane);
            Ok(())
        },
    )?;
    Ok(labels)
}

/// The largest channel of each voxel, or [`UNCLEAR`].
fn clear_winners(channels: Channels) -> Vec<u16> {
    const SPAN: usize = 4096;
    let mut clear = vec![0; channels.voxels];
    clear.par_chunks_mut(SPAN).enumerate().for_each(|(span, winners)| {
        let n = winners.len();
        let (mut first, mut second) = ([f32::NEG_INFINITY; SPAN], [f32::NEG_INFINITY; SPAN]);
        // Zero unless a value is infinite or NaN.
        let mut finite = [0.0_f32; SPAN];
        for (number, channel) in channels.values.chunks_exact(channels.voxels).enumerate() {
            let values = &channel[span * SPAN..][..n];
            for i in 0..n {
                let value = values[i];
                let larger = value > first[i];
                let loser = if larger { first[i] } else { value };
                second[i] = if loser > second[i] { loser } else { second[i] };
                first[i] = if larger { value } else { first[i] };
                winners[i] = if larger { number as u16 } else { winners[i] };
                finite[i] += value * 0.0;
            }
        }
        for i in 0..n {
            let margin = MARGIN * first[i].abs().max(second[i].abs()) + f32::MIN_POSITIVE;
            let is_clear = finite[i] == 0.0 && first[i] - second[i] > margin;
            winners[i] = if is_clear { winners[i] } else { UNCLEAR };
        }
    });
    clear
}

/// The channel that is clearly the largest at all neighbors of the position, which must lie inside. Neighbors of weight
/// 0 count, too: NaN times 0 is NaN.
fn shared_winner(clear: &[u16], offsets: &[Vec<usize>; 3], at: [f64; 3]) -> Option<u16> {
    let mut ends = [[0; 2]; 3];
    for axis in 0..3 {
        let floor = at[axis].floor();
        if floor.is_nan() || floor < 0.0 {
            return None;
        }
        let low = *offsets[axis].get(floor as usize)?;
        let high = match offsets[axis].get(floor as usize + 1) {
            Some(high) => *high,
            // The last voxel itself.
            None if at[axis] == floor => low,
            None => return None,
        };
        if low == usize::MAX || high == usize::MAX {
            return None;
        }
        ends[axis] = [low, high];
    }
    let [xs, ys, zs] = ends;
    let winner = clear[xs[0] + ys[0] + zs[0]];
    let same = xs.iter().all(|x| ys.iter().all(|y| zs.iter().all(|z| clear[x + y + z] == winner)));
    (winner != UNCLEAR && same).then_some(winner)
}

/// Voxels of a plane whose channels have to be interpolated.
#[derive(Default, Clone)]
struct Undecided {
    /// Index in the plane.
    voxels: Vec<usize>,
    neighbors: Vec<Neighbors>,
    weights: Vec<[f64; 8]>,
    largest: Vec<f32>,
    /// The voxels, ordered by their neighbors.
    order: Vec<usize>,
    cells: Vec<Cell>,
    /// Largest value at the neighbors by channel and cell.
    highest: Vec<f32>,
}

/// Offsets of neighbors in a channel.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Neighbors {
    offsets: [usize; 8],
    /// Number of neighbors inside; the others are zero.
    count: usize,
}

impl Neighbors {
    fn inside(&self) -> &[usize] {
        &self.offsets[..self.count]
    }
}

/// Voxels with the same neighbors.
#[derive(Clone)]
struct Cell {
    /// In the order of [`Undecided::order`].
    voxels: Range<usize>,
    neighbors: Neighbors,
    /// The largest interpolated value is not below this one anywhere in the cell.
    needed: f32,
}

impl Undecided {
    fn add(&mut self, voxel: usize, channels: Channels, shape: [usize; 3], at: [f64; 3]) {
        let (mut neighbors, mut weights) = (Neighbors { offsets: [0; 8], count: 0 }, [0.0; 8]);
        each_neighbor(shape, at, |index, weight| {
            let [x, y, z] = std::array::from_fn(|axis| channels.offsets[axis][index[axis]]);
            // Voxels that a crop removed are zero.
            if x != usize::MAX && y != usize::MAX && z != usize::MAX {
                (neighbors.offsets[neighbors.count], weights[neighbors.count]) = (x + y + z, weight);
                neighbors.count += 1;
            }
        });
        self.voxels.push(voxel);
        self.neighbors.push(neighbors);
        self.weights.push(weights);
    }
    /// Interpolates the channels at the voxels and writes the number of the largest one.
    fn decide(&mut self, channels: Channels, plane: &mut [u16]) {
        self.largest.clear();
        self.largest.resize(self.voxels.len(), f32::NEG_INFINITY);
        self.find_cells();
        self.bound(channels);
        for (number, channel) in channels.values.chunks_exact(channels.voxels).enumerate() {
            for (at, cell) in self.cells.iter().enumerate() {
                if self.highest.get(number * self.cells.len() + at).is_some_and(|highest| *highest < cell.needed) {
                    continue;
                }
                for &i in &self.order[cell.voxels.clone()] {
                    let pairs = cell.neighbors.inside().iter().zip(&self.weights[i]);
                    let value = pairs.fold(0.0, |sum, (&at, weight)| sum + f64::from(channel[at]) * weight) as f32;
                    let largest = &mut self.largest[i];
                    // The first of equal values; NaN counts as the largest, as in torch.
                    if value > *largest || (value.is_nan() && !largest.is_nan()) {
                        *largest = value;
                        plane[self.voxels[i]] = number as u16;
                    }
                }
            }
        }
        self.voxels.clear();
        self.neighbors.clear();
        self.weights.clear();
    }
    fn find_cells(&mut self) {
        let neighbors = &self.neighbors;
        self.order.clear();
        self.order.extend(0..self.voxels.len());
        self.order.sort_unstable_by_key(|&i| neighbors[i]);
        self.cells.clear();
        let mut start = 0;
        for same in self.order.chunk_by(|&a, &b| neighbors[a] == neighbors[b]) {
            let voxels = start..start + same.len();
            start = voxels.end;
            self.cells.push(Cell { voxels, neighbors: neighbors[same[0]], needed: f32::NEG_INFINITY });
        }
    }
    /// Finds the range of each channel in each cell, if the cells have enough voxels to gain from it: interpolated values
    /// are between the smallest and the largest at the neighbors, so that a channel that is nowhere as large as another
    /// one everywhere need not be interpolated.
    fn bound(&mut self, channels: Channels) {
        self.highest.clear();
        if self.cells.len() * MIN_CELL > self.voxels.len() {
            return;
        }
        for channel in channels.values.chunks_exact(channels.voxels) {
            for cell in &mut self.cells {
                let neighbors = cell.neighbors.inside();
                // Neighbors outside are zero.
                let outside = neighbors.len() < 8;
                let (mut low, mut high) = if outside { (0.0, 0.0) } else { (f32::INFINITY, f32::NEG_INFINITY) };
                // Zero unless a value is infinite or NaN.
                let mut finite = 0.0;
                for &at in neighbors {
                    let value = channel[at];
                    (low, high) = (value.min(low), value.max(high));
                    finite += value * 0.0;
                }
                if finite == 0.0 {
                    cell.needed = cell.needed.max(low);
                    self.highest.push(high);
                } else {
                    self.highest.push(f32::INFINITY);
                }
            }
        }
        for cell in &mut self.cells {
            cell.needed -= MARGIN * cell.needed.abs() + f32::MIN_POSITIVE;
        }
    }
}

/// Offsets along an axis with these source indices and this stride.
pub(crate) fn offsets(table: &[u32], stride: usize) -> Vec<usize> {
    table.iter().map(|&at| if at == OUTSIDE { usize::MAX } else { at as usize * stride }).collect()
}

#[cfg(test)]
mod tests {
    use crate::{Affine, Applied, Grid, Interpolation, Inverse, Padding, Spatial};
    use proptest::prelude::*;
    use std::sync::Arc;

    /// A rotation about Z, spacing in mm and an origin.
    fn grid(shape: [usize; 3], mm: f64, angle: f64, origin: f64) -> Grid {
        let (sin, cos) = angle.sin_cos();
        let affine = Affine([
            [mm * cos, -mm * sin, 0.0, origin],
            [mm * sin, mm * cos, 0.0, -origin],
            [0.0, 0.0, mm, 0.5 * origin],
            [0.0, 0.0, 0.0, 1.0],
        ]);
        Grid { shape, affine }
    }

    /// The first of the largest values by voxel, of all channels interpolated one by one.
    fn by_channel(inverse: &Inverse, values: &[f32]) -> Vec<u16> {
        let voxels: usize = inverse.from_grid().shape.iter().product();
        let channels: Vec<Vec<f32>> =
            values.chunks_exact(voxels).map(|channel| inverse.linear(channel).unwrap()).collect();
        let winner = |at: usize| {
            let largest = channels.iter().map(|channel| channel[at]).fold(f32::NEG_INFINITY, f32::max);
            channels.iter().position(|channel| channel[at] == largest).unwrap() as u16
        };
        (0..channels[0].len()).map(winner).collect()
    }

    #[test]
    fn a_grid_without_voxels_has_no_channels_to_compare() {
        let grid = |shape| Grid { shape, affine: Affine::IDENTITY };
        let resample =
            Spatial::Resample { interpolation: Interpolation::Linear, padding: Padding::Zeros, align_corners: false };
        let (before, after) = (grid([2, 2, 2]), grid([0, 2, 2]));
        let inverse = Inverse::new(&[Arc::new(Applied { by: "", before, after, what: resample })]).unwrap();
        assert_eq!(inverse.linear_argmax(&[], || Ok(())).unwrap(), [0; 8]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Regions with a clear winner, and noise that makes the winner change between voxels.
        #[test]
        fn labels_are_those_of_all_channels_interpolated(
            shape in [3_usize..9, 3_usize..9, 3_usize..9],
            to in [2_usize..14, 2_usize..14, 2_usize..14],
            channels in 1_usize..12,
            angle in -0.8..0.8,
            // From many voxels between the same neighbors to few.
            mm in prop_oneof![0.1..0.4, 0.4..2.5],
            origin in -2.0..2.0,
            noise in 0.0_f32..1.2,
            padding in prop::sample::select(vec![Padding::Zeros, Padding::Border, Padding::Reflection]),
            start in -2_isize..3,
            seed in any::<u64>(),
        ) {
            let file = grid(to, mm, angle, origin);
            let resampled = grid(shape, 1.0, 0.0, 0.0);
            let padded = Grid { shape: shape.map(|n| n + 1), ..resampled };
            let turned = Grid { shape: [to[2], to[0], to[1]], affine: Affine::IDENTITY };
            let orient = Spatial::Orient { axes: [2, 0, 1], flips: [true, false, true] };
            let resample = Spatial::Resample { interpolation: Interpolation::Linear, padding, align_corners: false };
            let applied = |what, before, after| Arc::new(Applied { by: "", before, after, what });
            let ops = [
                applied(orient, Grid { shape: to, ..file }, turned),
                applied(resample, Grid { affine: file.affine, ..turned }, resampled),
                applied(Spatial::CropPad { start: [start, 0, 0] }, resampled, padded),
            ];
            let mut state = seed;
            let mut random = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 40) as f32 / (1 << 24) as f32
            };
            let voxels: usize = padded.shape.iter().product();
            // The winner changes every eight voxels unless the noise is stronger.
            let values: Vec<f32> = (0..channels * voxels)
                .map(|i| f32::from(u8::from(i % voxels / 8 % channels == i / voxels)) + noise * random())
                .collect();
            for ops in [&ops[..2], &ops[..]] {
                let inverse = Inverse::new(ops).unwrap();
                let voxels: usize = inverse.from_grid().shape.iter().product();
                let values = &values[..channels * voxels];
                let labels = inverse.linear_argmax(values, || Ok(())).unwrap();
                let expected = by_channel(&inverse, values);
                let differ = labels.iter().zip(&expected).filter(|(a, b)| a != b).count();
                prop_assert_eq!(differ, 0, "of {}", labels.len());
            }
        }
    }
}
