//! `os.path` on POSIX (`posixpath`). Paths can be strings or `pathlib.Path`; results are strings.

use super::common::{PathText, charge_text, one, positional, pure, reads, to};
use super::os::current_dir;
use crate::bail;
use crate::component::{Args, Function, Value};
use crate::error::Result;
use std::path::Path;

pub const FUNCTIONS: &[Function] = &[
    pure("os.path.join", |args, call| {
        let parts = positional("os.path.join", args)?;
        let parts: Vec<PathText> = parts.iter().map(|part| to("os.path.join", part)).collect::<Result<_>>()?;
        let Some((first, rest)) = parts.split_first() else { bail!("os.path.join takes at least 1 argument, found 0") };
        charge_text(call, parts.iter().map(|part| part.0.len()).sum())?;
        Ok(rest.iter().fold(first.0.clone(), |path, part| join(&path, &part.0)).into())
    }),
    pure("os.path.basename", |args, _| Ok(split(&path("os.path.basename", args)?).1.into())),
    pure("os.path.dirname", |args, _| Ok(split(&path("os.path.dirname", args)?).0.into())),
    pure("os.path.split", |args, _| {
        let path = path("os.path.split", args)?;
        let (head, tail) = split(&path);
        Ok(Value::tuple([head.into(), tail.into()]))
    }),
    pure("os.path.splitext", |args, _| {
        let path = path("os.path.splitext", args)?;
        let (root, extension) = splitext(&path);
        Ok(Value::tuple([root.into(), extension.into()]))
    }),
    pure("os.path.normpath", |args, _| Ok(normpath(&path("os.path.normpath", args)?).into())),
    reads("os.path.abspath", |args, _| Ok(normpath(&join(&current_dir()?, &path("os.path.abspath", args)?)).into())),
    reads("os.path.exists", |args, _| Ok(Path::new(&path("os.path.exists", args)?).exists().into())),
    reads("os.path.isfile", |args, _| Ok(Path::new(&path("os.path.isfile", args)?).is_file().into())),
    reads("os.path.isdir", |args, _| Ok(Path::new(&path("os.path.isdir", args)?).is_dir().into())),
];

fn path(name: &str, mut args: Args) -> Result<String> {
    // The parameter is named p, path or filename, depending on the function.
    if args.positional.is_empty() && args.named.len() == 1 {
        args.positional.push(args.named.remove(0).1);
    }
    Ok(one::<PathText>(name, "path", args)?.0)
}

/// Join two paths; an absolute `b` replaces `a`.
pub fn join(a: &str, b: &str) -> String {
    if b.starts_with('/') {
        b.to_owned()
    } else if a.is_empty() || a.ends_with('/') {
        format!("{a}{b}")
    } else {
        format!("{a}/{b}")
    }
}

/// Split a path into head and tail at the last slash; a head other than the root has no trailing slash.
pub fn split(path: &str) -> (&str, &str) {
    let at = path.rfind('/').map_or(0, |at| at + 1);
    let (head, tail) = path.split_at(at);
    let trimmed = head.trim_end_matches('/');
    (if trimmed.is_empty() { head } else { trimmed }, tail)
}

/// Split a path into root and extension; leading dots of the name belong to the root.
pub fn splitext(path: &str) -> (&str, &str) {
    let name_at = path.rfind('/').map_or(0, |at| at + 1);
    let name = &path[name_at..];
    let dots = name.len() - name.trim_start_matches('.').len();
    match name[dots..].rfind('.') {
        Some(at) => path.split_at(name_at + dots + at),
        None => (path, ""),
    }
}

/// Remove repeated slashes and resolve `.` and `..` without reading the file system.
pub fn normpath(path: &str) -> String {
    if path.is_empty() {
        return ".".into();
    }
    // POSIX leaves the meaning of exactly two leading slashes open, so they are kept.
    let slashes = match path.len() - path.trim_start_matches('/').len() {
        0 => "",
        2 => "//",
        _ => "/",
    };
    let mut parts: Vec<&str> = vec![];
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if !slashes.is_empty() => {}
            part => parts.push(part),
        }
    }
    match format!("{slashes}{}", parts.join("/")) {
        empty if empty.is_empty() => ".".into(),
        path => path,
    }
}
