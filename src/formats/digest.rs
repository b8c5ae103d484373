//! SHA-256 digests of files and values, as printed by `sha256sum`.
//!
//! - [`of_file`] reads a file to compute its [`Digest`].
//! - [`FileDigests`] collects the digests of files that are read anyway ([`FileDigests::open`]), so that inputs are
//!   read once. [`HashingWriter`] computes the digest of a file while it is written.

use crate::err;
use crate::error::Result;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Size and SHA-256 of a file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256 as 64 lower-case hexadecimal digits.
    pub sha256: String,
}

/// Bytes read at a time.
const BUFFER_BYTES: usize = 1 << 20;

/// State of a digest.
#[derive(Debug, Clone, Default)]
struct Hasher {
    sha256: Sha256,
    bytes: u64,
}

impl Hasher {
    fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.bytes += bytes.len() as u64;
    }
    /// Hashes the rest of `source`. `check` is called before each block; its error ends the reading.
    fn drain(&mut self, source: &mut impl Read, check: impl Fn() -> Result<()>) -> Result<()> {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            check()?;
            match source.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => self.update(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(err!("cannot read: {error}")),
            }
        }
    }
    fn finish(self) -> Digest {
        Digest { bytes: self.bytes, sha256: hex(self.sha256) }
    }
}

/// Computes the digest of a file, which is read block by block.
///
/// # Errors
/// The file cannot be read; the error names it.
pub fn of_file(path: &Path) -> Result<Digest> {
    of_file_while(path, || Ok(()))
}

/// Like [`of_file`]. `check` is called before each block, since a file may be large; its error ends the reading.
pub fn of_file_while(path: &Path, check: impl Fn() -> Result<()>) -> Result<Digest> {
    let mut file = super::open(path).map_err(|error| err!("cannot read: {error}").file(path))?;
    let mut hasher = Hasher::default();
    hasher.drain(&mut file, check).map_err(|error| error.file(path))?;
    Ok(hasher.finish())
}

/// Computes the digest of bytes in memory.
pub fn of_bytes(bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::default();
    hasher.update(bytes);
    hasher.finish()
}

/// Computes the SHA-256 of concatenated pieces.
pub fn of_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    pieces.into_iter().for_each(|piece| hash.update(piece));
    hex(hash)
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Digests of input files by path, computed while the files are read. Clones share one collection.
#[derive(Debug, Clone, Default)]
pub struct FileDigests(Arc<Mutex<BTreeMap<PathBuf, Digest>>>);

impl FileDigests {
    /// Opens a regular file like [`crate::open`]; its content is hashed as it is read.
    pub fn open(&self, path: &Path) -> io::Result<HashedFile> {
        Ok(HashedFile { file: super::open(path)?, hash: Some(Arc::default()) })
    }
    /// Records the digest of `path`.
    pub fn record(&self, path: &Path, digest: Digest) {
        self.0.lock().insert(path.to_owned(), digest);
    }
    /// Returns the digest recorded for `path`.
    pub fn get(&self, path: &Path) -> Option<Digest> {
        self.0.lock().get(path).cloned()
    }
    /// Returns the recorded digest, or reads the file to compute it, like [`of_file_while`].
    pub fn get_or_read(&self, path: &Path, check: impl Fn() -> Result<()>) -> Result<Digest> {
        match self.get(path) {
            Some(digest) => Ok(digest),
            None => {
                let digest = of_file_while(path, check)?;
                self.record(path, digest.clone());
                Ok(digest)
            }
        }
    }
}

/// A file that is read sequentially, and hashed if it was opened by [`FileDigests::open`]. Clones share position and
/// hash, so that a clone can complete the hash after a buffered reader has consumed the file.
#[derive(Debug)]
pub struct HashedFile {
    file: File,
    hash: Option<Arc<Mutex<Hasher>>>,
}

impl HashedFile {
    /// Opens a regular file without hashing it.
    pub fn unhashed(path: &Path) -> io::Result<HashedFile> {
        Ok(HashedFile { file: super::open(path)?, hash: None })
    }
    /// Length of the file in bytes.
    pub fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
    /// Returns a second handle that shares position and hash.
    pub fn try_clone(&self) -> io::Result<HashedFile> {
        Ok(HashedFile { file: self.file.try_clone()?, hash: self.hash.clone() })
    }
    /// Reads the rest of the file and records its digest as that of `path`.
    pub fn finish(&self, path: &Path, digests: &FileDigests) -> Result<()> {
        let Some(hash) = &self.hash else { return Ok(()) };
        let mut hasher = hash.lock();
        hasher.drain(&mut &self.file, || Ok(())).map_err(|error| error.file(path))?;
        digests.record(path, hasher.clone().finish());
        Ok(())
    }
}

/// A second handle of a file that a reader consumes; it completes and records the digest afterward.
pub struct Input(Option<(HashedFile, PathBuf, FileDigests)>);

impl Input {
    /// Opens a regular file, to be hashed if there are `digests`. Returns the file, its length in bytes and the handle.
    pub fn open(path: &Path, digests: Option<&FileDigests>) -> Result<(HashedFile, u64, Input)> {
        let open = || -> io::Result<_> {
            let file = digests.map_or_else(|| HashedFile::unhashed(path), |digests| digests.open(path))?;
            let length = file.length()?;
            let input = match digests {
                Some(digests) => Some((file.try_clone()?, path.to_owned(), digests.clone())),
                None => None,
            };
            Ok((file, length, Input(input)))
        };
        open().map_err(|error| err!("cannot read: {error}").file(path))
    }
    /// Reads the rest of the file and records its digest, if it is hashed.
    pub fn finish(&self) -> Result<()> {
        match &self.0 {
            Some((file, path, digests)) => file.finish(path, digests),
            None => Ok(()),
        }
    }
}

impl Read for HashedFile {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(into)?;
        if let Some(hash) = &self.hash {
            hash.lock().update(&into[..count]);
        }
        Ok(count)
    }
}

/// Forwards everything to `out` and hashes it.
#[derive(Debug)]
pub struct HashingWriter<W: Write> {
    out: W,
    hasher: Hasher,
}

impl<W: Write> HashingWriter<W> {
    /// Wraps `out`.
    pub fn new(out: W) -> Self {
        HashingWriter { out, hasher: Hasher::default() }
    }
    /// Returns the digest of all written bytes.
    pub fn finish(self) -> Digest {
        self.hasher.finish()
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let count = self.out.write(data)?;
        self.hasher.update(&data[..count]);
        Ok(count)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf abc | sha256sum`
    #[test]
    fn the_digest_is_that_of_sha256sum() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abc").unwrap();
        assert_eq!(of_file(file.path()).unwrap(), Digest { bytes: 3, sha256: abc.into() });
        assert_eq!(of_pieces([&b"a"[..], b"bc"]), abc);
        assert!(of_file(Path::new("missing")).unwrap_err().get_file() == Some("missing"));
    }

    #[test]
    fn a_file_is_hashed_while_it_is_read_and_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let content: Vec<u8> = (0..3_000_000u32).map(|i| ((i * i) >> 7) as u8).collect();
        let written = crate::atomic::write_hashed(&path, |out| {
            Ok(content.chunks(77_777).try_for_each(|part| out.write_all(part))?)
        });
        let expected = Digest { bytes: 3_000_000, sha256: of_pieces([&content[..]]) };
        assert_eq!(written.unwrap(), expected);

        // Read in part through a buffer, the rest by `finish`.
        let digests = FileDigests::default();
        let file = digests.open(&path).unwrap();
        let rest = file.try_clone().unwrap();
        let mut buffered = io::BufReader::new(file);
        buffered.read_exact(&mut [0; 123_456]).unwrap();
        assert_eq!(digests.get(&path), None);
        rest.finish(&path, &digests).unwrap();
        assert_eq!(digests.get(&path), Some(expected.clone()));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(digests.get_or_read(&path, || Ok(())).unwrap(), expected);
    }

    #[test]
    fn hashing_a_long_file_stops_when_it_is_cancelled() {
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
