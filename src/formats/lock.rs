//! [`FolderLock`]: a file that tells other runs that a folder is in use.
//!
//! The file names host and process. It is created atomically with its content, by a hard link to a temporary file; file
//! systems without hard links get a file that is created first and filled then. A lock whose process has ended is taken
//! over. Processes of another host or container cannot be looked up: their locks count as held while they are renewed.

use crate::atomic::{self, Temporary};
use crate::env::{Process, host_name, this_process};
use crate::err;
use crate::error::{Error, Result};
use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, SystemTime};

/// Interval between renewals of a lock.
const RENEW_EVERY: Duration = Duration::from_secs(30);
/// Age at which a lock of another host counts as left behind.
const FOREIGN_AGE: Duration = Duration::from_secs(600);
/// Largest lock file that is read.
const MAX_BYTES: u64 = 4096;

/// A lock that this process holds; dropping it removes the file, as does [`atomic::remove_live`].
pub struct FolderLock {
    name: Option<Temporary>,
    file: Arc<File>,
    /// Ends the thread that renews the lock when it is dropped.
    _renewal: Sender<()>,
}

/// A lock that another process has written.
struct Found {
    file: File,
    metadata: Metadata,
    /// `process 123 on host`
    holder: String,
    process: Option<Process>,
}

impl FolderLock {
    /// Creates the lock file `path`. Missing parent folders are created. `None` if no file can be created there: other
    /// files of the run cannot either.
    ///
    /// # Errors
    /// Another process holds the lock; the file cannot be written.
    pub fn take(path: &Path) -> Result<Option<FolderLock>> {
        let Ok((mut file, temporary)) = atomic::create(path, |temporary| File::create_new(temporary)) else {
            return Ok(None);
        };
        let own = this_process();
        let content = format!("process {} on {}\n{own}\n", own.pid, host_name());
        let cannot = |error: std::io::Error| err!("cannot lock the folder: {error}").file(path);
        file.write_all(content.as_bytes()).map_err(cannot)?;
        // By the clock of the file server, as the ages of other locks.
        let now = file.metadata().and_then(|metadata| metadata.modified()).map_err(cannot)?;
        let held = loop {
            match std::fs::hard_link(&temporary.0, path) {
                Ok(()) => break file,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(_) => match File::create_new(path) {
                    Ok(mut new) => {
                        new.write_all(content.as_bytes()).map_err(cannot)?;
                        break new;
                    }
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                    Err(error) => return Err(cannot(error)),
                },
            }
            let Some(found) = Found::read(path).map_err(cannot)? else { continue };
            if found.is_held(now) {
                return Err(found.error(path));
            }
            if found.replace(&temporary.0, path).map_err(cannot)? {
                tracing::info!("took over {} of {}, which no longer runs", path.display(), found.holder);
                break file;
            }
        };
        let name = Some(Temporary::new(path.to_owned()));
        let file = Arc::new(held);
        let (_renewal, ended) = channel::<()>();
        let renewed = file.clone();
        let renew = move || {
            while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(RENEW_EVERY) {
                // Writing the same bytes sets the modification time to that of the file server.
                if let Err(error) = renewed.write_all_at(content.as_bytes(), 0) {
                    tracing::debug!("cannot renew the lock of the output folder: {error}");
                }
            }
        };
        std::thread::Builder::new().name("lock".into()).spawn(renew).map_err(cannot)?;
        Ok(Some(FolderLock { name, file, _renewal }))
    }
}

impl FolderLock {
    /// Checks that no other process holds the lock file `path`.
    ///
    /// # Errors
    /// Another process holds it.
    pub fn check(path: &Path) -> Result<()> {
        match Found::read(path) {
            Ok(Some(found)) if found.is_held(SystemTime::now()) => Err(found.error(path)),
            _ => Ok(()),
        }
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        let Some(name) = self.name.take() else { return };
        // Another host takes the lock over if it was not renewed, such as by a suspended process.
        let own = self.file.metadata().is_ok_and(|own| is_at(&own, &name.0));
        if !own {
            name.forget();
        }
    }
}

impl Found {
    /// Reads the lock file; `None` if there is none any more.
    fn read(path: &Path) -> std::io::Result<Option<Found>> {
        // Taking over a lock of a file server needs a file that is open for writing.
        let opened = File::options().read(true).write(true).open(path).or_else(|error| match error.kind() {
            ErrorKind::PermissionDenied => File::open(path),
            _ => Err(error),
        });
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut text = vec![];
        (&file).take(MAX_BYTES).read_to_end(&mut text)?;
        let text = String::from_utf8_lossy(&text);
        let mut lines = text.lines();
        let holder = lines.next().filter(|line| !line.is_empty()).unwrap_or("an unknown process").to_owned();
        let process = lines.next().and_then(Process::parse);
        Ok(Some(Found { metadata: file.metadata()?, file, holder, process }))
    }

    fn is_held(&self, now: SystemTime) -> bool {
        self.process.and_then(Process::is_alive).unwrap_or_else(|| {
            let age = self.metadata.modified().ok().and_then(|at| now.duration_since(at).ok());
            age.unwrap_or_default() < FOREIGN_AGE
        })
    }

    /// Replaces the lock by the file `new`; false if another process was faster.
    fn replace(&self, new: &Path, path: &Path) -> std::io::Result<bool> {
        // File systems without this lock leave a short time in which two processes may take over the same file.
        let _ = self.file.lock();
        match is_at(&self.metadata, path) {
            true => std::fs::rename(new, path).map(|()| true),
            false => Ok(false),
        }
    }

    fn error(&self, path: &Path) -> Error {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let error = err!("another run writes to {}: {}", folder.display(), self.holder).file(path);
        match self.process.and_then(Process::is_alive) {
            Some(_) => error.hint("wait until it ends, or choose another folder"),
            None => error.hint(format!(
                "wait until it ends, or choose another folder; if it was killed, remove {} or wait {} minutes",
                path.display(),
                FOREIGN_AGE.as_secs() / 60
            )),
        }
    }
}

/// Whether `path` names the file with this metadata.
fn is_at(file: &Metadata, path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|at| (at.dev(), at.ino()) == (file.dev(), file.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(path: &Path) -> Result<FolderLock> {
        FolderLock::take(path).map(Option::unwrap)
    }

    fn left(path: &Path, process: Process) {
        std::fs::write(path, format!("process {} on elsewhere\n{process}\n", process.pid)).unwrap();
    }

    #[test]
    fn a_held_lock_is_refused_until_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out/run.lock");
        let lock = taken(&path).unwrap();
        let own = this_process();
        let error = taken(&path).err().unwrap();
        let expected = format!("another run writes to {}: process {} on", path.parent().unwrap().display(), own.pid);
        assert!(error.message().starts_with(&expected), "{error}");
        drop(lock);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
        drop(taken(&path).unwrap());
    }

    #[test]
    fn the_lock_of_a_dead_process_is_taken_over_by_one_of_many() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.lock");
        let own = this_process();
        for _ in 0..50 {
            left(&path, Process { start_ticks: own.start_ticks + 1, ..own });
            let locks = std::thread::scope(|scope| {
                let all: Vec<_> = (0..8).map(|_| scope.spawn(|| taken(&path))).collect();
                all.into_iter().map(|thread| thread.join().unwrap()).filter(Result::is_ok).collect::<Vec<_>>()
            });
            assert_eq!(locks.len(), 1);
            drop(locks);
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn the_lock_of_another_host_is_held_while_it_is_renewed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.lock");
        let own = this_process();
        left(&path, Process { host: own.host ^ 1, ..own });
        let error = taken(&path).err().unwrap();
        assert!(error.message().ends_with("on elsewhere"), "{error}");
        assert!(error.get_hint().unwrap().contains("if it was killed, remove"), "{error}");
        // Files get the time of the last tick of the clock.
        let old = SystemTime::now() - FOREIGN_AGE - Duration::from_secs(1);
        File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        drop(taken(&path).unwrap());
        std::fs::write(&path, "").unwrap();
        assert!(taken(&path).err().unwrap().message().ends_with("an unknown process"));
    }

    #[test]
    fn a_lock_that_another_host_has_taken_over_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.lock");
        let lock = taken(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        left(&path, this_process());
        drop(lock);
        assert!(path.exists());
    }
}
