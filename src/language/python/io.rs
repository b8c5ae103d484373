//! `open` for reading text, and the file object that it gives.
//!
//! A file is read when it is opened, so nothing is held open. Writing is refused: a config's outputs go through
//! components. Only regular files are read, up to [`LIMIT_BYTES`].

use super::common::{PathText, charge_text, none, reads, strings};
use crate::component::{Args, BuildContext, Declared, Function, Object, Value};
use crate::error::{Kind, Result};
use crate::{args, bail, err};
use parking_lot::Mutex;
use std::io::Read;

pub const FUNCTIONS: &[Function] = &[reads("open", open), reads("io.open", open)];

/// The largest text that a config can read.
const LIMIT_BYTES: u64 = 128 << 20;

args! {
    struct Open {
        file: PathText,
        mode: String = "r",
        buffering: i64 = -1,
        encoding: Option<String> = (),
        errors: Option<String> = (),
        newline: Option<String> = (),
    }
}

fn open(args: Args, call: &mut BuildContext) -> Result<Value> {
    let args = Open::parse("open", args)?;
    if args.mode.contains(['w', 'a', 'x', '+']) {
        return Err(err!("open: mode '{}': a config cannot write files, only read them", args.mode)
            .kind(Kind::Config)
            .hint("results are written by components such as SaveImaged"));
    }
    if args.mode.contains('b') || args.mode.chars().any(|c| !"rt".contains(c)) || !args.mode.contains('r') {
        return Err(
            err!("open: mode '{}': expected 'r' or 'rt', a config reads text only", args.mode).kind(Kind::Config)
        );
    }
    let text = read_text("open", &args.file.0, Encoding::named("open", args.encoding.as_deref())?, call)?;
    Ok(Value::object(TextFile { name: args.file.0, state: Mutex::new(Some((text, 0))) }))
}

/// How bytes are read as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// A byte order mark is no part of the text.
    Utf8,
    Latin1,
}

impl Encoding {
    pub fn named(name: &str, encoding: Option<&str>) -> Result<Encoding> {
        match encoding.map(|text| text.to_ascii_lowercase().replace(['-', '_'], "")).as_deref() {
            None | Some("utf8" | "utf8sig" | "ascii" | "usascii") => Ok(Encoding::Utf8),
            Some("latin1" | "iso88591") => Ok(Encoding::Latin1),
            Some(_) => Err(err!(
                "{name}: encoding '{}' is not supported, expected utf-8 or latin-1",
                encoding.unwrap_or_default()
            )
            .kind(Kind::Config)),
        }
    }
}

/// A regular file's text with `\n` line ends.
pub fn read_text(name: &str, path: &str, encoding: Encoding, call: &mut BuildContext) -> Result<String> {
    let failed = |e: std::io::Error| err!("{name}: {e}").file(path);
    // Asked before opening: opening a pipe would wait for a writer.
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(err!(
            "{name}: expected a regular file, found {}",
            if metadata.is_dir() { "a folder" } else { "a device or pipe" }
        )
        .file(path));
    }
    let mut bytes = vec![];
    std::fs::File::open(path).map_err(failed)?.take(LIMIT_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LIMIT_BYTES {
        return Err(err!("{name}: expected a text of at most {} MiB", LIMIT_BYTES >> 20).file(path));
    }
    charge_text(call, bytes.len())?;
    let text = match encoding {
        Encoding::Latin1 => bytes.into_iter().map(char::from).collect(),
        _ => crate::text::decode(bytes).map_err(|e| e.context(name).file(path))?,
    };
    Ok(if text.contains('\r') { text.replace("\r\n", "\n").replace('\r', "\n") } else { text })
}

/// An open text file: its whole text and the byte up to which it has been read; `None` once closed.
pub struct TextFile {
    name: String,
    state: Mutex<Option<(String, usize)>>,
}

impl TextFile {
    fn with<T>(&self, method: &str, work: impl FnOnce(&str, &mut usize) -> T) -> Result<T> {
        match &mut *self.state.lock() {
            Some((text, at)) => Ok(work(text, at)),
            None => Err(err!("{method}: the file is closed").file(&self.name)),
        }
    }
    /// Everything not yet read.
    pub fn read(&self, method: &str) -> Result<String> {
        self.with(method, |text, at| text[std::mem::replace(at, text.len())..].to_owned())
    }
    pub fn name(&self) -> &str {
        &self.name
    }
    fn line(&self, method: &str) -> Result<String> {
        self.with(method, |text, at| {
            let rest = &text[*at..];
            let line = &rest[..rest.find('\n').map_or(rest.len(), |end| end + 1)];
            *at += line.len();
            line.to_owned()
        })
    }
}

impl Object for TextFile {
    fn type_name(&self) -> &str {
        "TextIOWrapper"
    }
    fn repr(&self) -> String {
        format!("<_io.TextIOWrapper name={:?} mode='r' encoding='UTF-8'>", Value::str(&self.name))
    }
    fn attr_names(&self) -> &[&str] {
        &["read", "readline", "readlines", "close", "closed", "name", "seek"]
    }
    fn attr(&self, name: &str) -> Result<Option<Value>> {
        Ok(match name {
            "name" => Some(self.name.clone().into()),
            "mode" => Some("r".into()),
            "closed" => Some(self.state.lock().is_none().into()),
            _ => None,
        })
    }
    fn call_method(&self, name: &str, args: &mut Args, call: &mut BuildContext) -> Result<Option<Value>> {
        let args = std::mem::take(args);
        Ok(Some(match name {
            "read" => {
                let size = args.positional.first().cloned().unwrap_or(Value::None);
                match size {
                    Value::Int(count @ 0..) => self
                        .with("read", |text, at| {
                            let part: String = text[*at..].chars().take(count as usize).collect();
                            *at += part.len();
                            part
                        })?
                        .into(),
                    _ => self.read("read")?.into(),
                }
            }
            "readline" => self.line("readline")?.into(),
            "readlines" => {
                let text = self.read("readlines")?;
                let lines: Vec<&str> = text.split_inclusive('\n').collect();
                call.charge(lines.len())?;
                strings(lines)
            }
            "seek" => match args.positional.first() {
                Some(Value::Int(0)) => {
                    self.with("seek", |_, at| *at = 0)?;
                    Value::Int(0)
                }
                _ => bail!("seek: only `seek(0)` is supported"),
            },
            "close" => {
                none("close", args)?;
                *self.state.lock() = None;
                Value::None
            }
            "write" | "writelines" => return Err(err!("{name}: a config cannot write files").kind(Kind::Config)),
            _ => return Ok(None),
        }))
    }
    fn iterate(&self) -> Option<Result<Vec<Value>>> {
        Some(self.read("iteration").map(|text| text.split_inclusive('\n').map(Value::str).collect()))
    }
}
