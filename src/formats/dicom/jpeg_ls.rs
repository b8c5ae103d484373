//! Decoder of JPEG-LS (ISO 14495-1, ITU-T T.87), lossless and near-lossless, one component of up to 16 bits, as DICOM's
//! grayscale images use it. Names follow the standard: Ra is left, Rb above, Rc above left, Rd above right of the
//! current sample.

use crate::error::Result;
use crate::{bail, err};

/// Length of run segments as a power of two, by run index (J).
const J: [u32; 32] =
    [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13, 14, 15];
/// Contexts of regular samples; two more follow for run interruption samples.
const REGULAR: usize = 365;

/// Decodes an image, which must have `columns` × `rows` samples.
pub fn decode(bytes: &[u8], columns: usize, rows: usize) -> Result<Vec<u16>> {
    let (frame, data) = Frame::parse(bytes)?;
    if (frame.columns, frame.rows) != (columns, rows) {
        bail!("expected a JPEG-LS image of {columns}×{rows}, found {}×{}", frame.columns, frame.rows);
    }
    // Every run of at most 2^15 samples needs at least one bit.
    if (columns * rows) as u64 > (data.len() as u64 * 8).saturating_mul(1 << 15) {
        bail!("expected {columns}×{rows} JPEG-LS samples, found {} bytes: the image is truncated", data.len());
    }
    Decoder::new(&frame, data).image(columns, rows, frame.shift)
}

struct Frame {
    columns: usize,
    rows: usize,
    bits: u32,
    maxval: i32,
    thresholds: Option<[i32; 3]>,
    reset: i32,
    near: i32,
    /// Point transform.
    shift: u32,
}

impl Frame {
    /// Parses the markers up to the start of the scan, and returns the remaining bytes.
    fn parse(bytes: &[u8]) -> Result<(Frame, &[u8])> {
        let cut = || err!("the JPEG-LS image is truncated");
        let mut rest =
            bytes.strip_prefix(&[0xff, 0xd8]).ok_or_else(|| err!("expected a JPEG-LS image, found something else"))?;
        let (mut size, mut maxval, mut thresholds, mut reset) = (None, 0, None, 64);
        loop {
            let [0xff, marker, high, low, ..] = *rest else { return Err(cut()) };
            let length = usize::from(u16::from_be_bytes([high, low]));
            let body = rest.get(4..2 + length).ok_or_else(cut)?;
            let word = |at: usize| {
                body.get(at..at + 2).map(|two| i32::from(u16::from_be_bytes([two[0], two[1]]))).ok_or_else(cut)
            };
            let byte = |at: usize| body.get(at).copied().ok_or_else(cut);
            rest = rest.get(2 + length..).ok_or_else(cut)?;
            match marker {
                0xf7 => {
                    if byte(5)? != 1 {
                        bail!("expected a JPEG-LS image of one component, found {}", byte(5)?);
                    }
                    size = Some((u32::from(byte(0)?), word(1)? as usize, word(3)? as usize));
                }
                0xf8 if byte(0)? == 1 => {
                    maxval = word(1)?;
                    let given = [word(3)?, word(5)?, word(7)?];
                    thresholds = (given != [0; 3]).then_some(given);
                    reset = if word(9)? == 0 { 64 } else { word(9)? };
                }
                0xf8 | 0xdd => bail!("JPEG-LS with mapping tables or restart intervals is not supported"),
                0xda => {
                    let Some((bits, rows, columns)) = size else {
                        bail!("expected a frame before the scan of a JPEG-LS image")
                    };
                    if !(2..=16).contains(&bits) || rows == 0 || columns == 0 || byte(0)? != 1 {
                        bail!("expected a JPEG-LS image of 2 to 16 bits, found {bits} bits, {columns}×{rows}");
                    }
                    let most = (1 << bits) - 1;
                    let maxval = if maxval == 0 { most } else { maxval };
                    let (near, shift) = (i32::from(byte(3)?), u32::from(byte(5)? & 15));
                    if maxval > most || near > (maxval / 2).min(255) || shift >= 16 {
                        bail!("JPEG-LS parameters out of range: MAXVAL {maxval}, NEAR {near}");
                    }
                    return Ok((Frame { columns, rows, bits, maxval, thresholds, reset, near, shift }, rest));
                }
                _ => {}
            }
        }
    }
    /// Gradient thresholds (C.2.4.1.1).
    fn thresholds(&self) -> [i32; 3] {
        if let Some(given) = self.thresholds {
            return given;
        }
        let (maxval, near) = (self.maxval, self.near);
        let clamp = |value: i32, least: i32| if value > maxval || value < least { least } else { value };
        let raw = if maxval >= 128 {
            let factor = (maxval.min(4095) + 128) / 256;
            [factor + 2 + 3 * near, 4 * factor + 3 + 5 * near, 17 * factor + 4 + 7 * near]
        } else {
            let factor = 256 / (maxval + 1);
            [2.max(3 / factor + 3 * near), 3.max(7 / factor + 5 * near), 4.max(21 / factor + 7 * near)]
        };
        let first = clamp(raw[0], near + 1);
        let second = clamp(raw[1], first);
        [first, second, clamp(raw[2], second)]
    }
}

/// Reads bits, most significant first; after a byte 0xff, the next byte has seven.
struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    cache: u64,
    held: u32,
    after_ff: bool,
    /// Zero bits appended after the end of the data.
    beyond: u32,
}

impl Bits<'_> {
    fn fill(&mut self) {
        while self.held <= 48 {
            let byte = self.data.get(self.at).copied();
            // A marker ends the data.
            let ended = byte.is_none_or(|byte| self.after_ff && byte >= 0x80);
            let (value, width) = match byte {
                Some(byte) if !ended => {
                    self.at += 1;
                    (byte, if self.after_ff { 7 } else { 8 })
                }
                _ => {
                    self.beyond += 8;
                    (0, 8)
                }
            };
            self.after_ff = !ended && value == 0xff;
            self.cache = (self.cache << width) | u64::from(value);
            self.held += width;
        }
    }
    /// Reads at most 16 bits.
    fn take(&mut self, count: u32) -> Result<i32> {
        if self.held < count {
            self.fill();
        }
        self.held -= count;
        // Only appended bits are left.
        if self.held < self.beyond.min(48) && self.beyond > 64 {
            bail!("the JPEG-LS image is truncated");
        }
        Ok(((self.cache >> self.held) & ((1 << count) - 1)) as i32)
    }
    /// Counts the zeros before the next one, which is consumed; at most `limit`.
    fn zeros(&mut self, limit: i32) -> Result<i32> {
        let mut count = 0;
        while self.take(1)? == 0 {
            count += 1;
            if count > limit {
                bail!("damaged JPEG-LS data");
            }
        }
        Ok(count)
    }
}

/// Adaptive state of a context: A magnitudes, B bias, C correction, N count, Nn negative errors.
#[derive(Clone, Copy)]
struct Context {
    a: i32,
    b: i32,
    c: i32,
    n: i32,
    nn: i32,
}

struct Decoder<'a> {
    bits: Bits<'a>,
    contexts: Vec<Context>,
    run_index: usize,
    thresholds: [i32; 3],
    maxval: i32,
    near: i32,
    /// 2·NEAR + 1
    step: i32,
    range: i32,
    qbpp: u32,
    limit: i32,
    reset: i32,
}

/// ceil(log2(n))
fn log2_up(n: i32) -> u32 {
    (n.max(1) as u32).next_power_of_two().trailing_zeros()
}

impl<'a> Decoder<'a> {
    fn new(frame: &Frame, data: &'a [u8]) -> Self {
        let (maxval, near) = (frame.maxval, frame.near);
        let step = 2 * near + 1;
        let range = (maxval + 2 * near) / step + 1;
        let bpp = frame.bits.max(2).max(log2_up(maxval + 1)) as i32;
        let context = Context { a: 2.max((range + 32) / 64), b: 0, c: 0, n: 1, nn: 0 };
        Decoder {
            bits: Bits { data, at: 0, cache: 0, held: 0, after_ff: false, beyond: 0 },
            contexts: vec![context; REGULAR + 2],
            run_index: 0,
            thresholds: frame.thresholds(),
            maxval,
            near,
            step,
            range,
            qbpp: log2_up(range),
            limit: 2 * (bpp + bpp.max(8)),
            reset: frame.reset,
        }
    }

    fn image(mut self, columns: usize, rows: usize, shift: u32) -> Result<Vec<u16>> {
        let mut out = Vec::with_capacity(columns * rows);
        // One sample before the first and one after the last.
        let (mut above, mut line) = (vec![0i32; columns + 2], vec![0i32; columns + 2]);
        for _ in 0..rows {
            line[0] = above[1];
            above[columns + 1] = above[columns];
            self.line(&above, &mut line, columns)?;
            out.extend(line[1..=columns].iter().map(|sample| (*sample << shift) as u16));
            std::mem::swap(&mut above, &mut line);
        }
        Ok(out)
    }

    fn line(&mut self, above: &[i32], line: &mut [i32], columns: usize) -> Result<()> {
        let mut x = 1;
        while x <= columns {
            let (ra, rb, rc, rd) = (line[x - 1], above[x], above[x - 1], above[x + 1]);
            let classes = [rd - rb, rb - rc, rc - ra].map(|gradient| self.class(gradient));
            if classes == [0; 3] {
                x = self.run(above, line, x, columns)?;
                continue;
            }
            line[x] = self.regular(ra, rb, rc, classes)?;
            x += 1;
        }
        Ok(())
    }

    fn class(&self, gradient: i32) -> i32 {
        let [t1, t2, t3] = self.thresholds;
        let size = gradient.abs();
        let class = if size <= self.near {
            0
        } else if size < t1 {
            1
        } else if size < t2 {
            2
        } else if size < t3 {
            3
        } else {
            4
        };
        class * gradient.signum()
    }

    fn regular(&mut self, ra: i32, rb: i32, rc: i32, [q1, q2, q3]: [i32; 3]) -> Result<i32> {
        let place = (q1 * 9 + q2) * 9 + q3;
        let sign = if place < 0 { -1 } else { 1 };
        let q = place.unsigned_abs() as usize;
        let predicted = if rc >= ra.max(rb) {
            ra.min(rb)
        } else if rc <= ra.min(rb) {
            ra.max(rb)
        } else {
            ra + rb - rc
        };
        let mut context = self.contexts[q];
        let predicted = (predicted + sign * context.c).clamp(0, self.maxval);
        let k = golomb_k(context.n, context.a)?;
        let mapped = self.golomb(k, self.limit)?;
        let error = if k == 0 && self.near == 0 && 2 * context.b <= -context.n {
            if mapped & 1 == 1 { (mapped - 1) / 2 } else { -(mapped / 2) - 1 }
        } else if mapped & 1 == 0 {
            mapped / 2
        } else {
            -(mapped + 1) / 2
        };
        context.b += error * self.step;
        context.a += error.abs();
        if context.n >= self.reset {
            context.a >>= 1;
            // The arithmetic shift covers both cases of the standard.
            context.b >>= 1;
            context.n >>= 1;
        }
        context.n += 1;
        if context.b <= -context.n {
            context.b = (context.b + context.n).max(1 - context.n);
            context.c = (context.c - 1).max(-128);
        } else if context.b > 0 {
            context.b = (context.b - context.n).min(0);
            context.c = (context.c + 1).min(127);
        }
        self.contexts[q] = context;
        Ok(self.sample(predicted, sign * error))
    }

    /// Decodes a run of Ra and the sample that ends it; returns the next position.
    fn run(&mut self, above: &[i32], line: &mut [i32], mut x: usize, columns: usize) -> Result<usize> {
        let ra = line[x - 1];
        while self.bits.take(1)? == 1 {
            let whole = 1usize << J[self.run_index];
            let count = whole.min(columns + 1 - x);
            line[x..x + count].fill(ra);
            x += count;
            if count == whole && self.run_index < 31 {
                self.run_index += 1;
            }
            if x > columns {
                return Ok(x);
            }
        }
        let bits = J[self.run_index];
        let count = self.bits.take(bits)? as usize;
        if count > columns - x {
            bail!("damaged JPEG-LS data: a run leaves its line");
        }
        line[x..x + count].fill(ra);
        x += count;
        line[x] = self.end_of_run(ra, above[x])?;
        self.run_index = self.run_index.saturating_sub(1);
        Ok(x + 1)
    }

    fn end_of_run(&mut self, ra: i32, rb: i32) -> Result<i32> {
        let alike = (ra - rb).abs() <= self.near;
        let kind = i32::from(alike);
        let q = REGULAR + usize::from(alike);
        let mut context = self.contexts[q];
        let k = golomb_k(context.n, if alike { context.a + (context.n >> 1) } else { context.a })?;
        let mapped = self.golomb(k, self.limit - J[self.run_index] as i32 - 1)?;
        let twice = mapped + kind;
        let odd = twice & 1 == 1;
        let size = (twice + i32::from(odd)) / 2;
        let error = if (k != 0 || 2 * context.nn >= context.n) == odd { -size } else { size };
        if error < 0 {
            context.nn += 1;
        }
        context.a += (mapped + 1 - kind) >> 1;
        if context.n >= self.reset {
            context.a >>= 1;
            context.n >>= 1;
            context.nn >>= 1;
        }
        context.n += 1;
        self.contexts[q] = context;
        let (predicted, sign) = if alike { (ra, 1) } else { (rb, if ra > rb { -1 } else { 1 }) };
        Ok(self.sample(predicted, sign * error))
    }

    fn golomb(&mut self, k: u32, limit: i32) -> Result<i32> {
        let most = limit - self.qbpp as i32 - 1;
        let zeros = self.bits.zeros(most)?;
        if zeros < most { Ok((zeros << k) + self.bits.take(k)?) } else { Ok(self.bits.take(self.qbpp)? + 1) }
    }

    fn sample(&self, predicted: i32, error: i32) -> i32 {
        let mut value = predicted + error * self.step;
        if value < -self.near {
            value += self.range * self.step;
        } else if value > self.maxval + self.near {
            value -= self.range * self.step;
        }
        value.clamp(0, self.maxval)
    }
}

/// The least k with N·2^k ≥ A.
fn golomb_k(n: i32, a: i32) -> Result<u32> {
    let k = (0..=16).find(|k| i64::from(n) << k >= i64::from(a));
    k.ok_or_else(|| err!("damaged JPEG-LS data"))
}
