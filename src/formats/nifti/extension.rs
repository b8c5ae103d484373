//! Header extensions: blocks of bytes between the header and the voxels of a single file (nifti1.h, "extended header").

use super::read::{Source, parse_header};
use crate::error::Result;
use std::path::Path;

/// Extensions beyond this size are not read.
const MOST_BYTES: u64 = 1 << 20;

/// Encodes an extension: size (a multiple of 16), code 0 ("unknown"), content, zero padding.
pub(super) fn block(content: &[u8]) -> Vec<u8> {
    let size = (content.len() + 8).next_multiple_of(16);
    let mut bytes = Vec::with_capacity(size);
    bytes.extend((size as i32).to_le_bytes());
    bytes.extend(0i32.to_le_bytes());
    bytes.extend(content);
    bytes.resize(size, 0);
    bytes
}

/// Reads the contents of a single file's extensions of any code, up to the first malformed one.
///
/// # Errors
/// The file has no readable NIfTI header.
pub fn read_extensions(path: impl AsRef<Path>) -> Result<Vec<Vec<u8>>> {
    let path = path.as_ref();
    let read = || {
        let mut source = Source::open(path)?;
        let header = parse_header(&mut source, true)?;
        let room = header.offset.saturating_sub(header.size()).min(MOST_BYTES);
        let mut bytes = vec![0; room as usize];
        let length = source.fill(&mut bytes)?;
        bytes.truncate(length);
        Ok(split(&bytes, header.big_endian))
    };
    read().map_err(|error: crate::error::Error| error.file(path))
}

fn split(bytes: &[u8], big_endian: bool) -> Vec<Vec<u8>> {
    let mut found = vec![];
    // Four bytes tell whether extensions follow.
    let Some((_, mut rest)) = bytes.split_first_chunk::<4>().filter(|(flags, _)| flags[0] != 0) else { return found };
    while let Some((size, _)) = rest.split_first_chunk::<4>() {
        let size = if big_endian { i32::from_be_bytes(*size) } else { i32::from_le_bytes(*size) };
        let Some(block) = usize::try_from(size).ok().filter(|size| *size >= 8).and_then(|size| rest.get(..size)) else {
            break;
        };
        found.push(block[8..].to_vec());
        rest = &rest[block.len()..];
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn blocks_are_found_again() {
        let bytes = [&[1, 0, 0, 0][..], &block(b"first"), &block(b"")].concat();
        let found = split(&bytes, false);
        assert_eq!(found.len(), 2);
        assert!(found[0].starts_with(b"first\0") && found[0].len() % 16 == 8);
        assert!(split(&[0; 40], false).is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_are_split_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), big_endian: bool) {
            let _ = split(&bytes, big_endian);
        }
    }
}
