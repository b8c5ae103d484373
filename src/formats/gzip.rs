//! gzip for NIfTI files: reads any number of members, writes one.
//!
//! - `GzReader` streams through zlib-rs: memory depends on the actual content, not on the size in the trailer, and
//!   the compressed file is not held in memory.
//! - `GzWriter` writes a single member, since many readers (fflate in browsers, the `nifti` crate) support only one.
//!   Blocks are compressed in parallel and end in a sync flush, as in pigz; the output does not depend on the number of
//!   threads.

use crate::err;
use crate::error::Result;
use flate2::bufread::GzDecoder;
use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use rayon::prelude::*;
use std::io::{self, BufRead, Read, Write};

/// Upper bound of deflate's compression ratio.
pub const MAX_RATIO: u64 = 1032;

/// Uncompressed size of a block in bytes.
const BLOCK_BYTES: usize = 1 << 20;
/// Number of blocks that are compressed before they are written, which bounds memory.
const BATCH_BLOCKS: usize = 32;
/// Growth of a block's output buffer.
const ROOM_BYTES: usize = 1 << 16;

/// Compression level for label maps, of zlib-rs' levels 1 to 9. Label maps are 3 to 7 % larger than with libdeflate's
/// level 1, in a third of its time; noisy images take twice its time and are 1 % smaller.
pub(crate) const DEFAULT_LEVEL: u32 = 3;

/// Whether a file that begins with these bytes is a gzip file.
pub(crate) fn is_gzip(start: &[u8]) -> bool {
    start.starts_with(&[0x1f, 0x8b])
}

/// Decodes all members of a file. A checksum mismatch is an error at the end of its member. Data after the last member
/// that are not a member (padding, unrelated bytes) are ignored, as in Python's gzip module.
pub(crate) struct GzReader<R: BufRead> {
    /// `None` after the last member or after an error.
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> GzReader<R> {
    /// Decodes `source`, which begins with a gzip header.
    pub fn new(source: R) -> Self {
        GzReader { member: Some(GzDecoder::new(source)) }
    }
    /// Reads the current member to its end, where its checksum is compared.
    pub fn finish_member(&mut self) -> io::Result<()> {
        match &mut self.member {
            Some(member) => io::copy(member, &mut io::sink()).map(drop),
            None => Ok(()),
        }
    }
}

impl<R: BufRead> Read for GzReader<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        while let Some(member) = &mut self.member {
            let count = member.read(into)?;
            if count > 0 {
                return Ok(count);
            }
            let Some(mut source) = self.member.take().map(GzDecoder::into_inner) else { break };
            // The first byte decides, since the buffer may end after it; a header that is invalid after it is reported
            // when it is read.
            if source.fill_buf()?.first() == Some(&0x1f) {
                self.member = Some(GzDecoder::new(source));
            }
        }
        Ok(0)
    }
}

/// Writes one gzip member. Each `write` compresses its data in parallel, in blocks of 1 MiB: pass many megabytes at a
/// time to use all threads. Call [`finish`](GzWriter::finish) to complete the member.
pub(crate) struct GzWriter<W: Write> {
    out: W,
    level: Compression,
    crc: Crc,
}

impl<W: Write> GzWriter<W> {
    /// Creates a writer with a compression `level` from 1 (fastest) to 9 (smallest).
    pub fn new(mut out: W, level: u32) -> Result<Self> {
        if !(1..=9).contains(&level) {
            return Err(err!("expected a compression level of 1 to 9, found {level}"));
        }
        // Magic number, deflate, no flags, no modification time, no extra flags, unknown system.
        out.write_all(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff])?;
        Ok(GzWriter { out, level: Compression::new(level), crc: Crc::new() })
    }
    /// Completes the member and returns the underlying writer.
    pub fn finish(mut self) -> io::Result<W> {
        let (_, last) = compressed(&mut Compress::new(self.level, false), &[], FlushCompress::Finish)?;
        self.out.write_all(&last)?;
        self.out.write_all(&self.crc.sum().to_le_bytes())?;
        // Modulo 2^32.
        self.out.write_all(&self.crc.amount().to_le_bytes())?;
        Ok(self.out)
    }
}

impl<W: Write> Write for GzWriter<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        for batch in data.chunks(BATCH_BLOCKS * BLOCK_BYTES) {
            let compressor = || Compress::new(self.level, false);
            let blocks: Vec<io::Result<(Crc, Vec<u8>)>> = batch
                .par_chunks(BLOCK_BYTES)
                .map_init(compressor, |compressor, block| compressed(compressor, block, FlushCompress::Sync))
                .collect();
            for block in blocks {
                let (crc, bytes) = block?;
                self.crc.combine(&crc);
                self.out.write_all(&bytes)?;
            }
        }
        Ok(data.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Returns checksum and deflate stream of `data`, up to a byte boundary with [`FlushCompress::Sync`], complete with
/// [`FlushCompress::Finish`].
fn compressed(compressor: &mut Compress, data: &[u8], flush: FlushCompress) -> io::Result<(Crc, Vec<u8>)> {
    let mut crc = Crc::new();
    crc.update(data);
    compressor.reset();
    let mut bytes = vec![];
    loop {
        bytes.reserve(ROOM_BYTES);
        let rest = data.get(compressor.total_in() as usize..).unwrap_or_default();
        let status = compressor.compress_vec(rest, &mut bytes, flush).map_err(io::Error::other)?;
        // A flush is complete when it leaves room in the buffer.
        let complete = match flush {
            FlushCompress::Finish => matches!(status, Status::StreamEnd),
            _ => compressor.total_in() == data.len() as u64 && bytes.len() < bytes.capacity(),
        };
        if complete {
            return Ok((crc, bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1u32;
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(1664525).wrapping_add(1013904223);
            (state >> 28) as u8
        })
        .take(length)
        .collect()
    }

    fn read_all(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = vec![];
        GzReader::new(bytes).read_to_end(&mut out).map(|_| out)
    }

    fn packed(data: &[u8], level: u32) -> Vec<u8> {
        let mut writer = GzWriter::new(vec![], level).unwrap();
        // In two pieces: the second is of less than a block.
        let (head, tail) = data.split_at(data.len() / 3 * 2);
        writer.write_all(head).unwrap();
        writer.write_all(tail).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn one_member_is_written_whatever_the_number_of_threads() {
        let lengths = [0, 1, 1000, BLOCK_BYTES, 3 * BLOCK_BYTES + 17, 33 * BLOCK_BYTES];
        for (level, length) in [1, 3, 9].into_iter().flat_map(|level| lengths.map(|length| (level, length))) {
            let data = noise(length);
            let with_threads = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| packed(&data, level))
            };
            let bytes = with_threads(1);
            assert!(bytes == with_threads(3));
            // Reads a single member; what follows would be left in the slice.
            let mut strict = GzDecoder::new(&bytes[..]);
            let mut found = vec![];
            strict.read_to_end(&mut found).unwrap();
            assert!(found == data && strict.into_inner().is_empty(), "{length} bytes at level {level}");
            assert!(read_all(&bytes).unwrap() == data);
            if level > 1 && length > 9 {
                break;
            }
        }
        assert!(GzWriter::new(vec![], 0).is_err() && GzWriter::new(vec![], 10).is_err());
    }

    #[test]
    fn data_that_do_not_compress_are_written_whole() {
        let mut state = 1u64;
        let data: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 56) as u8
        })
        .take(2 * BLOCK_BYTES + 5)
        .collect();
        for level in [1, 3, 6] {
            let bytes = packed(&data, level);
            // Level 1 has fixed codes of up to 9 bits.
            assert!(
                bytes.len() < data.len() + data.len() / if level == 1 { 7 } else { 500 }
                    && read_all(&bytes).unwrap() == data,
                "level {level}"
            );
        }
    }

    #[test]
    fn several_members_are_read() {
        let data = noise(50_000);
        let bytes: Vec<u8> = data.chunks(17_000).flat_map(|part| packed(part, 3)).collect();
        assert!(read_all(&bytes).unwrap() == data);
    }

    #[test]
    fn bytes_after_the_last_member_are_ignored_and_a_wrong_checksum_is_not() {
        let data = noise(5000);
        let mut bytes = packed(&data, 6);
        let end = bytes.len();
        bytes.extend([0; 40]);
        assert_eq!(read_all(&bytes).unwrap(), data);
        bytes[end - 6] ^= 1;
        assert!(read_all(&bytes).is_err());
        // The size trailer lies: an error too, and nothing is allocated for it.
        let mut bytes = bytes[..end].to_vec();
        bytes[end - 6] ^= 1;
        bytes[end - 1] = 0xff;
        assert!(read_all(&bytes).is_err());
        assert!(read_all(&bytes[..end - 9]).is_err());
    }
}
