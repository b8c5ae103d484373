//! Runs sliding windows and blends them box by box.
//!
//! MONAI accumulates weighted logits of all classes over the whole volume and divides at the end. Here windows advance
//! along the longest axis, and voxels that no later window covers are finished immediately. If the network ends in a
//! linear layer, its input features are blended instead of the logits: Σw·(W·f+b)/Σw = W·(Σw·f/Σw)+b, so the layer is
//! applied once per voxel and only one slab of `feature_channels` is in memory. If even the slab exceeds the memory
//! budget, the volume is processed in strips (see [`Passes`]); the value of each voxel is the same sum in the same
//! order.
//!
//! If memory runs out, the batches of windows get smaller, then a GPU leaves the blending to the CPU. Results that were
//! passed on before are then passed on again.

use super::windows::{Passes, Windows};
use crate::contracts::{CaseContext, Linear, Mode, Network, Shared};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::image::Grid;
use crate::prediction::{Blocks, LabelMap, Region};
use crate::torch::{Device, DeviceExt, guard};
use segbundle_native as native;
use std::cell::Cell;
use std::ops::Range;
use std::path::PathBuf;
use tch::{Kind, Tensor};

/// Finished voxels per call of the last layer; limits the values of all classes of a box to some tens of megabytes.
const BOX_VOXELS: usize = 1 << 16;
/// The same on a GPU, where each call costs more: hundreds of megabytes.
const GPU_BOX_VOXELS: usize = 1 << 19;
/// Number of windows per forward pass on a GPU, if `sw_batch_size` is smaller: one window does not occupy it.
const GPU_BATCH: usize = 4;
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
    /// Number of windows per forward pass; halved when memory runs out.
    pub batch: Cell<usize>,
}

/// Blends windows and applies the last layer, with the results in host memory at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blending {
    /// Kernels of our own on the CPU.
    Host,
    /// Tensor operations, on any device.
    Tensors(Device),
}

impl Blending {
    fn device(self) -> Device {
        match self {
            Blending::Host => Device::Cpu,
            Blending::Tensors(device) => device,
        }
    }
    /// Computes the network's output [K,x,y,z] from Σw·f [x,y,z,F] and Σw [x,y,z].
    fn values(self, sum: &Tensor, weight: &Tensor, head: Option<&Linear>) -> Result<Tensor> {
        if let (Blending::Host, Some(Linear { weight: matrix, bias })) = (self, head) {
            return Ok(native::head_logits(sum, weight, matrix, bias.as_ref())?);
        }
        let mean = sum.f_div(&weight.f_unsqueeze(-1)?)?;
        let mean = match head {
            Some(Linear { weight, bias }) => mean.f_linear(weight, bias.as_ref())?,
            None => mean,
        };
        Ok(mean.f_permute([3, 0, 1, 2])?)
    }
    /// Writes the channel of the largest output of each voxel into `labels`.
    fn argmax(
        self,
        [sum, weight]: [&Tensor; 2],
        head: Option<&Linear>,
        start: [usize; 3],
        labels: &mut LabelMap,
    ) -> Result<()> {
        match (self, head) {
            (Blending::Host, Some(Linear { weight: matrix, bias })) => {
                let (numbers, shape) = labels.numbers();
                Ok(native::head_argmax(sum, weight, matrix, bias.as_ref(), numbers, shape, start)?)
            }
            (Blending::Host, None) => labels.put(&self.values(sum, weight, None)?, start),
            (Blending::Tensors(_), head) => {
                labels.put_numbers(&self.values(sum, weight, head)?.f_argmax(0, false)?, start)
            }
        }
    }
}

/// Receives finished boxes, see [`SlidingWindows::stream`].
type EachBox<'a> = dyn FnMut(Blending, Region, Tensor, Tensor) -> Result<()> + 'a;

/// Running sums over the windows, for a slab that moves along `axis`.
struct Slab {
    /// Σ w·f [x,y,z,F].
    sum: Tensor,
    /// Σ w, [x,y,z]
    weight: Tensor,
    axis: usize,
    /// First voxel of the slab in the padded image; advances along `axis`.
    start: [usize; 3],
    blending: Blending,
}

impl Slab {
    fn new(
        windows: &Windows,
        passes: &Passes,
        strip: &Range<usize>,
        features: usize,
        blending: Blending,
    ) -> Result<Slab> {
        let mut shape = windows.padded();
        shape[passes.along] = windows.roi[passes.along];
        shape[passes.across] = strip.len();
        let mut start = [0; 3];
        start[passes.across] = strip.start;
        let [x, y, z] = shape.map(|n| n as i64);
        let options = (Kind::Float, blending.device().tch());
        Ok(Slab {
            sum: Tensor::f_zeros([x, y, z, features as i64], options)?,
            weight: Tensor::f_zeros([x, y, z], options)?,
            axis: passes.along,
            start,
            blending,
        })
    }

    /// The features [1,F,x,y,z] of a window as [`Slab::add`] takes them. All memory is allocated here, so that a slab is
    /// never left with a part of a batch.
    fn prepared(&self, features: &Tensor) -> Result<Tensor> {
        match self.blending {
            Blending::Host => Ok(native::channels_last(&features.f_to_device(tch::Device::Cpu)?)?),
            Blending::Tensors(device) => Ok(features.f_to_device(device.tch())?.f_to_kind(Kind::Float)?),
        }
    }

    /// Adds the part of a window that lies in the slab: features [1,F,x,y,z], at voxel `at` of the padded image.
    fn add(&mut self, features: &Tensor, importance: &Tensor, at: [usize; 3]) -> Result<()> {
        let at: [i64; 3] = std::array::from_fn(|axis| at[axis] as i64 - self.start[axis] as i64);
        if self.blending == Blending::Host {
            return Ok(native::blend(&mut self.sum, &mut self.weight, features, importance, at)?);
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
        let _ = sum.f_addcmul_(&features, &importance.f_unsqueeze(-1)?)?;
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
    /// Number of windows per forward pass at first.
    pub fn first_batch(batch: usize, device: Device) -> usize {
        if device == Device::Cpu { batch.max(1) } else { batch.max(GPU_BATCH) }
    }

    /// How windows are blended; `case` may ask for the GPU's way on the CPU.
    fn blending(&self, case: &CaseContext) -> Blending {
        match self.stitch_device {
            Device::Cpu if !case.blends_as_gpu => Blending::Host,
            device => Blending::Tensors(device),
        }
    }

    /// Runs all windows and calls `each` with how to compute values, and with finished boxes: region of the unpadded
    /// image, Σw·f [x,y,z,F], Σw [x,y,z]. If memory runs out on a GPU, the blending starts again on the CPU.
    fn stream(&self, case: &CaseContext, each: &mut EachBox) -> Result<()> {
        let blending = self.blending(case);
        match self.stream_as(blending, case, each) {
            Err(error) if blending != Blending::Host && error.get_kind() == ErrorKind::Memory => {
                tracing::warn!(
                    "{}: {} has not enough memory to blend the windows, they are blended on the CPU ({})",
                    self.path.display(),
                    blending.device(),
                    error.message()
                );
                self.stream_as(Blending::Host, case, each)
            }
            result => result,
        }
    }

    fn stream_as(&self, blending: Blending, case: &CaseContext, each: &mut EachBox) -> Result<()> {
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
        let importance = self.importance.f_to_device(blending.device().tch())?;
        case.progress.windows(passes.runs);
        // Read only once, at the end: reading a value synchronizes with the GPU.
        let mut total = Tensor::f_zeros([], (Kind::Float, blending.device().tch()))?;
        let mut counted = |blending: Blending, region: Region, sum: Tensor, weight: Tensor| {
            let _ = total.f_add_(&sum.f_sum(Kind::Float)?)?;
            each(blending, region, sum, weight)
        };
        for strip in &passes.strips {
            let slab = Slab::new(&self.windows, &passes, strip, features, blending)?;
            self.stream_strip(case, slab, passes.across, strip, &importance, &mut counted)?;
        }
        super::warn_of_nan(&total, &self.path)
    }

    fn stream_strip(
        &self,
        case: &CaseContext,
        mut slab: Slab,
        across: usize,
        strip: &Range<usize>,
        importance: &Tensor,
        each: &mut EachBox,
    ) -> Result<()> {
        let (axis, padded) = (slab.axis, self.windows.padded());
        let mut starts = self.windows.starts.clone();
        starts[across] = self.windows.reaching(across, strip).collect();
        for (i, &outer) in starts[axis].iter().enumerate() {
            let mut layer = vec![];
            for &x in if axis == 0 { std::slice::from_ref(&outer) } else { &starts[0] } {
                for &y in if axis == 1 { std::slice::from_ref(&outer) } else { &starts[1] } {
                    for &z in if axis == 2 { std::slice::from_ref(&outer) } else { &starts[2] } {
                        layer.push([x, y, z]);
                    }
                }
            }
            let mut rest = &layer[..];
            while !rest.is_empty() {
                case.check()?;
                let count = self.batch.get().min(rest.len());
                match guard(|| self.features(&rest[..count], &slab, case)) {
                    Ok(features) => {
                        for (features, at) in features.iter().zip(rest) {
                            slab.add(features, importance, *at)?;
                            case.progress.window_done();
                        }
                        rest = &rest[count..];
                    }
                    Err(error) => self.shrink_batch(count, error)?,
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

    /// Halves the number of windows per forward pass after memory ran out with `count` windows.
    ///
    /// # Errors
    /// `error`, if it has another cause or a single window does not fit.
    fn shrink_batch(&self, count: usize, error: Error) -> Result<()> {
        if error.get_kind() != ErrorKind::Memory {
            return Err(error);
        }
        if count == 1 {
            let (roi, device) = (self.windows.roi, self.network_device);
            let error =
                error.context(format_args!("a window of {roi:?} voxels does not fit into the memory of {device}"));
            return Err(match device {
                Device::Cpu => error,
                Device::Cuda(_) => crate::err!("{}", error.message())
                    .kind(ErrorKind::Memory)
                    .hint("use a smaller roi_size, or run with `--device cpu`"),
            });
        }
        let smaller = count / 2;
        tracing::info!("memory ran out with {count} windows per forward pass: continuing with {smaller}");
        self.batch.set(smaller);
        Ok(())
    }

    /// The features of some windows, as the slab takes them.
    fn features(&self, at: &[[usize; 3]], slab: &Slab, case: &CaseContext) -> Result<Vec<Tensor>> {
        let inputs: Vec<Tensor> = at.iter().map(|at| self.window(*at)).collect::<Result<_>>()?;
        let input = if inputs.len() == 1 { inputs[0].shallow_clone() } else { Tensor::f_cat(&inputs, 0)? };
        let mode = Mode { train: false, autocast: case.autocast };
        let output = self.network.lock().features(&input.f_to_device(self.network_device.tch())?, mode)?;
        self.check(&output, at.len(), slab.sum.size()[3] as usize)?;
        (0..at.len()).map(|item| slab.prepared(&output.f_narrow(0, item as i64, 1)?)).collect()
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
    fn finish(&self, slab: &Slab, length: usize, each: &mut EachBox) -> Result<()> {
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
        let voxels = if slab.blending.device() == Device::Cpu { BOX_VOXELS } else { GPU_BOX_VOXELS };
        let step = (voxels / rows(1).max(1)).max(1);
        for first in ranges[0].clone().step_by(step) {
            let size = [step.min(ranges[0].end - first), ranges[1].len(), ranges[2].len()];
            let from = [first, ranges[1].start, ranges[2].start];
            let (mut sum, mut weight) = (slab.sum.shallow_clone(), slab.weight.shallow_clone());
            for axis in 0..3 {
                sum = sum.f_narrow(axis as i64, from[axis] as i64, size[axis] as i64)?;
                weight = weight.f_narrow(axis as i64, from[axis] as i64, size[axis] as i64)?;
            }
            let start = std::array::from_fn(|axis| from[axis] + slab.start[axis] - self.windows.pad[axis].0);
            each(slab.blending, Region { start, size }, sum, weight)?;
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
        self.stream(case, &mut |blending, region, sum, weight| {
            each(region, blending.values(&sum, &weight, head_on(&head, blending)?.as_ref())?)
        })
    }
    fn run_argmax(self: Box<Self>, case: &CaseContext, labels: &mut LabelMap) -> Result<()> {
        let head = self.network.lock().head();
        self.stream(case, &mut |blending, region, sum, weight| {
            blending.argmax([&sum, &weight], head_on(&head, blending)?.as_ref(), region.start, labels)
        })
    }
}

/// The last layer on the device of the sums.
fn head_on(head: &Option<Linear>, blending: Blending) -> Result<Option<Linear>> {
    let device = blending.device().tch();
    let moved = |head: &Linear| {
        let bias = head.bias.as_ref().map(|bias| bias.f_to_device(device)).transpose()?;
        Ok(Linear { weight: head.weight.f_to_device(device)?, bias })
    };
    head.as_ref().map(moved).transpose()
}
