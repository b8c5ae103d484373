//! Downloads files: resumed, checked, and renamed to their names only when complete.
//!
//! MONAI source: `monai.apps.utils.download_url` and `monai.bundle.scripts.download` (1.6.1). A download that breaks off
//! leaves `.NAME.part`, with its address and the server's version of the file in `.NAME.part.json`; the next one
//! continues there if the server still has the same version.

use super::large_files::HashType;
use crate::err;
use crate::error::{Error, Kind, Result};
use crate::formats::atomic;
use crate::text::bytes;
use serde::{Deserialize, Serialize};
use sha2::digest::DynDigest;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use ureq::http::{Response, StatusCode, header};
use ureq::{Agent, Body};

/// Time without any data after which a connection counts as broken.
const IDLE: Duration = Duration::from_secs(60);
const CONNECT: Duration = Duration::from_secs(30);
/// Connections in a row that bring no data before the download fails.
const ATTEMPTS: u32 = 3;
const BUFFER_BYTES: usize = 1 << 18;

/// Receives the bytes that are there, and the size of the file if it is known.
pub type OnProgress<'a> = dyn FnMut(u64, Option<u64>) + 'a;

/// What a download did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Downloaded {
    /// The file was downloaded.
    New,
    /// It was there.
    Existed,
}

/// HTTP client.
pub struct Client(Agent);

impl Default for Client {
    fn default() -> Client {
        let config = Agent::config_builder()
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(IDLE))
            .timeout_per_read(Some(IDLE))
            .http_status_as_error(false)
            .user_agent(concat!("segbundle/", env!("CARGO_PKG_VERSION")))
            .build();
        Client(config.new_agent())
    }
}

/// A partial download.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    url: String,
    /// The server's version of the file: its ETag or time of modification.
    version: Option<String>,
}

/// Why a connection ended.
enum Ended {
    /// The file is complete.
    Complete,
    /// The connection broke; another one can continue.
    Broken(String),
}

impl Client {
    /// Downloads `url` to `path`, or checks the file that is there.
    ///
    /// # Errors
    /// The address is not http or https, the server refuses, the connection breaks repeatedly, the file cannot be
    /// written, or has another digest.
    pub fn download(
        &self,
        url: &str,
        path: &Path,
        hash: Option<&(HashType, String)>,
        progress: &mut OnProgress<'_>,
    ) -> Result<Downloaded> {
        check_url(url)?;
        if path.exists() {
            let different =
                |error: Error| error.hint("delete the file to download it again, or correct the expected digest");
            hash.map_or(Ok(()), |hash| check_hash(path, hash)).map_err(|error| different(error.file(path)))?;
            return Ok(Downloaded::Existed);
        }
        atomic::check_names(path)?;
        let (part, note) = (beside(path, "part"), beside(path, "part.json"));
        let write = |error: io::Error| err!("cannot write: {error}").file(path);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(write)?;
        }
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(false).open(&part).map_err(write)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(err!("another process is downloading this file").file(path)),
            Err(TryLockError::Error(error)) => return Err(write(error)),
        }
        let mut known = std::fs::read(&note).ok().and_then(|text| serde_json::from_slice::<Part>(&text).ok());
        let mut failures = 0;
        loop {
            let mut here = file.seek(SeekFrom::End(0)).map_err(write)?;
            // Without a version of the file, only a digest can tell whether the parts belong together.
            let usable =
                known.as_ref().is_some_and(|part| part.url == url && (part.version.is_some() || hash.is_some()));
            if here > 0 && !usable {
                truncate(&mut file).map_err(write)?;
                here = 0;
            }
            let ended = match self.connect(url, &mut file, here, &mut known, &note, progress) {
                Ok(ended) => ended,
                Err(error) if file.metadata().is_ok_and(|file| file.len() > 0) => {
                    let kept = format!("run again to continue: {} is kept", part.display());
                    return Err(error.file(path).hint(kept));
                }
                Err(error) => {
                    let _ = (std::fs::remove_file(&part), std::fs::remove_file(&note));
                    return Err(error.file(path));
                }
            };
            let Ended::Broken(reason) = ended else { break };
            let now = file.seek(SeekFrom::End(0)).map_err(write)?;
            failures = if now > here { 0 } else { failures + 1 };
            if failures == ATTEMPTS && now == 0 {
                let _ = (std::fs::remove_file(&part), std::fs::remove_file(&note));
                return Err(err!("cannot download {url}: {reason}").file(path));
            }
            if failures == ATTEMPTS {
                return Err(err!("the download of {url} broke off after {}: {reason}", bytes(now))
                    .file(path)
                    .hint("run again to continue where it broke off"));
            }
            tracing::debug!("{url}: {reason}; continuing after {}", bytes(now));
            std::thread::sleep(Duration::from_millis(200 << failures));
        }
        if let Some(hash) = hash {
            let checked = check_hash(&part, hash).map_err(|error| error.context(url));
            if let Err(error) = checked {
                let _ = (std::fs::remove_file(&part), std::fs::remove_file(&note));
                return Err(Error::new(error.message())
                    .file(path)
                    .hint("the file at this address has changed, or the expected digest is wrong"));
            }
        }
        std::fs::rename(&part, path).map_err(write)?;
        let _ = std::fs::remove_file(&note);
        Ok(Downloaded::New)
    }

    /// Requests the file from byte `from` on and appends what comes.
    fn connect(
        &self,
        url: &str,
        file: &mut File,
        from: u64,
        known: &mut Option<Part>,
        note: &Path,
        progress: &mut OnProgress<'_>,
    ) -> Result<Ended> {
        let mut request = self.0.get(url).header(header::ACCEPT_ENCODING, "identity");
        if from > 0 {
            request = request.header(header::RANGE, format!("bytes={from}-"));
            if let Some(version) = known.as_ref().and_then(|part| part.version.as_ref()) {
                request = request.header(header::IF_RANGE, version);
            }
        }
        let mut response = match request.call() {
            Ok(response) => response,
            Err(error) if is_temporary(&error) => return Ok(Ended::Broken(error.to_string())),
            Err(error) => return Err(err!("cannot download {url}: {error}")),
        };
        let write = |error: io::Error| err!("cannot write: {error}");
        let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let (mut here, total) = match response.status() {
            StatusCode::OK => {
                truncate(file).map_err(write)?;
                (0, response.body().content_length())
            }
            StatusCode::PARTIAL_CONTENT => match text(header::CONTENT_RANGE).and_then(content_range) {
                Some((start, total)) if start == from => (from, total),
                _ => return Err(err!("{url}: the server sent another part of the file than requested")),
            },
            StatusCode::RANGE_NOT_SATISFIABLE if from > 0 => {
                let size =
                    text(header::CONTENT_RANGE).and_then(|text| text.strip_prefix("bytes */")?.parse::<u64>().ok());
                if size == Some(from) {
                    return Ok(Ended::Complete);
                }
                // The file has become shorter.
                truncate(file).map_err(write)?;
                return Ok(Ended::Broken("the file has changed on the server".into()));
            }
            status if status.is_server_error() => return Ok(Ended::Broken(format!("the server answered {status}"))),
            status => return Err(err!("cannot download {url}: the server answered {status}")),
        };
        let part = Part { url: url.to_owned(), version: version_of(&response) };
        if known.as_ref() != Some(&part) {
            let json = serde_json::to_vec(&part)?;
            atomic::write_file(note, |file, _| Ok(file.write_all(&json)?))?;
            *known = Some(part);
        }
        let mut reader = response.body_mut().as_reader();
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            progress(here, total);
            match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    file.write_all(&buffer[..count]).map_err(write)?;
                    here += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Ok(Ended::Broken(error.to_string())),
            }
        }
        match total {
            Some(total) if here != total => {
                Ok(Ended::Broken(format!("expected {total} bytes, the connection ended after {here}")))
            }
            _ => Ok(Ended::Complete),
        }
    }
}

/// Whether another connection may succeed.
fn is_temporary(error: &ureq::Error) -> bool {
    matches!(
        error,
        ureq::Error::Io(_) | ureq::Error::Timeout(_) | ureq::Error::ConnectionFailed | ureq::Error::Protocol(_)
    )
}

fn truncate(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()
}

/// `.NAME.end` in the folder of `path`.
fn beside(path: &Path, end: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{end}"))
}

/// Start and total size of `bytes 100-199/200`.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split_once('-')?.0.parse().ok()?, total.parse().ok()))
}

/// What tells whether the file has changed: a strong ETag, else the time of modification.
fn version_of(response: &Response<Body>) -> Option<String> {
    let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    text(header::ETAG).filter(|tag| !tag.starts_with("W/")).or_else(|| text(header::LAST_MODIFIED))
}

/// # Errors
/// The address cannot be downloaded from.
pub fn check_url(url: &str) -> Result<()> {
    let lower = url.to_ascii_lowercase();
    if !lower.starts_with("http://") && !lower.starts_with("https://") {
        return Err(err!("expected an address that starts with http:// or https://, found `{url}`").kind(Kind::Config));
    }
    if lower.contains("//drive.google.com/") {
        return Err(err!("addresses of Google Drive are not supported: {url}")
            .kind(Kind::Unsupported)
            .hint("download the file in a browser and put it there"));
    }
    Ok(())
}

/// # Errors
/// The file cannot be read, or has another digest.
fn check_hash(path: &Path, (ty, expected): &(HashType, String)) -> Result<()> {
    let mut hasher: Box<dyn DynDigest> = match ty {
        HashType::Md5 => Box::new(md5::Md5::default()),
        HashType::Sha1 => Box::new(sha1::Sha1::default()),
        HashType::Sha256 => Box::new(sha2::Sha256::default()),
        HashType::Sha512 => Box::new(sha2::Sha512::default()),
    };
    let mut file = File::open(path).map_err(|error| err!("cannot read: {error}"))?;
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match file.read(&mut buffer).map_err(|error| err!("cannot read: {error}"))? {
            0 => break,
            count => hasher.update(&buffer[..count]),
        }
    }
    let found: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    match found == *expected {
        true => Ok(()),
        false => Err(err!("expected {} {expected}, found {found}", ty.name())),
    }
}
