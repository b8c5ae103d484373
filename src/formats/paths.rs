//! Comparison and normalization of file paths.

use crate::err;
use crate::error::{Kind, Result};
use std::path::{Component, Path, PathBuf};

/// Removes `.` and `x/..`, like `os.path.normpath`.
pub fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(out.components().next_back(), Some(Component::Normal(_))) => {
                out.pop();
            }
            part => out.push(part),
        }
    }
    if out.as_os_str().is_empty() { PathBuf::from(".") } else { out }
}

/// Path relative to `folder`, with `..` as needed, so that both can be moved together.
pub fn seen_from(folder: &Path, path: &Path) -> PathBuf {
    let absolute = |path: &Path| std::path::absolute(path).map_or_else(|_| path.to_owned(), |path| normal(&path));
    let (folder, path) = (absolute(folder), absolute(path));
    let shared = folder.components().zip(path.components()).take_while(|(a, b)| a == b).count();
    let up = folder.components().skip(shared).map(|_| Component::ParentDir);
    up.chain(path.components().skip(shared)).collect()
}

/// Absolute path with symbolic links resolved; the file itself need not exist.
pub fn real_path(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let real = absolute
        .ancestors()
        .find_map(|above| Some(above.canonicalize().ok()?.join(absolute.strip_prefix(above).ok()?)));
    // Joining an empty path adds a trailing slash, which `components` omits.
    real.map_or(absolute, |real| real.components().collect())
}

/// Returns an error if writing `output` would overwrite one of `inputs`.
pub fn check_keeps(output: &Path, inputs: &[&Path]) -> Result<()> {
    match inputs.iter().find(|input| real_path(input) == real_path(output)) {
        Some(_) => Err(err!("expected an output beside the inputs, found one of the inputs: it would be overwritten")
            .kind(Kind::Config)
            .file(output)
            .hint("choose another name")),
        None => Ok(()),
    }
}
