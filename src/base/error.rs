//! The error type of all crates: what was expected, what was found, the location, and a hint.
//!
//! Messages are lower case without a full stop. [`Error::new`] or the macros [`err!`](crate::err) and
//! [`bail!`](crate::bail) create an error. Callers add the location as it propagates: [`Error::at`] in the config
//! layer, which knows file and id, [`Error::file`] in the code that opened a file.

use crate::text::printable;
use std::fmt;
use std::path::Path;

/// Result of everything that can fail in this workspace.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The kind of an error; determines the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// A failure at run time, such as an unreadable image or a full disk. Exit code 1.
    #[default]
    Run,
    /// An invalid config or command line. Exit code 2.
    Config,
    /// Something that MONAI supports and this program does not. Exit code 2.
    Unsupported,
    /// The memory limit does not suffice. Exit code 1.
    Memory,
    /// The loss or the weights of a training are no longer finite. Exit code 1.
    Diverged,
    /// Another process of the run failed, or the connection to it is lost. Exit code 1.
    Peer,
    /// The user interrupted the run. Exit code 130.
    Cancelled,
    /// A dry run skipped the operation; never shown to users. Exit code 1.
    Withheld,
}

/// A position in an expression of a config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Text of the expression without `$`.
    pub text: String,
    /// Position in bytes from the start of `text`.
    pub offset: usize,
}

/// An error with its kind, location and hint; [`Display`](fmt::Display) gives the text that users read.
#[derive(Debug, Clone)]
pub struct Error(Box<Inner>);

#[derive(Debug, Clone, Default)]
struct Inner {
    kind: Kind,
    message: String,
    file: Option<String>,
    id: Option<String>,
    place: Option<Place>,
    /// File and id of the expression, if `file` is another one, such as an image.
    expression_at: Option<String>,
    hint: Option<String>,
    working_folder: bool,
    of_value: bool,
    arguments: Vec<String>,
}

impl Error {
    /// Creates an error of kind [`Kind::Run`]. [`Display`](fmt::Display) indents further lines of the message.
    pub fn new(message: impl Into<String>) -> Self {
        Error(Box::new(Inner { message: message.into(), ..Inner::default() }))
    }
    /// Creates an error of kind [`Kind::Config`].
    pub fn config(message: impl Into<String>) -> Self {
        Error::new(message).kind(Kind::Config)
    }
    /// Creates an error of kind [`Kind::Memory`]. `otherwise`: what a user can do besides raising the limit.
    pub fn memory(message: impl Into<String>, otherwise: &str) -> Self {
        Error::new(message).kind(Kind::Memory).hint(format!("{RAISE_LIMIT}, or {otherwise}"))
    }
    /// Names a sufficient memory limit in the hint of an error made by [`Error::memory`].
    pub fn sufficient_memory(mut self, bytes: u64) -> Self {
        if let Some(hint) = &mut self.0.hint {
            *hint =
                hint.replacen(RAISE_LIMIT, &format!("set --max-memory to at least {}M", bytes.div_ceil(1 << 20)), 1);
        }
        self
    }
    /// Sets the kind.
    pub fn kind(mut self, kind: Kind) -> Self {
        self.0.kind = kind;
        self
    }
    /// Sets the hint. The first hint is kept: it was added closest to the cause.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint.get_or_insert_with(|| hint.into());
        self
    }
    /// Sets the hint "did you mean …?" if there is a suggestion, as by [`did_you_mean`].
    pub fn suggest(self, near: Option<impl fmt::Display>) -> Self {
        match near {
            Some(near) => self.hint(format!("did you mean `{near}`?")),
            None => self,
        }
    }
    /// Sets the file concerned; the first one is kept.
    pub fn file(mut self, file: impl AsRef<Path>) -> Self {
        self.0.file.get_or_insert_with(|| file.as_ref().display().to_string());
        self
    }
    /// Sets the location in a config, file and id (`train::dataset::transform`); the first location is kept. An error
    /// about another file, such as an image, keeps that file, and the location is that of its expression.
    pub fn at(mut self, file: Option<&str>, id: &str) -> Self {
        match (&self.0.id, &self.0.file) {
            (None, None) => {
                self.0.id = Some(id.to_owned());
                self.0.file = file.map(str::to_owned);
            }
            (None, Some(_)) if self.0.place.is_some() => {
                self.0.expression_at.get_or_insert_with(|| location(file, Some(id)));
            }
            _ => {}
        }
        self
    }
    /// Sets the position in an expression, see [`Place`]; the first one is kept. An error that has an id keeps its own
    /// expression: `text` is one that has called it.
    pub fn place(mut self, text: &str, offset: usize) -> Self {
        if self.0.id.is_none() {
            self.0.place.get_or_insert_with(|| Place { text: text.to_owned(), offset });
        }
        self
    }
    /// Marks an error about files that the config's paths lead to, which another working folder may resolve.
    pub fn of_working_folder(mut self) -> Self {
        self.0.working_folder = true;
        self
    }
    /// Marks an error in a value that several config items may share; `verify` reports it once.
    pub fn of_value(mut self) -> Self {
        self.0.of_value = true;
        self
    }
    /// Adds the names of the component's arguments that cause the error.
    pub fn arguments(mut self, names: &[&str]) -> Self {
        self.0.arguments.extend(names.iter().map(|name| (*name).to_owned()));
        self
    }
    /// Prefixes the message: `context("case s0037")` gives "case s0037: …".
    pub fn context(mut self, what: impl fmt::Display) -> Self {
        self.0.message = format!("{what}: {}", self.0.message);
        self
    }

    /// The message without location and hint.
    pub fn message(&self) -> &str {
        &self.0.message
    }
    /// The kind, see [`Error::kind`].
    pub fn get_kind(&self) -> Kind {
        self.0.kind
    }
    /// Id in the config, see [`Error::at`].
    pub fn get_id(&self) -> Option<&str> {
        self.0.id.as_deref()
    }
    /// File concerned, see [`Error::file`].
    pub fn get_file(&self) -> Option<&str> {
        self.0.file.as_deref()
    }
    /// The hint, see [`Error::hint`].
    pub fn get_hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
    /// The file concerned, with an id if it is a config; on a second line the config item whose expression failed, if
    /// it is another.
    pub fn get_location(&self) -> Option<String> {
        let own = Some(location(self.get_file(), self.get_id())).filter(|own| !own.is_empty());
        let all: Vec<String> = [own, self.0.expression_at.clone()].into_iter().flatten().collect();
        (!all.is_empty()).then(|| all.join("\n"))
    }
    /// The line of the expression with the fault, after `$`, and the column of the fault in it, from 1.
    pub fn excerpt(&self) -> Option<(String, usize)> {
        let Place { text, offset } = self.get_place()?;
        let (line, column) = line_at(text, *offset);
        Some((format!("${line}"), column + 2))
    }
    /// Position in an expression, see [`Error::place`].
    pub fn get_place(&self) -> Option<&Place> {
        self.0.place.as_ref()
    }
    /// Whether a file is named that is not a config: in errors with an id, the file is the config.
    pub fn is_of_data(&self) -> bool {
        self.0.file.is_some() && self.0.id.is_none()
    }
    /// Whether it was marked by [`Error::of_value`].
    pub fn is_of_value(&self) -> bool {
        self.0.of_value
    }
    /// Arguments of a component that cause it, see [`Error::arguments`].
    pub fn get_arguments(&self) -> &[String] {
        &self.0.arguments
    }
    /// Whether it was marked by [`Error::of_working_folder`].
    pub fn is_of_working_folder(&self) -> bool {
        self.0.working_folder
    }
    /// Exit code of a program that ends with this error, see [`Kind`].
    pub fn exit_code(&self) -> u8 {
        match self.0.kind {
            Kind::Run | Kind::Memory | Kind::Diverged | Kind::Peer | Kind::Withheld => 1,
            Kind::Config | Kind::Unsupported => 2,
            Kind::Cancelled => 130,
        }
    }
}

impl fmt::Display for Error {
    /// Writes the message, ` --> file, id`, the expression with a caret, and after a blank line the hint. Control
    /// characters of file names and configs are escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As wide as "error: ".
        f.write_str(&printable(&self.message().replace('\n', "\n       ")))?;
        let excerpt = self.excerpt();
        let fields = [
            ("location", self.get_location()),
            ("expression", excerpt.as_ref().map(|(line, _)| line.clone())),
            ("column", excerpt.map(|(_, column)| column.to_string())),
            ("hint", self.get_hint().map(str::to_owned)),
        ];
        let texts = fields.into_iter().filter_map(|(name, value)| field_text(name, &value?));
        texts.into_iter().try_for_each(|text| f.write_str(&printable(&text)))
    }
}

/// What a field of a logged error adds to its message in text; `None` for other fields, which only JSON lines show.
pub fn field_text(name: &str, value: &str) -> Option<String> {
    match name {
        "location" => Some(value.lines().map(|line| format!("\n  --> {line}")).collect()),
        "expression" => Some(format!("\n   | {value}")),
        "column" => Some(format!("\n   | {}^", " ".repeat(value.parse::<usize>().unwrap_or(1).saturating_sub(1)))),
        "hint" => Some(format!("\n\nhint: {value}")),
        _ => None,
    }
}

/// Logs an error with a message, and its location, expression and hint as fields:
/// `log_error!(warn, error, "{name}: {}", error.message())`, or `log_error!(warn, error, {case = name,}, …)` with
/// further fields.
#[macro_export]
macro_rules! log_error {
    ($level:ident, $error:expr, { $($field:tt)* }, $($message:tt)+) => {{
        let error: &$crate::error::Error = $error;
        let excerpt = error.excerpt();
        tracing::$level!(
            location = error.get_location().map(tracing::field::display),
            expression = excerpt.as_ref().map(|(line, _)| tracing::field::display(line)),
            column = excerpt.as_ref().map(|(_, column)| *column as u64),
            hint = error.get_hint().map(tracing::field::display),
            $($field)*
            $($message)+
        )
    }};
    ($level:ident, $error:expr, $($message:tt)+) => { $crate::log_error!($level, $error, {}, $($message)+) };
}

/// `configs/train.json:12, train::dataset`
fn location(file: Option<&str>, id: Option<&str>) -> String {
    [file, id].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// The line of `text` that contains byte `offset`, and the column within it in characters.
fn line_at(text: &str, offset: usize) -> (&str, usize) {
    let offset = (0..=offset.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    let start = text[..offset].rfind('\n').map_or(0, |at| at + 1);
    let end = text[offset..].find('\n').map_or(text.len(), |at| offset + at);
    (&text[start..end], text[start..offset].chars().count())
}

/// Creates an [`Error`] from format arguments: `err!("expected {a}, found {b}")`.
#[macro_export]
macro_rules! err {
    ($($arg:tt)*) => { $crate::error::Error::new(format!($($arg)*)) };
}

/// Returns early with an [`err!`](crate::err).
#[macro_export]
macro_rules! bail {
    ($($arg:tt)*) => { return Err($crate::err!($($arg)*)) };
}

/// Converts any other error by its message. The C++ backtrace of libtorch errors is removed, and a hint is added if
/// memory ran out.
///
/// [`Error`] itself does not implement [`std::error::Error`], which makes this blanket implementation possible.
impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        let text = error.to_string();
        let Some(message) = text.strip_prefix(LIBTORCH) else { return Error::new(text) };
        let message = message.split("\nException raised from").next().unwrap_or(message).trim();
        match message.contains("not enough memory") {
            true => Error::memory(format!("libtorch: {message}"), SMALLER),
            false => Error::new(format!("libtorch: {message}")),
        }
    }
}

/// Hint of errors of kind [`Kind::Memory`], see [`Error::memory`].
const RAISE_LIMIT: &str = "raise --max-memory";

/// What makes the memory of a case smaller, for [`Error::memory`].
pub const SMALLER: &str = "use a larger pixdim or a smaller roi_size";

/// Prefix of the message of a `tch::TchError` that libtorch has thrown.
const LIBTORCH: &str = "Internal torch error: ";

/// The name most similar to the misspelled `name`, if the edit distance is at most 3 and less than the name's length.
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
    fn an_excerpt_stands_under_the_item_that_contains_it() {
        let of_a_file = err!("cut off").file("a.nii.gz").place("f(@x)", 0).at(Some("c.json:3"), "y");
        let shown = "cut off\n  --> a.nii.gz\n  --> c.json:3, y\n   | $f(@x)\n   |  ^";
        assert_eq!(of_a_file.place("g()", 0).at(Some("c.json:9"), "run").to_string(), shown);
        let of_an_item = err!("no number").at(Some("command line"), "x").place("g()", 0).at(Some("c.json:9"), "run");
        assert_eq!(of_an_item.to_string(), "no number\n  --> command line, x");
    }

    #[test]
    fn control_characters_of_names_are_escaped() {
        let error = err!("cannot read `\u{1b}[2J`").file("a\u{7}.nii").hint("b\r");
        assert_eq!(error.to_string(), "cannot read `\\u{1b}[2J`\n  --> a\\u{7}.nii\n\nhint: b\\r");
    }

    #[test]
    fn libtorch_s_lack_of_memory_comes_with_a_hint() {
        let error = |text: &str| Error::from(std::io::Error::other(format!("{LIBTORCH}{text}")));
        let refused = error("not enough memory: asked 7 bytes\nException raised from x.cpp");
        assert_eq!(refused.get_hint(), Some("raise --max-memory, or use a larger pixdim or a smaller roi_size"));
        assert_eq!(
            refused.clone().sufficient_memory((7 << 20) + 1).get_hint(),
            Some("set --max-memory to at least 8M, or use a larger pixdim or a smaller roi_size")
        );
        assert!(!refused.message().contains("x.cpp") && error("shapes differ").get_hint().is_none(), "{refused}");
    }
}
