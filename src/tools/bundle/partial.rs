//! A partial download: `.NAME.part` beside the file, and `.NAME.part.json` with the source of its data.
//!
//! The folder may be that of an untrusted bundle, which can contain files of these names. Both must be regular files
//! with one link, so that nothing else is written or read through them.

use crate::err;
use crate::error::{Error, Result};
use crate::formats::atomic;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Maximum size of `.NAME.part.json`, which holds an address and an ETag.
const MAX_SOURCE_BYTES: u64 = 1 << 16;

/// Where the data of a download come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    pub url: String,
    /// The server's version of the file: its ETag or time of modification.
    pub version: Option<String>,
    /// Size of the complete file in bytes.
    pub total: Option<u64>,
}

impl Source {
    /// Whether a response to a request for the rest of the file, which states `version` and `total`, continues it.
    ///
    /// Such a response must repeat an ETag (RFC 9110, 15.3.7) but not the time of modification.
    pub fn continues(&self, version: Option<&str>, total: Option<u64>) -> bool {
        let same_version = match (self.version.as_deref(), version) {
            (Some(known), None) => !known.starts_with('"'),
            (known, found) => known == found,
        };
        same_version && self.fits(total)
    }

    /// Whether the file may have `total` bytes.
    pub fn fits(&self, total: Option<u64>) -> bool {
        self.total.is_none() || total.is_none() || self.total == total
    }
}

/// A partial download, locked against other processes.
pub struct Partial {
    file: File,
    path: PathBuf,
    source_path: PathBuf,
    source: Option<Source>,
}

impl Partial {
    /// Opens or creates the partial download of the file `path`, and locks it.
    ///
    /// # Errors
    /// Another process has locked it, it cannot be written, or it is not a regular file with one link.
    pub fn lock(path: &Path) -> Result<Partial> {
        let (part, source_path) = (beside(path, "part"), beside(path, "part.json"));
        let file = loop {
            let mut options = OpenOptions::new();
            let file = open_regular(&part, options.read(true).write(true).create(true).truncate(false))?;
            if lock_name(&file, &part).map_err(|error| error.file(path))? {
                break file;
            }
        };
        let source = match source_path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            _ => {
                let mut text = vec![];
                let file = open_regular(&source_path, OpenOptions::new().read(true))?;
                let read = file.take(MAX_SOURCE_BYTES).read_to_end(&mut text);
                read.ok().and_then(|_| serde_json::from_slice(&text).ok())
            }
        };
        Ok(Partial { file, path: part, source_path, source })
    }

    /// Path of the data.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the data come from, if that is known.
    pub fn source(&self) -> Option<&Source> {
        self.source.as_ref()
    }

    /// # Errors
    /// The source cannot be written.
    pub fn set_source(&mut self, source: Source) -> Result<()> {
        if self.source.as_ref() != Some(&source) {
            let json = serde_json::to_vec(&source)?;
            atomic::write_file(&self.source_path, |file, _| Ok(file.write_all(&json)?))?;
            self.source = Some(source);
        }
        Ok(())
    }

    /// Size in bytes; the next [`append`](Partial::append) continues there.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn size(&mut self) -> Result<u64> {
        self.file.seek(SeekFrom::End(0)).map_err(not_written)
    }

    /// # Errors
    /// The file cannot be written.
    pub fn append(&mut self, data: &[u8]) -> Result<()> {
        self.file.write_all(data).map_err(not_written)
    }

    /// Removes the data.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn clear(&mut self) -> Result<()> {
        self.source = None;
        self.file.set_len(0).and_then(|()| self.file.rewind()).map_err(not_written)
    }

    /// Gives the complete file its name.
    ///
    /// # Errors
    /// The file cannot be renamed.
    pub fn finish(self, path: &Path) -> Result<()> {
        std::fs::rename(&self.path, path).map_err(not_written)?;
        let _ = std::fs::remove_file(&self.source_path);
        Ok(())
    }

    /// Removes the files.
    pub fn remove(self) {
        let _ = (std::fs::remove_file(&self.path), std::fs::remove_file(&self.source_path));
    }
}

fn not_written(error: io::Error) -> Error {
    err!("cannot write: {error}")
}

/// `.NAME.end` in the folder of `path`.
fn beside(path: &Path, end: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{end}"))
}

/// Opens a regular file with one link.
fn open_regular(path: &Path, options: &mut OpenOptions) -> Result<File> {
    let other = || {
        err!("expected a partial download, found a link or a special file")
            .file(path)
            .hint("delete it, and do not trust the folder that it came with")
    };
    // Without O_NONBLOCK, opening a pipe would wait.
    let file = options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path).map_err(|error| {
        let is_link = error.raw_os_error() == Some(libc::ELOOP);
        if is_link { other() } else { not_written(error).file(path) }
    })?;
    let found = file.metadata().map_err(|error| not_written(error).file(path))?;
    if found.is_file() && found.nlink() <= 1 { Ok(file) } else { Err(other()) }
}

/// Locks `file`, which was opened as `path`. Returns false if the name means another file by now: the process that held
/// the lock has completed or removed this one.
fn lock_name(file: &File, path: &Path) -> Result<bool> {
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(err!("another process is downloading this file")),
        Err(TryLockError::Error(error)) => return Err(not_written(error)),
    }
    let opened = file.metadata().map_err(not_written)?;
    Ok(path.symlink_metadata().is_ok_and(|named| (named.dev(), named.ino()) == (opened.dev(), opened.ino())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_another_process_has_completed_is_not_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.pt");
        let mut first = Partial::lock(&path).unwrap();
        first.append(b"whole").unwrap();
        let opened = OpenOptions::new().write(true).open(first.path()).unwrap();
        let part = first.path().to_owned();
        assert!(lock_name(&opened, &part).unwrap_err().message().contains("another process"));
        first.finish(&path).unwrap();
        assert!(!lock_name(&opened, &part).unwrap());
        // A new part of the same name is another file.
        drop(opened);
        let mut second = Partial::lock(&path).unwrap();
        second.append(b"x").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
    }

    #[test]
    fn a_response_continues_the_same_version_and_size_only() {
        let source = |version: Option<&str>| Source {
            url: "https://a".into(),
            version: version.map(str::to_owned),
            total: Some(300),
        };
        let tagged = source(Some("\"1\""));
        assert!(tagged.continues(Some("\"1\""), Some(300)) && tagged.continues(Some("\"1\""), None));
        for (version, total) in [(Some("\"2\""), Some(300)), (None, Some(300)), (Some("\"1\""), Some(299))] {
            assert!(!tagged.continues(version, total), "{version:?} {total:?}");
        }
        let dated = source(Some("Tue, 01 Dec 2026 00:00:00 GMT"));
        assert!(dated.continues(None, Some(300)) && !dated.continues(None, Some(299)));
        assert!(!dated.continues(Some("Wed, 02 Dec 2026 00:00:00 GMT"), Some(300)));
    }
}
