//! `pathlib.Path`: a POSIX path as a value.

use super::common::{PathText, none, one, positional, pure, reads, to, wrong};
use super::glob::Options;
use super::io::{Encoding, read_text};
use super::os::{current_dir, make_folder};
use super::os_path::{expanduser, join, realpath, splitext};
use crate::component::{Args, BuildContext, Declared, Function, Object, Value};
use crate::error::{Kind, Result};
use crate::{args, bail, err};
use std::path::Path as File;

pub const FUNCTIONS: &[Function] = &[
    pure("pathlib.Path", |args, _| new("pathlib.Path", args)),
    reads("pathlib.Path.cwd", |args, _| {
        none("pathlib.Path.cwd", args)?;
        Ok(Value::object(Path::new(&current_dir()?)))
    }),
    reads("pathlib.Path.home", |args, _| {
        none("pathlib.Path.home", args)?;
        Ok(Value::object(Path::new(&expanduser("~"))))
    }),
];

args! {
    struct Mkdir {
        mode: i64 = 0o777,
        parents: bool = false,
        exist_ok: bool = false,
    }
}
args! {
    struct ReadText {
        encoding: Option<String> = (),
        errors: Option<String> = (),
    }
}

fn new(name: &str, args: Args) -> Result<Value> {
    let parts: Vec<PathText> = positional(name, args)?.iter().map(|part| to(name, part)).collect::<Result<_>>()?;
    Ok(Value::object(Path::new(&parts.iter().fold(String::new(), |path, part| join(&path, &part.0)))))
}

/// A path without doubled slashes and `.` components; `..` stays, since links may stand before it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path {
    root: &'static str,
    parts: Vec<String>,
}

impl Path {
    pub fn new(text: &str) -> Path {
        let root = match text.len() - text.trim_start_matches('/').len() {
            0 => "",
            2 => "//",
            _ => "/",
        };
        let parts = text.split('/').filter(|part| !matches!(*part, "" | ".")).map(str::to_owned).collect();
        Path { root, parts }
    }
    pub fn text(&self) -> String {
        match (self.root, &self.parts[..]) {
            ("", []) => ".".into(),
            (root, parts) => format!("{root}{}", parts.join("/")),
        }
    }
    fn name(&self) -> &str {
        self.parts.last().map_or("", String::as_str)
    }
    /// Stem and suffix: a dot at the start or the end of a name makes no suffix.
    fn stem_suffix(&self) -> (&str, &str) {
        let name = self.name();
        match splitext(name) {
            (_, ".") => (name, ""),
            (stem, suffix) if stem.is_empty() || stem.bytes().all(|b| b == b'.') && !suffix.is_empty() => {
                (stem, suffix)
            }
            split => split,
        }
    }
    fn parent(&self) -> Path {
        let mut parts = self.parts.clone();
        parts.pop();
        Path { root: self.root, parts }
    }
    fn parents(&self) -> Vec<Path> {
        (0..self.parts.len()).rev().map(|n| Path { root: self.root, parts: self.parts[..n].to_vec() }).collect()
    }
    fn all_parts(&self) -> Vec<String> {
        (!self.root.is_empty()).then(|| self.root.to_owned()).into_iter().chain(self.parts.iter().cloned()).collect()
    }
    fn join(&self, other: &str) -> Path {
        Path::new(&join(&self.text(), other))
    }
    fn with_name(&self, method: &str, name: &str) -> Result<Path> {
        if self.parts.is_empty() {
            bail!("Path.{method}: {} has an empty name", self.repr());
        }
        if name.is_empty() || name == "." || name.contains('/') {
            bail!("Path.{method}: '{name}' is no file name");
        }
        Ok(self.parent().join(name))
    }
    fn relative_to(&self, other: &Path) -> Result<Path> {
        match self.parts.strip_prefix(&other.parts[..]) {
            Some(rest) if self.root == other.root => Ok(Path { root: "", parts: rest.to_vec() }),
            _ => Err(err!("Path.relative_to: '{}' is not in the subpath of '{}'", self.text(), other.text())
                .kind(Kind::Config)),
        }
    }
    /// Python's Path.glob also gives no hidden-file rule: `*` matches them.
    fn glob(&self, pattern: &str, deep: bool, call: &mut BuildContext) -> Result<Value> {
        if pattern.is_empty() || pattern.starts_with('/') {
            bail!("Path.glob: expected a relative pattern, found '{pattern}'");
        }
        let pattern = if deep { format!("**/{pattern}") } else { pattern.to_owned() };
        let options = Options { recursive: true, hidden: true, links: false };
        let mut paths = vec![];
        // Here `**` as the last component stands for folders only, as before Python 3.13.
        let folders = pattern == "**" || pattern.ends_with("/**");
        for name in options.glob(&format!("./{pattern}"), &self.text(), call)? {
            let path = self.join(&name);
            if !folders || File::new(&path.text()).is_dir() {
                paths.push(path);
            }
        }
        let mut seen = std::collections::HashSet::new();
        paths.retain(|path| seen.insert(path.text()));
        Ok(Value::list(paths.into_iter().map(Value::object)))
    }
}

fn other_path(name: &str, args: &mut Args) -> Result<Path> {
    let parts: Vec<PathText> =
        positional(name, std::mem::take(args))?.iter().map(|part| to(name, part)).collect::<Result<_>>()?;
    Ok(Path::new(&parts.iter().fold(String::new(), |path, part| join(&path, &part.0))))
}

impl Object for Path {
    fn type_name(&self) -> &str {
        "Path"
    }
    fn repr(&self) -> String {
        format!("PosixPath({:?})", Value::from(self.text()))
    }
    fn to_str(&self) -> String {
        self.text()
    }
    fn equals(&self, other: &Value) -> bool {
        other.downcast::<Path>().is_some_and(|other| *other == *self)
    }
    fn attr_names(&self) -> &[&str] {
        &[
            "name",
            "stem",
            "suffix",
            "parent",
            "parents",
            "parts",
            "exists",
            "is_file",
            "is_dir",
            "is_absolute",
            "glob",
            "rglob",
            "iterdir",
            "read_text",
            "mkdir",
            "joinpath",
            "with_suffix",
            "with_name",
            "relative_to",
            "resolve",
            "absolute",
            "as_posix",
        ]
    }
    fn attr(&self, name: &str) -> Result<Option<Value>> {
        Ok(Some(match name {
            "name" => self.name().into(),
            "stem" => self.stem_suffix().0.into(),
            "suffix" => self.stem_suffix().1.into(),
            "parent" => Value::object(self.parent()),
            "parents" => Value::tuple(self.parents().into_iter().map(Value::object)),
            "parts" => Value::tuple(self.all_parts().into_iter().map(Value::from)),
            _ => return Ok(None),
        }))
    }
    fn call_method(&self, name: &str, args: &mut Args, call: &mut BuildContext) -> Result<Option<Value>> {
        let text = self.text();
        let file = File::new(&text);
        Ok(Some(match name {
            "exists" | "is_file" | "is_dir" | "is_absolute" | "as_posix" | "absolute" | "iterdir" => {
                none(&format!("Path.{name}"), std::mem::take(args))?;
                match name {
                    "exists" => file.exists().into(),
                    "is_file" => file.is_file().into(),
                    "is_dir" => file.is_dir().into(),
                    "is_absolute" => (!self.root.is_empty()).into(),
                    "absolute" => Value::object(Path::new(&join(&current_dir()?, &text))),
                    "iterdir" => self.glob("*", false, call)?,
                    _ => text.into(),
                }
            }
            "resolve" => {
                std::mem::take(args);
                Value::object(Path::new(&realpath(&text)?))
            }
            "glob" => self.glob(&one::<String>("Path.glob", "pattern", std::mem::take(args))?, false, call)?,
            "rglob" => self.glob(&one::<String>("Path.rglob", "pattern", std::mem::take(args))?, true, call)?,
            "read_text" => {
                let args = ReadText::parse("Path.read_text", std::mem::take(args))?;
                read_text("Path.read_text", &text, Encoding::named("Path.read_text", args.encoding.as_deref())?, call)?
                    .into()
            }
            "mkdir" => {
                let args = Mkdir::parse("Path.mkdir", std::mem::take(args))?;
                make_folder("Path.mkdir", &text, args.parents, args.exist_ok)?
            }
            "joinpath" => Value::object(self.join(&other_path("Path.joinpath", args)?.text())),
            "with_name" => {
                Value::object(self.with_name(name, &one::<String>("Path.with_name", "name", std::mem::take(args))?)?)
            }
            "with_suffix" => {
                let suffix: String = one("Path.with_suffix", "suffix", std::mem::take(args))?;
                if suffix == "." || !suffix.is_empty() && !suffix.starts_with('.') {
                    bail!("Path.with_suffix: expected a suffix such as '.txt', found '{suffix}'");
                }
                Value::object(self.with_name(name, &format!("{}{suffix}", self.stem_suffix().0))?)
            }
            "relative_to" => Value::object(self.relative_to(&other_path("Path.relative_to", args)?)?),
            "write_text" | "write_bytes" | "unlink" | "rename" | "touch" | "rmdir" | "open" | "symlink_to" => {
                return Err(err!("Path.{name}: a config cannot change files").kind(Kind::Config));
            }
            _ => return Ok(None),
        }))
    }
    fn operator(
        &self,
        operator: &str,
        other: &Value,
        reflected: bool,
        _call: &mut BuildContext,
    ) -> Result<Option<Value>> {
        match operator {
            "/" => {
                let other: PathText = to("Path /", other)?;
                let (a, b) = if reflected { (other.0, self.text()) } else { (self.text(), other.0) };
                Ok(Some(Value::object(Path::new(&join(&a, &b)))))
            }
            // `sorted` asks for this order.
            "<" if !reflected => {
                let other = other.downcast::<Path>().ok_or_else(|| wrong("Path comparison", "Path", other))?;
                Ok(Some((self.all_parts() < other.all_parts()).into()))
            }
            _ => Ok(None),
        }
    }
}
