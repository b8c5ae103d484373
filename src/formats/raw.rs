//! Raw voxels of NRRD and MetaImage files: numbers of one type and byte order in one or several files, uncompressed,
//! compressed or as text, and the mapping of their axes to `[C,X,Y,Z]`.

use super::gzip::{self, GzReader};
use crate::digest::{FileDigests, HashedFile, Input};
use crate::error::{Error, Result};
use crate::image::{Affine, DType, Element, Grid, ImageHeader, Layout, Space, Volume, Voxels, filled};
use crate::{bail, err};
use flate2::bufread::ZlibDecoder;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

/// Size of the read buffer.
const BUFFER_BYTES: usize = 1 << 18;
/// Maximum size of a header in bytes.
pub const MAX_HEADER_BYTES: u64 = 1 << 20;
/// Maximum number of files that a header may name.
const MAX_FILES: usize = 100_000;

/// Storage of the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    pub dtype: DType,
    pub big_endian: bool,
    pub packing: Packing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
/// How numbers are stored in a file.
pub enum Packing {
    /// The bytes of the numbers.
    Plain,
    /// gzip or zlib, detected from the data.
    Deflate,
    /// Decimal numbers separated by whitespace.
    Text,
}

impl Numbers {
    /// Checks that `packed_bytes` in `files` can contain `count` numbers, before memory is allocated for them.
    ///
    /// # Errors
    /// The files are too short, or `count` is 0.
    fn check_size(self, count: usize, packed_bytes: u64, files: usize) -> Result<()> {
        let bytes = (count as u64).checked_mul(self.dtype.size_bytes() as u64);
        let (room, needed) = match self.packing {
            Packing::Plain => (packed_bytes, bytes),
            Packing::Deflate => (packed_bytes.saturating_mul(gzip::MAX_RATIO), bytes),
            // A digit and a space, which may be missing after the last number of a file.
            Packing::Text => (packed_bytes.saturating_add(files as u64), (count as u64).checked_mul(2)),
        };
        if needed.is_none_or(|needed| needed > room) {
            let name = self.dtype.name();
            bail!("expected {count} voxels of {name}, found room for at most {room} bytes: the file is truncated");
        }
        if count == 0 {
            bail!("expected an image of at least one voxel");
        }
        Ok(())
    }
}

/// Opens a regular file to be hashed for `digests`; returns it with its length in bytes and the handle that completes
/// the hash.
fn open(path: &Path, digests: Option<&FileDigests>) -> Result<(BufReader<HashedFile>, u64, Input)> {
    let (file, length, input) = Input::open(path, digests)?;
    Ok((BufReader::with_capacity(BUFFER_BYTES, file), length, input))
}

/// Returns the next line of a header without its line ending, `None` at the end of the file. `read` counts the header's
/// bytes.
pub fn header_line(source: &mut impl BufRead, read: &mut u64) -> Result<Option<String>> {
    let mut line = vec![];
    let room = MAX_HEADER_BYTES.saturating_sub(*read);
    source.by_ref().take(room).read_until(b'\n', &mut line)?;
    *read += line.len() as u64;
    if line.is_empty() && room == 0 {
        bail!("expected a header of at most {MAX_HEADER_BYTES} bytes, found more");
    }
    if line.is_empty() {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&line);
    Ok(Some(text.trim_end_matches(['\n', '\r']).to_owned()))
}

/// A text header, followed by the voxels or stored in a separate file.
pub trait TextHeader: Sized {
    /// Parses the header; also returns its length in bytes.
    fn read(source: &mut impl BufRead) -> Result<(Self, u64)>;
    /// Files that contain the voxels, in order; none if the voxels follow the header.
    fn data_files(&self, path: &Path) -> Result<Vec<PathBuf>>;
    /// Returns shape, geometry and storage of the image.
    fn image(&self) -> Result<StoredImage>;
}

/// An image as described by a text header.
pub struct StoredImage {
    /// Lengths of the stored axes, and which of them are X, Y, Z.
    pub axes: Axes,
    /// From the stored X, Y, Z to RAS+ mm.
    pub affine: Affine,
    /// Type and packing of the voxels.
    pub numbers: Numbers,
    /// Number of lines before the voxels in each file.
    pub skip_lines: u64,
    /// Number of bytes before the voxels in each file, after the lines; -1 if the voxels are at the end of the file.
    pub skip_bytes: i64,
}

/// Reads a file whose header is `H`; the digests of all its files are recorded in `digests`.
pub fn read<H: TextHeader>(path: &Path, digests: Option<&FileDigests>) -> Result<Volume> {
    let read = || {
        let (mut source, length, input) = open(path, digests)?;
        let volume = Located::new::<H>(&mut source, length, path, true)?.read(&mut source, digests)?;
        input.finish()?;
        Ok(volume)
    };
    read().map_err(|error: Error| error.file(path))
}

/// Reads the header and returns a header-only volume ([`Volume::is_header_only`]).
///
/// # Errors
/// As [`read`], as far as the header and the sizes of the files show them.
pub fn read_header<H: TextHeader>(path: &Path) -> Result<Volume> {
    let read = || {
        let (mut source, length, _) = open(path, None)?;
        Ok(Located::new::<H>(&mut source, length, path, true)?.volume)
    };
    read().map_err(|error: Error| error.file(path))
}

/// Returns the files that the header of `path` names.
pub fn data_files<H: TextHeader>(path: &Path) -> Result<Vec<PathBuf>> {
    let named = || H::read(&mut open(path, None)?.0)?.0.data_files(path);
    named().map_err(|error| error.file(path))
}

/// Reads a file in memory that contains its voxels. `path` is not opened.
pub fn read_bytes<H: TextHeader>(mut bytes: &[u8], path: &Path) -> Result<Volume> {
    let length = bytes.len() as u64;
    Located::new::<H>(&mut bytes, length, path, false)?.read(&mut bytes, None)
}

/// A header-only volume and the location of its voxels.
struct Located {
    volume: Volume,
    numbers: Numbers,
    count: usize,
    skip_lines: u64,
    /// As in [`StoredImage`]; if the voxels follow the header, the number of bytes before them.
    skip_bytes: i64,
    /// Files that contain the voxels; none if the voxels follow the header.
    paths: Vec<PathBuf>,
}

impl Located {
    /// Reads the header from `source`, which has `length` bytes, up to the bytes to skip. `beside`: whether other files
    /// may be opened.
    fn new<H: TextHeader>(source: &mut impl BufRead, length: u64, path: &Path, beside: bool) -> Result<Located> {
        let (header, used) = H::read(source)?;
        let StoredImage { axes, affine, numbers, skip_lines, mut skip_bytes } = header.image()?;
        let (count, paths) = (axes.count()?, header.data_files(path)?);
        let mut room = 0u64;
        if let Some(first) = paths.first() {
            if !beside {
                bail!("expected the voxels in the same file, found the data file `{}`", first.display());
            }
            if !count.is_multiple_of(paths.len()) {
                bail!("expected {} data files to share {count} voxels in equal parts", paths.len());
            }
            for path in &paths {
                room = room.saturating_add(open(path, None)?.1);
            }
        } else {
            let mut skipped = 0;
            for _ in 0..skip_lines {
                header_line(source, &mut skipped)?
                    .ok_or_else(|| err!("expected {skip_lines} lines before the voxels"))?;
            }
            if skip_bytes != 0 && numbers.packing != Packing::Plain {
                bail!("expected no `byte skip` in a compressed file that contains its data, found {skip_bytes}");
            }
            let rest = length.saturating_sub(used).saturating_sub(skipped);
            if skip_bytes < 0 {
                let bytes = (count as u64).saturating_mul(numbers.dtype.size_bytes() as u64);
                skip_bytes = i64::try_from(rest.saturating_sub(bytes)).unwrap_or(i64::MAX);
            }
            room = rest.saturating_sub(skip_bytes.unsigned_abs());
        }
        numbers.check_size(count, room, paths.len().max(1))?;
        let volume = axes.volume(numbers.dtype, affine, path)?;
        Ok(Located { volume, numbers, count, skip_lines, skip_bytes, paths })
    }

    /// Reads the voxels, from `source` if they follow the header.
    fn read(self, source: &mut impl BufRead, digests: Option<&FileDigests>) -> Result<Volume> {
        let Located { numbers, count, .. } = self;
        let voxels = if self.paths.is_empty() {
            io::copy(&mut source.by_ref().take(self.skip_bytes.unsigned_abs()), &mut io::sink())?;
            read_stream(source, numbers, count)?
        } else {
            let mut parts = Parts { files: &self, digests, next: 0, current: None };
            let unpacked = if numbers.packing == Packing::Text { Packing::Text } else { Packing::Plain };
            let mut source = BufReader::with_capacity(1 << 16, &mut parts);
            let voxels = read_stream(&mut source, Numbers { packing: unpacked, ..numbers }, count)?;
            parts.finish()?;
            voxels
        };
        Ok(Volume { voxels, ..self.volume })
    }
}

/// Expands `pattern first last step`, such as `name%03d.raw 1 20 1` in MetaImage and NRRD.
pub fn numbered(pattern: &str, range: [i64; 3]) -> Result<Vec<String>> {
    let [first, last, step] = range;
    let (before, rest) =
        pattern.split_once('%').ok_or_else(|| err!("expected a name with %d for numbered files, found `{pattern}`"))?;
    let (width, after) =
        rest.split_once('d').ok_or_else(|| err!("expected a name with %d for numbered files, found `{pattern}`"))?;
    let zeros = width.starts_with('0');
    let width: usize = if width.is_empty() {
        0
    } else {
        width
            .parse()
            .ok()
            .filter(|width| *width < 20)
            .ok_or_else(|| err!("expected a name with %d or %03d, found `{pattern}`"))?
    };
    let count = last
        .checked_sub(first)
        .and_then(|span| span.checked_div(step))
        .filter(|count| (0..MAX_FILES as i64).contains(count));
    let Some(count) = count else {
        bail!("expected at most {MAX_FILES} numbered files, found {first} to {last} in steps of {step}")
    };
    let name = |number: i64| match zeros {
        true => format!("{before}{number:0width$}{after}"),
        false => format!("{before}{number:width$}{after}"),
    };
    Ok((0..=count).map(|i| name(first + i * step)).collect())
}

/// Resolves names in a header relative to the header's folder.
pub fn beside(header: &Path, names: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Vec<PathBuf>> {
    let folder = header.parent().unwrap_or(Path::new(""));
    let paths: Vec<PathBuf> = names.into_iter().take(MAX_FILES + 1).map(|name| folder.join(name.as_ref())).collect();
    if paths.is_empty() || paths.len() > MAX_FILES {
        bail!("expected the names of 1 to {MAX_FILES} data files, found {}", paths.len());
    }
    Ok(paths)
}

/// The decompressed voxels of several files, one after the other.
struct Parts<'a> {
    files: &'a Located,
    digests: Option<&'a FileDigests>,
    next: usize,
    current: Option<(Box<dyn Read>, Input)>,
}

impl Parts<'_> {
    /// Completes the hash of the current file.
    fn finish(&mut self) -> Result<()> {
        self.current.take().map_or(Ok(()), |(_, input)| input.finish())
    }
    /// Opens a file and decompresses it from its first voxel on; uncompressed data are limited to the voxels of the
    /// image.
    fn open(&self, path: &Path) -> Result<(Box<dyn Read>, Input)> {
        let Located { numbers: Numbers { dtype, packing, .. }, count, skip_lines, skip_bytes, ref paths, .. } =
            *self.files;
        let bytes = (count / paths.len().max(1)) as u64 * dtype.size_bytes() as u64;
        let (mut source, length, input) = open(path, self.digests)?;
        let mut read = 0;
        for _ in 0..skip_lines {
            header_line(&mut source, &mut read)?
                .ok_or_else(|| err!("expected {skip_lines} lines before the voxels").file(path))?;
        }
        let mut skip = u64::try_from(skip_bytes).unwrap_or(0);
        if skip_bytes < 0 && packing == Packing::Plain {
            skip = length.saturating_sub(read).checked_sub(bytes).ok_or_else(|| {
                err!("expected {bytes} bytes of voxels, found {length}: the file is truncated").file(path)
            })?;
        }
        if packing != Packing::Deflate {
            io::copy(&mut source.by_ref().take(skip), &mut io::sink())?;
        }
        let unpacked: Box<dyn Read> = match packing {
            Packing::Plain => Box::new(source.take(bytes)),
            Packing::Text => Box::new(source.chain(&b"\n"[..])),
            Packing::Deflate => {
                let mut unpacked = unpack(source)?;
                io::copy(&mut unpacked.by_ref().take(skip), &mut io::sink())
                    .map_err(|error| damaged(&error).file(path))?;
                unpacked
            }
        };
        Ok((unpacked, input))
    }
}

impl Read for Parts<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let failed = |error: Error| io::Error::other(error.message().to_owned());
        loop {
            if let Some((current, _)) = &mut self.current {
                let count = current.read(into)?;
                if count > 0 || into.is_empty() {
                    return Ok(count);
                }
            }
            let Some(path) = self.files.paths.get(self.next) else { return Ok(0) };
            self.next += 1;
            self.finish().map_err(failed)?;
            self.current = Some(self.open(path).map_err(failed)?);
        }
    }
}

fn unpack<'a>(mut source: impl BufRead + 'a) -> Result<Box<dyn Read + 'a>> {
    let gzipped = gzip::is_gzip(source.fill_buf()?);
    Ok(if gzipped { Box::new(GzReader::new(source)) } else { Box::new(ZlibDecoder::new(source)) })
}

fn damaged(error: &io::Error) -> Error {
    err!("damaged data: {error}").hint("copy or download the file again")
}

/// Reads `count` numbers from a stream, see [`Numbers::check_size`].
fn read_stream(source: &mut dyn BufRead, numbers: Numbers, count: usize) -> Result<Voxels> {
    let Numbers { dtype, packing, .. } = numbers;
    match packing {
        Packing::Text => typed_text(source, dtype, count),
        Packing::Plain => typed_binary(source, numbers, count),
        Packing::Deflate => {
            let mut unpacked = unpack(source)?;
            let voxels = typed_binary(&mut unpacked, numbers, count)?;
            // The checksum is compared at the end of the data.
            unpacked.read(&mut [0]).map_err(|error| damaged(&error))?;
            Ok(voxels)
        }
    }
}

macro_rules! by_type {
    ($dtype:expr, $function:ident($($argument:expr),*)) => {
        match $dtype {
            DType::U8 => $function::<u8>($($argument),*),
            DType::I8 => $function::<i8>($($argument),*),
            DType::U16 => $function::<u16>($($argument),*),
            DType::I16 => $function::<i16>($($argument),*),
            DType::U32 => $function::<u32>($($argument),*),
            DType::I32 => $function::<i32>($($argument),*),
            DType::U64 => $function::<u64>($($argument),*),
            DType::I64 => $function::<i64>($($argument),*),
            DType::F32 => $function::<f32>($($argument),*),
            DType::F64 => $function::<f64>($($argument),*),
        }
    };
}

fn typed_binary(source: &mut dyn Read, numbers: Numbers, count: usize) -> Result<Voxels> {
    by_type!(numbers.dtype, binary(source, numbers.big_endian, count))
}

fn typed_text(source: &mut dyn BufRead, dtype: DType, count: usize) -> Result<Voxels> {
    by_type!(dtype, text(source, count))
}

fn binary<T: Element + bytemuck::Pod>(source: &mut dyn Read, big_endian: bool, count: usize) -> Result<Voxels> {
    let mut result = Ok(());
    let voxels = filled::<T>(count, |out| {
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(out);
        result = source.read_exact(bytes);
        if size_of::<T>() > 1 && big_endian != cfg!(target_endian = "big") {
            bytes.chunks_exact_mut(size_of::<T>()).for_each(<[u8]>::reverse);
        }
    })?;
    match result {
        Ok(()) => Ok(T::wrap(voxels)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(err!("expected {} bytes of voxels, found fewer: the file is truncated", count * size_of::<T>()))
        }
        Err(error) => Err(damaged(&error)),
    }
}

fn text<T: Element + FromStr>(source: &mut dyn BufRead, count: usize) -> Result<Voxels> {
    let mut result = Ok(());
    let voxels = filled::<T>(count, |out| {
        result = out.iter_mut().try_for_each(|out| next_number(source).map(|number| *out = number))
    })?;
    result.map(|()| T::wrap(voxels))
}

fn next_number<T: FromStr>(source: &mut dyn BufRead) -> Result<T> {
    // Longer than any meaningful number.
    const MAX_DIGITS: usize = 400;
    let mut word = vec![];
    while let Some(byte) = source.fill_buf()?.first().copied() {
        source.consume(1);
        let space = byte.is_ascii_whitespace() || byte == b',';
        if space && !word.is_empty() {
            break;
        }
        if !space {
            word.push(byte);
        }
        if word.len() > MAX_DIGITS {
            break;
        }
    }
    let word = String::from_utf8_lossy(&word);
    if word.is_empty() {
        bail!("expected more voxels: the file is truncated");
    }
    word.parse().map_err(|_| {
        err!("expected a number of the voxels' type, found `{}`", word.chars().take(40).collect::<String>())
    })
}

/// Assigns stored axes to X, Y, Z and channels.
pub struct Axes {
    /// Lengths of the stored axes, fastest first.
    pub sizes: Vec<usize>,
    /// Indices into `sizes`, 1 to 3 of them.
    pub spatial: Vec<usize>,
    pub channel: Option<usize>,
}

impl Axes {
    /// Number of values.
    ///
    /// # Errors
    /// It is larger than memory can hold.
    pub fn count(&self) -> Result<usize> {
        let count = self
            .sizes
            .iter()
            .try_fold(1usize, |count, size| count.checked_mul(*size))
            .filter(|count| *count <= isize::MAX as usize);
        count.ok_or_else(|| err!("expected a size that memory can hold, found {:?}", self.sizes))
    }
    fn layout(&self) -> Layout {
        let stride = |place: usize| self.sizes[..place].iter().product::<usize>() as isize;
        let places =
            [self.channel, self.spatial.first().copied(), self.spatial.get(1).copied(), self.spatial.get(2).copied()];
        Layout {
            offset: 0,
            shape: places.map(|place| place.map_or(1, |place| self.sizes[place])),
            strides: places.map(|place| place.map_or(0, stride)),
        }
    }
    /// Returns the header-only volume of voxels with these axes.
    pub fn volume(&self, dtype: DType, affine: Affine, path: &Path) -> Result<Volume> {
        let affine = affine.regular()?;
        let (mut layout, count) = (self.layout(), self.count()?);
        // A missing axis has length 1 and a stride beyond all others.
        for stride in layout.strides.iter_mut().filter(|stride| **stride == 0) {
            *stride = count as isize;
        }
        let grid = Grid { shape: layout.spatial(), affine };
        let channels = self.channel.map(|place| self.sizes[place]);
        let header = ImageHeader {
            path: path.to_owned(),
            grid,
            spatial_dims: self.spatial.len(),
            channels,
            space: Some(Space::SCANNER_MM),
            series: None,
        };
        Ok(Volume {
            voxels: Voxels::empty(dtype),
            layout,
            affine,
            channel_first: false,
            integer_type: None,
            header: Arc::new(header),
            trace: vec![],
        })
    }
}

/// Returns a unit vector orthogonal to two given ones: the third axis of a plane, 1 mm per step.
pub fn third_step(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    let cross = cross(a, b);
    let length = cross.iter().map(|value| value * value).sum::<f64>().sqrt();
    cross.map(|value| value / length)
}

/// Cross product.
pub fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}
