//! Numeric types of voxels, and buffers of them.

use super::{DType, Layout, Volume, Voxels};
use crate::error::Result;
use crate::zeroed::{self, Zeroed};
use crate::{each_voxels, err};
use rayon::prelude::*;
use std::sync::Arc;

/// A numeric type of voxels.
pub trait Element: Zeroed + Default + PartialOrd + Send + Sync + 'static {
    /// The value as f64; 64-bit integers are rounded.
    fn to_f64(self) -> f64;
    /// The value as f32, rounded.
    fn to_f32(self) -> f32;
    /// Truncates toward zero as NumPy does; values out of range are clamped.
    fn from_f64(x: f64) -> Self;
    /// The buffer as [`Voxels`] of this type.
    fn wrap(buffer: Arc<[Self]>) -> Voxels;
}

macro_rules! elements {
    ($($ty:ident $variant:ident),*) => {$(
        impl Element for $ty {
            fn to_f64(self) -> f64 {
                self as f64
            }
            fn to_f32(self) -> f32 {
                self as f32
            }
            fn from_f64(x: f64) -> Self {
                x as $ty
            }
            fn wrap(buffer: Arc<[Self]>) -> Voxels {
                Voxels::$variant(buffer)
            }
        }
    )*};
}
elements!(u8 U8, i8 I8, u16 U16, i16 I16, u32 U32, i32 I32, u64 U64, i64 I64, f32 F32, f64 F64);

/// Allocates `n` zeros and passes them to `fill` while the buffer is not shared yet.
///
/// # Errors
/// There is not enough memory.
pub fn filled<T: Element>(n: usize, fill: impl FnOnce(&mut [T])) -> Result<Arc<[T]>> {
    let refused = || err!("not enough memory for {n} voxels of {} bytes", size_of::<T>());
    let mut buffer = zeroed::arc(n).ok_or_else(refused)?;
    if let Some(slice) = Arc::get_mut(&mut buffer) {
        fill(slice);
    }
    Ok(buffer)
}

/// Elements per task in pointwise loops: 256 KiB of f32, so that a chunk stays in the cache between two passes.
pub const CHUNK: usize = 1 << 16;

impl Layout {
    /// Number of voxels over all channels.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }
    /// Whether an axis has length 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Position of index `[c,x,y,z]` in the buffer.
    pub fn position(&self, at: [usize; 4]) -> usize {
        let shift: isize = at.iter().zip(&self.strides).map(|(&i, &stride)| i as isize * stride).sum();
        (self.offset as isize + shift) as usize
    }
    /// Whether the layout covers all `len` elements of a buffer exactly once, channel by channel. Pointwise loops may
    /// then process the buffer in memory order.
    fn is_dense(&self, len: usize) -> bool {
        let mut axes: Vec<(usize, usize)> =
            (1..4).map(|axis| (self.strides[axis].unsigned_abs(), self.shape[axis])).collect();
        axes.retain(|&(_, n)| n != 1);
        axes.sort_unstable();
        let mut next = 1;
        for (stride, n) in axes {
            if stride != next {
                return false;
            }
            next *= n;
        }
        len == self.len() && (self.shape[0] == 1 || self.strides[0] == next as isize)
    }
}

impl DType {
    /// Whether float32 represents every value of this type exactly.
    pub(crate) fn exact_in_f32(self) -> bool {
        matches!(self, DType::U8 | DType::I8 | DType::U16 | DType::I16 | DType::F32)
    }
}

impl Volume {
    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.layout.channels()
    }
    /// Converts the voxels to float32, dense in memory, and passes them to `work` as one slice, channel by channel,
    /// with the number of voxels per channel. The order in memory is kept if it is dense. The buffer is reused if it is
    /// not shared.
    pub fn map_f32(mut self, work: impl FnOnce(&mut [f32], usize)) -> Result<Volume> {
        self.integer_type = None;
        let dense = self.layout.is_dense(self.voxels.len());
        let per_channel = self.layout.len() / self.layout.channels().max(1);
        if !dense {
            self = self.contiguous()?;
        }
        if let Voxels::F32(buffer) = &mut self.voxels
            && let Some(slice) = Arc::get_mut(buffer)
        {
            work(slice, per_channel);
            return Ok(self);
        }
        let buffer = each_voxels!(&self.voxels, slice => filled(slice.len(), |out: &mut [f32]| {
            out.par_chunks_mut(CHUNK).zip(slice.par_chunks(CHUNK)).for_each(|(out, from)| {
                out.iter_mut().zip(from).for_each(|(out, x)| *out = x.to_f32());
            });
            work(out, per_channel);
        }))?;
        self.voxels = Voxels::F32(buffer);
        Ok(self)
    }
    /// Converts the voxels to float32.
    pub fn into_f32(self) -> Result<Volume> {
        if let Voxels::F32(_) = self.voxels { Ok(self) } else { self.map_f32(|_, _| {}) }
    }
    /// Returns the voxels in C order `[C,X,Y,Z]`, with the same type.
    pub fn contiguous(mut self) -> Result<Volume> {
        let shape = self.layout.shape;
        let contiguous = Layout::contiguous(shape);
        if self.layout == contiguous && self.voxels.len() == self.layout.len() {
            return Ok(self);
        }
        let tables: [Vec<u32>; 3] = std::array::from_fn(|axis| (0..shape[axis + 1] as u32).collect());
        self.voxels = super::gather::gather_volume(&self, [&tables[0], &tables[1], &tables[2]], 0.0)?;
        self.layout = contiguous;
        Ok(self)
    }
    /// Returns all voxels as f32 in C order `[C,X,Y,Z]`.
    pub fn to_f32_vec(&self) -> Result<Vec<f32>> {
        let volume = self.clone().contiguous()?;
        Ok(each_voxels!(&volume.voxels, slice => slice.iter().map(|x| x.to_f32()).collect()))
    }
    /// Converts the voxels to `dtype`, see [`Voxels::cast`].
    pub fn cast(self, dtype: DType) -> Result<Volume> {
        let integer_type = (!dtype.is_float()).then_some(dtype);
        Ok(Volume { voxels: self.voxels.cast(dtype)?, integer_type, ..self })
    }
}

impl Voxels {
    /// Converts the voxels to `dtype`. Conversion to a float type leaves integers unchanged that the type holds
    /// exactly: voxels keep the file's type until arithmetic needs floats.
    pub fn cast(self, dtype: DType) -> Result<Voxels> {
        let now = self.dtype();
        let keeps = now == dtype
            || (dtype.is_float() && now.exact_in_f32())
            || (dtype == DType::F64 && now != DType::U64 && now != DType::I64);
        if keeps {
            return Ok(self);
        }
        fn convert<A: Element, B: Element>(from: &[A]) -> Result<Voxels> {
            Ok(B::wrap(filled(from.len(), |out| {
                out.par_chunks_mut(CHUNK).zip(from.par_chunks(CHUNK)).for_each(|(out, from)| {
                    out.iter_mut().zip(from).for_each(|(out, x)| *out = B::from_f64(x.to_f64()));
                });
            })?))
        }
        each_voxels!(&self, slice => match dtype {
            DType::U8 => convert::<_, u8>(slice),
            DType::I8 => convert::<_, i8>(slice),
            DType::U16 => convert::<_, u16>(slice),
            DType::I16 => convert::<_, i16>(slice),
            DType::U32 => convert::<_, u32>(slice),
            DType::I32 => convert::<_, i32>(slice),
            DType::U64 => convert::<_, u64>(slice),
            DType::I64 => convert::<_, i64>(slice),
            DType::F32 => convert::<_, f32>(slice),
            DType::F64 => convert::<_, f64>(slice),
        })
    }
}
