//! Published bundles: their addresses, and their unpacking.
//!
//! MONAI source: `_get_git_release_url`, `_get_monaihosting_bundle_url` and `extractall` (monai 1.6.1).

use crate::error::{Kind, Result};
use crate::formats::atomic;
use crate::{bail, err};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::{Component, Path, PathBuf};
use zip::ZipArchive;

/// The repository whose releases hold MONAI's bundles, with the tag of the release.
pub const MODEL_ZOO: &str = "Project-MONAI/model-zoo/hosting_storage_v1";
/// Maximum number of entries.
const MAX_ENTRIES: usize = 100_000;

/// Address of a bundle's archive at `source`, "monaihosting" or "github"; `repo` is OWNER/NAME/TAG.
///
/// # Errors
/// An unknown or unsupported source, or parts that cannot be in an address.
pub fn address(source: &str, repo: &str, name: &str, version: &str) -> Result<String> {
    for (what, part) in [("name", name), ("version", version)] {
        if part.is_empty() || !part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) {
            return Err(err!("`{what}`: expected letters, digits, `.`, `_` and `-`, found `{part}`").kind(Kind::Config));
        }
    }
    match source {
        "monaihosting" => {
            let lower = name.to_ascii_lowercase();
            Ok(format!(
                "https://api.ngc.nvidia.com/v2/models/nvidia/monaihosting/{lower}/versions/{version}/files/{name}_v{version}.zip"
            ))
        }
        "github" => match repo.split('/').collect::<Vec<_>>()[..] {
            [owner, repo, tag] => {
                Ok(format!("https://github.com/{owner}/{repo}/releases/download/{tag}/{name}_v{version}.zip"))
            }
            _ => Err(err!("`repo`: expected OWNER/NAME/TAG, found `{repo}`").kind(Kind::Config)),
        },
        "ngc" | "ngc_private" | "huggingface_hub" => Err(err!("the source `{source}` is not supported")
            .kind(Kind::Unsupported)
            .hint("use `--source github` or `--source monaihosting`, or the address of a zip file: `--url`")),
        _ => Err(err!("unknown source `{source}`: expected monaihosting or github").kind(Kind::Config)),
    }
}

/// Unpacks a bundle into `folder`. The archive must hold one folder, which must not exist in `folder` yet. Returns its
/// path.
///
/// # Errors
/// The archive is damaged, has entries outside of its folder or links, or cannot be written completely; then nothing
/// remains.
pub fn unpack(archive: &Path, folder: &Path) -> Result<PathBuf> {
    let unpack = || {
        let file = File::open(archive).map_err(|error| err!("cannot read: {error}"))?;
        let limit = file.metadata()?.len().saturating_mul(crate::formats::gzip::MAX_RATIO);
        let mut zip = ZipArchive::new(BufReader::new(file)).map_err(|error| err!("expected a zip file: {error}"))?;
        let paths = paths(&mut zip)?;
        let first = |path: &PathBuf| path.components().next().map(|name| name.as_os_str().to_owned());
        let top = paths.iter().flatten().find_map(first).ok_or_else(|| err!("the archive is empty"))?;
        if paths.iter().flatten().any(|path| first(path).as_ref() != Some(&top)) {
            bail!("expected one folder in the archive, with the bundle");
        }
        let target = folder.join(&top);
        atomic::write_in_folder(&target, |temporary| extract(&mut zip, &paths, temporary, limit))?;
        Ok(target)
    };
    unpack().map_err(|error| error.file(archive))
}

/// Path of each entry; `None` for folders.
fn paths<R: Read + Seek>(zip: &mut ZipArchive<R>) -> Result<Vec<Option<PathBuf>>> {
    let count = zip.len();
    if count > MAX_ENTRIES {
        bail!("expected at most {MAX_ENTRIES} entries in the archive, found {count}");
    }
    let path = |at| {
        let entry = zip.by_index_raw(at).map_err(|error| err!("damaged archive: {error}"))?;
        let path = Path::new(entry.name());
        let inside = path.components().all(|part| matches!(part, Component::Normal(_)));
        if !inside || entry.is_symlink() || entry.name().contains(['\\', '\0']) {
            bail!("expected files within one folder, found the entry `{}`", entry.name().escape_debug());
        }
        Ok((!entry.is_dir()).then(|| path.to_owned()))
    };
    (0..count).map(path).collect()
}

/// Writes the entries to the folder `target`, without their first name. At most `limit` bytes are written.
fn extract<R: Read + Seek>(
    zip: &mut ZipArchive<R>,
    paths: &[Option<PathBuf>],
    target: &Path,
    mut limit: u64,
) -> Result<()> {
    std::fs::create_dir(target)?;
    for (at, path) in paths.iter().enumerate() {
        let Some(path) = path else { continue };
        let path: PathBuf = target.join(path.components().skip(1).collect::<PathBuf>());
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let entry = zip.by_index(at).map_err(|error| err!("damaged archive: {error}"))?;
        let mut file = File::create_new(&path).map_err(|error| err!("cannot unpack {}: {error}", path.display()))?;
        let copied = io::copy(&mut entry.take(limit + 1), &mut file);
        let copied = copied.map_err(|error| err!("cannot unpack {}: {error}", path.display()))?;
        limit = limit.checked_sub(copied).ok_or_else(|| err!("the archive expands too much"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `_get_monaihosting_bundle_url` and `_get_git_release_url` of MONAI 1.6.1.
    #[test]
    fn addresses_are_those_of_monai() {
        let of = |source| address(source, MODEL_ZOO, "wholeBody_ct_segmentation", "0.2.5").unwrap();
        assert_eq!(
            of("monaihosting"),
            "https://api.ngc.nvidia.com/v2/models/nvidia/monaihosting/wholebody_ct_segmentation/versions/0.2.5/files/\
             wholeBody_ct_segmentation_v0.2.5.zip"
        );
        assert_eq!(
            of("github"),
            "https://github.com/Project-MONAI/model-zoo/releases/download/hosting_storage_v1/\
             wholeBody_ct_segmentation_v0.2.5.zip"
        );
    }
}
