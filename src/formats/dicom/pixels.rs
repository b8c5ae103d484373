//! Decodes pixel data: uncompressed, run-length, JPEG, JPEG-LS and JPEG 2000.

use super::elements::{Elements, Pixels};
use super::jpeg_ls;
use super::slice::Stored;
use crate::error::Result;
use crate::{bail, err};
use hayro_jpeg2000::{DecodeSettings, DecoderContext, Image};
use jpeg_decoder::{Decoder, PixelFormat, UnsupportedFeature};

/// Maximum number of voxels per compressed byte; a larger ratio indicates a decompression bomb.
const MAX_VOXELS: usize = 1 << 28;

const DECOMPRESS: &str =
    "decompress it first, with GDCM (gdcmconv --raw in.dcm out.dcm) or pydicom (Dataset.decompress)";

/// Decodes the stored values of one frame in row-major order, before rescaling.
pub fn frame(elements: &Elements, stored: &Stored, frame: usize) -> Result<Vec<i32>> {
    let count = stored.columns.checked_mul(stored.rows).filter(|count| *count <= MAX_VOXELS);
    let count = count.ok_or_else(|| {
        err!("expected at most {MAX_VOXELS} voxels in a slice, found {}×{}", stored.columns, stored.rows)
    })?;
    if let Some(Pixels::Native(range)) = &elements.pixels {
        let size = usize::from(stored.bits_allocated / 8);
        let bytes = elements.bytes(range);
        let Some(bytes) = frame.checked_mul(count * size).and_then(|from| bytes.get(from..from + count * size)) else {
            bail!(
                "expected {} bytes of pixel data, found {}: the file is truncated",
                stored.frames * count * size,
                bytes.len()
            );
        };
        return Ok(plain(bytes, stored, elements.big_endian()));
    }
    let packed = elements.packed_frame(frame, stored.frames)?;
    if packed.is_empty() {
        bail!("expected compressed pixel data, found none: the file is truncated");
    }
    let numbers = match elements.syntax.as_str() {
        "1.2.840.10008.1.2.5" => plain(&run_length(&packed, count, stored)?, stored, false),
        "1.2.840.10008.1.2.4.50" | "1.2.840.10008.1.2.4.51" | "1.2.840.10008.1.2.4.57" | "1.2.840.10008.1.2.4.70" => {
            jpeg(&packed, count, stored)?.into_iter().map(|value| stored.meaning(value.into())).collect()
        }
        "1.2.840.10008.1.2.4.80" | "1.2.840.10008.1.2.4.81" => {
            let samples = jpeg_ls::decode(&packed, stored.columns, stored.rows)?;
            samples.into_iter().map(|value| stored.meaning(value.into())).collect()
        }
        "1.2.840.10008.1.2.4.90" | "1.2.840.10008.1.2.4.91" => jpeg_2000(&packed, stored)?,
        other => {
            return Err(
                err!("the compression of this DICOM file (transfer syntax {other}) is not supported").hint(DECOMPRESS)
            );
        }
    };
    if numbers.len() != count {
        bail!("expected {count} voxels in a slice, found {}", numbers.len());
    }
    Ok(numbers)
}

impl Stored {
    /// Extracts the stored bits; the others may contain overlays.
    fn meaning(&self, raw: u32) -> i32 {
        let unused = 32 - u32::from(self.bits_stored);
        let moved = (raw >> (self.high_bit + 1 - self.bits_stored)) << unused;
        // Unsigned 32-bit values beyond i32 wrap; no scanner uses them.
        if self.signed { (moved as i32) >> unused } else { (moved >> unused) as i32 }
    }
}

fn plain(bytes: &[u8], stored: &Stored, big_endian: bool) -> Vec<i32> {
    let two = if big_endian { u16::from_be_bytes } else { u16::from_le_bytes };
    let four = if big_endian { u32::from_be_bytes } else { u32::from_le_bytes };
    match stored.bits_allocated {
        8 => bytes.iter().map(|byte| stored.meaning((*byte).into())).collect(),
        16 => bytes.as_chunks::<2>().0.iter().map(|bytes| stored.meaning(two(*bytes).into())).collect(),
        _ => bytes.as_chunks::<4>().0.iter().map(|bytes| stored.meaning(four(*bytes))).collect(),
    }
}

/// DICOM PS3.5 annex G: each byte of a value is a plane of its own, most significant first. Returns little-endian
/// bytes.
fn run_length(packed: &[u8], count: usize, stored: &Stored) -> Result<Vec<u8>> {
    let cut = || err!("the run-length data are truncated");
    let word = |at: usize| {
        packed
            .get(at..at + 4)
            .map(|four| u32::from_le_bytes([four[0], four[1], four[2], four[3]]) as usize)
            .ok_or_else(cut)
    };
    let planes = usize::from(stored.bits_allocated / 8);
    if word(0)? != planes {
        bail!("expected {planes} planes of run-length data, found {}", word(0)?);
    }
    let mut out = vec![0; count * planes];
    for plane in 0..planes {
        let end = if plane + 1 < planes { word(8 + 4 * plane)? } else { packed.len() };
        let mut rest = packed.get(word(4 + 4 * plane)?..end).ok_or_else(cut)?;
        let mut slots = out.iter_mut().skip(planes - 1 - plane).step_by(planes);
        let mut left = count;
        while left > 0 {
            let [control, after @ ..] = rest else { return Err(cut()) };
            let control = *control as i8;
            match control {
                0.. => {
                    let length = control as usize + 1;
                    let literal = after.get(..length).ok_or_else(cut)?;
                    literal.iter().zip(&mut slots).for_each(|(byte, slot)| *slot = *byte);
                    rest = &after[length..];
                    left = left.saturating_sub(length);
                }
                -128 => rest = after,
                _ => {
                    let [byte, after @ ..] = after else { return Err(cut()) };
                    let length = 1 - isize::from(control);
                    slots.by_ref().take(length as usize).for_each(|slot| *slot = *byte);
                    rest = after;
                    left = left.saturating_sub(length as usize);
                }
            }
        }
    }
    Ok(out)
}

fn jpeg(packed: &[u8], count: usize, stored: &Stored) -> Result<Vec<u16>> {
    let mut decoder = Decoder::new(packed);
    decoder.set_max_decoding_buffer_size(count * 4);
    let wrong = |error: jpeg_decoder::Error| match error {
        jpeg_decoder::Error::Unsupported(UnsupportedFeature::SamplePrecision(bits)) => {
            err!("JPEG with loss and {bits} bits is not supported, 8 bits are").hint(DECOMPRESS)
        }
        jpeg_decoder::Error::Unsupported(_) => err!("JPEG: {error}").hint(DECOMPRESS),
        _ => err!("JPEG: {error}"),
    };
    decoder.read_info().map_err(wrong)?;
    let info = decoder.info().ok_or_else(|| err!("JPEG: no image"))?;
    let size = (usize::from(info.width), usize::from(info.height));
    if size != (stored.columns, stored.rows) {
        bail!("expected a JPEG image of {}×{}, found {}×{}", stored.columns, stored.rows, size.0, size.1);
    }
    let bytes = decoder.decode().map_err(wrong)?;
    match info.pixel_format {
        PixelFormat::L8 => Ok(bytes.into_iter().map(u16::from).collect()),
        PixelFormat::L16 => Ok(bytes.as_chunks::<2>().0.iter().map(|two| u16::from_ne_bytes(*two)).collect()),
        other => bail!("expected a grayscale JPEG image, found {other:?}"),
    }
}

/// The decoder also level-shifts signed samples, so their type is read from the code stream.
fn jpeg_2000(packed: &[u8], stored: &Stored) -> Result<Vec<i32>> {
    let wrong = |error: hayro_jpeg2000::DecodeError| err!("JPEG 2000: {error}");
    let image = Image::new(packed, &DecodeSettings { resolve_palette_indices: false, ..DecodeSettings::default() })
        .map_err(wrong)?;
    if (image.width() as usize, image.height() as usize) != (stored.columns, stored.rows) {
        bail!(
            "expected a JPEG 2000 image of {}×{}, found {}×{}",
            stored.columns,
            stored.rows,
            image.width(),
            image.height()
        );
    }
    // SIZ follows the start of the code stream; byte 37 of its content is the type of the first component.
    let start = packed.windows(4).position(|four| four == [0xff, 0x4f, 0xff, 0x51]);
    let kind = start.and_then(|start| packed.get(start + 42)).ok_or_else(|| err!("JPEG 2000: no code stream"))?;
    let (signed, bits) = (kind & 0x80 != 0, u32::from(kind & 0x7f) + 1);
    let mut context = DecoderContext::default();
    let decoded = image.decode(&mut context).map_err(wrong)?;
    let [component] = decoded.components() else {
        bail!("expected a grayscale JPEG 2000 image, found {} components", decoded.components().len())
    };
    if bits > 24 {
        bail!("expected at most 24 bits in a JPEG 2000 image, found {bits}");
    }
    let (least, most) = if signed { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) } else { (0, (1 << bits) - 1) };
    let shift = if signed { (1 << (bits - 1)) as f32 } else { 0.0 };
    let numbers = component.samples().iter().map(|sample| ((sample - shift).round() as i32).clamp(least, most));
    // Some writers store two's complement as unsigned samples.
    Ok(match signed {
        true => numbers.collect(),
        false => numbers.map(|number| stored.meaning(number as u32)).collect(),
    })
}
