//! Interactive viewer for images and label maps in the browser: [`find`] lists the cases, [`router`] serves them with a
//! page that shows them by [NiiVue](https://niivue.com).
//!
//! A request names a file by its number among those listed: no path of a request reaches the file system. All addresses
//! begin with a token, so that other users of the machine cannot read the images.
//!
//! NiiVue is not part of this program: `make viewer` installs it, and [`niivue`] finds it.

mod cases;
mod files;
mod recognize;

use super::structures::{Structure, Structures};
use crate::env;
use crate::error::{Kind, Result};
use crate::{bail, err};
use axum::Router;
use axum::extract::{Path as UrlPath, Request as HttpRequest, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use files::Files;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use cases::{Request, find};

/// An image with its label map, or one of them.
#[derive(Debug, Clone)]
pub struct Case {
    /// Name in the list of cases.
    pub name: String,
    /// Path of the image: a file or a folder of DICOM slices.
    pub image: Option<PathBuf>,
    /// Path of the label map.
    pub labels: Option<PathBuf>,
    /// Names of the structures in the label map.
    pub names: Structures,
}

const PAGE: &str = include_str!("page.html");
const SCRIPT: &str = include_str!("page.js");
const STYLE: &str = include_str!("page.css");

/// What the page may load: its own files; NiiVue creates styles, fonts and textures from data in its script.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data: blob:; connect-src 'self' data: blob:; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// Number of colors for labels without a name; further ones repeat them.
const UNNAMED_COLORS: u32 = 256;

/// The list of cases as the page reads it.
#[derive(Serialize)]
struct List {
    cases: Vec<Listed>,
    /// The different lists of structures.
    structures: Vec<Vec<(u32, String, String)>>,
    /// Colors of labels without a name, by label.
    unnamed_colors: Vec<String>,
}

#[derive(Serialize)]
struct Listed {
    name: String,
    image: Option<files::Listed>,
    labels: Option<files::Listed>,
    /// Index of the list of structures.
    structures: usize,
}

struct Viewer {
    list: String,
    files: Files,
    niivue: PathBuf,
}

/// Returns the path of NiiVue: that beside an installed program, or in the cache where `make viewer` puts it.
///
/// # Errors
/// It is not installed.
pub fn niivue() -> Result<PathBuf> {
    let package: serde_json::Value =
        serde_json::from_str(include_str!("niivue.json")).map_err(|error| err!("niivue.json: {error}"))?;
    let name = format!("niivue-{}.js", package["version"].as_str().unwrap_or_default());
    let program = std::env::current_exe().and_then(|path| path.canonicalize()).unwrap_or_default();
    let installed = program.ancestors().nth(2).map(|prefix| prefix.join("lib/segbundle"));
    let cache = std::env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| env::at_home(Path::new("~/.cache"))).join("segbundle");
    let found = installed.iter().chain([&cache]).map(|folder| folder.join(&name)).find(|path| path.is_file());
    found.ok_or_else(|| {
        err!("expected the viewer's file {name} in {}, found none", cache.display())
            .kind(Kind::Config)
            .hint("`make viewer` in the folder of segbundle's source downloads it (5 MB, by npm or Python)")
    })
}

/// Returns a token of 128 random bits for [`router`].
pub fn token() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| err!("cannot read random numbers: {error}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Serves the page at `/TOKEN/`.
///
/// # Errors
/// There are no cases.
pub fn router(cases: Vec<Case>, niivue: PathBuf, token: &str) -> Result<Router> {
    if cases.is_empty() {
        bail!("expected at least one image or label map");
    }
    let (mut files, mut structures) = (Files::default(), vec![]);
    let mut listed = vec![];
    for case in cases {
        let known = structures.iter().position(|known| *known == case.names);
        listed.push(Listed {
            name: case.name,
            image: case.image.map(|path| files.add_image(path)),
            labels: case.labels.map(|path| files.add_labels(path)),
            structures: known.unwrap_or(structures.len()),
        });
        if known.is_none() {
            structures.push(case.names);
        }
    }
    let row = |structure: &Structure| (structure.id, structure.name.clone(), structure.css_color());
    let list = List {
        cases: listed,
        structures: structures.iter().map(|structures| structures.iter().map(row).collect()).collect(),
        unnamed_colors: (0..UNNAMED_COLORS).map(|id| Structures::default().get(id).css_color()).collect(),
    };
    let list = serde_json::to_string(&list).map_err(|error| err!("cannot list the cases: {error}"))?;
    let viewer = Arc::new(Viewer { list, files, niivue });
    let at = |path: &str| format!("/{token}/{path}");
    let router = Router::new()
        .route(&at(""), get(async || (policy(), text("text/html", PAGE))))
        .route(&at("page.js"), get(async || text("text/javascript", SCRIPT)))
        .route(&at("page.css"), get(async || text("text/css", STYLE)))
        .route(&at("niivue.js"), get(serve_niivue))
        .route(&at("cases.json"), get(async |State(viewer): State<Arc<Viewer>>| json(viewer.list.clone())))
        .route(&at("stored/{id}"), get(stored))
        .route(&at("converted/{id}"), get(converted));
    Ok(router.fallback(async || StatusCode::NOT_FOUND).with_state(viewer))
}

fn text(mime: &'static str, body: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, format!("{mime}; charset=utf-8"))], body)
}

fn json(body: String) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body)
}

fn policy() -> [(header::HeaderName, HeaderValue); 1] {
    [(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY))]
}

async fn serve_niivue(State(viewer): State<Arc<Viewer>>, request: HttpRequest) -> Response {
    files::serve(&viewer.niivue, "text/javascript", request).await
}

/// A file as it is.
async fn stored(State(viewer): State<Arc<Viewer>>, UrlPath(id): UrlPath<String>, request: HttpRequest) -> Response {
    match viewer.files.get(&id) {
        Some(file) => files::serve(file.path(), "application/octet-stream", request).await,
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// An image of any format as NIfTI.
async fn converted(State(viewer): State<Arc<Viewer>>, UrlPath(id): UrlPath<String>) -> Response {
    match viewer.files.get(&id) {
        Some(file) => viewer.files.convert(file.clone()).await,
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
