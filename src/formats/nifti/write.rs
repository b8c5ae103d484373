//! Writes NIfTI files: slabs of slices are converted to file order, compressed in parallel, and appended.

use super::header::to_bytes;
use super::{dtype_code, extension, geometry};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::gzip::{self, GzWriter};
use crate::image::{Affine, DType, Grid, Layout, Space, StoredForms, Voxels};
use crate::{atomic, bail, each_voxels, err};
use nifti::NiftiHeader;
use rayon::prelude::*;
use std::io::{self, Write};
use std::path::Path;

/// Header and the four bytes that tell whether extensions follow; then extensions, then voxels.
const OFFSET: usize = 352;
/// Bytes in file order that are converted at a time.
const SLAB_BYTES: usize = 32 << 20;
/// Slices that one task converts to file order: if Z is the fastest axis of the source, it then uses whole cache lines.
const TASK_SLICES: usize = 64;
/// Edge length of a tile in voxels: a cache line of bytes.
const TILE: usize = 64;

/// How to write an image.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// MONAI's argument: omit the channel axis if there is one channel.
    pub squeeze_end_dims: bool,
    /// Spatial dimensions of the input; with 2, an image of one slice is written as a plane.
    pub spatial_dims: usize,
    /// Compression level, 1 (fastest) to 9 (smallest).
    pub compression_level: u32,
    /// Content of a header extension with code 0; empty for none.
    pub extension: &'a [u8],
    /// World space of the input; `None` writes MONAI's codes (1 and 1, no units).
    pub space: Option<Space>,
    /// Text of the header field `descrip`, truncated to 79 bytes; empty in MONAI.
    pub description: &'a str,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Options {
            squeeze_end_dims: true,
            spatial_dims: 3,
            compression_level: gzip::DEFAULT_LEVEL,
            extension: &[],
            space: None,
            description: "",
        }
    }
}

/// Writes `voxels` with this `layout` (`[C,X,Y,Z]`) atomically as a single NIfTI-1 file of type `dtype`, gzipped if the
/// name ends in `.gz`. Channels become the fourth dimension. Missing parent folders are created. Returns the digest of
/// the file, computed while it is written.
///
/// # Errors
/// A value does not fit `dtype` (fractions are truncated, as in NumPy), the shape is too large for NIfTI-1, the affine
/// is singular, or the file cannot be written.
pub fn write(
    path: impl AsRef<Path>,
    voxels: &Voxels,
    layout: &Layout,
    affine: &Affine,
    dtype: DType,
    options: Options<'_>,
) -> Result<Digest> {
    let path = path.as_ref();
    let gzipped = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"));
    if !gzipped && path.extension().is_none_or(|extension| !extension.eq_ignore_ascii_case("nii")) {
        return Err(err!("expected a name that ends in .nii or .nii.gz").file(path));
    }
    atomic::write_hashed(path, |out| write_to(out, gzipped, voxels, layout, affine, dtype, options))
}

/// Like [`write()`], to any writer.
pub fn write_to(
    out: &mut impl Write,
    gzipped: bool,
    voxels: &Voxels,
    layout: &Layout,
    affine: &Affine,
    dtype: DType,
    options: Options<'_>,
) -> Result<()> {
    check_layout(voxels, layout)?;
    if !gzipped {
        return write_image(out, voxels, layout, affine, dtype, options);
    }
    let mut packed = GzWriter::new(out, options.compression_level)?;
    write_image(&mut packed, voxels, layout, affine, dtype, options)?;
    packed.finish().map_err(cannot_write)?;
    Ok(())
}

fn cannot_write(error: io::Error) -> Error {
    err!("cannot write: {error}")
}

fn write_image(
    out: &mut impl Write,
    voxels: &Voxels,
    layout: &Layout,
    affine: &Affine,
    dtype: DType,
    options: Options<'_>,
) -> Result<()> {
    let extension = if options.extension.is_empty() { vec![] } else { extension::block(options.extension) };
    let mut header = header(layout, affine, dtype, options)?;
    header.vox_offset = (OFFSET + extension.len()) as f32;
    let flags = [u8::from(!extension.is_empty()), 0, 0, 0];
    out.write_all(&[&to_bytes(&header)[..], &flags, &extension].concat()).map_err(cannot_write)?;
    let [channels, x, y, z] = layout.shape;
    let slice_bytes = x * y * dtype.size_bytes();
    let slab_slices = (SLAB_BYTES / slice_bytes).clamp(1, z);
    let mut slab = vec![0; slab_slices * slice_bytes];
    for channel in 0..channels {
        for first in (0..z).step_by(slab_slices) {
            let slices = slab_slices.min(z - first);
            let slab = &mut slab[..slices * slice_bytes];
            let tasks = slab.par_chunks_mut(TASK_SLICES * slice_bytes).enumerate();
            tasks.try_for_each(|(task, out)| fill(out, voxels, layout, channel, first + task * TASK_SLICES, dtype))?;
            out.write_all(slab).map_err(cannot_write)?;
        }
    }
    Ok(())
}

/// Checks that every index of `layout` lies in the buffer.
fn check_layout(voxels: &Voxels, layout: &Layout) -> Result<()> {
    let reach = |wanted: fn(isize) -> bool| {
        let axes = layout.shape.iter().zip(layout.strides).filter(|(_, stride)| wanted(*stride));
        axes.map(|(length, stride)| (*length as i128 - 1) * stride as i128).sum::<i128>()
    };
    let (low, high) =
        (layout.offset as i128 + reach(|stride| stride < 0), layout.offset as i128 + reach(|stride| stride > 0));
    if layout.shape.contains(&0) {
        bail!("expected at least one voxel, found shape {:?}", layout.shape);
    }
    if low < 0 || high >= voxels.len() as i128 {
        bail!(
            "expected voxels for shape {:?} at strides {:?}, found {} values",
            layout.shape,
            layout.strides,
            voxels.len()
        );
    }
    Ok(())
}

/// qform and sform code of an image on another grid than that of its input. Both forms are written with the same
/// affine, so a code that the input lacks is replaced by the other one; a shear, which a quaternion cannot represent,
/// sets the qform code to 0.
fn codes(space: Option<Space>, sheared: bool) -> (i16, i16) {
    let Some(Space { qform_code, sform_code, .. }) = space else { return (1, 1) };
    let (qform_code, sform_code) = match (qform_code, sform_code) {
        (0, 0) => (1, 1),
        (0, code) | (code, 0) => (code, code),
        both => both,
    };
    (if sheared { 0 } else { qform_code }, sform_code)
}

/// The header that MONAI's `NibabelWriter` makes nibabel write, with slope 1 and the world space of the input: on the
/// input's own grid, qform, sform, codes and voxel sizes are those of the input, so that viewers overlay both
/// correctly.
fn header(layout: &Layout, affine: &Affine, dtype: DType, options: Options<'_>) -> Result<NiftiHeader> {
    let [channels, x, y, z] = layout.shape;
    let mut shape = vec![x, y];
    if z > 1 || options.spatial_dims > 2 || channels > 1 || !options.squeeze_end_dims {
        shape.push(z);
    }
    if channels > 1 || !options.squeeze_end_dims {
        shape.push(channels);
    }
    let mut dim = [1u16; 8];
    dim[0] = shape.len() as u16;
    for (slot, length) in dim[1..].iter_mut().zip(&shape) {
        *slot = u16::try_from(*length)
            .ok()
            .filter(|length| i16::try_from(*length).is_ok())
            .ok_or_else(|| err!("expected at most {} voxels along an axis, found shape {shape:?}", i16::MAX))?;
    }
    let text = options.description.as_bytes();
    let mut header = NiftiHeader {
        dim,
        datatype: dtype_code(dtype),
        bitpix: 8 * dtype.size_bytes() as i16,
        scl_slope: 1.0,
        xyzt_units: options.space.map_or(0, |space| space.units),
        descrip: text[..text.len().min(79)].to_vec(),
        magic: *b"n+1\0",
        ..NiftiHeader::default()
    };
    let qform = geometry::to_qform(affine)?;
    let own = options.space.and_then(|space| space.forms).filter(|forms| forms.describe(&layout.spatial(), affine));
    let forms = own.unwrap_or_else(|| StoredForms {
        grid: Grid { shape: layout.spatial(), affine: *affine },
        pixdim: [qform.qfac, qform.zooms[0], qform.zooms[1], qform.zooms[2]].map(|value| value as f32),
        quaternion: qform.quaternion.map(|value| value as f32),
        qoffset: std::array::from_fn(|row| affine.0[row][3] as f32),
        srow: std::array::from_fn(|row| affine.0[row].map(|value| value as f32)),
    });
    (header.qform_code, header.sform_code) = match options.space {
        Some(space) if own.is_some() => (space.qform_code, space.sform_code),
        space => codes(space, qform.sheared),
    };
    header.pixdim[..4].copy_from_slice(&forms.pixdim);
    [header.quatern_b, header.quatern_c, header.quatern_d] = forms.quaternion;
    [header.quatern_x, header.quatern_y, header.quatern_z] = forms.qoffset;
    [header.srow_x, header.srow_y, header.srow_z] = forms.srow;
    Ok(header)
}

/// Converts the slices of one channel from `first` on to file order (X fastest); the length of `out` determines how
/// many.
fn fill(out: &mut [u8], voxels: &Voxels, layout: &Layout, channel: usize, first: usize, dtype: DType) -> Result<()> {
    let misfit = each_voxels!(voxels, source => match dtype {
        DType::U8 => gather::<_, u8, 1>(out, source, layout, channel, first),
        DType::I8 => gather::<_, i8, 1>(out, source, layout, channel, first),
        DType::U16 => gather::<_, u16, 2>(out, source, layout, channel, first),
        DType::I16 => gather::<_, i16, 2>(out, source, layout, channel, first),
        DType::U32 => gather::<_, u32, 4>(out, source, layout, channel, first),
        DType::I32 => gather::<_, i32, 4>(out, source, layout, channel, first),
        DType::U64 => gather::<_, u64, 8>(out, source, layout, channel, first),
        DType::I64 => gather::<_, i64, 8>(out, source, layout, channel, first),
        DType::F32 => gather::<_, f32, 4>(out, source, layout, channel, first),
        DType::F64 => gather::<_, f64, 8>(out, source, layout, channel, first),
    });
    match misfit {
        None => Ok(()),
        Some(value) => Err(err!("expected values that fit {}, found {value}", dtype.name())
            .hint("choose another output_dtype, such as float32, or a wider integer")),
    }
}

/// Tiles span two axes: X, which is contiguous in the output, and the fastest axis of the source. Each cache line of
/// either side is then used once, and power-of-two sizes do not cause evictions. Returns a value that `D` cannot
/// represent, if there is one.
fn gather<S: Copy + Into64, D: Store<N>, const N: usize>(
    out: &mut [u8],
    source: &[S],
    layout: &Layout,
    channel: usize,
    first: usize,
) -> Option<Number> {
    let [_, x, y, _] = layout.shape;
    let [channel_stride, sx, sy, sz] = layout.strides;
    let base = layout.offset as isize + channel as isize * channel_stride + first as isize * sz;
    let z = out.len() / (x * y * N);
    // (length, source stride, output stride in bytes) of the source's fastest axis and of the remaining one.
    let (axis_y, axis_z) = ((y, sy, x * N), (z, sz, x * y * N));
    let (inner, outer) = if sy.abs() < sz.abs() { (axis_y, axis_z) } else { (axis_z, axis_y) };
    let mut misfit = None;
    let mut convert = |value: S, slot: &mut [u8; N]| match D::store(value.into_64()) {
        Some(bytes) => *slot = bytes,
        None => misfit = Some(value.into_64()),
    };
    let mut tile = [[[0; N]; TILE]; TILE];
    for oi in 0..outer.0 {
        let (from, to) = (base + oi as isize * outer.1, oi * outer.2);
        for i0 in (0..inner.0).step_by(TILE) {
            let rows = TILE.min(inner.0 - i0);
            for x0 in (0..x).step_by(TILE) {
                let columns = TILE.min(x - x0);
                let from = from + i0 as isize * inner.1 + x0 as isize * sx;
                let at = |i: usize, xi: usize| (from + i as isize * inner.1 + xi as isize * sx) as usize;
                let tile = &mut tile[..rows];
                if sx == 1 {
                    for (i, row) in tile.iter_mut().enumerate() {
                        source[at(i, 0)..][..columns].iter().zip(row).for_each(|(value, slot)| convert(*value, slot));
                    }
                } else if inner.1 == 1 {
                    for xi in 0..columns {
                        source[at(0, xi)..][..rows]
                            .iter()
                            .zip(&mut *tile)
                            .for_each(|(value, row)| convert(*value, &mut row[xi]));
                    }
                } else {
                    for (i, row) in tile.iter_mut().enumerate() {
                        row[..columns].iter_mut().enumerate().for_each(|(xi, slot)| convert(source[at(i, xi)], slot));
                    }
                }
                for (i, row) in tile.iter().enumerate() {
                    let to = to + (i0 + i) * inner.2 + x0 * N;
                    out[to..to + columns * N].copy_from_slice(row[..columns].as_flattened());
                }
            }
        }
    }
    misfit
}

/// Converts any voxel without loss.
#[derive(Clone, Copy)]
enum Number {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Number::Unsigned(value) => value.fmt(f),
            Number::Signed(value) => value.fmt(f),
            Number::Float(value) => value.fmt(f),
        }
    }
}

trait Into64: Sync {
    fn into_64(self) -> Number;
}

/// A stored type; `None` if it cannot represent the number.
trait Store<const N: usize> {
    fn store(value: Number) -> Option<[u8; N]>;
}

macro_rules! integers {
    ($($name:ident $size:literal $wide:ident $variant:ident),*) => { $(
        impl Into64 for $name {
            #[inline(always)]
            fn into_64(self) -> Number {
                Number::$variant($wide::from(self))
            }
        }
        impl Store<$size> for $name {
            #[inline(always)]
            fn store(value: Number) -> Option<[u8; $size]> {
                let value = match value {
                    Number::Unsigned(value) => $name::try_from(value).ok()?,
                    Number::Signed(value) => $name::try_from(value).ok()?,
                    // A cast truncates and clamps; one past the largest value is a power of two and therefore exact.
                    Number::Float(value) if value.trunc() >= $name::MIN as f64 && value < $name::MAX as f64 + if $size < 8 { 1.0 } else { 0.0 } => {
                        value as $name
                    }
                    Number::Float(_) => return None,
                };
                Some(value.to_le_bytes())
            }
        }
    )* };
}
integers!(u8 1 u64 Unsigned, u16 2 u64 Unsigned, u32 4 u64 Unsigned, u64 8 u64 Unsigned, i8 1 i64 Signed, i16 2 i64 Signed, i32 4 i64 Signed, i64 8 i64 Signed);

macro_rules! floats {
    ($($name:ident $size:literal),*) => { $(
        impl Into64 for $name {
            #[inline(always)]
            fn into_64(self) -> Number {
                Number::Float(self.into())
            }
        }
        impl Store<$size> for $name {
            #[inline(always)]
            fn store(value: Number) -> Option<[u8; $size]> {
                let stored = match value {
                    Number::Unsigned(value) => value as $name,
                    Number::Signed(value) => value as $name,
                    Number::Float(value) if value.is_finite() && !(value as $name).is_finite() => return None,
                    Number::Float(value) => value as $name,
                };
                Some(stored.to_le_bytes())
            }
        }
    )* };
}
floats!(f32 4, f64 8);
