//! `glob`, with the semantics of Python 3.11: hidden files only match patterns that start with a dot, `**` requires
//! `recursive=True`, relative patterns return relative paths, and the order is that of the file system. `root_dir` and
//! `include_hidden` are not supported.

use super::common::{PathText, reads};
use super::fnmatch::translate;
use super::given::Given;
use super::os_path::{join, split};
use crate::component::{BuildContext, Function};
use crate::error::Result;
use std::path::Path;

pub const FUNCTIONS: &[Function] = &[reads("glob.glob", |args, call| {
    let given = Given::bind("glob.glob", &["pathname", "recursive"], args)?;
    let options = Options { recursive: given.get(1)?.unwrap_or(false), hidden: false, links: true };
    Ok(glob(&given.need::<PathText>(0)?.0, options, call)?.into())
})];

/// Steps charged per directory entry, which limits a search to half a million entries.
const ENTRY_STEPS: usize = 20;

#[derive(Clone, Copy)]
pub struct Options {
    pub recursive: bool,
    pub hidden: bool,
    /// Whether `**` follows symbolic links; `pathlib` does not.
    pub links: bool,
}

/// Paths that match a pattern.
pub fn glob(pattern: &str, options: Options, call: &mut BuildContext) -> Result<Vec<String>> {
    call.charge(1)?;
    let (folder, name) = split(pattern);
    if !has_magic(pattern) {
        let path = Path::new(pattern);
        let there = if name.is_empty() { path.is_dir() } else { path.symlink_metadata().is_ok() };
        return Ok(if there { vec![pattern.to_owned()] } else { vec![] });
    }
    let folders = match has_magic(folder) {
        true => call.nested(|call| glob(folder, options, call))?,
        false => vec![folder.to_owned()],
    };
    let mut found = vec![];
    for folder in folders.into_iter().filter(|folder| folder.is_empty() || Path::new(folder).is_dir()) {
        call.charge(ENTRY_STEPS)?;
        if options.recursive && name == "**" {
            // `**` also matches the folder itself.
            found.extend((!folder.is_empty()).then(|| join(&folder, "")));
            walk(&folder, options, &mut found, call)?;
        } else if has_magic(name) {
            let (pattern, hidden) = (translate(name)?, options.hidden || name.starts_with('.'));
            let matches = |name: &String| (hidden || !name.starts_with('.')) && pattern.is_match(name).unwrap_or(false);
            found.extend(list(&folder, call)?.into_iter().filter(matches).map(|name| join(&folder, &name)));
        } else {
            found.extend(Some(join(&folder, name)).filter(|path| Path::new(path).symlink_metadata().is_ok()));
        }
    }
    Ok(found)
}

/// Collect all paths below `folder`, folders before their contents.
fn walk(folder: &str, options: Options, found: &mut Vec<String>, call: &mut BuildContext) -> Result<()> {
    for name in list(folder, call)? {
        let path = join(folder, &name);
        if name.starts_with('.') && !options.hidden || !options.links && Path::new(&path).is_symlink() {
            continue;
        }
        found.push(path.clone());
        if Path::new(&path).is_dir() {
            call.nested(|call| walk(&path, options, found, call))?;
        }
    }
    Ok(())
}

/// Names in a folder in the order of the file system; none if it cannot be read.
fn list(folder: &str, call: &mut BuildContext) -> Result<Vec<String>> {
    let Ok(entries) = std::fs::read_dir(if folder.is_empty() { "." } else { folder }) else { return Ok(vec![]) };
    let mut names = vec![];
    for entry in entries.map_while(std::result::Result::ok) {
        call.charge(ENTRY_STEPS)?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

fn has_magic(pattern: &str) -> bool {
    pattern.contains(['*', '?', '['])
}
