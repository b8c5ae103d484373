//! [`LabelVolume`]: labels, masks or channels in host memory, for transforms of label maps.

use super::{Prediction, PredictionState, shape_text, volume_tensor};
use crate::bail;
use crate::case_context::CaseContext;
use crate::error::Result;
use crate::image::{DType, Element, Layout, Volume, Voxels};
use crate::torch::convert::to_f32;
use rayon::prelude::*;

/// The values of an image or of a computed prediction, `[C,X,Y,Z]` in C order.
pub struct LabelVolume {
    /// Label map (one channel), masks or float32 channels.
    pub volume: Volume,
    /// If the only channel is a label map that represents one-hot channels: their number. Labels outside of them, see
    /// [`LabelVolume::no_channel`], belong to no channel.
    pub onehot: Option<usize>,
}

impl LabelVolume {
    /// Number of channels, including one-hot channels that are not materialized.
    pub fn channels(&self) -> usize {
        self.onehot.unwrap_or(self.volume.channels())
    }
    /// Number of spatial axes of the file: 2 for `[C,X,Y]`.
    pub fn spatial_dims(&self) -> usize {
        self.volume.header.spatial_dims.clamp(1, 3)
    }
    /// Widens a label map of 256 one-hot channels in u8, so that a number is free for voxels of no channel.
    pub fn with_no_channel(mut self) -> Result<LabelVolume> {
        if self.onehot == Some(256) && self.volume.voxels.dtype() == DType::U8 {
            self.volume.voxels = self.volume.voxels.cast(DType::U16)?;
        }
        Ok(self)
    }
    /// Expands one-hot channels that are represented by a label map to masks.
    ///
    /// # Errors
    /// The masks exceed the memory budget.
    pub fn into_channels(self, case: &CaseContext) -> Result<Volume> {
        let Some(classes) = self.onehot else { return Ok(self.volume) };
        let all: Vec<usize> = (0..classes).collect();
        self.selected(&all, case)
    }
    /// Masks of the given one-hot channels, which a label map represents.
    ///
    /// # Errors
    /// The masks exceed the memory budget.
    pub fn selected(self, channels: &[usize], case: &CaseContext) -> Result<Volume> {
        let volume = self.volume;
        let [_, x, y, z] = volume.layout.shape;
        case.reserve((channels.len() * volume.voxels.len()) as u64, || {
            format!("{} one-hot channels on {}", channels.len(), shape_text(&volume.grid()))
        })?;
        fn masks<T: Element>(map: &[T], channels: &[usize]) -> Vec<u8> {
            let mut masks = vec![0u8; channels.len() * map.len()];
            for (mask, &channel) in masks.chunks_exact_mut(map.len().max(1)).zip(channels) {
                let label = channel as f64;
                mask.par_iter_mut().zip(map).with_min_len(1 << 16).for_each(|(out, x)| {
                    *out = u8::from(x.to_f64() == label);
                });
            }
            masks
        }
        let masks = match &volume.voxels {
            Voxels::U8(map) => masks(map, channels),
            Voxels::U16(map) => masks(map, channels),
            other => bail!("expected class labels of uint8 or uint16, found {}", other.dtype().name()),
        };
        let layout = Layout::contiguous([channels.len(), x, y, z]);
        Ok(Volume { voxels: Voxels::U8(masks.into()), layout, ..volume })
    }
}

impl Prediction {
    /// Returns the computed values; one-hot channels stay a label map.
    ///
    /// # Errors
    /// Values that are not discrete yet need all channels, which may exceed the memory budget.
    pub fn into_label_volume(self, case: &CaseContext) -> Result<LabelVolume> {
        let (header, trace) = (self.header.clone(), self.trace.clone());
        let (voxels, channels, grid, onehot) = match self.state {
            PredictionState::Labels { map, grid, onehot } => (map, 1, grid, onehot),
            PredictionState::Masks { planes, channels, grid } => (Voxels::U8(planes.into()), channels, grid, None),
            state => {
                let (values, grid) = Prediction { state, header: self.header, trace: self.trace }.dense(case)?;
                (Voxels::F32(to_f32(&values)?.into()), values.size()[0] as usize, grid, None)
            }
        };
        let [x, y, z] = grid.shape;
        let volume = Volume {
            voxels,
            layout: Layout::contiguous([channels, x, y, z]),
            affine: grid.affine,
            channel_first: true,
            integer_type: None,
            header,
            trace,
        };
        Ok(LabelVolume { volume, onehot })
    }

    /// The prediction with these values: labels (one channel of u8 or u16), masks (u8 channels of 0 and 1) or float32.
    pub fn from_label_volume(labels: LabelVolume) -> Result<Prediction> {
        let LabelVolume { volume, onehot } = labels;
        let volume = volume.contiguous()?;
        let (grid, channels) = (volume.grid(), volume.channels());
        let state = match volume.voxels.clone() {
            map @ (Voxels::U8(_) | Voxels::U16(_)) if channels == 1 => PredictionState::Labels { map, grid, onehot },
            Voxels::U8(planes) if planes.par_iter().with_min_len(1 << 16).all(|value| *value <= 1) => {
                PredictionState::Masks { planes: planes.to_vec(), channels, grid }
            }
            _ => PredictionState::Dense(volume_tensor(&volume)?, grid),
        };
        Ok(Prediction { state, header: volume.header, trace: volume.trace })
    }

    /// Replaces the values by the result of `change`.
    pub fn map_labels(
        self,
        case: &CaseContext,
        change: impl FnOnce(LabelVolume) -> Result<LabelVolume>,
    ) -> Result<Prediction> {
        Prediction::from_label_volume(change(self.into_label_volume(case)?)?)
    }
}
