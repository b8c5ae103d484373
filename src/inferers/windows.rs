//! Positions of sliding windows and the weights of their voxels (monai.data.utils, monai.inferers.utils, MONAI 1.6.1).

use crate::error::{Error, Result, SMALLER};
use crate::{bail, err, text};
use std::ops::Range;
use tch::{Kind, Tensor};

/// Weighting of overlapping windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blend {
    /// All voxels have equal weight.
    Constant,
    /// Weights decrease towards the border of the window.
    Gaussian,
}

/// Windows over a padded image.
#[derive(Debug, Clone, PartialEq)]
pub struct Windows {
    /// Window size in voxels.
    pub roi: [usize; 3],
    /// Padding before and after each axis, for images smaller than a window.
    pub pad: [(usize, usize); 3],
    /// Start of each window in the padded image, per axis, ascending.
    pub starts: [Vec<usize>; 3],
}

impl Windows {
    /// Places windows of size `roi` (a value below 1 means the whole axis) with `overlap` in [0, 1), both per axis.
    pub fn new(image: [usize; 3], roi: [i64; 3], overlap: [f64; 3]) -> Result<Windows> {
        if let Some(bad) = overlap.iter().find(|overlap| !(0.0..1.0).contains(*overlap)) {
            bail!("overlap is {bad}, expected at least 0 and below 1");
        }
        if image.contains(&0) {
            bail!("expected an image with voxels, found shape {image:?}");
        }
        let roi: [usize; 3] = std::array::from_fn(|axis| if roi[axis] > 0 { roi[axis] as usize } else { image[axis] });
        let pad = std::array::from_fn(|axis| {
            let missing = roi[axis].saturating_sub(image[axis]);
            (missing / 2, missing - missing / 2)
        });
        let starts = std::array::from_fn(|axis| {
            let length = image[axis].max(roi[axis]);
            let step = if roi[axis] == length {
                roi[axis]
            } else {
                ((roi[axis] as f64 * (1.0 - overlap[axis])) as usize).max(1)
            };
            let last = length - roi[axis];
            // The last window is shifted back to end at the border of the image.
            (0..).map(|i| i * step).take_while(|&start| start < last).chain([last]).collect()
        });
        Ok(Windows { roi, pad, starts })
    }
    /// Returns the number of windows.
    pub fn count(&self) -> usize {
        self.starts.iter().map(Vec::len).product()
    }
    /// Shape of the padded image.
    pub fn padded(&self) -> [usize; 3] {
        std::array::from_fn(|axis| self.starts[axis].last().copied().unwrap_or(0) + self.roi[axis])
    }
}

/// The order of windows in which the blended sums fit into memory: a slab advances along one axis and covers one strip
/// of the volume across another. Windows that overlap several strips run once for each.
#[derive(Debug, Clone, PartialEq)]
pub struct Passes {
    /// Axis along which the slab advances.
    pub along: usize,
    /// Axis that is cut into strips.
    pub across: usize,
    /// Strips as voxel ranges of the padded image along `across`, ascending.
    pub strips: Vec<Range<usize>>,
    /// Bytes of the largest slab.
    pub slab_bytes: u64,
    /// Number of window runs, repeated ones included.
    pub runs: usize,
}

/// Upper limit of the number of window runs, as a multiple of the number of windows.
const MAX_REPEATS: usize = 3;

impl Windows {
    /// Plans one strip if it fits into `budget_bytes`, else as few as possible. `features` is the number of blended
    /// channels (f32).
    ///
    /// # Errors
    /// The budget is too small for [`MAX_REPEATS`].
    pub fn passes(&self, features: usize, budget_bytes: u64) -> Result<Passes> {
        let padded = self.padded();
        let others = |axis: usize| (0..3).filter(|&other| other != axis).map(|other| padded[other]).product::<usize>();
        // Advance along the axis that makes the slab smallest; cut across the longer of the other two.
        let along = (0..3).min_by_key(|&axis| others(axis) * self.roi[axis]).unwrap_or(0);
        let across = (0..3).filter(|&axis| axis != along).max_by_key(|&axis| padded[axis]).unwrap_or(1);
        // Sums of features and of weights for each voxel of the slab's cross-section.
        let line_bytes = (self.roi[along] * others(along) / padded[across]) as u64 * (features as u64 + 1) * 4;
        let mut smallest = u64::MAX;
        for count in 1..=padded[across] {
            let strips = self.strips(across, count);
            let slab_bytes = line_bytes * strips.iter().map(|strip| strip.len() as u64).max().unwrap_or(0);
            let across_runs: usize = strips.iter().map(|strip| self.reaching(across, strip).count()).sum();
            let runs = self.count() / self.starts[across].len() * across_runs;
            if runs > MAX_REPEATS * self.count() {
                break;
            }
            if slab_bytes <= budget_bytes {
                return Ok(Passes { along, across, strips, slab_bytes, runs });
            }
            smallest = smallest.min(slab_bytes);
        }
        Err(Error::memory(
            format!(
                "blending windows over {padded:?} voxels needs {} of memory, {} may be used",
                text::bytes(smallest),
                text::bytes(budget_bytes)
            ),
            SMALLER,
        ))
    }

    /// Starts of the windows that overlap a strip.
    pub fn reaching<'a>(&'a self, across: usize, strip: &'a Range<usize>) -> impl Iterator<Item = usize> + 'a {
        let roi = self.roi[across];
        self.starts[across].iter().copied().filter(move |&start| start < strip.end && start + roi > strip.start)
    }

    /// Cuts `count` strips of about equal length, each near a position where the fewest windows are cut.
    fn strips(&self, across: usize, count: usize) -> Vec<Range<usize>> {
        let length = self.padded()[across];
        let slack = length / count / 8;
        let cut = |at: usize| {
            self.starts[across].iter().filter(|&&start| start < at && at < start + self.roi[across]).count()
        };
        let mut ends: Vec<usize> = (1..count)
            .map(|i| i * length / count)
            .map(|ideal| {
                (ideal - slack..=ideal + slack).min_by_key(|&at| (cut(at), at.abs_diff(ideal))).unwrap_or(ideal)
            })
            .collect();
        ends.push(length);
        let mut start = 0;
        ends.into_iter().map(|end| std::mem::replace(&mut start, end)..end).collect()
    }
}

/// Returns the weight of each voxel of a window, f32 [x,y,z].
///
/// Gaussian: the product over axes of exp(−d²/2σ²), with d the distance from the center (n−1)/2 and σ =
/// `sigma_scale`·n, clamped from below to the larger of 1e-3 and its smallest value (MONAI's `compute_importance_map`).
pub fn importance(roi: [usize; 3], blend: Blend, sigma_scale: [f64; 3]) -> Result<Tensor> {
    let shape = roi.map(|n| n as i64);
    let options = (Kind::Float, tch::Device::Cpu);
    if blend == Blend::Constant {
        return Ok(Tensor::f_ones(shape, options)?);
    }
    let mut map: Option<Tensor> = None;
    for axis in 0..3 {
        let (n, sigma) = (roi[axis] as f64, sigma_scale[axis] * roi[axis] as f64);
        let distance = Tensor::f_arange_start(-(n - 1.0) / 2.0, (n - 1.0) / 2.0 + 1.0, options)?;
        let weight = distance.f_square()?.f_div_scalar(-2.0 * sigma.powi(2))?.f_exp()?;
        map = Some(match map {
            None => weight,
            Some(map) => map.f_unsqueeze(-1)?.f_mul(&weight)?,
        });
    }
    let map = map.ok_or_else(|| err!("expected a window with axes"))?;
    let floor = map.f_min()?.f_double_value(&[])?.max(1e-3);
    Ok(map.f_clamp_min(floor)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_step_by_the_interval_and_the_last_ends_with_the_image() {
        let windows = Windows::new([200, 96, 50], [96, 96, 96], [0.25; 3]).unwrap();
        assert_eq!(windows.starts, [vec![0, 72, 104], vec![0], vec![0]]);
        assert_eq!(windows.pad, [(0, 0), (0, 0), (23, 23)]);
        assert_eq!(windows.padded(), [200, 96, 96]);
        assert_eq!(windows.count(), 3);
    }

    #[test]
    fn a_roi_below_one_takes_the_whole_axis() {
        let windows = Windows::new([30, 40, 50], [-1, 16, 0], [0.5; 3]).unwrap();
        assert_eq!(windows.roi, [30, 16, 50]);
        assert_eq!(windows.starts[1], [0, 8, 16, 24]);
    }

    /// monai.data.utils.dense_patch_slices((211, 97, 250), (96, 96, 96), (72, 48, 1))
    #[test]
    fn starts_equal_those_of_monai() {
        let windows = Windows::new([211, 97, 100], [96, 96, 96], [0.25, 0.5, 0.99]).unwrap();
        assert_eq!(windows.starts, [vec![0, 72, 115], vec![0, 1], vec![0, 1, 2, 3, 4]]);
    }

    #[test]
    fn strips_cover_the_volume_once_and_fit_the_memory() {
        let windows = Windows::new([333, 333, 397], [96, 96, 96], [0.25; 3]).unwrap();
        let whole = windows.passes(32, u64::MAX).unwrap();
        assert_eq!((whole.along, whole.strips.len(), whole.runs), (2, 1, windows.count()));
        assert_eq!(whole.slab_bytes, 96 * 333 * 333 * 33 * 4);
        for part in [2, 3, 4] {
            let passes = windows.passes(32, whole.slab_bytes / part).unwrap();
            assert!(passes.slab_bytes <= whole.slab_bytes / part && passes.strips.len() > 1);
            let ends: Vec<usize> = passes.strips.iter().map(|strip| strip.end).collect();
            let starts: Vec<usize> = passes.strips.iter().map(|strip| strip.start).collect();
            assert_eq!((starts[0], &starts[1..], ends[ends.len() - 1]), (0, &ends[..ends.len() - 1], 333));
            assert!(passes.runs <= MAX_REPEATS * windows.count(), "{passes:?}");
        }
        let error = windows.passes(32, 1 << 20).unwrap_err();
        assert!(
            error.message().contains("[333, 333, 397]") && error.message().contains("1.0 MiB may be used"),
            "{error}"
        );
    }

    #[test]
    fn overlap_of_one_is_an_error() {
        assert!(Windows::new([10; 3], [5; 3], [1.0; 3]).is_err());
    }
}
