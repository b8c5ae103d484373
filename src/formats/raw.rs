//! Bare voxels, as NRRD and MetaImage have them: numbers of one type and byte order in one or several files, plain,
//! packed or as text, and how their axes become [C,X,Y,Z].

use super::gzip::{self, GzReader};
use crate::error::Result;
use crate::image::{Affine, DType, Element, Grid, ImageHeader, Layout, Space, Volume, Voxels, filled};
use crate::{bail, err};
use flate2::bufread::ZlibDecoder;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

/// Read-ahead of a file.
const BUFFER_BYTES: usize = 1 << 18;
/// Longest header, in bytes.
pub const MAX_HEADER_BYTES: u64 = 1 << 20;
/// Files that one header may name.
const MAX_FILES: usize = 100_000;

/// How numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    pub dtype: DType,
    pub big_endian: bool,
    pub packing: Packing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    Plain,
    /// gzip or zlib, whichever the data begin as.
    Deflate,
    /// Decimal numbers with space between them.
    Text,
}

/// A regular file, opened, and its length in bytes.
pub fn open(path: &Path) -> Result<(BufReader<File>, u64)> {
    let refused = |error: &dyn std::fmt::Display| err!("cannot read: {error}").file(path);
    let file = super::open(path).map_err(|error| refused(&error))?;
    let metadata = file.metadata().map_err(|error| refused(&error))?;
    Ok((BufReader::with_capacity(BUFFER_BYTES, file), metadata.len()))
}

/// The next line of a header without its end; `None` at the end of the file. `read` counts the header's bytes.
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

/// A text header before the voxels, or beside them.
pub trait TextHeader: Sized {
    /// The header, and how many bytes it has.
    fn read(source: &mut impl BufRead) -> Result<(Self, u64)>;
    /// The files that hold the voxels, in their order; none where they follow the header.
    fn data_files(&self, path: &Path) -> Result<Vec<PathBuf>>;
    /// The image; `room`: bytes that follow the header, `beside`: whether other files may be opened.
    fn volume(self, source: &mut impl BufRead, room: u64, path: &Path, beside: bool) -> Result<Volume>;
}

/// Read a file of the format whose header is `H`.
pub fn read<H: TextHeader>(path: &Path) -> Result<Volume> {
    let read = || {
        let (mut source, length) = open(path)?;
        let (header, used) = H::read(&mut source)?;
        header.volume(&mut source, length.saturating_sub(used), path, true)
    };
    read().map_err(|error| error.file(path))
}

/// The files beside `path` that its header names.
pub fn data_files<H: TextHeader>(path: &Path) -> Result<Vec<PathBuf>> {
    let named = || H::read(&mut open(path)?.0)?.0.data_files(path);
    named().map_err(|error| error.file(path))
}

/// Read a file with its voxels that is in memory; `path` is only remembered.
pub fn read_bytes<H: TextHeader>(bytes: &[u8], path: &Path) -> Result<Volume> {
    let mut source = bytes;
    let (header, used) = H::read(&mut source)?;
    header.volume(&mut source, (bytes.len() as u64).saturating_sub(used), path, false)
}

/// What a header says of the files that hold its voxels.
pub struct Files {
    pub paths: Vec<PathBuf>,
    /// Lines and bytes before the voxels in each; bytes -1: the voxels end the file.
    pub skip_lines: u64,
    pub skip_bytes: i64,
}

/// `pattern first last step` as `name%03d.raw 1 20 1` in MetaImage and NRRD → names.
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

/// Names that a header lists, seen from the header's folder.
pub fn beside(header: &Path, names: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Vec<PathBuf>> {
    let folder = header.parent().unwrap_or(Path::new(""));
    let paths: Vec<PathBuf> = names.into_iter().take(MAX_FILES + 1).map(|name| folder.join(name.as_ref())).collect();
    if paths.is_empty() || paths.len() > MAX_FILES {
        bail!("expected the names of 1 to {MAX_FILES} data files, found {}", paths.len());
    }
    Ok(paths)
}

/// Read `count` numbers that several files share in equal parts.
pub fn read_files(files: &Files, numbers: Numbers, count: usize) -> Result<Voxels> {
    let each = count / files.paths.len();
    if each * files.paths.len() != count {
        bail!("expected {} data files to share {count} voxels in equal parts", files.paths.len());
    }
    let mut parts = Parts { files, numbers, each, next: 0, current: None };
    let mut room = 0u64;
    for path in &files.paths {
        room = room.saturating_add(open(path)?.1);
    }
    let plain =
        Numbers { packing: if numbers.packing == Packing::Text { Packing::Text } else { Packing::Plain }, ..numbers };
    let room = if numbers.packing == Packing::Deflate { room.saturating_mul(gzip::MAX_RATIO) } else { room };
    let mut source = BufReader::with_capacity(1 << 16, &mut parts);
    read_stream(&mut source, room, plain, count)
}

/// The files' unpacked voxels, one file after the other.
struct Parts<'a> {
    files: &'a Files,
    numbers: Numbers,
    each: usize,
    next: usize,
    current: Option<Box<dyn Read>>,
}

impl Read for Parts<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(current) = &mut self.current {
                let count = current.read(into)?;
                if count > 0 || into.is_empty() {
                    return Ok(count);
                }
            }
            let Some(path) = self.files.paths.get(self.next) else { return Ok(0) };
            self.next += 1;
            let bytes = (self.each as u64).saturating_mul(self.numbers.dtype.size_bytes() as u64);
            self.current = Some(
                part(path, self.files, self.numbers.packing, bytes)
                    .map_err(|error| io::Error::other(error.message().to_owned()))?,
            );
        }
    }
}

/// One file from its first voxel on, unpacked: `bytes` of it if they are binary.
fn part(path: &Path, files: &Files, packing: Packing, bytes: u64) -> Result<Box<dyn Read>> {
    let (mut source, length) = open(path)?;
    let mut read = 0;
    for _ in 0..files.skip_lines {
        header_line(&mut source, &mut read)?
            .ok_or_else(|| err!("expected {} lines before the voxels", files.skip_lines).file(path))?;
    }
    let mut skip = u64::try_from(files.skip_bytes).unwrap_or(0);
    if files.skip_bytes < 0 && packing == Packing::Plain {
        let start = length
            .checked_sub(bytes)
            .ok_or_else(|| err!("expected {bytes} bytes of voxels, found {length}: the file is cut off").file(path))?;
        source.seek(SeekFrom::Start(start))?;
    } else if packing != Packing::Deflate {
        io::copy(&mut source.by_ref().take(skip), &mut io::sink())?;
        skip = 0;
    }
    Ok(match packing {
        Packing::Plain => Box::new(source.take(bytes)),
        Packing::Text => Box::new(source.chain(&b"\n"[..])),
        Packing::Deflate => {
            let mut unpacked = unpack(source)?;
            io::copy(&mut unpacked.by_ref().take(skip), &mut io::sink()).map_err(|error| damaged(&error).file(path))?;
            unpacked
        }
    })
}

fn unpack<'a>(mut source: impl BufRead + 'a) -> Result<Box<dyn Read + 'a>> {
    let gzipped = gzip::is_gzip(source.fill_buf()?);
    Ok(if gzipped { Box::new(GzReader::new(source)) } else { Box::new(ZlibDecoder::new(source)) })
}

fn damaged(error: &io::Error) -> crate::error::Error {
    err!("damaged data: {error}").hint("copy or download the file again")
}

/// Read `count` numbers from a stream of at most `room` packed bytes. Nothing is allocated unless they can be there.
pub fn read_stream(source: &mut dyn BufRead, room: u64, numbers: Numbers, count: usize) -> Result<Voxels> {
    let Numbers { dtype, packing, .. } = numbers;
    let bytes = (count as u64).checked_mul(dtype.size_bytes() as u64);
    let (room, needed) = match packing {
        Packing::Plain => (room, bytes),
        Packing::Deflate => (room.saturating_mul(gzip::MAX_RATIO), bytes),
        // A digit and a space.
        Packing::Text => (room.saturating_add(1), (count as u64).checked_mul(2)),
    };
    if needed.is_none_or(|needed| needed > room) {
        bail!("expected {count} voxels of {}, found room for at most {room} bytes: the file is cut off", dtype.name());
    }
    if count == 0 {
        bail!("expected an image of at least one voxel");
    }
    match packing {
        Packing::Text => typed_text(source, dtype, count),
        Packing::Plain => typed_binary(source, numbers, count),
        Packing::Deflate => {
            let mut unpacked = unpack(source)?;
            let voxels = typed_binary(&mut unpacked, numbers, count)?;
            // The checksum is compared where the data end.
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
            Err(err!("expected {} bytes of voxels, found fewer: the file is cut off", count * size_of::<T>()))
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
    // Longer than any number that means something.
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
        bail!("expected more voxels: the file is cut off");
    }
    word.parse().map_err(|_| {
        err!("expected a number of the voxels' type, found `{}`", word.chars().take(40).collect::<String>())
    })
}

/// Which stored axes are X, Y, Z, and which one holds channels.
pub struct Axes {
    /// Lengths of the stored axes, fastest first.
    pub sizes: Vec<usize>,
    /// Places in `sizes`, 1 to 3 of them.
    pub spatial: Vec<usize>,
    pub channel: Option<usize>,
}

impl Axes {
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
    /// The volume of these voxels.
    pub fn volume(&self, voxels: Voxels, affine: Affine, path: &Path) -> Result<Volume> {
        let affine = affine.regular()?;
        let mut layout = self.layout();
        // An axis that is not stored runs like one of length 1 after all others.
        for stride in layout.strides.iter_mut().filter(|stride| **stride == 0) {
            *stride = voxels.len() as isize;
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
            voxels,
            layout,
            affine,
            channel_first: false,
            integer_type: None,
            header: Arc::new(header),
            trace: vec![],
        })
    }
}

/// A step at right angles to the two given, 1 mm long: of an image that is a plane.
pub fn third_step(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    let cross = cross(a, b);
    let length = cross.iter().map(|value| value * value).sum::<f64>().sqrt();
    cross.map(|value| value / length)
}

pub fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}
