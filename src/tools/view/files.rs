//! The files that the viewer serves, as they are or converted to NIfTI.

use crate::err;
use crate::error::{Error, Result};
use crate::formats::{nifti, reader};
use crate::image::{DType, Volume};
use crate::tools::label_names;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::spawn_blocking;
use tower_http::services::ServeFile;

/// Types of voxels that NiiVue shows as they are, for images and for label maps; others are converted.
const IMAGE_TYPES: &[DType] = &[DType::U8, DType::I16, DType::U16, DType::F32];
const LABEL_TYPES: &[DType] = &[DType::U8, DType::I16, DType::U16];
/// Images that are converted at a time, which bounds memory.
const CONVERSIONS: usize = 2;
/// Size of the parts in which a converted image is sent, and how many wait to be sent.
const PART_BYTES: usize = 1 << 20;
const PARTS: usize = 4;

/// A file of the list.
#[derive(Debug, Clone)]
pub struct File {
    path: Arc<Path>,
    is_label_map: bool,
}

impl File {
    /// Path of the file, or of a folder of DICOM slices.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A file as the page sees it.
#[derive(Serialize)]
pub struct Listed {
    id: usize,
    /// Its name without folders.
    name: String,
    /// Whether the browser can read it as it is.
    stored: bool,
}

/// Files by their number.
pub struct Files {
    all: Vec<File>,
    conversions: Arc<Semaphore>,
}

impl Default for Files {
    fn default() -> Self {
        Files { all: vec![], conversions: Arc::new(Semaphore::new(CONVERSIONS)) }
    }
}

impl Files {
    /// Adds an image.
    pub fn add_image(&mut self, path: PathBuf) -> Listed {
        self.add(path, false)
    }

    /// Adds a label map.
    pub fn add_labels(&mut self, path: PathBuf) -> Listed {
        self.add(path, true)
    }

    /// A file that several cases share has one number.
    fn add(&mut self, path: PathBuf, is_label_map: bool) -> Listed {
        let known = if is_label_map { LABEL_TYPES } else { IMAGE_TYPES };
        let is_known = || nifti::read_header(&path).is_ok_and(|header| known.contains(&header.voxels.dtype()));
        let stored = path.is_file() && reader::has_slices(&path) && is_known();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_it = |file: &File| *file.path == *path && file.is_label_map == is_label_map;
        let id = self.all.iter().rposition(is_it).unwrap_or_else(|| {
            self.all.push(File { path: path.into(), is_label_map });
            self.all.len() - 1
        });
        Listed { id, name, stored }
    }

    /// The file of a number in decimal notation.
    pub fn get(&self, id: &str) -> Option<&File> {
        self.all.get(id.parse::<usize>().ok()?)
    }

    /// Reads an image of any format and sends it as NIfTI while it is encoded.
    pub async fn convert(&self, file: File) -> Response {
        let (volume, dtype, permit) = match self.limited(move || read(&file)).await {
            Ok(((volume, dtype), permit)) => (volume, dtype, permit),
            Err(error) => {
                tracing::warn!("{error}");
                return (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response();
            }
        };
        let (parts, mut sent) = mpsc::channel(PARTS);
        spawn_blocking(move || {
            let failed = parts.clone();
            let mut out = io::BufWriter::with_capacity(PART_BYTES, Parts(parts));
            let Volume { voxels, layout, affine, .. } = &volume;
            let written = nifti::write_to(&mut out, false, voxels, layout, affine, dtype, nifti::Options::default());
            let written = written.and_then(|()| out.flush().map_err(|error| err!("{error}")));
            if let Err(error) = written {
                // Cuts the response short.
                let _ = failed.blocking_send(Err(io::Error::other(error.to_string())));
            }
            drop(permit);
        });
        let stream = futures_util::stream::poll_fn(move |context| sent.poll_recv(context));
        let mime = HeaderValue::from_static("application/octet-stream");
        ([(header::CONTENT_TYPE, mime)], Body::from_stream(stream)).into_response()
    }

    /// Does the work of a conversion when less than [`CONVERSIONS`] others are in progress. The permit belongs to the
    /// work, which goes on if the request is aborted, and is returned with its result.
    async fn limited<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<(T, OwnedSemaphorePermit)> {
        let failed = |error: &dyn std::error::Error| err!("cannot read the image: {error}");
        let permit = self.conversions.clone().acquire_owned().await.map_err(|error| failed(&error))?;
        let done = spawn_blocking(move || Ok((work()?, permit))).await;
        done.unwrap_or_else(|error| Err(failed(&error)))
    }
}

/// Reads a file and chooses a type of voxels that NiiVue shows.
fn read(file: &File) -> Result<(Volume, DType)> {
    let volume = reader::read(&file.path, None)?;
    let found = volume.voxels.dtype();
    if !file.is_label_map {
        let dtype = if IMAGE_TYPES.contains(&found) { found } else { DType::F32 };
        return Ok((volume, dtype));
    }
    let wrong = |error: Error| error.file(&file.path);
    let labels = label_names::labels_in(&volume).map_err(wrong)?;
    match labels.last().copied().unwrap_or(0) {
        0..=0xff => Ok((volume, DType::U8)),
        0x100..=0xffff => Ok((volume, DType::U16)),
        label => Err(wrong(err!("expected labels up to 65535, found {label}"))),
    }
}

/// Sends what is written to it; fails when the receiver is gone.
struct Parts(mpsc::Sender<io::Result<Bytes>>);

impl Write for Parts {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes))).map_err(gone)?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Serves a file, in parts if the request asks for them.
pub async fn serve(path: &Path, mime: &'static str, request: Request) -> Response {
    let Ok(mime) = mime.parse() else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    match ServeFile::new_with_mime(path, &mime).try_call(request).await {
        Ok(response) => response.map(Body::new).into_response(),
        Err(error) => {
            tracing::warn!("cannot read {}: {error}", path.display());
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            (StatusCode::INTERNAL_SERVER_ERROR, format!("cannot read {name}: {error}")).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    #[test]
    fn conversions_of_aborted_requests_count_until_they_end() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let files = Arc::new(Files::default());
            let (begun, mut has_begun) = mpsc::channel(CONVERSIONS);
            let ends = [(); CONVERSIONS].map(|()| {
                let (files, begun) = (files.clone(), begun.clone());
                let (end, ended) = std::sync::mpsc::channel::<()>();
                let work = move || {
                    begun.blocking_send(()).unwrap();
                    ended.recv().unwrap();
                    Ok(())
                };
                (end, tokio::spawn(async move { files.limited(work).await.map(|_| ()) }))
            });
            for (_, request) in &ends {
                has_begun.recv().await.unwrap();
                request.abort();
            }
            let next = || timeout(Duration::from_millis(200), files.limited(|| Ok(())));
            assert!(next().await.is_err(), "more conversions than {CONVERSIONS} at a time");
            for (end, request) in ends {
                assert!(request.await.unwrap_err().is_cancelled());
                end.send(()).unwrap();
            }
            assert!(timeout(Duration::from_secs(20), files.limited(|| Ok(()))).await.unwrap().is_ok());
            // A conversion that fails gives its permit back.
            assert!(files.limited(|| Err::<(), _>(err!("damaged"))).await.is_err());
            assert_eq!(files.conversions.available_permits(), CONVERSIONS);
        });
    }
}
