//! `glob`, with the semantics of Python 3.11: hidden names only by a pattern that starts with a dot, `**` with
//! `recursive=True`, relative patterns give relative paths, and the order is the one in which the folder lists them
//! (a config that needs an order sorts).

use super::common::{PathText, reads};
use super::fnmatch::Pattern;
use super::os_path::{join, lexists, split};
use crate::args;
use crate::component::{Args, BuildContext, Declared, Function, Value};
use crate::error::Result;
use std::path::Path;

pub const FUNCTIONS: &[Function] = &[
    reads("glob.glob", |args, call| run("glob.glob", args, call)),
    reads("glob.iglob", |args, call| run("glob.iglob", args, call)),
];

args! {
    struct GlobArgs {
        pathname: PathText,
        root_dir: Option<PathText> = (),
        dir_fd: Option<i64> = (),
        recursive: bool = false,
        include_hidden: bool = false,
    }
}

fn run(name: &str, args: Args, call: &mut BuildContext) -> Result<Value> {
    let args = GlobArgs::parse(name, args)?;
    if args.dir_fd.is_some() {
        crate::bail!("{name}: `dir_fd` is not supported, use `root_dir`");
    }
    let options = Options { recursive: args.recursive, hidden: args.include_hidden, links: true };
    let root = args.root_dir.map_or(String::new(), |root| root.0);
    Ok(options.glob(&args.pathname.0, &root, call)?.into())
}

/// What looking at an entry of a folder counts: half a million are looked at, and no pattern walks a whole machine.
const ENTRY_STEPS: usize = 20;

#[derive(Clone, Copy)]
pub struct Options {
    pub recursive: bool,
    pub hidden: bool,
    /// Whether `**` enters folders by links; `pathlib` does not.
    pub links: bool,
}

impl Options {
    /// Paths that match, relative to `root` if that is not empty.
    pub fn glob(self, pattern: &str, root: &str, call: &mut BuildContext) -> Result<Vec<String>> {
        let mut found = self.expand(pattern, root, false, call)?;
        // `**` also stands for the folder itself, whose relative name is empty.
        if (pattern.is_empty() || self.recursive && pattern.starts_with("**"))
            && found.first().is_some_and(String::is_empty)
        {
            found.remove(0);
        }
        Ok(found)
    }

    fn expand(self, pattern: &str, root: &str, only_folders: bool, call: &mut BuildContext) -> Result<Vec<String>> {
        call.charge(1)?;
        let (folder, name) = split(pattern);
        if !has_magic(pattern) {
            let there =
                if name.is_empty() { is_folder(&concat(root, folder)) } else { lexists(&concat(root, pattern)) };
            return Ok(if there { vec![pattern.to_owned()] } else { vec![] });
        }
        if folder.is_empty() {
            return self.within(root, name, only_folders, call);
        }
        let folders = if folder != pattern && has_magic(folder) {
            call.nested(|call| self.expand(folder, root, true, call))?
        } else {
            vec![folder.to_owned()]
        };
        let mut found = vec![];
        for folder in folders {
            for name in self.within(&concat(root, &folder), name, only_folders, call)? {
                found.push(join(&folder, &name));
            }
        }
        Ok(found)
    }

    /// Names in `folder` that match one component of a pattern.
    fn within(self, folder: &str, name: &str, only_folders: bool, call: &mut BuildContext) -> Result<Vec<String>> {
        call.charge(ENTRY_STEPS)?;
        if !has_magic(name) {
            let there = if name.is_empty() { is_folder(folder) } else { lexists(&concat(folder, name)) };
            return Ok(if there { vec![name.to_owned()] } else { vec![] });
        }
        if self.recursive && name == "**" {
            let mut found = vec![String::new()];
            self.walk(folder, "", only_folders, &mut found, call)?;
            return Ok(found);
        }
        let pattern = Pattern::new(name);
        let hidden = self.hidden || name.starts_with('.');
        let names = list(folder, only_folders, call)?;
        Ok(names.into_iter().filter(|name| (hidden || !name.starts_with('.')) && pattern.matches(name)).collect())
    }

    /// Everything below `folder`, each folder before what it holds.
    fn walk(
        self,
        folder: &str,
        prefix: &str,
        only_folders: bool,
        found: &mut Vec<String>,
        call: &mut BuildContext,
    ) -> Result<()> {
        for name in list(folder, only_folders, call)? {
            if name.starts_with('.') && !self.hidden {
                continue;
            }
            let relative = concat(prefix, &name);
            let path = concat(folder, &name);
            if !self.links && Path::new(&path).is_symlink() {
                continue;
            }
            found.push(relative.clone());
            if is_folder(&path) {
                call.nested(|call| self.walk(&path, &relative, only_folders, found, call))?;
            }
        }
        Ok(())
    }
}

/// Names in a folder as it lists them; none if it cannot be read.
fn list(folder: &str, only_folders: bool, call: &mut BuildContext) -> Result<Vec<String>> {
    let Ok(entries) = std::fs::read_dir(if folder.is_empty() { "." } else { folder }) else { return Ok(vec![]) };
    let mut names = vec![];
    for entry in entries {
        let Ok(entry) = entry else { break };
        call.charge(ENTRY_STEPS)?;
        // Follows links, as os.DirEntry.is_dir does.
        if !only_folders || entry.path().is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

fn concat(a: &str, b: &str) -> String {
    match (a, b) {
        ("", path) | (path, "") => path.to_owned(),
        (a, b) => join(a, b),
    }
}

fn has_magic(pattern: &str) -> bool {
    pattern.contains(['*', '?', '['])
}

fn is_folder(path: &str) -> bool {
    Path::new(path).is_dir()
}
