//! Parses the parts of a DICOM file that images need: transfer syntax, geometry, and the location of the pixel data.
//!
//! dicom-rs trusts the lengths in a file and reads nested sequences recursively. Files are therefore scanned here
//! first: every length is checked against the file's size and nesting is bounded. dicom-rs then parses only the
//! elements in [`WANTED`].

use crate::error::Result;
use crate::{bail, err};
use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::entries;
use flate2::bufread::DeflateDecoder;
use std::cell::RefCell;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Maximum nesting depth of sequences.
const MAX_DEPTH: usize = 16;
/// Maximum number of zero bytes after the last element; more are a damaged file.
const MAX_PADDING_BYTES: usize = 1 << 20;
/// Maximum size of an inflated file in bytes.
const MAX_UNPACKED_BYTES: u64 = 1 << 31;
const UNDEFINED: u32 = u32::MAX;
const ITEM: u32 = 0xfffe_e000;
const ITEM_END: u32 = 0xfffe_e00d;
const SEQUENCE_END: u32 = 0xfffe_e0dd;
const PIXEL_DATA: u32 = 0x7fe0_0010;

/// Elements to parse. Sequences: shared and per-frame functional groups.
const WANTED: [u32; 32] = [
    0x0008_0005,
    0x0008_0008,
    0x0008_0016,
    0x0008_0018,
    0x0008_0060,
    0x0008_103e,
    0x0018_0050,
    0x0018_0088,
    0x0018_1120,
    0x0020_000d,
    0x0020_000e,
    0x0020_0011,
    0x0020_0012,
    0x0020_0013,
    0x0020_0032,
    0x0020_0037,
    0x0028_0002,
    0x0028_0004,
    0x0028_0008,
    0x0028_0010,
    0x0028_0011,
    0x0028_0030,
    0x0028_0100,
    0x0028_0101,
    0x0028_0102,
    0x0028_0103,
    0x0028_1052,
    0x0028_1053,
    0x0028_1054,
    0x0020_0052,
    0x5200_9229,
    0x5200_9230,
];

/// Random access to the bytes of a file.
pub trait Source: Sized {
    /// Number of bytes.
    fn length(&self) -> usize;
    /// Copies the bytes from `at` on; the range must exist.
    fn copy_to(&self, at: usize, out: &mut [u8]) -> Result<()>;
    /// Creates a source from bytes that were inflated from another source.
    fn unpacked(bytes: Vec<u8>) -> Self;
    /// Returns the bytes of a range.
    ///
    /// # Errors
    /// The source ends before the range.
    fn get(&self, range: Range<usize>) -> Result<Vec<u8>> {
        if range.end > self.length() {
            return Err(cut_off());
        }
        let mut out = vec![0; range.len()];
        self.copy_to(range.start, &mut out)?;
        Ok(out)
    }
    /// Returns up to `count` bytes from `at` on, fewer at the end.
    fn at_most(&self, at: usize, count: usize) -> Result<Vec<u8>> {
        let end = at.saturating_add(count).min(self.length());
        self.get(at.min(end)..end)
    }
}

/// A whole file in memory.
impl Source for Vec<u8> {
    fn length(&self) -> usize {
        self.len()
    }
    fn copy_to(&self, at: usize, out: &mut [u8]) -> Result<()> {
        out.copy_from_slice(self.as_slice().get(at..at + out.len()).ok_or_else(cut_off)?);
        Ok(())
    }
    fn unpacked(bytes: Vec<u8>) -> Self {
        bytes
    }
}

/// A file of which only blocks with elements are read, not the pixel data.
pub enum HeaderSource {
    File {
        file: File,
        length: usize,
        /// The current block and its position.
        block: RefCell<(usize, Vec<u8>)>,
    },
    /// The content of a deflated file.
    Unpacked(Vec<u8>),
}

impl HeaderSource {
    /// Opens a file, of which blocks are read on demand.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: &Path) -> Result<HeaderSource> {
        let open = || -> std::io::Result<_> {
            let file = crate::open(path)?;
            let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
            Ok(HeaderSource::File { file, length, block: RefCell::default() })
        };
        open().map_err(|error| err!("cannot read: {error}").file(path))
    }
}

impl Source for HeaderSource {
    fn length(&self) -> usize {
        match self {
            HeaderSource::File { length, .. } => *length,
            HeaderSource::Unpacked(bytes) => bytes.len(),
        }
    }
    fn copy_to(&self, at: usize, out: &mut [u8]) -> Result<()> {
        /// Block size in bytes.
        const BLOCK_BYTES: usize = 1 << 15;
        let (file, length, block) = match self {
            HeaderSource::File { file, length, block } => (file, *length, block),
            HeaderSource::Unpacked(bytes) => return bytes.copy_to(at, out),
        };
        let read = |out: &mut [u8]| {
            file.read_exact_at(out, at as u64).map_err(|error| match error.kind() {
                std::io::ErrorKind::UnexpectedEof => cut_off(),
                _ => err!("cannot read: {error}"),
            })
        };
        if out.len() > BLOCK_BYTES {
            return read(out);
        }
        let (start, bytes) = &mut *block.borrow_mut();
        if at < *start || at + out.len() > *start + bytes.len() {
            bytes.clear();
            bytes.resize(BLOCK_BYTES.min(length - at), 0);
            *start = at;
            read(bytes)?;
        }
        out.copy_from_slice(&bytes[at - *start..][..out.len()]);
        Ok(())
    }
    fn unpacked(bytes: Vec<u8>) -> Self {
        HeaderSource::Unpacked(bytes)
    }
}

/// The scanned elements of a file: in memory with its pixel data, or read by a [`HeaderSource`].
pub struct Elements<S = Vec<u8>> {
    /// The data set, inflated if it was deflated.
    data: S,
    /// UID of the transfer syntax.
    pub syntax: String,
    /// SOP class UID in the file meta information.
    pub class: Option<String>,
    coding: Coding,
    wanted: Vec<Range<usize>>,
    pub pixels: Option<Pixels>,
}

/// Location of the pixel data.
#[derive(Debug, Clone)]
pub enum Pixels {
    /// Uncompressed; shorter than claimed if the file is truncated.
    Native(Range<usize>),
    /// Compressed fragments, and the offset of each frame's first fragment if the file contains them; `cut_off` if the
    /// file ends within a fragment.
    Fragments { offsets: Vec<u32>, fragments: Vec<Range<usize>>, cut_off: bool },
}

/// Encoding of elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Coding {
    explicit: bool,
    big_endian: bool,
}

/// Whether a file that begins with these bytes is DICOM: it has `DICM` after the preamble, or a first element of group
/// 2 or 8.
pub fn is_dicom(start: &[u8]) -> bool {
    start.get(128..132) == Some(b"DICM") || headless(start).is_some()
}

/// Encoding of the elements of a file without preamble.
fn headless(start: &[u8]) -> Option<Coding> {
    let coding = match start.get(..4)? {
        [2 | 8, 0, 0..=0x20, 0] => {
            Coding { explicit: start.get(4..6)?.iter().all(u8::is_ascii_uppercase), big_endian: false }
        }
        [0, 8, 0, 0..=0x20] if start.get(4..6)?.iter().all(u8::is_ascii_uppercase) => {
            Coding { explicit: true, big_endian: true }
        }
        _ => return None,
    };
    let length = start.get(4..8).map(|four| u32::from_le_bytes([four[0], four[1], four[2], four[3]]))?;
    (coding.explicit || length < 256).then_some(coding)
}

impl<S: Source> Elements<S> {
    /// Reads the elements up to the pixel data, with or without the preamble of a file.
    ///
    /// # Errors
    /// The source is no DICOM data set, or is damaged.
    pub fn parse(source: S) -> Result<Elements<S>> {
        let explicit = Coding { explicit: true, big_endian: false };
        let marked = source.at_most(128, 4)? == b"DICM";
        let mut at = if marked { 132 } else { 0 };
        let guess = |at: usize| Ok::<_, crate::error::Error>(headless(&source.at_most(at, 8)?));
        let first = guess(at)?;
        let (mut syntax, mut class) = (None, None);
        // The file meta information is always explicit little-endian.
        while source.at_most(at, 2)? == [2, 0] {
            let element = Walk { data: &source, coding: explicit }.element(at)?;
            let uid = || -> Result<String> {
                let value = source.get(element.value.clone())?;
                Ok(String::from_utf8_lossy(&value).trim_matches(['\0', ' ']).to_owned())
            };
            match element.tag {
                0x0002_0002 => class = Some(uid()?),
                0x0002_0010 => syntax = Some(uid()?),
                _ => {}
            }
            at = element.value.end;
        }
        if marked && at >= source.length() {
            return Err(cut_off());
        }
        let guessed = guess(at)?.or(first);
        let coding = match (syntax.as_deref(), guessed) {
            (Some("1.2.840.10008.1.2"), _) => Coding { explicit: false, big_endian: false },
            (Some("1.2.840.10008.1.2.2"), _) => Coding { explicit: true, big_endian: true },
            (Some(_), _) => explicit,
            (None, Some(coding)) => coding,
            (None, None) => bail!("expected a DICOM file, found something else"),
        };
        let plain = match coding {
            Coding { explicit: false, .. } => "1.2.840.10008.1.2",
            Coding { big_endian: true, .. } => "1.2.840.10008.1.2.2",
            _ => "1.2.840.10008.1.2.1",
        };
        let syntax = syntax.unwrap_or_else(|| plain.to_owned());
        let (data, at) = if syntax == "1.2.840.10008.1.2.1.99" {
            let mut unpacked = vec![];
            let packed = source.get(at..source.length())?;
            DeflateDecoder::new(&packed[..])
                .take(MAX_UNPACKED_BYTES)
                .read_to_end(&mut unpacked)
                .map_err(|error| err!("damaged deflated DICOM data: {error}"))?;
            (S::unpacked(unpacked), 0)
        } else {
            (source, at)
        };
        let mut elements = Elements { data, syntax, class, coding, wanted: vec![], pixels: None };
        elements.walk(at)?;
        Ok(elements)
    }

    fn walk(&mut self, mut at: usize) -> Result<()> {
        let walk = Walk { data: &self.data, coding: self.coding };
        let length = self.data.length();
        while at < length {
            // Zeros after the last element are padding; no element of a data set has group 0.
            if self.data.at_most(at, 4)?.iter().all(|byte| *byte == 0) {
                if !self.is_padding(at)? {
                    bail!("damaged DICOM file: no element begins at byte {at}");
                }
                break;
            }
            let head = walk.head(at)?;
            if head.tag == PIXEL_DATA {
                self.pixels = Some(walk.pixels(&head)?);
                break;
            }
            let element = walk.element(at)?;
            if WANTED.contains(&element.tag) {
                // dicom-rs parses this element, so its content must be valid too.
                walk.check_nested(&element)?;
                self.wanted.push(at..element.value.end);
            }
            at = element.value.end;
        }
        Ok(())
    }

    /// Whether the bytes from `at` to the end are zeros, at most [`MAX_PADDING_BYTES`].
    fn is_padding(&self, at: usize) -> Result<bool> {
        const BLOCK_BYTES: usize = 1 << 12;
        let length = self.data.length();
        if length - at > MAX_PADDING_BYTES {
            return Ok(false);
        }
        for block in (at..length).step_by(BLOCK_BYTES) {
            if self.data.at_most(block, BLOCK_BYTES)?.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Parses the wanted elements with dicom-rs.
    pub fn object(&self) -> Result<InMemDicomObject> {
        let mut bytes = vec![];
        for range in &self.wanted {
            self.copy(range, &mut bytes)?;
        }
        let syntax = match self.coding {
            Coding { explicit: false, .. } => entries::IMPLICIT_VR_LITTLE_ENDIAN.erased(),
            Coding { big_endian: true, .. } => entries::EXPLICIT_VR_BIG_ENDIAN.erased(),
            _ => entries::EXPLICIT_VR_LITTLE_ENDIAN.erased(),
        };
        InMemDicomObject::read_dataset_with_ts(&bytes[..], &syntax)
            .map_err(|error| err!("damaged DICOM header: {error}"))
    }

    /// Archives mark elements that they do not know as type UN; this restores the type.
    fn copy(&self, range: &Range<usize>, out: &mut Vec<u8>) -> Result<()> {
        let bytes = self.data.get(range.clone())?;
        let little = Coding { explicit: true, big_endian: false };
        if let (true, [a, b, c, d, b'U', b'N', _, _, l0, l1, 0, 0, value @ ..]) = (self.coding == little, &bytes[..]) {
            let tag = u32::from_be_bytes([*b, *a, *d, *c]);
            if let Some(vr) = own_type(tag) {
                out.extend([*a, *b, *c, *d, vr[0], vr[1], *l0, *l1]);
                out.extend_from_slice(value);
                return Ok(());
            }
        }
        out.extend_from_slice(&bytes);
        Ok(())
    }

    /// Whether numbers are stored with the highest byte first.
    pub fn big_endian(&self) -> bool {
        self.coding.big_endian
    }
}

impl Elements {
    /// Returns the bytes of a range of the file; none if it lies beyond the end.
    pub fn bytes(&self, range: &Range<usize>) -> &[u8] {
        self.data.as_slice().get(range.clone()).unwrap_or_default()
    }

    /// Returns the compressed bytes of one of `frames` frames.
    pub fn packed_frame(&self, frame: usize, frames: usize) -> Result<Vec<u8>> {
        let Some(Pixels::Fragments { offsets, fragments, .. }) = &self.pixels else {
            bail!("expected compressed pixel data, found uncompressed")
        };
        let missing = || err!("expected {frames} frames of pixel data, found {} fragments", fragments.len());
        if frames == 1 {
            return Ok(fragments.iter().flat_map(|range| self.bytes(range)).copied().collect());
        }
        if fragments.len() == frames {
            return Ok(self.bytes(fragments.get(frame).ok_or_else(missing)?).to_vec());
        }
        // Offsets count from the header of the first fragment's item, 8 bytes each.
        let start = fragments.first().ok_or_else(missing)?.start - 8;
        let from = start + *offsets.get(frame).ok_or_else(missing)? as usize;
        let to = offsets.get(frame + 1).map_or(usize::MAX, |offset| start + *offset as usize);
        Ok(fragments
            .iter()
            .filter(|range| (from..to).contains(&(range.start - 8)))
            .flat_map(|range| self.bytes(range))
            .copied()
            .collect())
    }
}

/// Type of the wanted elements that contain geometry and numbers.
fn own_type(tag: u32) -> Option<&'static [u8; 2]> {
    Some(match tag {
        0x0018_0050 | 0x0018_0088 | 0x0020_0032 | 0x0020_0037 | 0x0028_0030 | 0x0028_1052 | 0x0028_1053 => b"DS",
        0x0008_0018 | 0x0020_000d | 0x0020_000e => b"UI",
        0x0008_0008 | 0x0008_0060 => b"CS",
        0x0020_0011 | 0x0028_0008 => b"IS",
        0x0028_0002 | 0x0028_0010 | 0x0028_0011 | 0x0028_0100..=0x0028_0103 => b"US",
        0x0008_103e => b"LO",
        _ => return None,
    })
}

struct Head {
    tag: u32,
    vr: [u8; 2],
    length: u32,
    /// Position of the value.
    start: usize,
}

struct DicomElement {
    tag: u32,
    vr: [u8; 2],
    undefined: bool,
    value: Range<usize>,
}

struct Walk<'a, S> {
    data: &'a S,
    coding: Coding,
}

fn cut_off() -> crate::error::Error {
    err!("the DICOM file is truncated")
}

impl<S: Source> Walk<'_, S> {
    fn bytes<const N: usize>(&self, at: usize) -> Result<[u8; N]> {
        let mut bytes = self.raw_bytes(at)?;
        if self.coding.big_endian {
            bytes.reverse();
        }
        Ok(bytes)
    }
    fn raw_bytes<const N: usize>(&self, at: usize) -> Result<[u8; N]> {
        if at.saturating_add(N) > self.data.length() {
            return Err(cut_off());
        }
        let mut bytes = [0; N];
        self.data.copy_to(at, &mut bytes)?;
        Ok(bytes)
    }
    fn u16(&self, at: usize) -> Result<u16> {
        Ok(u16::from_le_bytes(self.bytes(at)?))
    }
    fn u32(&self, at: usize) -> Result<u32> {
        Ok(u32::from_le_bytes(self.bytes(at)?))
    }
    fn tag(&self, at: usize) -> Result<u32> {
        Ok(u32::from(self.u16(at)?) << 16 | u32::from(self.u16(at + 2)?))
    }
    fn head(&self, at: usize) -> Result<Head> {
        let tag = self.tag(at)?;
        if !self.coding.explicit || tag >> 16 == 0xfffe {
            return Ok(Head { tag, vr: [0; 2], length: self.u32(at + 4)?, start: at + 8 });
        }
        let vr = self.raw_bytes::<2>(at + 4)?;
        match &vr {
            b"OB" | b"OD" | b"OF" | b"OL" | b"OV" | b"OW" | b"SQ" | b"UC" | b"UR" | b"UT" | b"UN" | b"SV" | b"UV" => {
                Ok(Head { tag, vr, length: self.u32(at + 8)?, start: at + 12 })
            }
            vr if vr.iter().all(u8::is_ascii_uppercase) => {
                Ok(Head { tag, vr: *vr, length: self.u16(at + 6)?.into(), start: at + 8 })
            }
            _ => bail!("damaged DICOM file: no element begins at byte {at}"),
        }
    }
    /// Reads the header of an element and finds the end of its value.
    fn element(&self, at: usize) -> Result<DicomElement> {
        let Head { tag, vr, length, start } = self.head(at)?;
        let end = if length == UNDEFINED {
            self.inside(&vr).sequence_end(start, MAX_DEPTH)?
        } else {
            start.saturating_add(length as usize)
        };
        if end > self.data.length() {
            return Err(cut_off());
        }
        Ok(DicomElement { tag, vr, undefined: length == UNDEFINED, value: start..end })
    }
    /// Encoding inside a sequence of this type: UN is implicit.
    fn inside(&self, vr: &[u8; 2]) -> Self {
        let coding = if vr == b"UN" { Coding { explicit: false, big_endian: false } } else { self.coding };
        Walk { data: self.data, coding }
    }
    /// Finds the end of a sequence of undefined length, including its delimiter.
    fn sequence_end(&self, mut at: usize, depth: usize) -> Result<usize> {
        let depth =
            depth.checked_sub(1).ok_or_else(|| err!("expected at most {MAX_DEPTH} levels of DICOM sequences"))?;
        loop {
            let (tag, length) = (self.tag(at)?, self.u32(at + 4)?);
            at += 8;
            match tag {
                SEQUENCE_END => return Ok(at),
                ITEM if length == UNDEFINED => at = self.item_end(at, depth)?,
                ITEM => at = self.fitting(at, length)?,
                _ => bail!("damaged DICOM file: expected an item at byte {}", at - 8),
            }
        }
    }
    fn item_end(&self, mut at: usize, depth: usize) -> Result<usize> {
        loop {
            let Head { tag, vr, length, start } = self.head(at)?;
            at = match (tag, length) {
                (ITEM_END, _) => return Ok(start),
                (_, UNDEFINED) => self.inside(&vr).sequence_end(start, depth)?,
                _ => self.fitting(start, length)?,
            };
        }
    }
    fn fitting(&self, start: usize, length: u32) -> Result<usize> {
        Some(start.saturating_add(length as usize)).filter(|end| *end <= self.data.length()).ok_or_else(cut_off)
    }
    /// Checks that every length inside a sequence stays within its parent.
    fn check_nested(&self, element: &DicomElement) -> Result<()> {
        self.inside(&element.vr).check_value(&element.vr, element.value.clone(), element.undefined, MAX_DEPTH)
    }
    fn check_value(&self, vr: &[u8; 2], value: Range<usize>, undefined: bool, depth: usize) -> Result<()> {
        let items = undefined
            || vr == b"SQ"
            || (matches!(vr, b"UN" | [0, 0]) && value.len() >= 8 && self.tag(value.start)? == ITEM);
        if !items {
            return Ok(());
        }
        let depth =
            depth.checked_sub(1).ok_or_else(|| err!("expected at most {MAX_DEPTH} levels of DICOM sequences"))?;
        let mut at = value.start;
        while at < value.end {
            let (tag, length) = (self.tag(at)?, self.u32(at + 4)?);
            at += 8;
            match tag {
                SEQUENCE_END => return Ok(()),
                ITEM => {}
                _ => bail!("damaged DICOM file: expected an item at byte {}", at - 8),
            }
            let end = if length == UNDEFINED { value.end } else { self.fitting(at, length)? };
            if end > value.end {
                return Err(cut_off());
            }
            while at < end {
                let head = self.head(at)?;
                if head.tag == ITEM_END {
                    at = head.start;
                    break;
                }
                let inner = self.element(at)?;
                if inner.value.end > end {
                    return Err(cut_off());
                }
                self.inside(&inner.vr).check_value(&inner.vr, inner.value.clone(), inner.undefined, depth)?;
                at = inner.value.end;
            }
        }
        Ok(())
    }
    fn pixels(&self, head: &Head) -> Result<Pixels> {
        if head.length != UNDEFINED {
            return Ok(Pixels::Native(
                head.start..head.start.saturating_add(head.length as usize).min(self.data.length()),
            ));
        }
        let (mut at, mut offsets, mut fragments, mut first) = (head.start, vec![], vec![], true);
        let mut cut_off = false;
        while let Ok(ITEM) = self.tag(at) {
            let Ok(end) = self.u32(at + 4).and_then(|length| self.fitting(at + 8, length)) else {
                cut_off = true;
                break;
            };
            if first {
                let table = self.data.get(at + 8..end)?;
                offsets = table.as_chunks::<4>().0.iter().map(|four| u32::from_le_bytes(*four)).collect();
            } else {
                fragments.push(at + 8..end);
            }
            (at, first) = (end, false);
        }
        Ok(Pixels::Fragments { offsets, fragments, cut_off })
    }
}
