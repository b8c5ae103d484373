//! `open` for reading text, and the file object that it gives.
//!
//! A file is read when it is opened, so nothing is held open. Writing is refused: a config's outputs go through
//! components. Only regular files are read, up to [`LIMIT_BYTES`].

use super::common::{PathText, charge_text, none, reads};
use crate::component::{Args, BuildContext, Declared, Function, Object, Value};
use crate::error::{Kind, Result};
use crate::{args, err};
use parking_lot::Mutex;
use std::io::Read;

pub const FUNCTIONS: &[Function] = &[reads("open", open)];

/// The largest text that a config can read.
const LIMIT_BYTES: u64 = 128 << 20;

args! {
    struct Open {
        file: PathText,
        mode: String = "r",
        buffering: i64 = -1,
        encoding: Option<String> = (),
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
    Ok(Value::object(TextFile { name: args.file.0, text: Mutex::new(Some(text)) }))
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

/// An open text file: the text that is not yet read; `None` once closed.
pub struct TextFile {
    name: String,
    text: Mutex<Option<String>>,
}

impl TextFile {
    /// Everything not yet read.
    pub fn read(&self) -> Result<String> {
        let mut text = self.text.lock();
        text.as_mut().map(std::mem::take).ok_or_else(|| err!("read: the file is closed").file(&self.name))
    }
    pub fn name(&self) -> &str {
        &self.name
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
        &["read", "close"]
    }
    fn call_method(&self, name: &str, args: &mut Args, _call: &mut BuildContext) -> Result<Option<Value>> {
        match name {
            "read" => {
                none("read", std::mem::take(args))?;
                Ok(Some(self.read()?.into()))
            }
            "close" => {
                none("close", std::mem::take(args))?;
                *self.text.lock() = None;
                Ok(Some(Value::None))
            }
            "write" | "writelines" => Err(err!("{name}: a config cannot write files").kind(Kind::Config)),
            _ => Ok(None),
        }
    }
    fn iterate(&self) -> Option<Result<Vec<Value>>> {
        Some(self.read().map(|text| text.split_inclusive('\n').map(Value::str).collect()))
    }
}
