//! `pathlib.Path`: a POSIX path as a value.

use super::common::{PathText, none, one, positional, pure, reads, to, wrong};
use super::given::Given;
use super::glob::{Options, glob};
use super::io::{Encoding, read_text};
use super::os::{current_dir, make_folder};
use super::os_path::{join, splitext};
use crate::component::Member::{self, Attribute, Method, Refused};
use crate::component::{Args, BuildContext, Function, Object, Value};
use crate::error::Result;
use crate::{bail, members};
use std::path::Path as File;

pub const FUNCTIONS: &[Function] = &[
    pure("pathlib.Path", |args, _| joined("pathlib.Path", "", args)),
    reads("pathlib.Path.cwd", |args, _| {
        none("pathlib.Path.cwd", args)?;
        Ok(Value::object(Path::new(&current_dir()?)))
    }),
];

/// Joins `start` and the arguments.
fn joined(name: &str, start: &str, args: Args) -> Result<Value> {
    let parts: Vec<PathText> = positional(name, args)?.iter().map(|part| to(name, part)).collect::<Result<_>>()?;
    Ok(Value::object(Path::new(&parts.iter().fold(start.to_owned(), |path, part| join(&path, &part.0)))))
}

/// A path without repeated slashes and `.` components; `..` is kept, since the component before it may be a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path(pub(crate) String);

impl Path {
    /// Normalizes `text`.
    pub fn new(text: &str) -> Path {
        let parts: Vec<&str> = text.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        match (text.starts_with('/'), parts.join("/")) {
            (true, parts) => Path(format!("/{parts}")),
            (false, parts) if parts.is_empty() => Path(".".into()),
            (false, parts) => Path(parts),
        }
    }
    fn name(&self) -> &str {
        self.0.rsplit('/').next().filter(|name| *name != ".").unwrap_or_default()
    }
    /// Stem and suffix; a dot at the start or end of a name does not start a suffix.
    fn stem_suffix(&self) -> (&str, &str) {
        match splitext(self.name()) {
            (_, ".") => (self.name(), ""),
            split => split,
        }
    }
    fn parent(&self) -> Path {
        Path::new(self.0.strip_suffix(self.name()).unwrap_or_default())
    }
    /// Paths below this one that match; as in Python's `Path.glob`, `*` matches hidden files.
    fn glob(&self, pattern: &str, call: &mut BuildContext) -> Result<Value> {
        if pattern.is_empty() || pattern.starts_with('/') {
            bail!("Path.glob: expected a relative pattern, found '{pattern}'");
        }
        // Wildcards in the folder's own name are literal.
        let folder: String =
            self.0.chars().map(|c| if "*?[".contains(c) { format!("[{c}]") } else { c.to_string() }).collect();
        let found = glob(&join(&folder, pattern), Options { recursive: true, hidden: true, links: false }, call)?;
        // `**` as the last component matches folders only, as before Python 3.13.
        let folders = pattern == "**" || pattern.ends_with("/**");
        let found = found.into_iter().filter(|path| !folders || File::new(path).is_dir());
        let paths: indexmap::IndexSet<String> = found.map(|path| Path::new(&path).0).collect();
        Ok(Value::list(paths.into_iter().map(|path| Value::object(Path(path)))))
    }
}

/// Result of a method without arguments that queries the file system.
fn query(name: &str, path: &Path, args: Args, test: fn(&File) -> bool) -> Result<Value> {
    none(name, args)?;
    Ok(test(File::new(&path.0)).into())
}

static MEMBERS: &[Member<Path>] = &[
    Attribute("name", |path| Ok(path.name().into())),
    Attribute("stem", |path| Ok(path.stem_suffix().0.into())),
    Attribute("suffix", |path| Ok(path.stem_suffix().1.into())),
    Attribute("parent", |path| Ok(Value::object(path.parent()))),
    Method("exists", |path, args, _| query("Path.exists", path, args, File::exists)),
    Method("is_file", |path, args, _| query("Path.is_file", path, args, File::is_file)),
    Method("is_dir", |path, args, _| query("Path.is_dir", path, args, File::is_dir)),
    Method("as_posix", |path, args, _| none("Path.as_posix", args).map(|()| path.0.clone().into())),
    Method("absolute", |path, args, _| {
        none("Path.absolute", args)?;
        Ok(Value::object(Path::new(&join(&current_dir()?, &path.0))))
    }),
    Method("glob", |path, args, call| path.glob(&one::<String>("Path.glob", "pattern", args)?, call)),
    Method("iterdir", |path, args, call| none("Path.iterdir", args).and_then(|()| path.glob("*", call))),
    Method("read_text", |path, args, call| {
        let encoding: Option<String> = Given::bind("Path.read_text", &["encoding"], args)?.get(0)?;
        let encoding = Encoding::named("Path.read_text", encoding.as_deref())?;
        Ok(read_text("Path.read_text", &path.0, encoding, call)?.into())
    }),
    Method("mkdir", |path, args, _| {
        let given = Given::bind("Path.mkdir", &["mode", "parents", "exist_ok"], args)?;
        make_folder("Path.mkdir", &path.0, given.get(1)?.unwrap_or(false), given.get(2)?.unwrap_or(false))
    }),
    Method("joinpath", |path, args, _| joined("Path.joinpath", &path.0, args)),
    Refused(
        &["write_text", "write_bytes", "unlink", "rename", "touch", "rmdir", "open"],
        "a config cannot change files",
    ),
];

impl Object for Path {
    fn type_name(&self) -> &str {
        "Path"
    }
    fn repr(&self) -> String {
        format!("PosixPath({:?})", Value::str(&self.0))
    }
    fn to_str(&self) -> String {
        self.0.clone()
    }
    fn equals(&self, other: &Value) -> bool {
        other.downcast::<Path>().is_some_and(|other| *other == *self)
    }
    members!(MEMBERS);
    fn operator(&self, op: &str, other: &Value, reflected: bool, _: &mut BuildContext) -> Result<Option<Value>> {
        match op {
            "/" => {
                let other: PathText = to("Path /", other)?;
                let (a, b) = if reflected { (&other.0, &self.0) } else { (&self.0, &other.0) };
                Ok(Some(Value::object(Path::new(&join(a, b)))))
            }
            // Used by `sorted`; compares by components.
            "<" if !reflected => {
                let other = other.downcast::<Path>().ok_or_else(|| wrong("Path comparison", "Path", other))?;
                Ok(Some(self.0.split('/').lt(other.0.split('/')).into()))
            }
            _ => Ok(None),
        }
    }
}
