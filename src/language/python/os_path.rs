//! `os.path`, with POSIX rules (`posixpath`). Paths are text; a `pathlib.Path` is taken wherever a string is.

use super::common::{PathText, charge_text, one, positional, pure, reads, to};
use super::os::current_dir;
use crate::component::{Args, Declared, Function, Value};
use crate::error::{Kind, Result};
use crate::{args, bail, err};
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
    pure("os.path.isabs", |args, _| Ok(path("os.path.isabs", args)?.starts_with('/').into())),
    reads("os.path.abspath", |args, _| Ok(abspath(&path("os.path.abspath", args)?)?.into())),
    reads("os.path.realpath", |args, _| Ok(realpath(&path("os.path.realpath", args)?)?.into())),
    reads("os.path.relpath", |args, _| {
        let args = RelPath::parse("os.path.relpath", args)?;
        Ok(relpath(&args.path.0, args.start.as_ref().map_or(".", |start| &start.0))?.into())
    }),
    reads("os.path.expanduser", |args, _| Ok(expanduser(&path("os.path.expanduser", args)?).into())),
    reads("os.path.exists", |args, _| Ok(Path::new(&path("os.path.exists", args)?).exists().into())),
    reads("os.path.isfile", |args, _| Ok(Path::new(&path("os.path.isfile", args)?).is_file().into())),
    reads("os.path.isdir", |args, _| Ok(Path::new(&path("os.path.isdir", args)?).is_dir().into())),
    reads("os.path.islink", |args, _| Ok(Path::new(&path("os.path.islink", args)?).is_symlink().into())),
];

args! {
    struct RelPath {
        path: PathText,
        start: Option<PathText> = (),
    }
}

fn path(name: &str, mut args: Args) -> Result<String> {
    // posixpath calls its argument p, path or filename; whichever a config names it is the only one.
    if args.positional.is_empty() && args.named.len() == 1 {
        args.positional.push(args.named.remove(0).1);
    }
    Ok(one::<PathText>(name, "path", args)?.0)
}

/// `a/b`; an absolute `b` replaces `a`.
pub fn join(a: &str, b: &str) -> String {
    if b.starts_with('/') {
        b.to_owned()
    } else if a.is_empty() || a.ends_with('/') {
        format!("{a}{b}")
    } else {
        format!("{a}/{b}")
    }
}

/// Head and tail; the tail has no slash, the head ends in none unless it is all slashes.
pub fn split(path: &str) -> (&str, &str) {
    let at = path.rfind('/').map_or(0, |at| at + 1);
    let (head, tail) = path.split_at(at);
    let trimmed = head.trim_end_matches('/');
    (if trimmed.is_empty() { head } else { trimmed }, tail)
}

/// Root and extension; leading dots of a name belong to the root.
pub fn splitext(path: &str) -> (&str, &str) {
    let name_at = path.rfind('/').map_or(0, |at| at + 1);
    let name = &path[name_at..];
    let dots = name.len() - name.trim_start_matches('.').len();
    match name[dots..].rfind('.') {
        Some(at) => path.split_at(name_at + dots + at),
        None => (path, ""),
    }
}

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

pub fn abspath(path: &str) -> Result<String> {
    Ok(normpath(&join(&current_dir()?, path)))
}

/// Symbolic links resolved; what does not exist is only normalised.
pub fn realpath(path: &str) -> Result<String> {
    let absolute = join(&current_dir()?, path);
    let (mut known, mut rest) = (Path::new(&absolute), vec![]);
    loop {
        if let Ok(real) = known.canonicalize() {
            let tail: Vec<&str> = rest.iter().rev().copied().collect();
            return Ok(normpath(&join(&real.to_string_lossy(), &tail.join("/"))));
        }
        let (Some(parent), Some(name)) = (known.parent(), known.file_name().and_then(|name| name.to_str())) else {
            return Ok(normpath(&absolute));
        };
        rest.push(name);
        known = parent;
    }
}

pub fn relpath(path: &str, start: &str) -> Result<String> {
    if path.is_empty() {
        return Err(err!("os.path.relpath: no path specified").kind(Kind::Config));
    }
    let (path, start) = (abspath(path)?, abspath(start)?);
    let parts = |text: &str| text.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let (path, start) = (parts(&path), parts(&start));
    let shared = path.iter().zip(&start).take_while(|(a, b)| a == b).count();
    let steps: Vec<&str> =
        std::iter::repeat_n("..", start.len() - shared).chain(path[shared..].iter().map(String::as_str)).collect();
    Ok(if steps.is_empty() { ".".into() } else { steps.join("/") })
}

/// `~` at the start stands for the home folder; `~name` stays, as Python leaves unknown users.
pub fn expanduser(path: &str) -> String {
    match path.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => match std::env::var("HOME") {
            Ok(home) => match format!("{}{rest}", home.trim_end_matches('/')) {
                empty if empty.is_empty() => "/".into(),
                path => path,
            },
            Err(_) => path.into(),
        },
        _ => path.into(),
    }
}

pub fn lexists(path: &str) -> bool {
    Path::new(path).symlink_metadata().is_ok()
}
