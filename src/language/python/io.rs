//! `open` for reading text, and the file object that it returns.
//!
//! `open` reads the whole file, so that no file stays open. A config writes files through components only: modes that
//! write are errors. Only regular files of at most [`LIMIT_BYTES`] can be read.

use super::common::{PathText, charge_text, none, reads};
use super::given::Given;
use crate::component::Member::{self, Method, Refused};
use crate::component::{Args, BuildContext, Function, Object, Value};
use crate::error::{Kind, Result};
use crate::{err, members};
use parking_lot::Mutex;
use std::io::Read;

pub const FUNCTIONS: &[Function] = &[reads("open", open)];

/// Maximum size of a file that a config can read.
const LIMIT_BYTES: u64 = 128 << 20;

fn open(args: Args, call: &mut BuildContext) -> Result<Value> {
    let given = Given::bind("open", &["file", "mode", "buffering", "encoding"], args)?;
    let (PathText(name), mode) = (given.need(0)?, given.get(1)?.unwrap_or("r".to_owned()));
    let encoding = Encoding::named("open", given.get::<String>(3)?.as_deref())?;
    if mode.contains(['w', 'a', 'x', '+']) {
        return Err(err!("open: mode '{mode}': a config cannot write files, only read them")
            .kind(Kind::Config)
            .hint("results are written by components such as SaveImaged"));
    }
    if mode.chars().any(|c| !"rt".contains(c)) || !mode.contains('r') {
        return Err(err!("open: mode '{mode}': expected 'r' or 'rt', a config reads text only").kind(Kind::Config));
    }
    let text = Mutex::new(Some(read_text("open", &name, encoding, call)?));
    Ok(Value::object(TextFile { name, text }))
}

/// Encoding of a text file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8; a byte order mark is skipped.
    Utf8,
    /// ISO 8859-1.
    Latin1,
}

impl Encoding {
    /// Parses the `encoding` argument of the function `name`.
    pub fn named(name: &str, encoding: Option<&str>) -> Result<Encoding> {
        match encoding.map(|text| text.to_ascii_lowercase().replace(['-', '_'], "")).as_deref() {
            None | Some("utf8" | "utf8sig" | "ascii" | "usascii") => Ok(Encoding::Utf8),
            Some("latin1" | "iso88591") => Ok(Encoding::Latin1),
            Some(_) => {
                let found = encoding.unwrap_or_default();
                let error = err!("{name}: encoding '{found}' is not supported, expected utf-8 or latin-1");
                Err(error.kind(Kind::Config))
            }
        }
    }
}

/// Reads the text of a regular file, with line ends converted to `\n`.
pub fn read_text(name: &str, path: &str, encoding: Encoding, call: &mut BuildContext) -> Result<String> {
    let failed = |e: std::io::Error| err!("{name}: {e}").file(path);
    // Checked before opening: opening a pipe would block until there is a writer.
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        let found = if metadata.is_dir() { "a folder" } else { "a device or pipe" };
        return Err(err!("{name}: expected a regular file, found {found}").file(path));
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

/// An open text file: its name, and the text that has not been read yet (`None` once closed).
pub struct TextFile {
    name: String,
    text: Mutex<Option<String>>,
}

impl TextFile {
    /// Returns the rest of the text.
    pub fn read(&self) -> Result<String> {
        let mut text = self.text.lock();
        text.as_mut().map(std::mem::take).ok_or_else(|| err!("read: the file is closed").file(&self.name))
    }
    /// Path with which the file was opened.
    pub fn name(&self) -> &str {
        &self.name
    }
}

static MEMBERS: &[Member<TextFile>] = &[
    Method("read", |file, args, _| none("read", args).and_then(|()| Ok(file.read()?.into()))),
    Method("close", |file, args, _| {
        none("close", args)?;
        *file.text.lock() = None;
        Ok(Value::None)
    }),
    Refused(&["write", "writelines"], "a config cannot write files"),
];

impl Object for TextFile {
    fn type_name(&self) -> &str {
        "TextIOWrapper"
    }
    fn repr(&self) -> String {
        format!("<_io.TextIOWrapper name={:?} mode='r' encoding='UTF-8'>", Value::str(&self.name))
    }
    members!(MEMBERS);
    fn iterate(&self) -> Option<Result<Vec<Value>>> {
        Some(self.read().map(|text| text.split_inclusive('\n').map(Value::str).collect()))
    }
}
