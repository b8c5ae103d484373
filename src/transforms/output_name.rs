//! Names of a case's output files, as in MONAI (monai.data.folder_layout, monai.data.utils, 1.6.1).

use crate::contracts::OutputRules;
use crate::err;
use crate::error::Result;
use crate::formats::paths::normal;
use std::path::{Path, PathBuf};

/// Rule for the paths of a case's output files.
#[derive(Debug, Clone)]
pub struct OutputName {
    /// Folder of all output files.
    pub output_dir: PathBuf,
    /// Folder that contains the inputs; their folders below it are reproduced in `output_dir`. Empty: they are not.
    pub data_root_dir: String,
    /// Whether each case gets a folder named after it.
    pub separate_folder: bool,
}

impl OutputName {
    /// Creates a rule from the arguments of SaveImaged; an empty `data_root_dir` means none.
    pub fn new(output_dir: &Path, data_root_dir: &str, separate_folder: bool) -> OutputName {
        OutputName { output_dir: output_dir.to_owned(), data_root_dir: data_root_dir.to_owned(), separate_folder }
    }

    /// `output_dir/[folder below data_root_dir/][stem/]stem[_postfix]extension`, as MONAI's `create_file_basename`.
    /// The root of the `rules` replaces a `data_root_dir` that is not given.
    pub fn path(&self, source: &Path, rules: &OutputRules, postfix: &str, extension: &str) -> Result<PathBuf> {
        let stem = source
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or_else(|| err!("expected an input name in UTF-8, found {}", source.display()))?;
        // The name of a folder of slices may be a UID, whose last component is not an extension.
        let stem = if source.is_dir() {
            stem
        } else {
            cut_extension(stem.strip_suffix(".gz").filter(|stem| !stem.is_empty()).unwrap_or(stem))
        };
        let mut path = rules.folder(&self.output_dir)?;
        let given = Some(Path::new(&self.data_root_dir)).filter(|root| !root.as_os_str().is_empty());
        if let Some(root) = given.or(rules.root.as_deref()) {
            let folder = source.parent().unwrap_or(Path::new(""));
            path.push(relative(&std::path::absolute(folder)?, &std::path::absolute(root)?).ok_or_else(|| {
                err!("{} is not below data_root_dir {}", source.display(), root.display())
                    .hint("set `data_root_dir` to a folder that contains all inputs")
            })?);
        }
        if self.separate_folder {
            path.push(stem);
        }
        path.push(if postfix.is_empty() {
            format!("{stem}{extension}")
        } else {
            format!("{stem}_{postfix}{extension}")
        });
        Ok(normal(&path))
    }
}

/// The name without its extension, as Python's `os.path.splitext`: a leading dot does not start an extension.
fn cut_extension(name: &str) -> &str {
    match name.rfind('.') {
        Some(at) if name[..at].chars().any(|c| c != '.') => &name[..at],
        _ => name,
    }
}

/// The path of `folder` relative to `root`, if it is below it.
fn relative(folder: &Path, root: &Path) -> Option<PathBuf> {
    normal(folder).strip_prefix(normal(root)).ok().map(Path::to_owned)
}
