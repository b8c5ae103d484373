//! Whole files or none: written under a temporary name in the same folder, then renamed.
//!
//! The temporary file is made by [`File::create_new`] and so gets the permissions that the umask gives any new file
//! (`tempfile` would leave 0600). It keeps the end of the real name, so that a writer that looks at the extension does
//! the right thing, and it is removed when writing fails or panics. Nothing is synced to disk: a crash of the machine
//! may lose a file, a crash of the program never leaves half of one.

use crate::err;
use crate::error::{Error, Result};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Longest end of the real name that the temporary name keeps, in bytes: names may have 255.
const KEPT_NAME_BYTES: usize = 160;

/// Write `path` by writing a temporary file: `fill` gets its path (same folder, same extension), where an empty file
/// already lies. Folders on the way are made.
pub fn write<T>(path: impl AsRef<Path>, fill: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    write_file(path, |_, temporary| fill(temporary))
}

/// As [`write`], for writers that want the open file (and its name).
pub fn write_file<T>(path: impl AsRef<Path>, fill: impl FnOnce(&mut File, &Path) -> Result<T>) -> Result<T> {
    let path = path.as_ref();
    let (mut file, temporary) = create(path)?;
    let result = fill(&mut file, &temporary.0).map_err(|error| rename_in(error, &temporary.0, path))?;
    drop(file);
    std::fs::rename(&temporary.0, path).map_err(|error| err!("cannot write: {error}").file(path))?;
    std::mem::forget(temporary);
    Ok(result)
}

/// Removes the temporary file unless it was forgotten after the rename.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // Nothing can be done, or has to be, if it is gone already.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn create(path: &Path) -> Result<(File, Temporary)> {
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| err!("expected a file name to write to").file(path))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(|error| err!("cannot make the folder {}: {error}", folder.display()).file(path))?;
    if path.is_dir() {
        return Err(err!("cannot write: a folder of this name exists").file(path));
    }
    let cut = name.len().saturating_sub(KEPT_NAME_BYTES);
    let end = (cut..=name.len()).find_map(|at| name.get(at..)).unwrap_or_default();
    loop {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let unique = COUNTER.fetch_add(1, Ordering::Relaxed);
        let temporary = folder.join(format!(".partial-{}-{unique}-{end}", std::process::id()));
        match File::create_new(&temporary) {
            Ok(file) => return Ok((file, Temporary(temporary))),
            // Left by an earlier process of the same id: take the next name.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(err!("cannot write: {error}").file(path)),
        }
    }
}

/// The user knows the real name, not the temporary one.
fn rename_in(error: Error, temporary: &Path, path: &Path) -> Error {
    let shown = temporary.display().to_string();
    if error.get_file() != Some(&shown) {
        return error.file(path);
    }
    let renamed = Error::new(error.message()).kind(error.get_kind()).file(path);
    match error.get_hint() {
        Some(hint) => renamed.hint(hint),
        None => renamed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn names(folder: &Path) -> Vec<String> {
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn makes_folders_and_leaves_only_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/out.nii.gz");
        write_file(&path, |file, temporary| {
            assert!(temporary.to_str().unwrap().ends_with("out.nii.gz"));
            assert!(!path.exists());
            Ok(file.write_all(b"whole")?)
        })
        .unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
        assert_eq!(names(path.parent().unwrap()), ["out.nii.gz"]);
    }

    #[test]
    fn an_error_keeps_the_old_file_and_cleans_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.nii");
        std::fs::write(&path, "old").unwrap();
        let failed: Result<()> = write(&path, |temporary| {
            std::fs::write(temporary, "half").unwrap();
            Err(err!("disk full").file(temporary))
        });
        let error = failed.unwrap_err();
        assert_eq!((error.message(), error.get_file()), ("disk full", path.to_str()));
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["out.nii"]);
    }

    #[test]
    #[cfg(unix)]
    fn permissions_follow_the_umask() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
        let (plain, ours) = (folder.path().join("plain"), folder.path().join("ours"));
        File::create(&plain).unwrap();
        write(&ours, |_| Ok(())).unwrap();
        assert_eq!(mode(&plain), mode(&ours));
    }

    #[test]
    fn unwritable_places_are_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        let inside_a_file = folder.path().join("file/out.nii");
        let error = write(&inside_a_file, |_| Ok(())).unwrap_err();
        assert!(error.message().starts_with("cannot make the folder"), "{error}");
        assert_eq!(error.get_file(), inside_a_file.to_str());
        let error = write(folder.path(), |_| Ok(())).unwrap_err();
        assert!(error.message().contains("a folder of this name"), "{error}");
    }
}
