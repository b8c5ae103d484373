//! Downloads files: resumed, checked, and renamed to their names only when complete.
//!
//! MONAI source: `monai.apps.utils.download_url` and `monai.bundle.scripts.download` (1.6.1). A download that breaks off
//! leaves `.NAME.part`, with its address and the server's version of the file in `.NAME.part.json`; the next one
//! continues there if the server still has the same version: see `partial.rs`.

use super::large_files::HashType;
use super::partial::{Partial, Source};
use crate::err;
use crate::error::{Error, Kind, Result};
use crate::formats::atomic;
use crate::text::bytes;
use sha2::digest::DynDigest;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;
use ureq::http::{Response, StatusCode, header};
use ureq::{Agent, Body};

/// Time without any data after which a connection counts as broken.
const IDLE: Duration = Duration::from_secs(60);
const CONNECT: Duration = Duration::from_secs(30);
/// Connections in a row without progress before the download fails.
const ATTEMPTS: u32 = 3;
/// Connections of a download.
const MAX_CONNECTIONS: u32 = 1000;
const BUFFER_BYTES: usize = 1 << 18;

/// Called with the number of bytes downloaded so far, and the size of the file if it is known.
pub type OnProgress<'a> = dyn FnMut(u64, Option<u64>) + 'a;

/// Outcome of a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Downloaded {
    /// The file was downloaded.
    New,
    /// The file existed.
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
        if exists(path, hash)? {
            return Ok(Downloaded::Existed);
        }
        atomic::check_names(path)?;
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| err!("cannot write: {error}").file(path))?;
        }
        let mut part = Partial::lock(path)?;
        // Another process may have completed the file before the lock was taken.
        if path.exists() {
            part.remove();
            return exists(path, hash).map(|_| Downloaded::Existed);
        }
        if let Err(error) = self.receive(url, &mut part, hash.is_some(), progress) {
            let error = error.file(path);
            return match part.size() {
                Ok(1..) if error.get_hint().is_none() => {
                    let kept = format!("run again to continue: {} is kept", part.path().display());
                    Err(error.hint(kept))
                }
                Ok(0) => {
                    part.remove();
                    Err(error)
                }
                _ => Err(error),
            };
        }
        if let Some(hash) = hash
            && let Err(error) = check_hash(part.path(), hash)
        {
            part.remove();
            return Err(error
                .context(url)
                .file(path)
                .hint("the file at this address has changed, or the expected digest is wrong"));
        }
        part.finish(path).map_err(|error| error.file(path))?;
        Ok(Downloaded::New)
    }

    /// Connects until the file is complete.
    fn receive(&self, url: &str, part: &mut Partial, hashed: bool, progress: &mut OnProgress<'_>) -> Result<()> {
        let (mut failures, mut largest) = (0, 0);
        for connection in 1.. {
            // Without a version of the file, only a digest can tell whether the parts belong together.
            let usable = part.source().is_some_and(|from| from.url == url && (from.version.is_some() || hashed));
            if !usable {
                part.clear()?;
            }
            largest = part.size()?.max(largest);
            let Ended::Broken(reason) = self.connect(url, part, progress)? else { break };
            let here = part.size()?;
            // A server that sends the whole file each time makes progress only beyond what it has sent before.
            failures = if here > largest { 0 } else { failures + 1 };
            largest = here.max(largest);
            if failures == ATTEMPTS || connection == MAX_CONNECTIONS {
                return Err(match here {
                    0 => err!("cannot download {url}: {reason}"),
                    _ => err!("the download of {url} broke off after {}: {reason}", bytes(here))
                        .hint("run again to continue where it broke off"),
                });
            }
            tracing::debug!("{url}: {reason}; continuing after {}", bytes(here));
            std::thread::sleep(Duration::from_millis(200 << failures));
        }
        Ok(())
    }

    /// Requests the rest of the file and appends what comes.
    fn connect(&self, url: &str, part: &mut Partial, progress: &mut OnProgress<'_>) -> Result<Ended> {
        let from = part.size()?;
        let mut request = self.0.get(url).header(header::ACCEPT_ENCODING, "identity");
        if from > 0 {
            request = request.header(header::RANGE, format!("bytes={from}-"));
            if let Some(version) = part.source().and_then(|source| source.version.as_ref()) {
                request = request.header(header::IF_RANGE, version);
            }
        }
        let mut response = match request.call() {
            Ok(response) => response,
            Err(error) if is_temporary(&error) => return Ok(Ended::Broken(error.to_string())),
            Err(error) => return Err(err!("cannot download {url}: {error}")),
        };
        let changed = |part: &mut Partial| {
            part.clear()?;
            Ok(Ended::Broken("the file has changed on the server".into()))
        };
        let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let mut source = Source { url: url.to_owned(), version: version_of(&response), total: None };
        let mut here = match response.status() {
            StatusCode::OK => {
                part.clear()?;
                source.total = response.body().content_length();
                0
            }
            // Servers may ignore If-Range and send a part of another version.
            StatusCode::PARTIAL_CONTENT => match text(header::CONTENT_RANGE).and_then(content_range) {
                Some((start, total)) if start == from => {
                    let known = part.source().filter(|known| known.continues(source.version.as_deref(), total));
                    let Some(known) = known else { return changed(part) };
                    source.version = source.version.or_else(|| known.version.clone());
                    source.total = total.or(known.total);
                    from
                }
                _ => return Err(err!("{url}: the server sent another part of the file than requested")),
            },
            StatusCode::RANGE_NOT_SATISFIABLE if from > 0 => {
                let size =
                    text(header::CONTENT_RANGE).and_then(|text| text.strip_prefix("bytes */")?.parse::<u64>().ok());
                let same = part.source().is_some_and(|known| {
                    known.fits(size) && (source.version.is_none() || source.version == known.version)
                });
                return if same && size == Some(from) { Ok(Ended::Complete) } else { changed(part) };
            }
            status if status.is_server_error() => return Ok(Ended::Broken(format!("the server answered {status}"))),
            status => {
                let error = err!("cannot download {url}: the server answered {status}");
                return Err(match status {
                    StatusCode::NOT_FOUND | StatusCode::GONE => error.hint("this address does not exist: correct it"),
                    _ => error,
                });
            }
        };
        let total = source.total;
        part.set_source(source)?;
        let mut reader = response.body_mut().as_reader();
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            progress(here, total);
            match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    part.append(&buffer[..count])?;
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

/// Whether the file exists.
///
/// # Errors
/// It has another digest.
fn exists(path: &Path, hash: Option<&(HashType, String)>) -> Result<bool> {
    if !path.exists() {
        return Ok(false);
    }
    let different =
        |error: Error| error.file(path).hint("delete the file to download it again, or correct the expected digest");
    hash.map_or(Ok(()), |hash| check_hash(path, hash)).map_err(different)?;
    Ok(true)
}

/// Whether another connection may succeed.
fn is_temporary(error: &ureq::Error) -> bool {
    matches!(
        error,
        ureq::Error::Io(_) | ureq::Error::Timeout(_) | ureq::Error::ConnectionFailed | ureq::Error::Protocol(_)
    )
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
