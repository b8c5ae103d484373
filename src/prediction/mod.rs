//! One case's answer, recorded first and computed once.
//!
//! The inferer returns a [`Prediction`] that has computed nothing yet. What the postprocessing asks of it is recorded
//! ([`VoxelOp`], a nearest inversion) or computed box by box: argmax leaves one small integer per voxel and never holds
//! all channels of the volume. Only what needs all channels at once (saving probabilities, a linear inversion) makes
//! them, after a look at the memory that is there.
//!
//! Two facts carry this. Nearest inversion moves whole voxels, so it commutes with every operation on single voxels;
//! outside the network's grid it fills zeros, and what later operations make of zeros is the fill of their result
//! (softmax and argmax of zeros: class 0; but `sigmoid(0) >= 0.5` is true). Linear inversion mixes voxels and is never
//! reordered. And softmax does not change which channel is the largest, so before argmax it is left out.

mod blocks;

pub use blocks::{Blocks, Computed, LabelMap, Region};

use crate::case_context::{CaseContext, Stage};
use crate::error::Result;
use crate::image::{Grid, ImageHeader, Inverse, Layout, Trace, Volume, Voxels};
use crate::torch::convert::{to_f32, to_u8};
use crate::{bail, err};
use std::sync::Arc;
use std::time::Instant;
use tch::{Kind, Tensor};

/// The answer for one case, on its way from the network to a file.
pub struct Prediction {
    pub state: State,
    /// The image that the network saw: its file, and what was applied to it.
    pub header: Arc<ImageHeader>,
    pub trace: Trace,
}

pub enum State {
    /// Recorded, not computed.
    Pending { source: Box<dyn Blocks>, ops: Vec<VoxelOp>, inverse: Option<Recorded> },
    /// [C,X,Y,Z] f32, in host memory.
    Dense(Tensor, Grid),
    /// After argmax: one class number per voxel, [X,Y,Z] in C order, u8 or u16.
    Labels { map: Voxels, grid: Grid, onehot: Option<usize> },
    /// After a threshold: 0 or 1, [C,X,Y,Z] in C order; channels may overlap.
    Masks { planes: Vec<u8>, channels: usize, grid: Grid },
}

/// An operation on the channels of each voxel alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VoxelOp {
    Softmax,
    Sigmoid,
}

/// A nearest inversion that waits until the values are discrete.
pub struct Recorded {
    inverse: Arc<Inverse>,
    /// How many operations were recorded before it; the others also act on its zero fill.
    ops_before: usize,
}

impl VoxelOp {
    /// values [C,...], over the channels.
    fn apply(self, values: &Tensor) -> Result<Tensor> {
        Ok(match self {
            VoxelOp::Softmax => values.f_softmax(0, Kind::Float)?,
            VoxelOp::Sigmoid => values.f_sigmoid()?,
        })
    }
}

impl Prediction {
    /// An answer of which nothing is computed yet.
    pub fn pending(source: Box<dyn Blocks>, header: Arc<ImageHeader>, trace: Trace) -> Self {
        Prediction { state: State::Pending { source, ops: vec![], inverse: None }, header, trace }
    }

    /// An image's values as a prediction that is already computed.
    pub fn from_volume(volume: &Volume) -> Result<Self> {
        let values = volume_tensor(volume)?;
        Ok(Prediction {
            state: State::Dense(values, volume.grid()),
            header: volume.header.clone(),
            trace: volume.trace.clone(),
        })
    }

    /// The values as an image in host memory, [C,X,Y,Z] in C order: u8 or u16 class numbers, u8 masks, or f32.
    pub fn into_volume(self, case: &CaseContext) -> Result<Volume> {
        let (header, trace) = (self.header.clone(), self.trace.clone());
        let (voxels, channels, grid) = match self.state {
            State::Labels { map, grid, onehot: None } => (map, 1, grid),
            State::Labels { map, grid, onehot: Some(classes) } => {
                case.reserve(classes as u64 * voxel_count(&grid) as u64, || {
                    format!("{classes} one-hot channels on {}", shape_text(&grid))
                })?;
                let one_hot = |class: usize| -> Vec<u8> {
                    match &map {
                        Voxels::U8(map) => map.iter().map(|&n| u8::from(usize::from(n) == class)).collect(),
                        Voxels::U16(map) => map.iter().map(|&n| u8::from(usize::from(n) == class)).collect(),
                        _ => vec![],
                    }
                };
                (Voxels::U8((0..classes).flat_map(one_hot).collect()), classes, grid)
            }
            State::Masks { planes, channels, grid } => (Voxels::U8(planes.into()), channels, grid),
            state => {
                let (values, grid) = Prediction { state, header: self.header, trace: self.trace }.dense(case)?;
                (Voxels::F32(to_f32(&values)?.into()), values.size()[0] as usize, grid)
            }
        };
        let [x, y, z] = grid.shape;
        Ok(Volume {
            voxels,
            layout: Layout::contiguous([channels, x, y, z]),
            affine: grid.affine,
            channel_first: true,
            integer_type: None,
            header,
            trace,
        })
    }

    pub fn grid(&self) -> Grid {
        match &self.state {
            State::Pending { source, inverse, .. } => {
                inverse.as_ref().map_or(source.grid(), |recorded| recorded.inverse.to_grid())
            }
            State::Dense(_, grid) | State::Labels { grid, .. } | State::Masks { grid, .. } => *grid,
        }
    }

    fn with(self, state: State) -> Self {
        Prediction { state, ..self }
    }

    /// Softmax or sigmoid over the channels.
    pub fn activate(self, op: VoxelOp) -> Result<Self> {
        let (header, trace) = (self.header, self.trace);
        let state = match self.state {
            State::Pending { source, mut ops, inverse } => {
                ops.push(op);
                State::Pending { source, ops, inverse }
            }
            State::Dense(values, grid) => State::Dense(op.apply(&values)?, grid),
            State::Labels { .. } | State::Masks { .. } => {
                bail!("an activation after argmax or a threshold has no meaning")
            }
        };
        Ok(Prediction { state, header, trace })
    }

    /// The channel with the largest value, lowest first among equals.
    pub fn argmax(self, case: &CaseContext) -> Result<Self> {
        let (header, trace) = (self.header, self.trace);
        let state = match self.state {
            State::Pending { source, mut ops, inverse } => {
                // Softmax keeps the order of the channels.
                while ops.last() == Some(&VoxelOp::Softmax) {
                    ops.pop();
                }
                let grid = source.grid();
                let start = Instant::now();
                let map = blocks::argmax(source, &ops, case)?;
                case.clock.add(Stage::Inferer, start.elapsed());
                match inverse {
                    // Of zeros every channel is equal, whatever follows: class 0.
                    Some(recorded) => {
                        release();
                        labels_on_grid(&map, &recorded.inverse, case)?
                    }
                    None => State::Labels { map, grid, onehot: None },
                }
            }
            State::Dense(values, grid) => {
                let mut labels = LabelMap::new(grid.shape, size4(&values)?[0] as usize);
                labels.put(&values, [0; 3])?;
                let map = labels.into_voxels();
                State::Labels { map, grid, onehot: None }
            }
            State::Labels { .. } | State::Masks { .. } => bail!("argmax of values that are already discrete"),
        };
        Ok(Prediction { state, header, trace })
    }

    /// 1 where a value is at least `threshold`, per channel.
    pub fn threshold(self, threshold: f64, case: &CaseContext) -> Result<Self> {
        let (header, trace) = (self.header, self.trace);
        let state = match self.state {
            State::Pending { source, ops, inverse } => {
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
                    None => State::Masks { planes, channels, grid },
                }
            }
            State::Dense(values, grid) => {
                let channels = size4(&values)?[0] as usize;
                let mask = values.f_ge(threshold)?.f_to_kind(Kind::Uint8)?.f_contiguous()?;
                State::Masks { planes: to_u8(&mask)?, channels, grid }
            }
            State::Labels { .. } | State::Masks { .. } => bail!("a threshold of values that are already discrete"),
        };
        Ok(Prediction { state, header, trace })
    }

    /// Class numbers as one channel of zeros and ones per class; kept as numbers until somebody needs the channels.
    pub fn one_hot(self, classes: usize, case: &CaseContext) -> Result<Self> {
        match &self.state {
            // A label image: whole numbers in one channel.
            State::Dense(values, _) if values.size()[0] == 1 => {
                let (header, trace) = (self.header.clone(), self.trace.clone());
                let (values, grid) = self.dense(case)?;
                let largest = values.f_max()?.f_double_value(&[])?;
                let smallest = values.f_min()?.f_double_value(&[])?;
                if !(smallest >= 0.0 && largest < classes as f64) {
                    bail!("to_onehot={classes}, but values from {smallest} to {largest} occur");
                }
                // Like torch's `.long()`: towards zero.
                let numbers = to_f32(&values)?;
                let map = if classes <= 256 {
                    Voxels::U8(numbers.iter().map(|&x| x as u8).collect())
                } else {
                    Voxels::U16(numbers.iter().map(|&x| x as u16).collect())
                };
                Ok(Prediction { state: State::Labels { map, grid, onehot: Some(classes) }, header, trace })
            }
            State::Labels { map, grid, .. } => {
                let largest = match map {
                    Voxels::U8(map) => map.iter().copied().max().map(u32::from),
                    Voxels::U16(map) => map.iter().copied().max().map(u32::from),
                    _ => None,
                };
                if let Some(largest) = largest.filter(|&largest| largest as usize >= classes) {
                    bail!("to_onehot={classes}, but class {largest} occurs");
                }
                let state = State::Labels { map: map.clone(), grid: *grid, onehot: Some(classes) };
                Ok(self.with(state))
            }
            _ => Err(err!("to_onehot expects class numbers in one channel").hint("set argmax: true")),
        }
    }

    /// Undo the preprocessing: from the network's grid to the file's.
    pub fn invert(self, inverse: &Arc<Inverse>, nearest: bool, case: &CaseContext) -> Result<Self> {
        let (header, trace) = (self.header.clone(), Vec::new());
        if matches!(self.state, State::Labels { .. } | State::Masks { .. }) {
            release();
        }
        let state = match self.state {
            State::Pending { source, ops, inverse: None } if nearest => {
                let ops_before = ops.len();
                State::Pending { source, ops, inverse: Some(Recorded { inverse: inverse.clone(), ops_before }) }
            }
            State::Labels { map, onehot: None, .. } if nearest => labels_on_grid(&map, inverse, case)?,
            State::Labels { map, onehot: Some(classes), .. } if nearest => {
                one_hot_on_grid(&map, classes, inverse, case)?
            }
            State::Masks { planes, channels, .. } if nearest => {
                masks_on_grid(&planes, channels, &vec![0; channels], inverse, case)?
            }
            state => {
                let (values, _) = Prediction { state, header: self.header, trace: self.trace }.dense(case)?;
                let start = Instant::now();
                let state = dense_on_grid(&values, inverse, nearest, case)?;
                case.clock.add(Stage::Invert, start.elapsed());
                state
            }
        };
        Ok(Prediction { state, header, trace })
    }

    /// All channels, [C,X,Y,Z] f32 in host memory; an error that says how many bytes were asked when they do not fit.
    pub fn dense(self, case: &CaseContext) -> Result<(Tensor, Grid)> {
        match self.state {
            State::Dense(values, grid) => Ok((values, grid)),
            State::Pending { source, ops, inverse } => {
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
                    Some(recorded) => match dense_on_grid(&out, &recorded.inverse, true, case)? {
                        State::Dense(values, grid) => Ok((apply_all(&ops[before..], values)?, grid)),
                        _ => bail!("an inversion of values gave no values"),
                    },
                }
            }
            State::Labels { map, grid, onehot } => {
                let [x, y, z] = grid.shape.map(|n| n as i64);
                let channels = onehot.unwrap_or(1);
                case.reserve(4 * channels as u64 * voxel_count(&grid) as u64, || {
                    format!("{channels} channels on {}", shape_text(&grid))
                })?;
                let numbers = match &map {
                    Voxels::U8(map) => Tensor::f_from_slice(map)?,
                    Voxels::U16(map) => Tensor::f_from_slice(&map.iter().map(|&n| i32::from(n)).collect::<Vec<_>>())?,
                    other => bail!("class numbers are {}, expected uint8 or uint16", other.dtype().name()),
                };
                let numbers = numbers.f_to_kind(Kind::Int64)?.f_view([1, x, y, z])?;
                let values = match onehot {
                    None => numbers.f_to_kind(Kind::Float)?,
                    Some(classes) => Tensor::f_zeros([classes as i64, x, y, z], (Kind::Float, tch::Device::Cpu))?
                        .f_scatter_value(0, &numbers, 1.0)?,
                };
                Ok((values, grid))
            }
            State::Masks { planes, channels, grid } => {
                let [x, y, z] = grid.shape.map(|n| n as i64);
                let values =
                    Tensor::f_from_slice(&planes)?.f_view([channels as i64, x, y, z])?.f_to_kind(Kind::Float)?;
                Ok((values, grid))
            }
        }
    }

    /// Replace all values by `change` of them, [C,X,Y,Z] f32 → the same grid.
    pub fn map_dense(self, case: &CaseContext, change: impl FnOnce(Tensor) -> Result<Tensor>) -> Result<Self> {
        let (header, trace) = (self.header.clone(), self.trace.clone());
        let (values, grid) = self.dense(case)?;
        let values = change(values)?;
        let [_, x, y, z] = size4(&values)?;
        if [x, y, z] != grid.shape.map(|n| n as i64) {
            bail!("the operation changed the shape {} to {:?}", shape_text(&grid), values.size());
        }
        Ok(Prediction { state: State::Dense(values, grid), header, trace })
    }
}

/// [C,X,Y,Z] f32, contiguous.
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

/// Give back the memory in which the network ran: a file's grid may need as much.
fn release() {
    segbundle_native::trim();
}

fn labels_on_grid(map: &Voxels, inverse: &Inverse, case: &CaseContext) -> Result<State> {
    let start = Instant::now();
    let grid = inverse.to_grid();
    // For a moment twice: as it was made, and shared.
    let bytes = 2 * map.dtype().size_bytes() as u64 * voxel_count(&grid) as u64;
    case.reserve(bytes, || format!("the label map on {}", shape_text(&grid)))?;
    let map = match map {
        Voxels::U8(map) => Voxels::U8(inverse.nearest(map, 0).into()),
        Voxels::U16(map) => Voxels::U16(inverse.nearest(map, 0).into()),
        other => bail!("class numbers are {}, expected uint8 or uint16", other.dtype().name()),
    };
    case.clock.add(Stage::Invert, start.elapsed());
    Ok(State::Labels { map, grid, onehot: None })
}

/// Outside the network's grid one-hot channels are all zero, which no class number says; then the channels are masks.
fn one_hot_on_grid(map: &Voxels, classes: usize, inverse: &Inverse, case: &CaseContext) -> Result<State> {
    let none = u16::MAX;
    let wide: Vec<u16> = match map {
        Voxels::U8(map) => map.iter().map(|&n| u16::from(n)).collect(),
        Voxels::U16(map) => map.to_vec(),
        other => bail!("class numbers are {}, expected uint8 or uint16", other.dtype().name()),
    };
    let start = Instant::now();
    let moved = inverse.nearest(&wide, none);
    let grid = inverse.to_grid();
    let state = if moved.contains(&none) {
        case.reserve(classes as u64 * voxel_count(&grid) as u64, || {
            format!("{classes} one-hot channels on {}", shape_text(&grid))
        })?;
        let planes = (0..classes).flat_map(|class| moved.iter().map(move |&n| u8::from(usize::from(n) == class)));
        State::Masks { planes: planes.collect(), channels: classes, grid }
    } else if classes <= 256 {
        State::Labels { map: Voxels::U8(moved.iter().map(|&n| n as u8).collect()), grid, onehot: Some(classes) }
    } else {
        State::Labels { map: Voxels::U16(moved.into()), grid, onehot: Some(classes) }
    };
    case.clock.add(Stage::Invert, start.elapsed());
    Ok(state)
}

/// `fill` holds one value per channel.
fn masks_on_grid(planes: &[u8], channels: usize, fill: &[u8], inverse: &Inverse, case: &CaseContext) -> Result<State> {
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
    Ok(State::Masks { planes: out, channels, grid })
}

fn dense_on_grid(values: &Tensor, inverse: &Inverse, nearest: bool, case: &CaseContext) -> Result<State> {
    let [channels, ..] = size4(values)?;
    let grid = inverse.to_grid();
    case.reserve(4 * channels as u64 * voxel_count(&grid) as u64, || {
        format!("all {channels} channels on {}", shape_text(&grid))
    })?;
    let [x, y, z] = grid.shape.map(|n| n as i64);
    let out = Tensor::f_zeros([channels, x, y, z], (Kind::Float, tch::Device::Cpu))?;
    for channel in 0..channels {
        case.check()?;
        let source = to_f32(&values.f_select(0, channel)?.f_contiguous()?)?;
        let moved = if nearest { inverse.nearest(&source, 0.0) } else { inverse.linear(&source)? };
        out.f_select(0, channel)?.f_copy_(&Tensor::f_from_slice(&moved)?.f_view([x, y, z])?)?;
    }
    Ok(State::Dense(out, grid))
}

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
