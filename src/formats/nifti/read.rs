//! Reads NIfTI files in one pass, directly into the final buffer.

use super::geometry;
use super::header::{self, CheckedHeader};
use crate::digest::{FileDigests, HashedFile, Input};
use crate::error::{Error, Result};
use crate::gzip::{self, GzReader};
use crate::image::zeroed::Zeroed;
use crate::image::{DType, Grid, ImageHeader, Layout, Volume, Voxels};
use crate::{bail, each_voxels, err};
use std::io::{self, BufRead, BufReader, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Size of the read buffer.
const BUFFER_BYTES: usize = 1 << 18;
/// Number of voxels that are converted at a time if their stored type differs from that in memory.
const CHUNK_VOXELS: usize = 1 << 16;
/// `NIFTI_INTENT_LABEL` of nifti1.h: a voxel is an index into a list of labels.
const INTENT_LABEL: i32 = 1002;
/// Size in bytes of the voxels in memory when a file is read by slices.
const SLICES_BYTES: usize = 8 << 20;

/// Reads `.nii`, `.nii.gz` or a pair `.hdr`/`.img` (either name, gzipped or not).
///
/// Voxels keep their stored type, or become f32 (computed in f64) if the header scales them. They are `[C,X,Y,Z]` in
/// the order of the file: X fastest, channels (4-D, 5-D) outermost.
pub fn read(path: impl AsRef<Path>) -> Result<Volume> {
    read_hashed(path, None)
}

/// Like [`read`]; the digests of the files that it reads are recorded in `digests`.
pub fn read_hashed(path: impl AsRef<Path>, digests: Option<&FileDigests>) -> Result<Volume> {
    let path = path.as_ref();
    let read = || match pair(path) {
        None => {
            let (source, input) = Source::open_hashed(path, digests)?;
            let volume = read_single(source, path)?;
            input.finish()?;
            Ok(volume)
        }
        Some((header_path, image_path)) => {
            let (mut start, header_input) = Source::open_hashed(&header_path, digests)?;
            let header = parse_header(&mut start, false).map_err(|error| error.file(&header_path))?;
            let (source, image_input) = Source::open_hashed(&image_path, digests)?;
            let body = Body::new(header, source, 0, path);
            let volume = body.and_then(Body::read).map_err(|error| error.file(&image_path))?;
            header_input.finish()?;
            image_input.finish()?;
            Ok(volume)
        }
    };
    read().map_err(|error: Error| error.file(path))
}

/// Reads a single file in memory. `path` is not opened.
pub fn read_bytes(bytes: &[u8], path: &Path) -> Result<Volume> {
    read_single(Source::new(bytes, bytes.len() as u64)?, path)
}

/// Reads the header and returns a header-only volume ([`Volume::is_header_only`]).
///
/// # Errors
/// As [`read`], as far as header and file size show them.
pub fn read_header(path: impl AsRef<Path>) -> Result<Volume> {
    let path = path.as_ref();
    let read = || {
        let (header, room, image_path) = match pair(path) {
            None => {
                let mut source = Source::open(path)?;
                (parse_header(&mut source, true)?, source.capacity_bytes(), path.to_owned())
            }
            Some((header_path, image_path)) => {
                let header =
                    parse_header(&mut Source::open(&header_path)?, false).map_err(|error| error.file(&header_path))?;
                (header, Source::open(&image_path)?.capacity_bytes(), image_path)
            }
        };
        let volume = header_only(&header, path)?;
        let _ = room_for(&header, room).map_err(|error| error.file(&image_path))?;
        Ok(volume)
    };
    read().map_err(|error: Error| error.file(path))
}

/// Whether the header says that the voxels are labels.
///
/// # Errors
/// The file has no readable NIfTI header.
pub fn has_label_intent(path: impl AsRef<Path>) -> Result<bool> {
    let path = path.as_ref();
    let pair = pair(path);
    let file = pair.as_ref().map_or(path, |(header, _)| header);
    let header = Source::open(file).and_then(|mut source| parse_header(&mut source, pair.is_none()));
    Ok(header.map_err(|error| error.file(file))?.intent_code == INTENT_LABEL)
}

/// Reads the voxels of a one-channel file a few slices of constant (stored) Z at a time.
pub struct SliceReader {
    body: Body<BufReader<HashedFile>>,
    input: Input,
    /// The last slice of the previous step, then new ones: `held` slices, up to slice `read` of the file.
    buffer: Voxels,
    held: usize,
    read: usize,
    /// Size `[X,Y,Z]` as stored.
    shape: [usize; 3],
}

impl SliceReader {
    /// Opens a one-channel file, `.nii` or `.nii.gz`; returns `None` for others. After the last slice, the file's
    /// digest is recorded in `digests`.
    pub fn open(path: impl AsRef<Path>, digests: Option<&FileDigests>) -> Result<Option<SliceReader>> {
        SliceReader::with_room(path.as_ref(), digests, SLICES_BYTES)
    }
    /// Like [`SliceReader::open`], with a buffer of about `bytes`.
    pub fn with_room(path: &Path, digests: Option<&FileDigests>, bytes: usize) -> Result<Option<SliceReader>> {
        if pair(path).is_some() {
            return Ok(None);
        }
        let open = || {
            let (mut source, input) = Source::open_hashed(path, digests)?;
            let header = parse_header(&mut source, true)?;
            let done = header.size();
            let body = Body::new(header, source, done, path)?;
            let [channels, x, y, z] = body.volume.layout.shape;
            if channels != 1 {
                return Ok(None);
            }
            let (slice, dtype) = (x * y, body.volume.voxels.dtype());
            let count = (bytes / (slice * dtype.size_bytes()).max(1)).min(z).max(1);
            let buffer = Voxels::zeros(dtype, (count + 1) * slice)?;
            Ok(Some(SliceReader { body, input, buffer, held: 0, read: 0, shape: [x, y, z] }))
        };
        open().map_err(|error: Error| error.file(path))
    }
    /// Size `[X,Y,Z]` as stored.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }
    /// Reads the next slices and returns their range, which begins with the last slice of the previous call, X fastest.
    /// Returns `None` after the last slice, when the file's checksum is compared.
    pub fn advance(&mut self) -> Result<Option<(Range<usize>, &Voxels)>> {
        let path = self.body.volume.header.path.clone();
        self.step().map_err(|error| error.file(path)).map(|range| range.map(|range| (range, &self.buffer)))
    }
    fn step(&mut self) -> Result<Option<Range<usize>>> {
        if self.read == self.shape[2] {
            self.body.source.finish()?;
            self.input.finish()?;
            return Ok(None);
        }
        let plane = self.shape[0] * self.shape[1];
        let room = self.buffer.len() / plane - 1;
        let kept = self.held.min(1);
        let last = self.held.saturating_sub(1) * plane;
        each_voxels!(&mut self.buffer, voxels => unshared(voxels)?.copy_within(last..last + kept * plane, 0));
        let count = room.min(self.shape[2] - self.read);
        self.held = kept + count;
        self.body.fill(&mut self.buffer, kept * plane..self.held * plane)?;
        self.read += count;
        Ok(Some(self.read - self.held..self.read))
    }
}

/// Returns the size of the voxels in bytes, or an error if the file cannot contain them, before memory is allocated.
fn room_for(header: &CheckedHeader, capacity_bytes: u64) -> Result<usize> {
    let count = header.shape.iter().try_fold(1usize, |count, length| count.checked_mul(*length));
    let bytes = count.and_then(|count| count.checked_mul(header.dtype.size_bytes()));
    let room = capacity_bytes.saturating_sub(header.offset);
    let Some(bytes) = bytes.filter(|bytes| *bytes as u64 <= room) else {
        bail!(
            "expected {:?} voxels of {}, found at most {room} bytes: the file is truncated",
            header.shape,
            header.dtype.name()
        );
    };
    Ok(bytes)
}

/// Returns header and image file if the name is that of a pair.
pub fn pair(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let name = path.to_str()?;
    let (stem, zipped) = name.strip_suffix(".gz").map_or((name, ""), |stem| (stem, ".gz"));
    let stem = stem.strip_suffix(".hdr").or_else(|| stem.strip_suffix(".img"))?;
    Some((format!("{stem}.hdr{zipped}").into(), format!("{stem}.img{zipped}").into()))
}

/// The decompressed bytes of a file.
pub(super) enum Source<R: BufRead> {
    /// The reader and the number of bytes in the file.
    Plain(R, u64),
    Gzip(Box<GzReader<R>>, u64),
}

impl Source<BufReader<HashedFile>> {
    pub(super) fn open(path: &Path) -> Result<Self> {
        Ok(Source::open_hashed(path, None)?.0)
    }
    fn open_hashed(path: &Path, digests: Option<&FileDigests>) -> Result<(Self, Input)> {
        let (file, length, input) = Input::open(path, digests)?;
        let reader = BufReader::with_capacity(BUFFER_BYTES, file);
        Ok((Source::new(reader, length).map_err(|error| error.file(path))?, input))
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
    /// Upper bound of the number of decompressed bytes.
    fn capacity_bytes(&self) -> u64 {
        match self {
            Source::Plain(_, length) => *length,
            Source::Gzip(_, length) => length.saturating_mul(gzip::MAX_RATIO),
        }
    }
    /// Fills `into` as far as there are data.
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
    /// Compares the checksum of the data.
    fn finish(&mut self) -> Result<()> {
        match self {
            Source::Plain(..) => Ok(()),
            Source::Gzip(reader, _) => reader.finish_member().map_err(|error| self.describe(&error)),
        }
    }
    fn describe(&self, error: &io::Error) -> Error {
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
    let header = parse_header(&mut source, true)?;
    let done = header.size();
    Body::new(header, source, done, path)?.read()
}

pub(super) fn parse_header<R: BufRead>(source: &mut Source<R>, single: bool) -> Result<CheckedHeader> {
    let mut bytes = [0; header::SIZE_2];
    let (first, rest) = bytes.split_at_mut(header::SIZE_1);
    let mut length = source.fill(first)?;
    if length < header::SIZE_1 {
        return Err(err!("expected a NIfTI header of {} bytes, found {length}", header::SIZE_1)
            .hint("copy or download the file again, and check that it is not an HTML error page"));
    }
    if header::version(first)? == 2 {
        length += source.fill(rest)?;
    }
    CheckedHeader::parse(&bytes[..length], single)
}

/// Maps the stored axes to `[C,X,Y,Z]`.
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
    Ok(Axes {
        shape: [channels, axis(0), axis(1), axis(2)],
        spatial_dims,
        channels: (stored.len() > 3).then_some(channels),
    })
}

/// Returns the header-only volume of a file.
fn header_only(header: &CheckedHeader, path: &Path) -> Result<Volume> {
    let affine = geometry::affine(header)?;
    let Axes { shape, spatial_dims, channels } = axes(&header.shape)?;
    let dtype = if header.scaling.is_some() { DType::F32 } else { header.dtype };
    let grid = Grid { shape: [shape[1], shape[2], shape[3]], affine };
    let space = Some(header.space(affine));
    let header = Arc::new(ImageHeader { path: path.to_owned(), grid, spatial_dims, channels, space, series: None });
    Ok(Volume {
        voxels: Voxels::empty(dtype),
        layout: Layout::fortran(shape),
        affine,
        channel_first: false,
        integer_type: None,
        header,
        trace: vec![],
    })
}

/// A file whose header has been read.
struct Body<R: BufRead> {
    source: Source<R>,
    volume: Volume,
    dtype: DType,
    swap: bool,
    scaling: Option<(f64, f64)>,
    /// Total size of the voxels in bytes, and the bytes read so far.
    bytes: usize,
    done: usize,
}

impl<R: BufRead> Body<R> {
    /// `done`: bytes of `source` that were read already.
    fn new(header: CheckedHeader, mut source: Source<R>, done: u64, path: &Path) -> Result<Self> {
        let volume = header_only(&header, path)?;
        let bytes = room_for(&header, source.capacity_bytes())?;
        let gap = header.offset.saturating_sub(done);
        if source.skip(gap)? < gap {
            bail!("expected voxels from byte {} on, found the end of the file: it is truncated", header.offset);
        }
        let swap = header.big_endian != cfg!(target_endian = "big");
        Ok(Body { source, volume, dtype: header.dtype, swap, scaling: header.scaling, bytes, done: 0 })
    }
    /// Reads all voxels directly into the shared buffer, whose pages are allocated as the data arrive.
    fn read(mut self) -> Result<Volume> {
        let count = self.volume.layout.len();
        let mut voxels = Voxels::zeros(self.volume.voxels.dtype(), count)?;
        self.fill(&mut voxels, 0..count)?;
        self.source.finish()?;
        Ok(Volume { voxels, ..self.volume })
    }
    /// Reads the next voxels into this range of `voxels`, which have the image's type.
    fn fill(&mut self, voxels: &mut Voxels, part: Range<usize>) -> Result<()> {
        let Some((slope, inter)) = self.scaling else {
            return each_voxels!(voxels, voxels => self.fill_stored(&mut unshared(voxels)?[part]));
        };
        let Voxels::F32(voxels) = voxels else {
            bail!("scaled voxels are {}, expected float32", voxels.dtype().name())
        };
        let out = &mut unshared(voxels)?[part];
        each_voxels!(&Voxels::empty(self.dtype), like => self.fill_scaled(like, (slope, inter), out))
    }
    fn fill_stored<T: Element>(&mut self, out: &mut [T]) -> Result<()> {
        self.bytes_into(bytemuck::cast_slice_mut(out))?;
        if self.swap {
            out.iter_mut().for_each(|voxel| *voxel = voxel.swapped());
        }
        Ok(())
    }
    /// nibabel's `apply_read_scaling`: stored · slope + inter in f64, then rounded to f32 by MONAI. `_like` determines
    /// the stored type.
    fn fill_scaled<T: Element>(&mut self, _like: &[T], (slope, inter): (f64, f64), out: &mut [f32]) -> Result<()> {
        let mut chunk = vec![T::default(); CHUNK_VOXELS.min(out.len())];
        for out in out.chunks_mut(CHUNK_VOXELS) {
            let chunk = &mut chunk[..out.len()];
            self.bytes_into(bytemuck::cast_slice_mut(chunk))?;
            for (out, stored) in out.iter_mut().zip(chunk) {
                let stored = if self.swap { stored.swapped() } else { *stored };
                *out = (stored.to_f64() * slope + inter) as f32;
            }
        }
        Ok(())
    }
    fn bytes_into(&mut self, out: &mut [u8]) -> Result<()> {
        let found = self.source.fill(out)?;
        self.done += found;
        if found < out.len() {
            bail!("expected {} bytes of voxels, found {}: the file is truncated", self.bytes, self.done);
        }
        Ok(())
    }
}

fn unshared<T>(voxels: &mut Arc<[T]>) -> Result<&mut [T]> {
    Arc::get_mut(voxels).ok_or_else(|| err!("voxels are shared before they are read"))
}

/// A number type of NIfTI files.
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
