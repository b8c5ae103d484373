//! The one error type: what was expected, what was found, where, and a hint.
//!
//! Messages are lower case without a full stop. An error is made where the fault is found
//! ([`Error::new`], or the [`err!`](crate::err) and [`bail!`](crate::bail) macros) and gains its place on the way up:
//! [`Error::at`] by the config layer, which has file and id, [`Error::file`] by the code that opened a file.

use std::fmt;
use std::path::Path;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The kind of a mistake; decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// A failure while working: a bad case, an unwritable file. Exit code 1.
    #[default]
    Run,
    /// A config or command line that cannot mean anything. Exit code 2.
    Config,
    /// A `_target_` that MONAI has and this program does not build (yet). Exit code 2.
    Unsupported,
    /// A training whose numbers are not finite any more. Exit code 1.
    Diverged,
    /// The user interrupted the run. Exit code 130.
    Cancelled,
    /// Not done because this is a dry run; never shown. Exit code 1.
    Withheld,
}

/// A place in an expression: the text after `$` and the byte offset at which the problem stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub text: String,
    pub offset: usize,
}

#[derive(Debug, Clone)]
pub struct Error(Box<Inner>);

#[derive(Debug, Clone, Default)]
struct Inner {
    kind: Kind,
    message: String,
    file: Option<String>,
    id: Option<String>,
    place: Option<Place>,
    hint: Option<String>,
    working_folder: bool,
    of_value: bool,
    arguments: Vec<String>,
}

impl Error {
    pub fn new(message: impl Into<String>) -> Self {
        Error(Box::new(Inner { message: message.into(), ..Inner::default() }))
    }
    pub fn config(message: impl Into<String>) -> Self {
        Error::new(message).kind(Kind::Config)
    }
    pub fn kind(mut self, kind: Kind) -> Self {
        self.0.kind = kind;
        self
    }
    /// The first hint stays: it was made nearest to the mistake.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint.get_or_insert_with(|| hint.into());
        self
    }
    /// The file concerned; the innermost one stays.
    pub fn file(mut self, file: impl AsRef<Path>) -> Self {
        self.0.file.get_or_insert_with(|| file.as_ref().display().to_string());
        self
    }
    /// Where in a config: file and id (`train::dataset::transform`); the innermost place stays.
    pub fn at(mut self, file: Option<&str>, id: &str) -> Self {
        if self.0.id.is_none() && self.0.file.is_none() {
            self.0.id = Some(id.to_owned());
            self.0.file = file.map(str::to_owned);
        }
        self
    }
    pub fn place(mut self, text: &str, offset: usize) -> Self {
        self.0.place.get_or_insert_with(|| Place { text: text.to_owned(), offset });
        self
    }
    /// Another working folder might help: a relative path leads nowhere.
    pub fn of_working_folder(mut self) -> Self {
        self.0.working_folder = true;
        self
    }
    /// Marks an error in a value that several items may share; `verify` reports it once.
    pub fn of_value(mut self) -> Self {
        self.0.of_value = true;
        self
    }
    /// The arguments of a component that together cause the error.
    pub fn arguments(mut self, names: &[&str]) -> Self {
        self.0.arguments.extend(names.iter().map(|name| (*name).to_owned()));
        self
    }
    /// Put a prefix before the message: `context("case s0037")` gives "case s0037: …".
    pub fn context(mut self, what: impl fmt::Display) -> Self {
        self.0.message = format!("{what}: {}", self.0.message);
        self
    }

    pub fn message(&self) -> &str {
        &self.0.message
    }
    pub fn get_kind(&self) -> Kind {
        self.0.kind
    }
    pub fn get_id(&self) -> Option<&str> {
        self.0.id.as_deref()
    }
    pub fn get_file(&self) -> Option<&str> {
        self.0.file.as_deref()
    }
    pub fn get_hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
    pub fn get_place(&self) -> Option<&Place> {
        self.0.place.as_ref()
    }
    pub fn is_of_value(&self) -> bool {
        self.0.of_value
    }
    pub fn get_arguments(&self) -> &[String] {
        &self.0.arguments
    }
    pub fn is_of_working_folder(&self) -> bool {
        self.0.working_folder
    }
    pub fn exit_code(&self) -> u8 {
        match self.0.kind {
            Kind::Run | Kind::Diverged | Kind::Withheld => 1,
            Kind::Config | Kind::Unsupported => 2,
            Kind::Cancelled => 130,
        }
    }
}

impl fmt::Display for Error {
    /// Message, then ` --> file, id`, then the expression with a caret, then the hint after a blank line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { message, file, id, place, hint, .. } = &*self.0;
        f.write_str(message)?;
        let place_of: Vec<&str> = [file, id].into_iter().filter_map(|part| part.as_deref()).collect();
        if !place_of.is_empty() {
            write!(f, "\n  --> {}", place_of.join(", "))?;
        }
        if let Some(Place { text, offset }) = place {
            let (line, column) = line_at(text, *offset);
            write!(f, "\n   | ${line}\n   | {}^", " ".repeat(column + 1))?;
        }
        if let Some(hint) = hint {
            write!(f, "\n\nhint: {hint}")?;
        }
        Ok(())
    }
}

/// The line of `text` that holds byte `offset`, and the column (in characters) within it.
fn line_at(text: &str, offset: usize) -> (&str, usize) {
    let offset = (0..=offset.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    let start = text[..offset].rfind('\n').map_or(0, |at| at + 1);
    let end = text[offset..].find('\n').map_or(text.len(), |at| offset + at);
    (&text[start..end], text[start..offset].chars().count())
}

/// `err!("expected {a}, found {b}")`: a new [`Error`].
#[macro_export]
macro_rules! err {
    ($($arg:tt)*) => { $crate::error::Error::new(format!($($arg)*)) };
}

/// Return an [`err!`](crate::err).
#[macro_export]
macro_rules! bail {
    ($($arg:tt)*) => { return Err($crate::err!($($arg)*)) };
}

/// Converts an error of another library by its message. An error of libtorch loses its C++ backtrace, and one about
/// memory gains a hint.
///
/// [`Error`] itself does not implement [`std::error::Error`]: that is what allows this conversion for all others, so that
/// this crate depends on none of them.
impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        let text = error.to_string();
        let Some(message) = text.strip_prefix(LIBTORCH) else { return Error::new(text) };
        let message = message.split("\nException raised from").next().unwrap_or(message).trim();
        let error = Error::new(format!("libtorch: {message}"));
        match message.contains("not enough memory") {
            true => error.hint("raise --max-memory, use a larger pixdim or a smaller roi_size"),
            false => error,
        }
    }
}

/// How `tch::TchError` begins an error that libtorch has thrown.
const LIBTORCH: &str = "Internal torch error: ";

/// The nearest of `names` to a misspelt `name`, at an edit distance of at most 3 and less than the name's length.
pub fn did_you_mean<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    names
        .into_iter()
        .map(|candidate| (strsim::osa_distance(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 3 && *distance < name.len().max(candidate.len()))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libtorch_s_lack_of_memory_comes_with_a_hint() {
        let error = |text: &str| Error::from(std::io::Error::other(format!("{LIBTORCH}{text}")));
        let refused = error("not enough memory: asked 7 bytes\nException raised from x.cpp");
        assert!(refused.get_hint().is_some_and(|hint| hint.contains("--max-memory")), "{refused}");
        assert!(!refused.message().contains("x.cpp") && error("shapes differ").get_hint().is_none(), "{refused}");
    }
}
