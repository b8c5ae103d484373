//! SHA-256 of files and values, to tell later whether something is still the same. It is the number that `sha256sum`
//! prints, so anybody can compare it.

use crate::err;
use crate::error::Result;
use sha2::{Digest as _, Sha256};
use std::io::Read;
use std::path::Path;

/// A file's content: its size and its SHA-256 in lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    pub bytes: u64,
    pub sha256: String,
}

/// Read at a time.
const BUFFER_BYTES: usize = 1 << 20;

/// Read a whole file in pieces. Errors name the file.
pub fn of_file(path: &Path) -> Result<Digest> {
    of_file_while(path, || Ok(()))
}

/// As [`of_file`], until `check` gives an error, which is asked after each piece: a file may be long.
pub fn of_file_while(path: &Path, check: impl Fn() -> Result<()>) -> Result<Digest> {
    let failed = |error: std::io::Error| err!("cannot read: {error}").file(path);
    let mut file = super::open(path).map_err(failed)?;
    let (mut hash, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; BUFFER_BYTES]);
    loop {
        check()?;
        match file.read(&mut buffer) {
            Ok(0) => return Ok(Digest { bytes, sha256: hex(hash) }),
            Ok(count) => {
                hash.update(&buffer[..count]);
                bytes += count as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
}

/// Of bytes that come in pieces.
pub fn of_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    pieces.into_iter().for_each(|piece| hash.update(piece));
    hex(hash)
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf abc | sha256sum`
    #[test]
    fn the_number_is_that_of_sha256sum() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abc").unwrap();
        assert_eq!(of_file(file.path()).unwrap(), Digest { bytes: 3, sha256: abc.into() });
        assert_eq!(of_pieces([&b"a"[..], b"bc"]), abc);
        assert!(of_file(Path::new("missing")).unwrap_err().get_file() == Some("missing"));
    }

    #[test]
    fn a_long_file_is_left_when_nobody_wants_its_number_any_more() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(1 << 40).unwrap();
        let pieces = std::cell::Cell::new(0);
        let check = || {
            pieces.set(pieces.get() + 1);
            if pieces.get() < 4 { Ok(()) } else { Err(err!("interrupted")) }
        };
        assert_eq!(of_file_while(file.path(), check).unwrap_err().message(), "interrupted");
    }
}
