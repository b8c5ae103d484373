//! EnsureChannelFirstd: move the channel axis to the front, or add one if the image has none.
//!
//! Source: monai/transforms/utility/dictionary.py and array.py of MONAI 1.6.1. Volumes are always stored as
//! `[C, X, Y, Z]`; this transform sets the flag that config functions see, and with `channel_dim` selects which stored
//! axis is the channel axis.

use super::support::KeyList;
use crate::bail;
use crate::component::{Accepted, FromValue, Keys, Value};
use crate::contracts::{Sample, Step, Transform, TransformContext, applied_to_headers};
use crate::error::Result;
use crate::image::{ImageHeader, Layout, Volume};
use std::sync::Arc;

component! {
    /// Move the channel axis to the front, or add one.
    pub static COMPONENT = dictionary "EnsureChannelFirst" in "monai.transforms" / "utility.dictionary";

    pub struct EnsureChannelFirstArgs {
        /// Keys of the images.
        keys: Keys,
        /// No effect: the channel axis is always known from the file.
        strict_check: Accepted = true,
        /// Skip missing keys instead of raising an error.
        allow_missing_keys: bool = false,
        /// Channel axis of the file: an int, or "no_channel"; None uses the file's metadata.
        channel_dim: Option<ChannelDim> = (),
    }

    build: EnsureChannelFirst::new,
}

/// Value of `channel_dim`: an axis, or no channel axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelDim {
    /// Channel axis in the stored order of axes; negative values count from the end.
    Axis(i64),
    /// The file has no channel axis: one of length 1 is added.
    NoChannel,
}

impl FromValue for ChannelDim {
    fn expected() -> String {
        "int or \"no_channel\"".into()
    }
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Str(text) if &**text == "no_channel" => Some(ChannelDim::NoChannel),
            Value::Float(x) if x.is_nan() => Some(ChannelDim::NoChannel),
            value => i64::from_value(value).map(ChannelDim::Axis),
        }
    }
}

struct EnsureChannelFirst {
    keys: KeyList,
    channel_dim: Option<ChannelDim>,
}

impl EnsureChannelFirst {
    fn new(args: EnsureChannelFirstArgs) -> Result<Self> {
        Ok(EnsureChannelFirst { keys: KeyList::new(args.keys, args.allow_missing_keys), channel_dim: args.channel_dim })
    }
    fn adjusted(&self, mut volume: Volume) -> Result<Volume> {
        let header = &volume.header;
        match self.channel_dim {
            _ if volume.channel_first => {}
            None => {}
            Some(ChannelDim::NoChannel) if header.channels.is_some_and(|channels| channels > 1) => {
                bail!("`channel_dim` is \"no_channel\", but the file has {} channels", volume.channels());
            }
            Some(ChannelDim::NoChannel) => {}
            Some(ChannelDim::Axis(axis)) => {
                // Stored order of axes: X, Y, Z, then the channel axis if the file has one.
                let rank = header.spatial_dims + usize::from(header.channels.is_some());
                let place = if axis < 0 { axis + rank as i64 } else { axis };
                let Some(place) = usize::try_from(place).ok().filter(|&place| place < rank) else {
                    bail!("`channel_dim` is {axis}, but the file has {rank} axes");
                };
                if place < header.spatial_dims {
                    volume = channel_from(volume, place)?;
                }
            }
        }
        volume.channel_first = true;
        Ok(volume)
    }
}

/// Turns the spatial axis `place` into the channel axis; later axes move up by one, and the last one has length 1.
fn channel_from(mut volume: Volume, place: usize) -> Result<Volume> {
    if volume.channels() != 1 {
        bail!("`channel_dim` selects spatial axis {place}, but the file has a channel axis already");
    }
    let Layout { offset, shape, strides } = volume.layout;
    let mut axes: Vec<usize> = (1..4).filter(|&axis| axis != place + 1).collect();
    axes.insert(0, place + 1);
    // The previous channel axis, of length 1, becomes the last spatial axis.
    axes.push(0);
    volume.layout = Layout {
        offset,
        shape: std::array::from_fn(|i| shape[axes[i]]),
        strides: std::array::from_fn(|i| strides[axes[i]]),
    };
    let header = ImageHeader {
        channels: Some(volume.channels()),
        spatial_dims: volume.header.spatial_dims - 1,
        grid: volume.grid(),
        ..(*volume.header).clone()
    };
    volume.header = Arc::new(header);
    Ok(volume)
}

impl Transform for EnsureChannelFirst {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn image_keys(&self) -> &[Arc<str>] {
        &self.keys.keys
    }
    fn plan(&self, sample: Sample) -> Result<Step<'_>> {
        Ok(Step::header_only(applied_to_headers(self, sample)?))
    }
    fn apply(&self, sample: Sample, _cx: &mut TransformContext) -> Result<Vec<Sample>> {
        self.keys.images(sample, |volume, _| self.adjusted(volume))
    }
}
