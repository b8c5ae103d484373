//! Reading: one pass from the file into the voxels' final place.

use super::geometry;
use super::header::{self, Header};
use crate::error::Result;
use crate::formats::gzip::{self, GzReader};
use crate::image::{DType, Grid, Header as ImageHeader, Layout, Volume, Voxels, no_voxels};
use crate::{bail, err};
use segbundle_native::zeroed::{self, Zeroed};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Read-ahead of a file.
const BUFFER_BYTES: usize = 1 << 18;
/// Voxels converted at a time where they are not stored as they are needed.
const CHUNK_VOXELS: usize = 1 << 16;

/// Read `.nii`, `.nii.gz` or a pair `.hdr`/`.img` (either name, gzipped or not).
///
/// Voxels keep their stored type, or become f32 where the header scales them (computed in f64). They lie as in the
/// file: X fastest, channels (4-D, 5-D) outermost, [C,X,Y,Z].
pub fn read(path: impl AsRef<Path>) -> Result<Volume> {
    let path = path.as_ref();
    let read = || match pair(path) {
        None => read_single(Source::open(path)?, path),
        Some((header_path, image_path)) => {
            let mut start = Source::open(&header_path)?;
            let header = read_header(&mut start, false).map_err(|error| error.file(&header_path))?;
            read_voxels(header, Source::open(&image_path)?, 0, path).map_err(|error| error.file(&image_path))
        }
    };
    read().map_err(|error| error.file(path))
}

/// Read a single file that is in memory; `path` is only remembered.
pub fn read_bytes(bytes: &[u8], path: &Path) -> Result<Volume> {
    read_single(Source::new(bytes, bytes.len() as u64)?, path)
}

/// What the header says, without reading voxels: a hollow volume (see [`Volume::is_hollow`]). Errors as [`read`], as far
/// as they show from the header and the file's size.
pub fn outline(path: impl AsRef<Path>) -> Result<Volume> {
    let path = path.as_ref();
    let read = || {
        let (header, room, image_path) = match pair(path) {
            None => {
                let mut source = Source::open(path)?;
                (read_header(&mut source, true)?, source.capacity_bytes(), path.to_owned())
            }
            Some((header_path, image_path)) => {
                let header = read_header(&mut Source::open(&header_path)?, false).map_err(|error| error.file(&header_path))?;
                (header, Source::open(&image_path)?.capacity_bytes(), image_path)
            }
        };
        let affine = geometry::affine(&header)?;
        let Axes { shape, spatial_dims, channels } = axes(&header.shape)?;
        let _ = room_for(&header, room).map_err(|error| error.file(&image_path))?;
        let dtype = if header.scaling.is_some() { DType::F32 } else { header.dtype };
        let grid = Grid { shape: [shape[1], shape[2], shape[3]], affine };
        let space = Some(header.space());
        let header = Arc::new(ImageHeader { path: path.to_owned(), grid, spatial_dims, channels, space });
        let layout = Layout::fortran(shape);
        Ok(Volume { voxels: no_voxels(dtype), layout, affine, channel_first: false, header, trace: vec![] })
    };
    read().map_err(|error: crate::error::Error| error.file(path))
}

/// Voxels and their bytes. The file has to be able to hold them before any memory is asked for.
fn room_for(header: &Header, capacity_bytes: u64) -> Result<(usize, usize)> {
    let count = header.shape.iter().try_fold(1usize, |count, length| count.checked_mul(*length));
    let bytes = count.and_then(|count| count.checked_mul(header.dtype.size_bytes()));
    let room = capacity_bytes.saturating_sub(header.offset);
    let (Some(count), Some(bytes)) = (count, bytes.filter(|bytes| *bytes as u64 <= room)) else {
        bail!("expected {:?} voxels of {}, found at most {room} bytes: the file is cut off", header.shape, header.dtype.name());
    };
    Ok((count, bytes))
}

/// Header and image file, if the name is one of a pair's.
fn pair(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let name = path.to_str()?;
    let (stem, zipped) = name.strip_suffix(".gz").map_or((name, ""), |stem| (stem, ".gz"));
    let stem = stem.strip_suffix(".hdr").or_else(|| stem.strip_suffix(".img"))?;
    Some((format!("{stem}.hdr{zipped}").into(), format!("{stem}.img{zipped}").into()))
}

/// A file's bytes, unpacked.
pub(super) enum Source<R: BufRead> {
    /// The reader, and the bytes that the file has.
    Plain(R, u64),
    Gzip(Box<GzReader<R>>, u64),
}

impl Source<BufReader<File>> {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let open = || -> io::Result<(File, u64)> {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            // Opening a folder succeeds; reading it says something obscure.
            if metadata.is_dir() { Err(io::ErrorKind::IsADirectory.into()) } else { Ok((file, metadata.len())) }
        };
        let (file, length) = open().map_err(|error| err!("cannot read: {error}").file(path))?;
        Source::new(BufReader::with_capacity(BUFFER_BYTES, file), length).map_err(|error| error.file(path))
    }
}

impl<R: BufRead> Source<R> {
    fn new(mut reader: R, length: u64) -> Result<Self> {
        let start = reader.fill_buf()?;
        if start.is_empty() {
            bail!("expected a NIfTI file, found an empty one");
        }
        if gzip::is_gzip(start) {
            return Ok(Source::Gzip(Box::new(GzReader::new(reader)), length));
        }
        Ok(Source::Plain(reader, length))
    }
    /// The most bytes that can come out of it.
    fn capacity_bytes(&self) -> u64 {
        match self {
            Source::Plain(_, length) => *length,
            Source::Gzip(_, length) => length.saturating_mul(gzip::MAX_RATIO),
        }
    }
    /// Fill `into` as far as the data reach.
    pub(super) fn fill(&mut self, into: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while let Some(rest) = into.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.read(rest) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.describe(&error)),
            }
        }
        Ok(filled)
    }
    fn skip(&mut self, count: u64) -> Result<u64> {
        io::copy(&mut self.by_ref().take(count), &mut io::sink()).map_err(|error| self.describe(&error))
    }
    /// Compare the checksum of what was read.
    fn finish(mut self) -> Result<()> {
        match &mut self {
            Source::Plain(..) => Ok(()),
            Source::Gzip(reader, _) => reader.finish_member().map_err(|error| self.describe(&error)),
        }
    }
    fn describe(&self, error: &io::Error) -> crate::error::Error {
        match self {
            Source::Plain(..) => err!("cannot read: {error}"),
            Source::Gzip(..) => err!("damaged gzip data: {error}").hint("copy or download the file again"),
        }
    }
}

impl<R: BufRead> Read for Source<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Source::Plain(reader, _) => reader.read(into),
            Source::Gzip(reader, _) => reader.read(into),
        }
    }
}

fn read_single<R: BufRead>(mut source: Source<R>, path: &Path) -> Result<Volume> {
    let header = read_header(&mut source, true)?;
    let done = if header.version == 1 { header::SIZE_1 } else { header::SIZE_2 };
    read_voxels(header, source, done as u64, path)
}

pub(super) fn read_header<R: BufRead>(source: &mut Source<R>, single: bool) -> Result<Header> {
    let mut bytes = [0; header::SIZE_2];
    let (first, rest) = bytes.split_at_mut(header::SIZE_1);
    let mut length = source.fill(first)?;
    if length < header::SIZE_1 {
        bail!("expected a NIfTI header of {} bytes, found {length}", header::SIZE_1);
    }
    if header::version(first)? == 2 {
        length += source.fill(rest)?;
    }
    Header::parse(&bytes[..length], single)
}

/// How the stored axes become [C,X,Y,Z].
struct Axes {
    shape: [usize; 4],
    spatial_dims: usize,
    channels: Option<usize>,
}

fn axes(stored: &[usize]) -> Result<Axes> {
    let spatial_dims = stored.len().min(3);
    let axis = |i: usize| stored.get(i).copied().unwrap_or(1);
    let beyond = stored.get(3..).unwrap_or_default();
    let channels = beyond.iter().copied().find(|length| *length > 1).unwrap_or(1);
    if beyond.iter().filter(|length| **length > 1).count() > 1 {
        bail!("expected at most one axis beyond X, Y, Z that is longer than 1, found shape {stored:?}");
    }
    Ok(Axes { shape: [channels, axis(0), axis(1), axis(2)], spatial_dims, channels: (stored.len() > 3).then_some(channels) })
}

/// `done`: bytes of `source` that were read already.
fn read_voxels<R: BufRead>(header: Header, mut source: Source<R>, done: u64, path: &Path) -> Result<Volume> {
    let affine = geometry::affine(&header)?;
    let Axes { shape, spatial_dims, channels } = axes(&header.shape)?;
    let (count, bytes) = room_for(&header, source.capacity_bytes())?;
    let gap = header.offset.saturating_sub(done);
    if source.skip(gap)? < gap {
        bail!("expected voxels from byte {} on, found the end of the file: it is cut off", header.offset);
    }
    let plan = Plan { count, swap: header.big_endian != cfg!(target_endian = "big"), scaling: header.scaling, bytes };
    let voxels = match header.dtype {
        DType::U8 => plan.read(&mut source, Voxels::U8),
        DType::I8 => plan.read(&mut source, Voxels::I8),
        DType::U16 => plan.read(&mut source, Voxels::U16),
        DType::I16 => plan.read(&mut source, Voxels::I16),
        DType::U32 => plan.read(&mut source, Voxels::U32),
        DType::I32 => plan.read(&mut source, Voxels::I32),
        DType::U64 => plan.read(&mut source, Voxels::U64),
        DType::I64 => plan.read(&mut source, Voxels::I64),
        DType::F32 => plan.read(&mut source, Voxels::F32),
        DType::F64 => plan.read(&mut source, Voxels::F64),
    }?;
    source.finish()?;
    let [_, x, y, z] = shape;
    let grid = Grid { shape: [x, y, z], affine };
    let space = Some(header.space());
    let header = Arc::new(ImageHeader { path: path.to_owned(), grid, spatial_dims, channels, space });
    Ok(Volume { voxels, layout: Layout::fortran(shape), affine, channel_first: false, header, trace: vec![] })
}

struct Plan {
    count: usize,
    swap: bool,
    scaling: Option<(f64, f64)>,
    bytes: usize,
}

impl Plan {
    fn read<T: Element, R: BufRead>(&self, source: &mut Source<R>, wrap: fn(Arc<[T]>) -> Voxels) -> Result<Voxels> {
        match self.scaling {
            None => self.stored(source).map(wrap),
            Some((slope, inter)) => self.scaled::<T, R>(source, slope, inter).map(Voxels::F32),
        }
    }
    /// Straight into the shared slice, whose pages come into being as the data arrive.
    fn stored<T: Element, R: BufRead>(&self, source: &mut Source<R>) -> Result<Arc<[T]>> {
        let mut voxels = allocate::<T>(self.count)?;
        let slice = unshared(&mut voxels)?;
        let found = source.fill(bytemuck::cast_slice_mut(slice))?;
        self.complete(found)?;
        if self.swap {
            slice.iter_mut().for_each(|voxel| *voxel = voxel.swapped());
        }
        Ok(voxels)
    }
    /// nibabel's `apply_read_scaling`: stored · slope + inter in f64, then rounded to f32 by MONAI.
    fn scaled<T: Element, R: BufRead>(&self, source: &mut Source<R>, slope: f64, inter: f64) -> Result<Arc<[f32]>> {
        let mut voxels = allocate::<f32>(self.count)?;
        let mut chunk = vec![T::default(); CHUNK_VOXELS.min(self.count)];
        let mut found = 0;
        for out in unshared(&mut voxels)?.chunks_mut(CHUNK_VOXELS) {
            let chunk = &mut chunk[..out.len()];
            let wanted = size_of_val(chunk);
            let got = source.fill(bytemuck::cast_slice_mut(chunk))?;
            found += got;
            if got < wanted {
                break;
            }
            for (out, stored) in out.iter_mut().zip(chunk) {
                let stored = if self.swap { stored.swapped() } else { *stored };
                *out = (stored.to_f64() * slope + inter) as f32;
            }
        }
        self.complete(found)?;
        Ok(voxels)
    }
    fn complete(&self, found: usize) -> Result<()> {
        if found < self.bytes {
            bail!("expected {} bytes of voxels, found {found}: the file is cut off", self.bytes);
        }
        Ok(())
    }
}

fn allocate<T: Zeroed>(count: usize) -> Result<Arc<[T]>> {
    zeroed::arc(count).ok_or_else(|| err!("not enough memory for {count} voxels of {} bytes", size_of::<T>()))
}

fn unshared<T>(voxels: &mut Arc<[T]>) -> Result<&mut [T]> {
    Arc::get_mut(voxels).ok_or_else(|| err!("voxels are shared before they are read"))
}

/// A number as NIfTI stores it.
trait Element: Zeroed + bytemuck::Pod + Default {
    fn swapped(self) -> Self;
    fn to_f64(self) -> f64;
}

macro_rules! elements {
    ($($integer:ty),*; $($float:ty),*) => {
        $(impl Element for $integer {
            fn swapped(self) -> Self {
                self.swap_bytes()
            }
            fn to_f64(self) -> f64 {
                self as f64
            }
        })*
        $(impl Element for $float {
            fn swapped(self) -> Self {
                <$float>::from_bits(self.to_bits().swap_bytes())
            }
            fn to_f64(self) -> f64 {
                self.into()
            }
        })*
    };
}
elements!(u8, i8, u16, i16, u32, i32, u64, i64; f32, f64);
