//! Runs sliding windows and blends them box by box.
//!
//! MONAI accumulates weighted logits of all classes over the whole volume and divides at the end. Here windows advance
//! along the longest axis, and voxels that no later window covers are finished immediately. If the network ends in a
//! linear layer, its input features are blended instead of the logits: Σw·(W·f+b)/Σw = W·(Σw·f/Σw)+b, so the layer is
//! applied once per voxel and only one slab of `feature_channels` is in memory. If even the slab exceeds the memory
//! budget, the volume is processed in strips (see [`Passes`]); the value of each voxel is the same sum in the same
//! order.

use super::windows::{Passes, Windows};
use crate::contracts::{CaseContext, Linear, Mode, Network, Shared};
use crate::error::Result;
use crate::image::Grid;
use crate::prediction::{Blocks, LabelMap, Region};
use crate::torch::{Device, DeviceExt};
use segbundle_native as native;
use std::ops::Range;
use std::path::PathBuf;
use tch::{Kind, Tensor};

/// Finished voxels per call of the last layer; limits the values of all classes of a box to some tens of megabytes.
const BOX_VOXELS: usize = 1 << 16;
/// The blended slab may use one part in `SLAB_SHARE` of a case's memory budget; the activations of the network need the
/// rest.
pub(super) const SLAB_SHARE: u64 = 3;

pub(super) struct SlidingWindows {
    /// Padded image [1,C,X,Y,Z] f32.
    pub x: Tensor,
    /// Network that is run on each window.
    pub network: Shared<dyn Network>,
    /// Positions and size of the windows in the padded image.
    pub windows: Windows,
    /// Window weights [x,y,z].
    pub importance: Tensor,
    /// Number of windows per forward pass (`sw_batch_size`).
    pub batch: usize,
    /// Grid of the image without padding.
    pub grid: Grid,
    /// File of the image, for messages.
    pub path: PathBuf,
    /// Number of output channels of the network.
    pub channels: usize,
    /// Device on which the network runs.
    pub network_device: Device,
    /// Device on which windows are blended.
    pub stitch_device: Device,
}

/// Running sums over the windows, for a slab that moves along `axis`.
struct Slab {
    /// Σ w·f [x,y,z,F].
    sum: Tensor,
    /// Σ w, [x,y,z]
    weight: Tensor,
    axis: usize,
    /// First voxel of the slab in the padded image; advances along `axis`.
    start: [usize; 3],
}

impl Slab {
    fn new(windows: &Windows, passes: &Passes, strip: &Range<usize>, features: usize, device: Device) -> Result<Slab> {
        let mut shape = windows.padded();
        shape[passes.along] = windows.roi[passes.along];
        shape[passes.across] = strip.len();
        let mut start = [0; 3];
        start[passes.across] = strip.start;
        let [x, y, z] = shape.map(|n| n as i64);
        let options = (Kind::Float, device.tch());
        Ok(Slab {
            sum: Tensor::f_zeros([x, y, z, features as i64], options)?,
            weight: Tensor::f_zeros([x, y, z], options)?,
            axis: passes.along,
            start,
        })
    }

    /// Adds the part of a window that lies in the slab: features [1,F,x,y,z], at voxel `at` of the padded image.
    fn add(&mut self, features: &Tensor, importance: &Tensor, at: [usize; 3]) -> Result<()> {
        let at: [i64; 3] = std::array::from_fn(|axis| at[axis] as i64 - self.start[axis] as i64);
        if self.sum.device() == tch::Device::Cpu {
            let features = native::channels_last(features)?;
            return Ok(native::blend(&mut self.sum, &mut self.weight, &features, importance, at)?);
        }
        let (mut sum, mut weight, mut importance) =
            (self.sum.shallow_clone(), self.weight.shallow_clone(), importance.shallow_clone());
        let mut features = features.f_squeeze_dim(0)?.f_permute([1, 2, 3, 0])?;
        for (axis, size) in importance.size().into_iter().enumerate() {
            let (to, dim) = (at[axis].max(0), axis as i64);
            let (skipped, count) = (to - at[axis], (at[axis] + size).min(sum.size()[axis]) - to);
            if count <= 0 {
                return Ok(());
            }
            (sum, weight) = (sum.f_narrow(dim, to, count)?, weight.f_narrow(dim, to, count)?);
            (features, importance) =
                (features.f_narrow(dim, skipped, count)?, importance.f_narrow(dim, skipped, count)?);
        }
        let _ = sum.f_addcmul_(&features.f_to_kind(Kind::Float)?, &importance.f_unsqueeze(-1)?)?;
        let _ = weight.f_add_(&importance)?;
        Ok(())
    }

    /// Advances the slab by `step` voxels and drops the voxels left behind.
    fn advance(&mut self, step: usize) -> Result<()> {
        let length = self.sum.size()[self.axis] as usize;
        let axis = self.axis as i64;
        for tensor in [&self.sum, &self.weight] {
            // Copy in pieces of at most `step` voxels, so that source and destination never overlap.
            let mut to = 0;
            while to + step < length {
                let piece = step.min(length - step - to) as i64;
                let source = tensor.f_narrow(axis, (to + step) as i64, piece)?;
                tensor.f_narrow(axis, to as i64, piece)?.f_copy_(&source)?;
                to += step;
            }
            let kept = length.saturating_sub(step);
            let _ = tensor.f_narrow(axis, kept as i64, (length - kept) as i64)?.f_zero_()?;
        }
        self.start[self.axis] += step;
        Ok(())
    }
}

impl SlidingWindows {
    /// Runs all windows and calls `each` with finished boxes: (region of the unpadded image, Σw·f [x,y,z,F], Σw
    /// [x,y,z]).
    fn stream(&self, case: &CaseContext, each: &mut dyn FnMut(Region, Tensor, Tensor) -> Result<()>) -> Result<()> {
        let features = self.network.lock().feature_channels();
        let passes = self.windows.passes(features, case.budget_bytes / SLAB_SHARE)?;
        if passes.strips.len() > 1 {
            tracing::debug!(
                "split the volume into {} strips to save memory: {} windows instead of {}",
                passes.strips.len(),
                passes.runs,
                self.windows.count()
            );
        }
        let importance = self.importance.f_to_device(self.stitch_device.tch())?;
        case.progress.windows(passes.runs);
        // Read only once, at the end: reading a value synchronizes with the GPU.
        let mut total = Tensor::f_zeros([], (Kind::Float, self.stitch_device.tch()))?;
        let mut counted = |region: Region, sum: Tensor, weight: Tensor| {
            let _ = total.f_add_(&sum.f_sum(Kind::Float)?)?;
            each(region, sum, weight)
        };
        passes
            .strips
            .iter()
            .try_for_each(|strip| self.stream_strip(case, &passes, strip, features, &importance, &mut counted))?;
        super::warn_of_nan(&total, &self.path)
    }

    fn stream_strip(
        &self,
        case: &CaseContext,
        passes: &Passes,
        strip: &Range<usize>,
        features: usize,
        importance: &Tensor,
        each: &mut dyn FnMut(Region, Tensor, Tensor) -> Result<()>,
    ) -> Result<()> {
        let (axis, padded, mode) =
            (passes.along, self.windows.padded(), Mode { train: false, autocast: case.autocast });
        let mut slab = Slab::new(&self.windows, passes, strip, features, self.stitch_device)?;
        let mut starts = self.windows.starts.clone();
        starts[passes.across] = self.windows.reaching(passes.across, strip).collect();
        for (i, &outer) in starts[axis].iter().enumerate() {
            let mut layer = vec![];
            for &x in if axis == 0 { std::slice::from_ref(&outer) } else { &starts[0] } {
                for &y in if axis == 1 { std::slice::from_ref(&outer) } else { &starts[1] } {
                    for &z in if axis == 2 { std::slice::from_ref(&outer) } else { &starts[2] } {
                        layer.push([x, y, z]);
                    }
                }
            }
            for batch in layer.chunks(self.batch.max(1)) {
                case.check()?;
                let inputs: Vec<Tensor> = batch.iter().map(|at| self.window(*at)).collect::<Result<_>>()?;
                let input = if inputs.len() == 1 { inputs[0].shallow_clone() } else { Tensor::f_cat(&inputs, 0)? };
                let output = self.network.lock().features(&input.f_to_device(self.network_device.tch())?, mode)?;
                self.check(&output, batch.len(), features)?;
                for (item, at) in batch.iter().enumerate() {
                    let window = output.f_narrow(0, item as i64, 1)?.f_to_device(self.stitch_device.tch())?;
                    slab.add(&window, importance, *at)?;
                    case.progress.window_done();
                }
            }
            let next = starts[axis].get(i + 1).copied().unwrap_or(padded[axis]);
            self.finish(&slab, next - outer, each)?;
            if next < padded[axis] {
                slab.advance(next - outer)?;
            }
        }
        Ok(())
    }

    fn window(&self, at: [usize; 3]) -> Result<Tensor> {
        (0..3).try_fold(self.x.shallow_clone(), |x, axis| {
            Ok(x.f_narrow(axis as i64 + 2, at[axis] as i64, self.windows.roi[axis] as i64)?)
        })
    }

    fn check(&self, output: &Tensor, items: usize, features: usize) -> Result<()> {
        let [x, y, z] = self.windows.roi.map(|n| n as i64);
        let expected = [items as i64, features as i64, x, y, z];
        if output.size() != expected {
            return Err(crate::err!(
                "expected a network output of shape {expected:?} for a window, found {:?}",
                output.size()
            )
            .hint(
                "roi_size must be a multiple of the network's total stride, and the output must have the input's size",
            ));
        }
        Ok(())
    }

    /// Calls `each` with the first `length` voxels of the slab along its axis, in small boxes, without the padding of
    /// the image.
    fn finish(
        &self,
        slab: &Slab,
        length: usize,
        each: &mut dyn FnMut(Region, Tensor, Tensor) -> Result<()>,
    ) -> Result<()> {
        let padded = self.windows.padded();
        // The part of the slab that lies in the unpadded image, in slab coordinates.
        let held = slab.weight.size();
        let ranges: [Range<usize>; 3] = std::array::from_fn(|axis| {
            let (first, count) = (slab.start[axis], if axis == slab.axis { length } else { held[axis] as usize });
            let (image_start, image_end) = (self.windows.pad[axis].0, padded[axis] - self.windows.pad[axis].1);
            image_start.max(first) - first..image_end.min(first + count).max(first) - first
        });
        if ranges.iter().any(|range| range.start >= range.end) {
            return Ok(());
        }
        let rows = |x: usize| ranges[1].len() * ranges[2].len() * x;
        let step = (BOX_VOXELS / rows(1).max(1)).max(1);
        for first in ranges[0].clone().step_by(step) {
            let size = [step.min(ranges[0].end - first), ranges[1].len(), ranges[2].len()];
            let from = [first, ranges[1].start, ranges[2].start];
            let (mut sum, mut weight) = (slab.sum.shallow_clone(), slab.weight.shallow_clone());
            for axis in 0..3 {
                sum = sum.f_narrow(axis as i64, from[axis] as i64, size[axis] as i64)?;
                weight = weight.f_narrow(axis as i64, from[axis] as i64, size[axis] as i64)?;
            }
            let start = std::array::from_fn(|axis| from[axis] + slab.start[axis] - self.windows.pad[axis].0);
            each(Region { start, size }, sum, weight)?;
        }
        Ok(())
    }
}

impl Blocks for SlidingWindows {
    fn grid(&self) -> Grid {
        self.grid
    }
    fn channels(&self) -> usize {
        self.channels
    }
    fn run(self: Box<Self>, case: &CaseContext, each: &mut dyn FnMut(Region, Tensor) -> Result<()>) -> Result<()> {
        let head = self.network.lock().head();
        self.stream(case, &mut |region, sum, weight| each(region, values(&sum, &weight, head.as_ref())?))
    }
    fn run_argmax(self: Box<Self>, case: &CaseContext, labels: &mut LabelMap) -> Result<()> {
        let head = self.network.lock().head();
        self.stream(case, &mut |region, sum, weight| match &head {
            Some(Linear { weight: matrix, bias }) if sum.device() == tch::Device::Cpu => {
                let (numbers, shape) = labels.numbers();
                Ok(native::head_argmax(&sum, &weight, matrix, bias.as_ref(), numbers, shape, region.start)?)
            }
            head => labels.put(&values(&sum, &weight, head.as_ref())?, region.start),
        })
    }
}

/// Computes the network's output [K,x,y,z] from Σw·f [x,y,z,F] and Σw [x,y,z].
fn values(sum: &Tensor, weight: &Tensor, head: Option<&Linear>) -> Result<Tensor> {
    match head {
        Some(Linear { weight: matrix, bias }) if sum.device() == tch::Device::Cpu => {
            Ok(native::head_logits(sum, weight, matrix, bias.as_ref())?)
        }
        head => {
            let mean = sum.f_div(&weight.f_unsqueeze(-1)?)?;
            let mean = match head {
                Some(Linear { weight, bias }) => mean.f_linear(weight, bias.as_ref())?,
                None => mean,
            };
            Ok(mean.f_permute([3, 0, 1, 2])?)
        }
    }
}
