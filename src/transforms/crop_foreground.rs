//! CropForegroundd: crop to the bounding box of the foreground.
//!
//! Source: monai/transforms/croppad/dictionary.py, array.py and monai/transforms/utils.py
//! (`generate_spatial_bounding_box`) of MONAI 1.6.1.

use super::divisible_pad::divisible;
use super::support::{KeyList, PadModeArg, called_on, pad_modes, per_axis, resized, take_image};
use crate::bail;
use crate::component::{Accepted, Keys, OneOrMany, Value};
use crate::contracts::{Item, Sample, Step, Transform, TransformContext};
use crate::each_voxels;
use crate::error::Result;
use crate::image::{Element, Layout, PadMode, Volume, Window, crop_pad, filled};
use rayon::prelude::*;
use std::sync::Arc;

component! {
    /// Crop images to the bounding box of the foreground of one of them.
    pub static COMPONENT = dictionary "CropForeground" in "monai.transforms" / "croppad.dictionary";

    pub struct CropForegroundArgs {
        /// Keys of the images to crop.
        keys: Keys,
        /// Key of the image whose foreground defines the bounding box.
        source_key: Arc<str>,
        /// Function of the image [C, X, Y, Z] that selects the foreground; None selects values above 0, MONAI's
        /// default.
        select_fn: Option<Value> = (),
        /// Channels of the source image to use; None uses all.
        channel_indices: Option<OneOrMany<i64>> = (),
        /// Number of voxels to add around the bounding box, one value or one per axis.
        margin: OneOrMany<usize> = 0,
        /// Limit the box with its margin to the image; otherwise the part outside is padded.
        allow_smaller: bool = false,
        /// Make the size a multiple of this number of voxels, one value or one per axis.
        k_divisible: OneOrMany<i64> = 1,
        /// Padding mode, one or one per key: "constant", "edge", "reflect", "symmetric", "wrap".
        mode: OneOrMany<PadModeArg> = "constant",
        /// Key to store the start coordinate of the box under; None does not store it.
        start_coord_key: Option<Arc<str>> = "foreground_start_coord",
        /// Key to store the end coordinate of the box under; None does not store it.
        end_coord_key: Option<Arc<str>> = "foreground_end_coord",
        /// Skip missing keys instead of raising an error.
        allow_missing_keys: bool = false,
        /// No effect: transforms are never lazy.
        lazy: Accepted = false,
        /// Fill value of mode "constant" (PyTorch's name); default 0.
        value: Option<f64> = (),
        /// Fill value of mode "constant" (NumPy's name).
        constant_values: Option<f64> = (),
    }

    differs: ["An image without foreground is an error; MONAI returns an image without voxels."],
    build: CropForeground::new,
}

struct CropForeground {
    keys: KeyList,
    source_key: Arc<str>,
    select: Option<Value>,
    channels: Option<Vec<i64>>,
    margin: [usize; 3],
    allow_smaller: bool,
    k_divisible: [i64; 3],
    modes: Vec<PadMode>,
    start_key: Option<Arc<str>>,
    end_key: Option<Arc<str>>,
}

impl CropForeground {
    fn new(args: CropForegroundArgs) -> Result<Self> {
        let keys = KeyList::new(args.keys, args.allow_missing_keys);
        if let Some(select) = &args.select_fn
            && !select.callable()
        {
            bail!("`select_fn` is {select:?}, expected a function");
        }
        Ok(CropForeground {
            modes: pad_modes(&args.mode, keys.len(), args.value, args.constant_values)?,
            keys,
            source_key: args.source_key,
            select: args.select_fn,
            channels: args.channel_indices.map(|indices| match indices {
                OneOrMany::One(i) => vec![i],
                OneOrMany::Many(indices) => indices,
            }),
            margin: per_axis(&args.margin, "margin")?,
            allow_smaller: args.allow_smaller,
            k_divisible: per_axis(&args.k_divisible, "k_divisible")?,
            start_key: args.start_coord_key,
            end_key: args.end_coord_key,
        })
    }
    /// Bounding box of the foreground of `volume`, enlarged by the margin.
    ///
    /// # Errors
    /// No foreground; a channel index that the image does not have.
    fn window(&self, volume: &Volume) -> Result<Window> {
        let shape = volume.layout.spatial();
        let channels = self.channels(volume.channels())?;
        let found = match &self.select {
            None => bounds(volume, &channels),
            Some(select) => bounds(&selected(select, volume)?, &channels),
        };
        let Some(found) = found else {
            let rule = if self.select.is_some() { "is selected by `select_fn`" } else { "is above 0" };
            let nan = volume.to_f32_vec()?.iter().filter(|x| x.is_nan()).count();
            let why = if nan > 0 { format!("; {nan} voxels are NaN") } else { String::new() };
            bail!("no foreground to crop to: no voxel of `{}` {rule}{why}", self.source_key);
        };
        let mut start = [0isize; 3];
        let mut size = [0; 3];
        for axis in 0..3 {
            let (mut low, mut high) =
                (found[axis].0 as isize - self.margin[axis] as isize, (found[axis].1 + self.margin[axis]) as isize);
            if self.allow_smaller {
                (low, high) = (low.max(0), high.min(shape[axis] as isize));
            }
            start[axis] = low;
            size[axis] = (high - low) as usize;
        }
        let shape = divisible(size, self.k_divisible);
        Ok(Window { start: std::array::from_fn(|axis| start[axis] - ((shape[axis] - size[axis]) / 2) as isize), shape })
    }
    fn channels(&self, n: usize) -> Result<Vec<usize>> {
        let Some(indices) = &self.channels else { return Ok((0..n).collect()) };
        let place = |&i: &i64| if i < 0 { usize::try_from(i + n as i64).ok() } else { usize::try_from(i).ok() };
        match indices.iter().map(|i| place(i).filter(|&i| i < n)).collect() {
            Some(channels) => Ok(channels),
            None => bail!("`channel_indices` {indices:?}: the image has {n} channels"),
        }
    }
}

/// Mask that is 1 where `select` returns a value other than 0.
///
/// # Errors
/// `select` returns anything other than an array of the image's shape.
fn selected(select: &Value, volume: &Volume) -> Result<Volume> {
    let wanted = volume.layout.shape;
    match called_on(select, volume.clone(), &wanted)? {
        Ok((voxels, shape)) if shape == wanted => {
            let chosen = each_voxels!(&voxels, slice => filled(slice.len(), |out: &mut [u8]| {
                out.iter_mut().zip(slice.iter()).for_each(|(out, x)| *out = u8::from(x.to_f64() != 0.0));
            }))?;
            Ok(Volume { voxels: u8::wrap(chosen), layout: Layout::contiguous(wanted), ..volume.clone() })
        }
        Ok((_, shape)) => {
            bail!("`select_fn` returned an array of shape {shape:?}, expected the image's shape {wanted:?}")
        }
        Err(value) => bail!("`select_fn` returned {value:?}, expected an array of the image's shape"),
    }
}

/// Half-open index range of the voxels above 0 along each axis X, Y, Z; `None` if there are none.
fn bounds(volume: &Volume, channels: &[usize]) -> Option<[(usize, usize); 3]> {
    fn run<T: Element>(buffer: &[T], layout: &Layout, channels: &[usize]) -> Option<[(usize, usize); 3]> {
        // Lines run along the axis that is fastest in memory, planes along the slowest.
        let mut order = [1, 2, 3];
        order.sort_by_key(|&axis| layout.strides[axis].unsigned_abs());
        let [line, row, plane] = order;
        let zero = T::default();
        let join = |a: [(usize, usize); 3], b: [(usize, usize); 3]| {
            std::array::from_fn(|axis| (a[axis].0.min(b[axis].0), a[axis].1.max(b[axis].1)))
        };
        let empty = [(usize::MAX, 0); 3];
        let found = (0..layout.shape[plane] * channels.len())
            .into_par_iter()
            .map(|task| {
                let mut found = empty;
                let at_plane = task % layout.shape[plane];
                for at_row in 0..layout.shape[row] {
                    let mut at = [channels[task / layout.shape[plane]], 0, 0, 0];
                    at[plane] = at_plane;
                    at[row] = at_row;
                    let start = layout.position(at) as isize;
                    let value = |i: usize| buffer[(start + i as isize * layout.strides[line]) as usize] > zero;
                    let n = layout.shape[line];
                    let Some(first) = (0..n).find(|&i| value(i)) else { continue };
                    let last = (first..n).rev().find(|&i| value(i)).unwrap_or(first);
                    let mut own = empty;
                    own[line - 1] = (first, last + 1);
                    own[row - 1] = (at_row, at_row + 1);
                    own[plane - 1] = (at_plane, at_plane + 1);
                    found = join(found, own);
                }
                found
            })
            .reduce(|| empty, join);
        (found[0].1 > 0).then_some(found)
    }
    each_voxels!(&volume.voxels, slice => run(slice, &volume.layout, channels))
}

impl Transform for CropForeground {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn image_keys(&self) -> &[Arc<str>] {
        &self.keys.keys
    }
    fn plan(&self, sample: Sample) -> Result<Step<'_>> {
        // The extent of the foreground depends on the voxels; the image's size is its upper bound.
        let mut sample = resized(&self.keys, sample, |shape| {
            let margin = if self.allow_smaller { [0; 3] } else { self.margin };
            let largest = std::array::from_fn(|axis| shape[axis].saturating_add(2 * margin[axis]));
            divisible(largest, self.k_divisible)
        })?;
        for key in [&self.start_key, &self.end_key].into_iter().flatten() {
            sample.set(key, Item::Value(Value::None));
        }
        Ok(Step::at_most(sample))
    }
    fn apply(&self, mut sample: Sample, _cx: &mut TransformContext) -> Result<Vec<Sample>> {
        self.keys.one_grid(&sample)?;
        let window = self.window(sample.image(&self.source_key)?)?;
        let coordinates = |value: [isize; 3]| Item::Value(Value::list(value.map(|at| Value::Int(at as i64))));
        let end = std::array::from_fn(|axis| window.start[axis] + window.shape[axis] as isize);
        for (key, value) in [(&self.start_key, window.start), (&self.end_key, end)] {
            if let Some(key) = key {
                sample.set(key, coordinates(value));
            }
        }
        for (at, key) in self.keys.present(&sample)? {
            let volume = take_image(&mut sample, &key)?;
            let volume = crop_pad(volume, window, self.modes[at], COMPONENT.name)
                .map_err(|e| e.context(format_args!("`{key}`")))?;
            sample.set(&key, Item::Image(volume));
        }
        Ok(vec![sample])
    }
    fn traced_keys(&self) -> &[Arc<str>] {
        &self.keys.keys
    }
}
