//! `large_files.yml` of a bundle: files that are not part of its repository, and where to download them.

use crate::bundle::load::{self, Notes};
use crate::bundle::node::Content;
use crate::bundle::{Node, Warning};
use crate::component::Value;
use crate::error::{Kind, Result};
use crate::formats::paths;
use crate::{bail, err};
use std::path::{Component, Path, PathBuf};

/// A file to download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LargeFile {
    /// Path in the bundle.
    pub path: PathBuf,
    /// Address.
    pub url: String,
    /// Expected digest in hexadecimal digits, and its algorithm, if known.
    pub hash: Option<(HashType, String)>,
}

/// Algorithm of a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashType {
    /// MD5, 128 bits.
    Md5,
    /// SHA-1, 160 bits.
    Sha1,
    /// SHA-2, 256 bits.
    Sha256,
    /// SHA-2, 512 bits.
    Sha512,
}

impl HashType {
    const ALL: [(&'static str, HashType, usize); 4] = [
        ("md5", HashType::Md5, 32),
        ("sha1", HashType::Sha1, 40),
        ("sha256", HashType::Sha256, 64),
        ("sha512", HashType::Sha512, 128),
    ];

    /// Name in configs: `md5`.
    pub fn name(self) -> &'static str {
        HashType::ALL.into_iter().find(|(_, ty, _)| *ty == self).map_or("", |(name, ..)| name)
    }
}

/// The file that lists the large files of a bundle, if there is one: `large_files.yml`, `.yaml` or `.json`.
pub fn find(bundle: &Path) -> Option<PathBuf> {
    let names = ["large_files.yml", "large_files.yaml", "large_files.json"];
    names.into_iter().map(|name| bundle.join(name)).find(|path| path.is_file())
}

/// Reads such a file. The paths are checked to be within the folder `bundle`.
///
/// # Errors
/// The file cannot be read, or an entry is invalid.
pub fn read(file: &Path, bundle: &Path, warn: &mut dyn FnMut(&Warning)) -> Result<Vec<LargeFile>> {
    let mut notes = Notes::default();
    let root = load::read_file(&file.display().to_string(), &mut notes)?;
    notes.warnings.iter().for_each(warn);
    let files = root.child("large_files").unwrap_or(&root);
    let Content::List(items) = &files.content else {
        return Err(err!("expected a list `large_files`, found {}", files.type_name())
            .kind(Kind::Config)
            .file(files.origin.text()));
    };
    items
        .iter()
        .map(|item| entry(item, bundle).map_err(|error| error.kind(Kind::Config).file(item.origin.text())))
        .collect()
}

fn entry(item: &Node, bundle: &Path) -> Result<LargeFile> {
    let text = |key: &str| match item.child(key).map(Node::to_value) {
        None | Some(Value::None) => Ok(None),
        Some(Value::Str(text)) => Ok(Some(text.to_string()).filter(|text| !text.is_empty())),
        // YAML reads a digest of decimal digits as a number.
        Some(Value::Int(number)) => Ok(Some(number.to_string())),
        Some(other) => Err(err!("`{key}`: expected a string, found {other:?}")),
    };
    let needed = |key: &str| text(key)?.ok_or_else(|| err!("expected `path` and `url` of a file, found no `{key}`"));
    let (path, url) = (needed("path")?, needed("url")?);
    let hash = match text("hash_val")? {
        Some(value) => Some(parse_hash(&value, text("hash_type")?.as_deref())?),
        None => None,
    };
    Ok(LargeFile { path: within(bundle, Path::new(&path))?, url, hash })
}

/// The digest `value` of the algorithm `name`: sha256 by default, as in MONAI.
///
/// # Errors
/// An unknown algorithm, or digits that cannot be its digest.
pub fn parse_hash(value: &str, name: Option<&str>) -> Result<(HashType, String)> {
    let name = name.unwrap_or("sha256").to_ascii_lowercase();
    let Some((_, ty, digits)) = HashType::ALL.into_iter().find(|(known, ..)| *known == name) else {
        bail!("`hash_type`: expected md5, sha1, sha256 or sha512, found `{name}`");
    };
    let value = value.trim().to_ascii_lowercase();
    if value.len() != digits || !value.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        bail!("`hash_val`: expected {digits} hexadecimal digits of {name}, found `{value}`");
    }
    Ok((ty, value))
}

/// `path` below the folder `bundle`, also when symbolic links are followed.
///
/// # Errors
/// It leads out of the folder.
pub fn within(bundle: &Path, path: &Path) -> Result<PathBuf> {
    let normal = paths::normal(path);
    let inside = !path.as_os_str().is_empty() && normal.components().all(|part| matches!(part, Component::Normal(_)));
    let whole = bundle.join(&normal);
    if !inside || !paths::real_path(&whole).starts_with(paths::real_path(bundle)) {
        return Err(err!("expected a path within the bundle, found `{}`", path.display()).kind(Kind::Config));
    }
    Ok(normal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_within_the_bundle() {
        let folder = tempfile::tempdir().unwrap();
        let bundle = folder.path().join("bundle");
        std::fs::create_dir(&bundle).unwrap();
        std::os::unix::fs::symlink("/tmp", bundle.join("link")).unwrap();
        assert_eq!(within(&bundle, Path::new("./models/../models/model.pt")).unwrap(), Path::new("models/model.pt"));
        for outside in ["", "..", "../x", "/etc/passwd", "models/../../x", "link/x", "."] {
            assert!(within(&bundle, Path::new(outside)).is_err(), "{outside}");
        }
    }

    #[test]
    fn digests_fit_their_algorithm() {
        assert_eq!(parse_hash("D41D8CD98F00B204E9800998ECF8427E", Some("MD5")).unwrap().1.len(), 32);
        assert_eq!(parse_hash(&"a".repeat(64), None).unwrap().0, HashType::Sha256);
        for (value, name) in [("abc", "md5"), ("g1d8cd98f00b204e9800998ecf8427e0", "md5"), ("00", "crc32")] {
            assert!(parse_hash(value, Some(name)).is_err(), "{value}");
        }
    }
}
