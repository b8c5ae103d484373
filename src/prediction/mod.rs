//! The prediction of one case: operations are recorded lazily and computed once.
//!
//! The inferer returns a pending [`Prediction`]. Postprocessing either records operations ([`VoxelOp`],
//! nearest-neighbor inversion) or computes box by box: argmax yields one small integer per voxel and never holds all
//! channels of the volume. Linear inversion is recorded too: argmax and thresholds after it interpolate one channel at a
//! time. Only operations that need all channels at once (saving probabilities) allocate them, after a check of the
//! memory budget.
//!
//! Why the order may change:
//! - Nearest-neighbor inversion moves whole voxels, so it commutes with every per-voxel operation. Outside the
//!   network's grid it fills zeros, and later operations map this fill too (softmax and argmax of zeros: class 0; but
//!   `sigmoid(0) >= 0.5` is true).
//! - Linear inversion mixes voxels and is never reordered.
//! - Softmax does not change the largest channel, so it is omitted before argmax.

mod blocks;
mod label_volume;

pub use blocks::{Blocks, Computed, LabelMap, Region};
pub use label_volume::LabelVolume;

use crate::case_context::{CaseContext, Stage};
use crate::error::Result;
use crate::image::{Element, Grid, ImageHeader, Inverse, Trace, Volume, Voxels};
use crate::torch::convert::{to_f32, to_u8};
use crate::{bail, err};
use rayon::prelude::*;
use segbundle_native as native;
use std::sync::Arc;
use std::time::Instant;
use tch::{Kind, Tensor};

/// The prediction for one case, from the network's output to the values that are saved.
pub struct Prediction {
    /// The values, or how they are computed.
    pub state: PredictionState,
    /// Header of the input image; `trace` lists the transforms that were applied to it.
    pub header: Arc<ImageHeader>,
    /// Spatial transforms that were applied to the input image, oldest first.
    pub trace: Trace,
}

/// The representation of a prediction, from pending to discrete.
pub enum PredictionState {
    /// Recorded but not computed.
    Pending {
        /// Computes the network's output.
        source: Box<dyn Blocks>,
        /// Operations to apply to it, in order.
        ops: Vec<VoxelOp>,
        /// Inversion to apply to the result.
        inverse: Option<Recorded>,
    },
    /// Values `[C,X,Y,Z]` f32, in host memory.
    Dense(Tensor, Grid),
    /// Values on the network's grid, to be interpolated to the grid of the file.
    Interpolated {
        /// Values `[C,X,Y,Z]` f32, in host memory.
        values: Tensor,
        /// Inversion to apply to each channel.
        inverse: Arc<Inverse>,
    },
    /// Class labels after argmax.
    Labels {
        /// Labels `[X,Y,Z]` in C order, u8 or u16.
        map: Voxels,
        /// Grid of the labels.
        grid: Grid,
        /// Number of channels if the labels represent a one-hot map. Voxels of no channel have a label that is not
        /// smaller (those outside of the network's grid, or of components that were removed).
        onehot: Option<usize>,
    },
    /// Binary masks after a threshold; channels may overlap.
    Masks {
        /// 0 or 1, `[C,X,Y,Z]` in C order.
        planes: Vec<u8>,
        /// Number of channels C.
        channels: usize,
        /// Grid of each channel.
        grid: Grid,
    },
}

/// An operation on the channels of each voxel, independent of other voxels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VoxelOp {
    /// Softmax over the channels.
    Softmax,
    /// Sigmoid of each value.
    Sigmoid,
}

/// A nearest-neighbor inversion, deferred until the values are discrete.
pub struct Recorded {
    inverse: Arc<Inverse>,
    /// Number of operations recorded before it; later ones also apply to its zero fill.
    ops_before: usize,
}

impl VoxelOp {
    /// Applies the operation over the channels of values `[C,…]`.
    fn apply(self, values: &Tensor) -> Result<Tensor> {
        Ok(match self {
            VoxelOp::Softmax => values.f_softmax(0, Kind::Float)?,
            VoxelOp::Sigmoid => values.f_sigmoid()?,
        })
    }
}

impl Prediction {
    /// Creates a prediction that is computed lazily from `source`.
    pub fn pending(source: Box<dyn Blocks>, header: Arc<ImageHeader>, trace: Trace) -> Self {
        Prediction { state: PredictionState::Pending { source, ops: vec![], inverse: None }, header, trace }
    }

    /// Creates a prediction from the values of an image.
    pub fn from_volume(volume: &Volume) -> Result<Self> {
        let values = volume_tensor(volume)?;
        Ok(Prediction {
            state: PredictionState::Dense(values, volume.grid()),
            header: volume.header.clone(),
            trace: volume.trace.clone(),
        })
    }

    /// Returns the values as an image `[C,X,Y,Z]` in host memory, C order: u8 or u16 class labels, u8 masks, or f32.
    pub fn into_volume(self, case: &CaseContext) -> Result<Volume> {
        self.into_label_volume(case)?.into_channels(case)
    }

    /// Returns the grid of the values: that of the network's output, or that of the file after the inversion.
    pub fn grid(&self) -> Grid {
        match &self.state {
            PredictionState::Pending { source, inverse, .. } => {
                inverse.as_ref().map_or(source.grid(), |recorded| recorded.inverse.to_grid())
            }
            PredictionState::Interpolated { inverse, .. } => inverse.to_grid(),
            PredictionState::Dense(_, grid)
            | PredictionState::Labels { grid, .. }
            | PredictionState::Masks { grid, .. } => *grid,
        }
    }

    fn with(self, state: PredictionState) -> Self {
        Prediction { state, ..self }
    }

    /// Applies softmax or sigmoid over the channels.
    pub fn activate(self, op: VoxelOp, case: &CaseContext) -> Result<Self> {
        let (header, trace) = (self.header, self.trace);
        let state = match self.state {
            PredictionState::Pending { source, mut ops, inverse } => {
                ops.push(op);
                PredictionState::Pending { source, ops, inverse }
            }
            PredictionState::Dense(values, grid) => PredictionState::Dense(op.apply(&values)?, grid),
            PredictionState::Interpolated { values, inverse } => {
                let (values, grid) = interpolated(&values, &inverse, case)?;
                PredictionState::Dense(op.apply(&values)?, grid)
            }
            PredictionState::Labels { .. } | PredictionState::Masks { .. } => {
                bail!("cannot apply an activation after argmax or a threshold")
            }
        };
        Ok(Prediction { state, header, trace })
    }

    /// Replaces the values by the channel with the largest value (the first of equal ones).
    pub fn argmax(self, case: &CaseContext) -> Result<Self> {
        let (header, trace) = (self.header, self.trace);
        let state = match self.state {
            PredictionState::Pending { source, mut ops, inverse } => {
                // Softmax keeps the order of the channels.
                while ops.last() == Some(&VoxelOp::Softmax) {
                    ops.pop();
                }
                let grid = source.grid();
                let start = Instant::now();
                let map = blocks::argmax(source, &ops, case)?;
                case.clock.add(Stage::Inferer, start.elapsed());
                match inverse {
                    // Zeros have equal channels after any recorded operation: class 0.
                    Some(recorded) => {
                        release();
                        labels_on_grid(&map, &recorded.inverse, case)?
                    }
                    None => PredictionState::Labels { map, grid, onehot: None },
                }
            }
            PredictionState::Dense(values, grid) => {
                let mut labels = LabelMap::new(grid.shape, size4(&values)?[0] as usize);
                labels.put(&values, [0; 3])?;
                let map = labels.into_voxels();
                PredictionState::Labels { map, grid, onehot: None }
            }
            PredictionState::Interpolated { values, inverse } => interpolated_argmax(&values, &inverse, case)?,
            // Zero in all channels: class 0.
            PredictionState::Labels { map, grid, onehot: Some(classes) } => {
                let map = match map {
                    Voxels::U8(map) => Voxels::U8(within(map, |label| usize::from(label) < classes)),
                    Voxels::U16(map) => Voxels::U16(within(map, |label| usize::from(label) < classes)),
                    other => bail!("expected class labels of uint8 or uint16, found {}", other.dtype().name()),
                };
                PredictionState::Labels { map, grid, onehot: None }
            }
            PredictionState::Masks { planes, channels, grid } if channels > 1 => {
                let mut labels = LabelMap::new(grid.shape, channels);
                labels.put_masks(&planes);
                PredictionState::Labels { map: labels.into_voxels(), grid, onehot: None }
            }
            PredictionState::Labels { .. } | PredictionState::Masks { .. } => {
                bail!("cannot apply argmax to class labels in one channel")
            }
        };
        Ok(Prediction { state, header, trace })
    }

    /// Replaces each channel by a mask: 1 where the value is at least `threshold`, else 0.
    pub fn threshold(self, threshold: f64, case: &CaseContext) -> Result<Self> {
        let (header, trace) = (self.header, self.trace);
        let state = match self.state {
            PredictionState::Pending { source, ops, inverse } => {
                let (channels, grid) = (source.channels(), source.grid());
                let voxels = voxel_count(&grid);
                case.reserve(channels as u64 * voxels as u64, || {
                    format!("masks of {channels} channels on {}", shape_text(&grid))
                })?;
                let mut planes = vec![0_u8; channels * voxels];
                let start = Instant::now();
                source.run(case, &mut |region, values| {
                    let values = apply_all(&ops, values)?;
                    let mask = values
                        .f_ge(threshold)?
                        .f_to_kind(Kind::Uint8)?
                        .f_to_device(tch::Device::Cpu)?
                        .f_contiguous()?;
                    blocks::paste(&to_u8(&mask)?, region, channels, grid.shape, &mut planes);
                    Ok(())
                })?;
                case.clock.add(Stage::Inferer, start.elapsed());
                match inverse {
                    Some(recorded) => {
                        release();
                        let zeros = Tensor::f_zeros([channels as i64, 1, 1, 1], (Kind::Float, tch::Device::Cpu))?;
                        let fill = apply_all(&ops[recorded.ops_before..], zeros)?
                            .f_ge(threshold)?
                            .f_to_kind(Kind::Uint8)?
                            .f_contiguous()?;
                        masks_on_grid(&planes, channels, &to_u8(&fill)?, &recorded.inverse, case)?
                    }
                    None => PredictionState::Masks { planes, channels, grid },
                }
            }
            PredictionState::Dense(values, grid) => {
                let channels = size4(&values)?[0] as usize;
                let mask = values.f_ge(threshold)?.f_to_kind(Kind::Uint8)?.f_contiguous()?;
                PredictionState::Masks { planes: to_u8(&mask)?, channels, grid }
            }
            PredictionState::Interpolated { values, inverse } => {
                interpolated_masks(&values, &inverse, threshold, case)?
            }
            PredictionState::Labels { .. } | PredictionState::Masks { .. } => {
                bail!("cannot apply a threshold to values that are already discrete")
            }
        };
        Ok(Prediction { state, header, trace })
    }

    /// Converts class labels to one-hot channels. They are stored as labels until the channels are needed.
    pub fn one_hot(self, classes: usize, case: &CaseContext) -> Result<Self> {
        match &self.state {
            // A label image: integers in one channel.
            PredictionState::Dense(values, _) | PredictionState::Interpolated { values, .. }
                if values.size()[0] == 1 =>
            {
                let (header, trace) = (self.header.clone(), self.trace.clone());
                let (values, grid) = self.dense(case)?;
                let largest = values.f_max()?.f_double_value(&[])?;
                let smallest = values.f_min()?.f_double_value(&[])?;
                if !(smallest >= 0.0 && largest < classes as f64) {
                    let error = err!("to_onehot={classes} does not fit labels from {smallest} to {largest}");
                    let hint = format!(
                        "the labels of {classes} classes are 0 to {}; MapLabelValued changes label values",
                        classes - 1
                    );
                    return Err(error.file(&header.path).hint(hint));
                }
                // Truncates towards zero, like torch's `.long()`.
                let numbers = to_f32(&values)?;
                let map = if classes <= 256 {
                    Voxels::U8(numbers.iter().map(|&x| x as u8).collect())
                } else {
                    Voxels::U16(numbers.iter().map(|&x| x as u16).collect())
                };
                Ok(Prediction { state: PredictionState::Labels { map, grid, onehot: Some(classes) }, header, trace })
            }
            PredictionState::Labels { map, grid, .. } => {
                let largest = match map {
                    Voxels::U8(map) => map.iter().copied().max().map(u32::from),
                    Voxels::U16(map) => map.iter().copied().max().map(u32::from),
                    _ => None,
                };
                if let Some(largest) = largest.filter(|&largest| largest as usize >= classes) {
                    bail!("to_onehot={classes} does not fit label {largest}");
                }
                let state = PredictionState::Labels { map: map.clone(), grid: *grid, onehot: Some(classes) };
                Ok(self.with(state))
            }
            _ => Err(err!("to_onehot: expected class labels in one channel").hint("set argmax: true")),
        }
    }

    /// Inverts the preprocessing: resamples from the network's grid to the grid of the file.
    pub fn invert(self, inverse: &Arc<Inverse>, nearest: bool, case: &CaseContext) -> Result<Self> {
        let (header, trace) = (self.header.clone(), Vec::new());
        if matches!(self.state, PredictionState::Labels { .. } | PredictionState::Masks { .. }) {
            release();
        }
        let state = match self.state {
            PredictionState::Pending { source, ops, inverse: None } if nearest => {
                let ops_before = ops.len();
                PredictionState::Pending {
                    source,
                    ops,
                    inverse: Some(Recorded { inverse: inverse.clone(), ops_before }),
                }
            }
            PredictionState::Labels { map, onehot: None, .. } if nearest => labels_on_grid(&map, inverse, case)?,
            PredictionState::Labels { map, onehot: Some(classes), .. } if nearest => {
                one_hot_on_grid(&map, classes, inverse, case)?
            }
            PredictionState::Masks { planes, channels, .. } if nearest => {
                masks_on_grid(&planes, channels, &vec![0; channels], inverse, case)?
            }
            state => {
                let (values, _) = Prediction { state, header: self.header, trace: self.trace }.dense(case)?;
                if nearest {
                    let (values, grid) = dense_on_grid(&values, inverse, nearest, case)?;
                    PredictionState::Dense(values, grid)
                } else {
                    PredictionState::Interpolated { values, inverse: inverse.clone() }
                }
            }
        };
        Ok(Prediction { state, header, trace })
    }

    /// Returns all channels, f32 `[C,X,Y,Z]` in host memory.
    ///
    /// # Errors
    /// The channels exceed the memory budget.
    pub fn dense(self, case: &CaseContext) -> Result<(Tensor, Grid)> {
        match self.state {
            PredictionState::Dense(values, grid) => Ok((values, grid)),
            PredictionState::Interpolated { values, inverse } => interpolated(&values, &inverse, case),
            PredictionState::Pending { source, ops, inverse } => {
                let (channels, grid) = (source.channels(), source.grid());
                case.reserve(4 * channels as u64 * voxel_count(&grid) as u64, || {
                    format!("all {channels} channels on {}", shape_text(&grid))
                })?;
                let [x, y, z] = grid.shape.map(|n| n as i64);
                let start = Instant::now();
                let out = Tensor::f_zeros([channels as i64, x, y, z], (Kind::Float, tch::Device::Cpu))?;
                let before = inverse.as_ref().map_or(ops.len(), |recorded| recorded.ops_before);
                source.run(case, &mut |region, values| {
                    let mut target = out.shallow_clone();
                    for axis in 0..3 {
                        target =
                            target.f_narrow(axis as i64 + 1, region.start[axis] as i64, region.size[axis] as i64)?;
                    }
                    target.f_copy_(&apply_all(&ops[..before], values)?)?;
                    Ok(())
                })?;
                case.clock.add(Stage::Inferer, start.elapsed());
                match inverse {
                    None => Ok((out, grid)),
                    Some(recorded) => {
                        let (values, grid) = dense_on_grid(&out, &recorded.inverse, true, case)?;
                        Ok((apply_all(&ops[before..], values)?, grid))
                    }
                }
            }
            PredictionState::Labels { map, grid, onehot } => {
                let [x, y, z] = grid.shape.map(|n| n as i64);
                let channels = onehot.unwrap_or(1);
                case.reserve(4 * channels as u64 * voxel_count(&grid) as u64, || {
                    format!("{channels} channels on {}", shape_text(&grid))
                })?;
                let numbers = match &map {
                    Voxels::U8(map) => Tensor::f_from_slice(map)?,
                    Voxels::U16(map) => Tensor::f_from_slice(&map.iter().map(|&n| i32::from(n)).collect::<Vec<_>>())?,
                    other => bail!("expected class labels of uint8 or uint16, found {}", other.dtype().name()),
                };
                let numbers = numbers.f_to_kind(Kind::Int64)?.f_view([1, x, y, z])?;
                let values = match onehot {
                    None => numbers.f_to_kind(Kind::Float)?,
                    Some(classes) => {
                        let classes = classes as i64;
                        // Voxels of no channel are put into one more, which is dropped.
                        let numbers = numbers.f_clamp_max(classes)?;
                        let all = if numbers.f_max()?.f_int64_value(&[])? == classes { classes + 1 } else { classes };
                        Tensor::f_zeros([all, x, y, z], (Kind::Float, tch::Device::Cpu))?
                            .f_scatter_value(0, &numbers, 1.0)?
                            .f_narrow(0, 0, classes)?
                    }
                };
                Ok((values, grid))
            }
            PredictionState::Masks { planes, channels, grid } => {
                let [x, y, z] = grid.shape.map(|n| n as i64);
                let values =
                    Tensor::f_from_slice(&planes)?.f_view([channels as i64, x, y, z])?.f_to_kind(Kind::Float)?;
                Ok((values, grid))
            }
        }
    }

    /// Replaces all values, f32 `[C,X,Y,Z]`, by the result of `change`, which must keep the grid.
    pub fn map_dense(self, case: &CaseContext, change: impl FnOnce(Tensor) -> Result<Tensor>) -> Result<Self> {
        let (header, trace) = (self.header.clone(), self.trace.clone());
        let (values, grid) = self.dense(case)?;
        let values = change(values)?;
        let [_, x, y, z] = size4(&values)?;
        if [x, y, z] != grid.shape.map(|n| n as i64) {
            bail!("the operation changed the shape {} to {:?}", shape_text(&grid), values.size());
        }
        Ok(Prediction { state: PredictionState::Dense(values, grid), header, trace })
    }
}

/// Sets the labels that are not `valid` to 0; the buffer is copied only if it is shared.
fn within<T: Element>(mut map: Arc<[T]>, valid: impl Fn(T) -> bool + Sync) -> Arc<[T]> {
    if !map.par_iter().with_min_len(1 << 16).all(|label| valid(*label)) {
        Arc::make_mut(&mut map).par_iter_mut().with_min_len(1 << 16).for_each(|label| {
            if !valid(*label) {
                *label = T::default();
            }
        });
    }
    map
}

/// Converts a volume to a contiguous tensor `[C,X,Y,Z]` f32.
pub fn volume_tensor(volume: &Volume) -> Result<Tensor> {
    let shape = volume.layout.shape.map(|n| n as i64);
    let volume = volume.clone().contiguous()?;
    let values = match &volume.voxels {
        Voxels::F32(values) => Tensor::f_from_slice(values)?,
        _ => Tensor::f_from_slice(&volume.to_f32_vec()?)?,
    };
    Ok(values.f_view(shape)?)
}

fn apply_all(ops: &[VoxelOp], values: Tensor) -> Result<Tensor> {
    ops.iter().try_fold(values, |values, op| op.apply(&values))
}

/// Returns the network's free memory to the system: values on the grid of the file may need as much.
fn release() {
    native::trim();
}

fn labels_on_grid(map: &Voxels, inverse: &Inverse, case: &CaseContext) -> Result<PredictionState> {
    let start = Instant::now();
    let grid = inverse.to_grid();
    // Two copies exist for a moment: the result and its shared copy.
    let bytes = 2 * map.dtype().size_bytes() as u64 * voxel_count(&grid) as u64;
    case.reserve(bytes, || format!("the label map on {}", shape_text(&grid)))?;
    let map = match map {
        Voxels::U8(map) => Voxels::U8(inverse.nearest(map, 0).into()),
        Voxels::U16(map) => Voxels::U16(inverse.nearest(map, 0).into()),
        other => bail!("expected class labels of uint8 or uint16, found {}", other.dtype().name()),
    };
    case.clock.add(Stage::Invert, start.elapsed());
    Ok(PredictionState::Labels { map, grid, onehot: None })
}

/// Inverts one-hot channels. Voxels outside of the network's grid are in no channel.
fn one_hot_on_grid(map: &Voxels, classes: usize, inverse: &Inverse, case: &CaseContext) -> Result<PredictionState> {
    let start = Instant::now();
    let grid = inverse.to_grid();
    // Two copies exist for a moment: the result and its shared copy.
    let bytes = if classes < 256 { 2 } else { 4 } * voxel_count(&grid) as u64;
    case.reserve(bytes, || format!("the label map on {}", shape_text(&grid)))?;
    let map = match map {
        Voxels::U8(map) if classes < 256 => Voxels::U8(inverse.nearest(map, u8::MAX).into()),
        Voxels::U16(map) => Voxels::U16(inverse.nearest(map, u16::MAX).into()),
        Voxels::U8(map) => {
            let wide: Vec<u16> = map.iter().map(|&n| u16::from(n)).collect();
            Voxels::U16(inverse.nearest(&wide, u16::MAX).into())
        }
        other => bail!("expected class labels of uint8 or uint16, found {}", other.dtype().name()),
    };
    case.clock.add(Stage::Invert, start.elapsed());
    Ok(PredictionState::Labels { map, grid, onehot: Some(classes) })
}

/// Inverts masks channel by channel; `fill` contains one value per channel.
fn masks_on_grid(
    planes: &[u8],
    channels: usize,
    fill: &[u8],
    inverse: &Inverse,
    case: &CaseContext,
) -> Result<PredictionState> {
    let start = Instant::now();
    let (from, grid) = (voxel_count(&inverse.from_grid()), inverse.to_grid());
    case.reserve(channels as u64 * voxel_count(&grid) as u64, || {
        format!("masks of {channels} channels on {}", shape_text(&grid))
    })?;
    let mut out = Vec::with_capacity(channels * voxel_count(&grid));
    for (channel, fill) in planes.chunks_exact(from.max(1)).zip(fill) {
        case.check()?;
        out.extend(inverse.nearest(channel, *fill));
    }
    case.clock.add(Stage::Invert, start.elapsed());
    Ok(PredictionState::Masks { planes: out, channels, grid })
}

fn dense_on_grid(values: &Tensor, inverse: &Inverse, nearest: bool, case: &CaseContext) -> Result<(Tensor, Grid)> {
    let start = Instant::now();
    let [channels, ..] = size4(values)?;
    let grid = inverse.to_grid();
    case.reserve(4 * channels as u64 * voxel_count(&grid) as u64, || {
        format!("all {channels} channels on {}", shape_text(&grid))
    })?;
    let [x, y, z] = grid.shape.map(|n| n as i64);
    let out = Tensor::f_zeros([channels, x, y, z], (Kind::Float, tch::Device::Cpu))?;
    let values = values.f_contiguous()?;
    let sources = native::elements(&values)?.chunks_exact(voxel_count(&inverse.from_grid()).max(1));
    for (channel, source) in sources.enumerate() {
        case.check()?;
        let moved = if nearest { inverse.nearest(source, 0.0) } else { inverse.linear(source)? };
        out.f_select(0, channel as i64)?.f_copy_(&Tensor::f_from_slice(&moved)?.f_view([x, y, z])?)?;
    }
    case.clock.add(Stage::Invert, start.elapsed());
    Ok((out, grid))
}

fn interpolated(values: &Tensor, inverse: &Inverse, case: &CaseContext) -> Result<(Tensor, Grid)> {
    dense_on_grid(values, inverse, false, case)
}

fn interpolated_argmax(values: &Tensor, inverse: &Inverse, case: &CaseContext) -> Result<PredictionState> {
    let ([channels, ..], grid) = (size4(values)?, inverse.to_grid());
    // One more byte for the smallest type of labels.
    case.reserve((inverse.linear_argmax_bytes() + 1) * voxel_count(&grid) as u64, || {
        format!("the interpolated label map on {}", shape_text(&grid))
    })?;
    let start = Instant::now();
    let labels = inverse.linear_argmax(native::elements(&values.f_contiguous()?)?, || case.check())?;
    let map = match channels <= 256 {
        true => Voxels::U8(labels.iter().map(|&label| label as u8).collect()),
        false => Voxels::U16(labels.into()),
    };
    case.clock.add(Stage::Invert, start.elapsed());
    Ok(PredictionState::Labels { map, grid, onehot: None })
}

fn interpolated_masks(
    values: &Tensor,
    inverse: &Inverse,
    threshold: f64,
    case: &CaseContext,
) -> Result<PredictionState> {
    let (channels, grid) = (size4(values)?[0] as usize, inverse.to_grid());
    case.reserve((channels as u64 + INTERPOLATED_CHANNEL_BYTES) * voxel_count(&grid) as u64, || {
        format!("masks of {channels} channels on {}", shape_text(&grid))
    })?;
    let start = Instant::now();
    let mut planes = Vec::with_capacity(channels * voxel_count(&grid));
    let values = values.f_contiguous()?;
    for channel in native::elements(&values)?.chunks_exact(voxel_count(&inverse.from_grid()).max(1)) {
        case.check()?;
        // torch compares in f32.
        planes.extend(inverse.linear(channel)?.iter().map(|&value| u8::from(value >= threshold as f32)));
    }
    case.clock.add(Stage::Invert, start.elapsed());
    Ok(PredictionState::Masks { planes, channels, grid })
}

/// Bytes per voxel of the file while channels are interpolated for argmax, with the labels in the smallest type.
pub(crate) const INTERPOLATED_ARGMAX_BYTES: u64 = Inverse::LINEAR_ARGMAX_BYTES + 1;

/// Bytes per voxel of the file of one interpolated channel, twice if the file has another orientation.
pub(crate) const INTERPOLATED_CHANNEL_BYTES: u64 = 2 * 4;

fn size4(values: &Tensor) -> Result<[i64; 4]> {
    values.size().try_into().map_err(|size| err!("expected values of shape [C,X,Y,Z], found {size:?}"))
}

pub(crate) fn voxel_count(grid: &Grid) -> usize {
    grid.shape.iter().product()
}

pub(crate) fn shape_text(grid: &Grid) -> String {
    let [x, y, z] = grid.shape;
    format!("{x}×{y}×{z}")
}
