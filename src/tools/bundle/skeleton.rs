//! A new bundle: the files that MONAI's bundle specification names, with a config that runs.
//!
//! MONAI source: `init_bundle` (monai.bundle.scripts, 1.6.1), whose config names no network.

use crate::checkpoint::{self, safetensors};
use crate::err;
use crate::error::{Kind, Result};
use crate::formats::atomic;
use std::fs;
use std::path::Path;

/// What goes into a new bundle.
#[derive(Debug, Default)]
pub struct Skeleton {
    /// Weights for `models/model.pt`: a file of `torch.save`, which is copied, or safetensors, which are converted.
    pub weights: Option<std::path::PathBuf>,
    /// Whether to add `docs/data_license.txt`.
    pub dataset_license: bool,
    /// Text of `configs/metadata.json` instead of the default.
    pub metadata: Option<String>,
    /// Text of `configs/inference.json` instead of the default.
    pub inference: Option<String>,
}

const METADATA: &str = include_str!("skeleton/metadata.json");
const INFERENCE: &str = include_str!("skeleton/inference.json");
const README: &str = include_str!("skeleton/README.md");

/// Creates the folder `bundle`, which must be empty or not exist.
///
/// # Errors
/// The folder has content or is the current one, or the weights cannot be read or are no weights; nothing is created or
/// removed then.
pub fn create(bundle: &Path, skeleton: &Skeleton) -> Result<()> {
    let name = std::path::absolute(bundle)?.file_name().map(|name| name.display().to_string());
    let name = name.ok_or_else(|| err!("expected the name of a new folder").kind(Kind::Config).file(bundle))?;
    if let Some(found) = occupied(bundle) {
        let error = err!("expected a new name or an empty folder, found {found}").kind(Kind::Config).file(bundle);
        return Err(error.hint("choose a new name"));
    }
    let filled = |text: &str| text.replace("BUNDLE_NAME", &name).replace("PYTORCH_VERSION", env!("LIBTORCH_VERSION"));
    let escaped = serde_json::to_string(&name)?;
    let metadata = METADATA.replace("\"BUNDLE_NAME\"", &escaped);
    atomic::write_in_folder(bundle, |folder| {
        for part in ["configs", "docs", "models"] {
            fs::create_dir_all(folder.join(part))?;
        }
        let write = |name: &str, text: &str| fs::write(folder.join(name), text);
        write("configs/metadata.json", skeleton.metadata.as_deref().unwrap_or(&filled(&metadata)))?;
        write("configs/inference.json", skeleton.inference.as_deref().unwrap_or(INFERENCE))?;
        write("docs/README.md", &filled(README))?;
        write("LICENSE", "Replace this line by the license of the bundle.\n")?;
        if skeleton.dataset_license {
            write("docs/data_license.txt", "Replace this line by the license of the training data.\n")?;
        }
        skeleton.weights.iter().try_for_each(|weights| copy_weights(weights, &folder.join("models/model.pt")))
    })
}

/// Copies a file of `torch.save`, or converts safetensors to one.
///
/// # Errors
/// The file contains no weights, or cannot be read.
fn copy_weights(weights: &Path, to: &Path) -> Result<()> {
    if safetensors::is_safetensors(weights) {
        return checkpoint::save(to, &safetensors::read(weights)?);
    }
    checkpoint::load(weights)?.shapes(None)?;
    fs::copy(weights, to).map(drop).map_err(|error| err!("cannot copy the weights: {error}").file(weights))
}

/// What keeps a folder from being created at `path`.
fn occupied(path: &Path) -> Option<&'static str> {
    let found = path.symlink_metadata().ok()?;
    if found.is_symlink() {
        return Some("a symbolic link");
    }
    if !found.is_dir() {
        return Some("a file");
    }
    // It would be replaced, and shells and programs would stay in the removed one.
    if std::env::current_dir().is_ok_and(|current| path.canonicalize().is_ok_and(|path| current.starts_with(path))) {
        return Some("the current folder or one above it");
    }
    match fs::read_dir(path) {
        Ok(mut entries) => entries.next().map(|_| "a folder that is not empty"),
        Err(_) => Some("a folder that cannot be read"),
    }
}
