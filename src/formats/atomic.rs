//! Atomic writing: a file is written under a temporary name in the same folder, then renamed.
//!
//! The temporary file is created by [`File::create_new`] and gets the permissions of any new file under the umask
//! (`tempfile` would set 0600). It keeps the end of the real name, so that writers that look at the extension work, and
//! is removed when writing fails or panics. Nothing is synced to disk: a crash of the machine may lose a file, but a
//! crash of the program never leaves a partial one.
//!
//! Its name also identifies the process, so that [`remove_stale`] can remove the files of a killed process without
//! touching those that are still being written.

use crate::digest::{Digest, HashingWriter};
use crate::env::{Process, this_process};
use crate::err;
use crate::error::{Error, Result};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Maximum length of the suffix of the real name that the temporary name keeps, in bytes; file names are limited to
/// 255.
const KEPT_NAME_BYTES: usize = 160;
/// Prefix of every temporary name.
const MARK: &str = ".partial-";
/// Age at which a temporary file of another host, whose processes cannot be checked, counts as stale.
const FOREIGN_AGE: Duration = Duration::from_secs(24 * 3600);

/// Existing temporary files and locks of this process.
static LIVE: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Writes `path` atomically. `fill` gets the path of an existing empty temporary file in the same folder with the same
/// extension. Missing parent folders are created.
pub fn write<T>(path: impl AsRef<Path>, fill: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    write_file(path, |_, temporary| fill(temporary))
}

/// Like [`write()`], for writers that need a file or folder of the real name: `fill` creates it at its path, which is in
/// a temporary folder beside `path`. A folder replaces an empty one.
pub fn write_in_folder<T>(path: impl AsRef<Path>, fill: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let path = path.as_ref();
    if path.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(err!("cannot write: a folder of this name exists").file(path));
    }
    let ((), folder) = create(path, |temporary| std::fs::create_dir(temporary))?;
    let inner = folder.0.join(path.file_name().unwrap_or_default());
    let result = fill(&inner).map_err(|error| rename_in(error, &inner, path))?;
    std::fs::rename(&inner, path).map_err(|error| err!("cannot write: {error}").file(path))?;
    Ok(result)
}

/// Like [`write()`], for writers that need the open file and its path.
pub fn write_file<T>(path: impl AsRef<Path>, fill: impl FnOnce(&mut File, &Path) -> Result<T>) -> Result<T> {
    let path = path.as_ref();
    if path.is_dir() {
        return Err(err!("cannot write: a folder of this name exists").file(path));
    }
    let (mut file, temporary) = create(path, |temporary| File::create_new(temporary))?;
    let result = fill(&mut file, &temporary.0).map_err(|error| rename_in(error, &temporary.0, path))?;
    drop(file);
    std::fs::rename(&temporary.0, path).map_err(|error| err!("cannot write: {error}").file(path))?;
    temporary.forget();
    Ok(result)
}

/// Like [`write_file`], and returns the digest of what `fill` wrote.
pub fn write_hashed(
    path: impl AsRef<Path>,
    fill: impl FnOnce(&mut HashingWriter<&mut File>) -> Result<()>,
) -> Result<Digest> {
    write_file(path, |file, _| {
        let mut out = HashingWriter::new(file);
        fill(&mut out)?;
        Ok(out.finish())
    })
}

/// Removes a temporary file or folder. An error means that it is gone already.
fn remove(path: &Path) -> std::io::Result<()> {
    if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }
}

/// Removes a file or folder on drop, or in [`remove_live`], unless it was forgotten.
pub(crate) struct Temporary(pub(crate) PathBuf);

impl Temporary {
    pub(crate) fn new(path: PathBuf) -> Temporary {
        LIVE.lock().insert(path.clone());
        Temporary(path)
    }
    /// Leaves the file.
    pub(crate) fn forget(self) {
        LIVE.lock().remove(&self.0);
        std::mem::forget(self);
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = remove(&self.0);
        LIVE.lock().remove(&self.0);
    }
}

/// Removes the temporary files and locks of this process, which is about to exit without finishing its work.
pub fn remove_live() {
    for path in &*LIVE.lock() {
        let _ = remove(path);
    }
}

/// Removes temporary files directly in `folder` that no running process is writing, and returns their paths. Other
/// files and those of other users are kept.
pub fn remove_stale(folder: &Path) -> Vec<PathBuf> {
    let owner = |path: &Path| std::fs::metadata(path).ok().map(|metadata| metadata.uid());
    let own = owner(Path::new("/proc/self"));
    let mut removed = vec![];
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let Some(process) = entry.file_name().to_str().and_then(maker) else { continue };
        let path = entry.path();
        let age = entry
            .metadata()
            .and_then(|metadata| metadata.modified())
            .ok()
            .and_then(|at| at.elapsed().ok())
            .unwrap_or_default();
        let stale = process.is_alive().map_or(age > FOREIGN_AGE, |alive| !alive);
        if stale && own.is_some() && owner(&path) == own && remove(&path).is_ok() {
            removed.push(path);
        }
    }
    removed
}

/// The process that created the temporary file `name`.
fn maker(name: &str) -> Option<Process> {
    let name = name.strip_prefix(MARK)?;
    let (process, rest) = name.split_at(name.match_indices('-').nth(2)?.0);
    rest[1..].split_once('-')?.0.parse::<u64>().ok()?;
    Process::parse(process)
}

/// Checks whether [`write()`] could write a file at `path`, without creating anything: it examines the closest existing
/// folder.
pub fn check_writable(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Err(err!("cannot write: a folder of this name exists").file(path));
    }
    check_names(path)?;
    let absolute = std::path::absolute(path)?;
    let mut folders = absolute.ancestors().skip(1);
    // A file in place of a parent folder counts as existing and fails below.
    let Some(folder) = folders.find(|folder| folder.symlink_metadata().is_ok()) else {
        return Err(err!("cannot write: no folder above it exists").file(path));
    };
    let (file, temporary) =
        create(&folder.join("check"), |temporary| File::create_new(temporary)).map_err(|error| {
            let found = Error::new(error.message()).file(path);
            if folder.is_dir() {
                found.hint(format!("cannot create files in {}", folder.display()))
            } else {
                found.hint(format!("{} is not a folder", folder.display()))
            }
        })?;
    drop((file, temporary));
    Ok(())
}

/// Checks that each name in `path` fits the limit of its file system, without creating anything.
pub fn check_names(path: &Path) -> Result<()> {
    let absolute = std::path::absolute(path)?;
    let Some(folder) = absolute.ancestors().skip(1).find(|folder| folder.is_dir()) else { return Ok(()) };
    // The system does not check names below a folder that does not exist yet, so each is checked in the closest
    // existing one.
    let names = absolute.strip_prefix(folder).map(Path::components).into_iter().flatten();
    for asked in names.map(|name| folder.join(name)).chain([absolute.clone()]) {
        let Err(error) = asked.symlink_metadata() else { continue };
        if error.kind() == std::io::ErrorKind::InvalidFilename {
            let bytes = path.file_name().map_or(0, |name| name.len());
            return Err(err!("cannot write: {error} (the name has {bytes} bytes)")
                .file(path)
                .hint("rename the input or shorten output_postfix; names usually may have 255 bytes"));
        }
    }
    Ok(())
}

/// Creates a temporary file or folder beside `path`.
pub(crate) fn create<T>(path: &Path, new: impl Fn(&Path) -> std::io::Result<T>) -> Result<(T, Temporary)> {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(|| err!("expected a file name to write to").file(path))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)
        .map_err(|error| err!("cannot create the folder {}: {error}", folder.display()).file(path))?;
    let cut = name.len().saturating_sub(KEPT_NAME_BYTES);
    let end = (cut..=name.len()).find_map(|at| name.get(at..)).unwrap_or_default();
    loop {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let unique = COUNTER.fetch_add(1, Ordering::Relaxed);
        static PROCESS: OnceLock<Process> = OnceLock::new();
        let process = PROCESS.get_or_init(this_process);
        let temporary = folder.join(format!("{MARK}{process}-{unique}-{end}"));
        match new(&temporary) {
            Ok(file) => return Ok((file, Temporary::new(temporary))),
            // Left by an earlier process with the same id: try the next name.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(err!("cannot write: {error}").file(path)),
        }
    }
}

/// Replaces the temporary path in an error by the real one.
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
    fn a_writer_gets_a_path_with_the_real_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/net.ts");
        write_in_folder(&path, |inner| {
            assert!(inner.file_name() == path.file_name() && inner != path);
            std::fs::create_dir(inner)?;
            Ok(std::fs::write(inner.join("part"), "whole")?)
        })
        .unwrap();
        assert_eq!(std::fs::read(path.join("part")).unwrap(), b"whole");
        assert_eq!(names(path.parent().unwrap()), ["net.ts"]);
        let other = folder.path().join("a/other.ts");
        let failed = write_in_folder(&other, |inner| -> Result<()> {
            std::fs::write(inner, "half")?;
            Err(err!("disk full").file(inner))
        });
        assert_eq!(failed.unwrap_err().get_file(), other.to_str());
        assert!(write_in_folder(&path, |_| Ok(())).unwrap_err().message().contains("a folder of this name"));
        let empty = folder.path().join("empty");
        std::fs::create_dir(&empty).unwrap();
        write_in_folder(&empty, |_| -> Result<()> { Err(err!("disk full")) }).unwrap_err();
        assert!(empty.is_dir());
        write_in_folder(&empty, |inner| {
            std::fs::create_dir(inner)?;
            Ok(std::fs::write(inner.join("part"), "whole")?)
        })
        .unwrap();
        assert_eq!(std::fs::read(empty.join("part")).unwrap(), b"whole");
        assert_eq!(names(path.parent().unwrap()), ["net.ts"]);
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let own = this_process();
        let name = |process: Process| format!("{MARK}{process}-0-out.nii.gz");
        let dead = name(Process { start_ticks: own.start_ticks + 1, ..own });
        let kept = [
            name(own),
            name(Process { host: own.host ^ 1, ..own }),
            ".partial-download".to_owned(),
            ".partial-12-3-a-b.nii".to_owned(),
            "out.nii.gz".to_owned(),
        ];
        for name in kept.iter().chain([&dead]) {
            std::fs::write(folder.path().join(name), "half").unwrap();
        }
        assert_eq!(remove_stale(folder.path()), [folder.path().join(&dead)]);
        let (mut left, mut expected) = (names(folder.path()), kept.to_vec());
        left.sort();
        expected.sort();
        assert_eq!(left, expected);
        assert_eq!(remove_stale(&folder.path().join("missing")), Vec::<PathBuf>::new());
    }

    #[test]
    fn writable_places_are_known_before_anything_is_made() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        check_writable(&folder.path().join("a/b/out.nii")).unwrap();
        assert_eq!(names(folder.path()), ["file"]);
        let error = check_writable(&folder.path().join("file/b/out.nii")).unwrap_err();
        assert!(error.get_hint().unwrap().ends_with("file is not a folder"), "{error}");
        assert!(check_writable(folder.path()).is_err());
        let long = "x".repeat(256);
        for path in
            [folder.path().join(&long), folder.path().join("a/b").join(&long), folder.path().join(&long).join("a")]
        {
            let error = check_writable(&path).unwrap_err();
            assert!(error.message().starts_with("cannot write: File name too long"), "{error}");
        }
        check_writable(&folder.path().join(&long[1..])).unwrap();
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
        assert!(error.message().starts_with("cannot create the folder"), "{error}");
        assert_eq!(error.get_file(), inside_a_file.to_str());
        let error = write(folder.path(), |_| Ok(())).unwrap_err();
        assert!(error.message().contains("a folder of this name"), "{error}");
    }
}
