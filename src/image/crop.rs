//! Cropping and padding along the voxel axes.

use super::gather::{OUTSIDE, gather_volume};
use super::{Affine, Applied, DType, Grid, Layout, Spatial, Volume, Voxels};
use crate::bail;
use crate::error::Result;
use std::sync::Arc;

/// Values of padding voxels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PadMode {
    /// This value everywhere ("constant").
    Constant(f64),
    /// The outermost voxel ("edge", "replicate").
    Edge,
    /// Mirrored, without repeating the outermost voxel.
    Reflect,
    /// Mirrored, repeating the outermost voxel.
    Symmetric,
    /// Periodic ("wrap", "circular").
    Wrap,
}

impl PadMode {
    /// Source index of position `at` along an axis of `n` voxels.
    fn index(self, at: isize, n: usize) -> u32 {
        let len = n as isize;
        if (0..len).contains(&at) {
            return at as u32;
        }
        let mirrored = |period: isize, from: isize| {
            let at = at.rem_euclid(period);
            if at < len { at } else { from - at }
        };
        (match self {
            PadMode::Constant(_) => return OUTSIDE,
            PadMode::Edge => at.clamp(0, len - 1),
            PadMode::Reflect if n == 1 => 0,
            PadMode::Reflect => mirrored(2 * len - 2, 2 * len - 2),
            PadMode::Symmetric => mirrored(2 * len, 2 * len - 1),
            PadMode::Wrap => at.rem_euclid(len),
        }) as u32
    }
}

/// A crop with padding: output voxel i is input voxel i + `start`; voxels outside the input are padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Input index of the first output voxel; negative if the output begins with padding.
    pub start: [isize; 3],
    /// Output size in voxels.
    pub shape: [usize; 3],
}

/// Crops and pads `volume` to `window` and records the operation under the transform's class `by`.
///
/// # Errors
/// The result would be empty or larger than 2^36 voxels, or there is not enough memory.
pub fn crop_pad(mut volume: Volume, window: Window, mode: PadMode, by: &'static str) -> Result<Volume> {
    let before = volume.grid();
    if window.shape.contains(&0) || before.shape.contains(&0) {
        bail!(
            "{by}: expected a result of at least one voxel, found {:?} from an image of {:?} voxels",
            window.shape,
            before.shape
        );
    }
    let wanted = window.shape.iter().try_fold(volume.layout.channels(), |product, &n| product.checked_mul(n));
    if wanted.is_none_or(|n| n > MAX_VOXELS) {
        bail!("{by}: expected an image of at most 2^36 values, found {:?} voxels", window.shape);
    }
    if window.start == [0; 3] && window.shape == before.shape {
        volume.trace.push(Arc::new(Applied {
            by,
            before,
            after: before,
            what: Spatial::CropPad { start: window.start },
        }));
        return Ok(volume);
    }
    let tables: [Vec<u32>; 3] = std::array::from_fn(|axis| {
        (0..window.shape[axis] as isize).map(|i| mode.index(i + window.start[axis], before.shape[axis])).collect()
    });
    let fill = if let PadMode::Constant(value) = mode { value } else { 0.0 };
    // Integer voxels become float32 if the padding value is not 0, since their type may not be able to hold it.
    let widened = fill != 0.0 && !volume.voxels.dtype().is_float();
    if volume.is_header_only() {
        volume.voxels = Voxels::empty(if widened { DType::F32 } else { volume.voxels.dtype() });
    } else {
        if widened {
            volume = volume.into_f32()?;
        }
        volume.voxels = gather_volume(&volume, [&tables[0], &tables[1], &tables[2]], fill)?;
    }
    let [x, y, z] = window.shape;
    volume.layout = Layout::contiguous([volume.layout.channels(), x, y, z]);
    volume.affine = shifted(&before.affine, window.start);
    let after = Grid { shape: window.shape, affine: volume.affine };
    volume.trace.push(Arc::new(Applied { by, before, after, what: Spatial::CropPad { start: window.start } }));
    Ok(volume)
}

/// 2^36 voxels are 256 GiB of f32.
const MAX_VOXELS: usize = 1 << 36;

/// Returns the affine after a crop at `start`. Like MONAI, it first crops, then pads, so that rounding is the same.
pub fn shifted(affine: &Affine, start: [isize; 3]) -> Affine {
    let part = |pick: fn(isize) -> isize| Affine::translation(start.map(|s| pick(s) as f64));
    let (crop, pad) = (part(|s| s.max(0)), part(|s| s.min(0)));
    let mut out = *affine;
    for shift in [crop, pad] {
        if shift != Affine::IDENTITY {
            out = out.updated(&shift);
        }
    }
    out
}
