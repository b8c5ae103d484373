//! Reader of `logging.conf`, a bundle's logging configuration.
//!
//! MONAI source: `_apply_logging_file` in `monai/bundle/workflows.py`, which hands the file to Python's
//! `logging.config.fileConfig`. Differences:
//! - `args` are read as literals, never evaluated; `kwargs` are not read;
//! - all streams are stderr;
//! - handlers other than StreamHandler, FileHandler and NullHandler are ignored with a warning;
//! - options cannot refer to other options with `%(key)s`; formatters with a class or a style other than `%` are
//!   errors.

use super::expr::values::percent;
use super::expr::{Names, literal};
use super::ini::{self, Ini};
use super::load::Warning;
use crate::component::{BuildContext, Dict, Key, Value};
use crate::error::{Error, Kind, Result, did_you_mean};
use crate::python::logging::level_number;
use crate::{err, text};
use std::path::{Path, PathBuf};

/// Loggers and handlers of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct LoggingConf {
    /// Loggers; the first one is the root logger, named `root`.
    pub loggers: Vec<Logger>,
    /// Handlers, which loggers refer to by index.
    pub handlers: Vec<Handler>,
}

/// A `[logger_…]` section.
#[derive(Debug, Clone, PartialEq)]
pub struct Logger {
    /// Dotted name, as in `logging.getLogger`.
    pub name: String,
    /// Level; `None` for that of the parent.
    pub level: Option<i64>,
    /// Indices into [`LoggingConf::handlers`].
    pub handlers: Vec<usize>,
    /// Whether messages are also passed to the handlers of the parents.
    pub propagate: bool,
}

/// A `[handler_…]` section with its formatter.
#[derive(Debug, Clone, PartialEq)]
pub struct Handler {
    /// Minimum level of messages; 0 for all messages.
    pub level: i64,
    /// Format of a line.
    pub format: Format,
    /// Destination of the lines.
    pub sink: Sink,
}

/// Output of a handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sink {
    /// Standard error, also for `sys.stdout`.
    Stderr,
    /// A file.
    File {
        /// Path of the file.
        path: PathBuf,
        /// Whether to append to the file instead of truncating it.
        append: bool,
    },
    /// No output: NullHandler and unsupported handlers.
    Nowhere,
}

/// Format of a message, as `logging.Formatter`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    template: String,
    /// `strftime` format of `asctime`.
    pub date: Option<String>,
}

impl Default for Format {
    fn default() -> Self {
        Format::new("%(message)s")
    }
}

/// Fields of a message that formats can contain, as in Python's `LogRecord`.
#[derive(Debug, Clone, Default)]
pub struct Record<'a> {
    /// Name of the logger.
    pub name: &'a str,
    /// Level as a number: 20 for INFO.
    pub level: i64,
    /// Level as text: `INFO`.
    pub level_name: &'a str,
    /// The message.
    pub message: &'a str,
    /// Local time as text.
    pub asctime: &'a str,
    /// Seconds since 1970.
    pub created: f64,
    /// Seconds since the program started.
    pub relative: f64,
    /// Source file; its name without extension is the module.
    pub path: &'a str,
    /// Line in the source file.
    pub line: u32,
}

impl Format {
    /// Creates a format without a date format.
    pub fn new(template: &str) -> Format {
        Format { template: template.into(), date: None }
    }
    /// Format a message as a line, without line break.
    pub fn render(&self, record: &Record) -> Result<String> {
        let file = Path::new(record.path);
        let part = |part: Option<&std::ffi::OsStr>| {
            Value::from(part.map_or(String::new(), |part| part.to_string_lossy().into_owned()))
        };
        let fields = [
            ("name", record.name.into()),
            ("levelno", Value::Int(record.level)),
            ("levelname", record.level_name.into()),
            ("message", record.message.into()),
            ("msg", record.message.into()),
            ("asctime", record.asctime.into()),
            ("created", Value::Float(record.created)),
            ("msecs", Value::Float((record.created.fract() * 1000.0).floor())),
            ("relativeCreated", Value::Float(record.relative * 1000.0)),
            ("pathname", record.path.into()),
            ("filename", part(file.file_name())),
            ("module", part(file.file_stem())),
            ("lineno", Value::Int(i64::from(record.line))),
            ("funcName", "".into()),
            ("process", Value::Int(i64::from(std::process::id()))),
            ("processName", "MainProcess".into()),
            ("thread", Value::Int(0)),
            ("threadName", std::thread::current().name().unwrap_or("MainThread").into()),
            ("taskName", Value::None),
        ];
        let fields = Value::Dict(Dict::new(fields.map(|(key, value): (&str, Value)| (Key::str(key), value))));
        percent::format(&self.template, &fields, &mut BuildContext::with_limits(1_000_000, 50))
    }
}

impl LoggingConf {
    /// Read a file. Ignored options are added to `warnings`; errors contain `file:line`.
    pub fn read(path: &Path, warnings: &mut Vec<Warning>) -> Result<LoggingConf> {
        let text = text::read(path, 1 << 20).map_err(|error| error.kind(Kind::Config))?;
        tracing::debug!("read {}", path.display());
        LoggingConf::parse(&text, &path.display().to_string(), warnings)
    }

    /// Parse the text of a file; `file` is its name for errors.
    pub fn parse(text: &str, file: &str, warnings: &mut Vec<Warning>) -> Result<LoggingConf> {
        let ini = Ini::parse(text, file)?;
        Reader { ini: &ini, file, warnings }
            .conf()
            .map_err(|error| error.hint("`--logging_file False` ignores logging.conf"))
    }
}

struct Reader<'a> {
    ini: &'a Ini,
    file: &'a str,
    warnings: &'a mut Vec<Warning>,
}

impl Reader<'_> {
    fn fail(&self, line: usize, message: String) -> Error {
        ini::at(err!("{message}"), self.file, line)
    }
    /// Text of an option, with `%%` replaced by `%`.
    fn text(&self, section: &str, key: &str) -> Result<Option<(String, usize)>> {
        let Some(entry) = self.ini.get(section, key) else { return Ok(None) };
        if entry.text.replace("%%", "").contains('%') {
            return Err(
                self.fail(entry.line, format!("`{key}`: write `%` as `%%`; `%(…)s` is not supported in options"))
            );
        }
        Ok(Some((entry.text.replace("%%", "%"), entry.line)))
    }
    fn needed(&self, section: &str, key: &str) -> Result<(String, usize)> {
        let line = self.ini.section(section).map_or(1, |section| section.line);
        self.text(section, key)?.ok_or_else(|| self.fail(line, format!("[{section}] needs `{key}`")))
    }
    /// Names in `keys=a, b` of a section, each of which has its own section.
    fn keys(&self, list: &str, prefix: &str) -> Result<Vec<String>> {
        if self.ini.section(list).is_none() {
            return Err(err!("the logging file has no section [{list}]").kind(Kind::Config).file(self.file));
        }
        let (text, line) = self.needed(list, "keys")?;
        let names: Vec<String> =
            text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect();
        for name in &names {
            if self.ini.section(&format!("{prefix}_{name}")).is_none() && prefix != "formatter" {
                return Err(self.fail(line, format!("missing section [{prefix}_{name}]")));
            }
        }
        Ok(names)
    }
    fn level(&self, section: &str) -> Result<Option<i64>> {
        let Some((name, line)) = self.text(section, "level")? else { return Ok(None) };
        let names = ["CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG", "NOTSET"];
        level_number(&name).map(Some).ok_or_else(|| {
            let error = self.fail(line, format!("`level`: expected one of {}, found `{name}`", names.join(", ")));
            error.suggest(did_you_mean(&name.to_uppercase(), names))
        })
    }

    fn conf(&mut self) -> Result<LoggingConf> {
        let formats: Vec<(String, Format)> = self
            .keys("formatters", "formatter")?
            .into_iter()
            .map(|name| self.format(&format!("formatter_{name}")).map(|format| (name, format)))
            .collect::<Result<_>>()?;
        let names = self.keys("handlers", "handler")?;
        let mut handlers = Vec::with_capacity(names.len());
        for name in &names {
            handlers.push(self.handler(&format!("handler_{name}"), &formats)?);
        }
        let mut loggers = vec![];
        let keys = self.keys("loggers", "logger")?;
        if !keys.iter().any(|key| key == "root") {
            let line = self.ini.get("loggers", "keys").map_or(1, |entry| entry.line);
            return Err(self.fail(line, "the loggers must include `root`".into()));
        }
        for key in keys {
            let logger = self.logger(&key, &names)?;
            let at = if key == "root" { 0 } else { loggers.len() };
            loggers.insert(at, logger);
        }
        Ok(LoggingConf { loggers, handlers })
    }

    fn format(&self, section: &str) -> Result<Format> {
        let raw = |key: &str| self.ini.get(section, key).filter(|entry| !entry.text.is_empty());
        if let Some(class) = raw("class").filter(|entry| !matches!(&*entry.text, "logging.Formatter" | "Formatter")) {
            return Err(self
                .fail(class.line, format!("a formatter of the class `{}` is not supported", class.text))
                .kind(Kind::Unsupported));
        }
        if let Some(style) = raw("style").filter(|entry| entry.text != "%") {
            let error = self.fail(style.line, format!("`style`: expected `%`, found `{}`", style.text));
            return Err(error.kind(Kind::Unsupported));
        }
        let (template, line) = raw("format").map_or(("%(message)s", 1), |entry| (&entry.text, entry.line));
        let format = Format { template: template.into(), date: raw("datefmt").map(|entry| entry.text.clone()) };
        // Errors in the format are reported now instead of with the first message.
        let sample = format.render(&Record::default());
        sample.map_err(|error| ini::at(err!("`format`: {}", error.message()), self.file, line))?;
        Ok(format)
    }

    fn handler(&mut self, section: &str, formats: &[(String, Format)]) -> Result<Handler> {
        let level = self.level(section)?.unwrap_or(0);
        let format = match self.text(section, "formatter")?.filter(|(name, _)| !name.is_empty()) {
            None => Format::default(),
            Some((name, line)) => match formats.iter().find(|(known, _)| *known == name) {
                Some((_, format)) => format.clone(),
                None => return Err(self.fail(line, format!("unknown formatter `{name}`"))),
            },
        };
        if let Some(kwargs) = self.ini.get(section, "kwargs").filter(|entry| !entry.text.is_empty()) {
            let note = self.fail(kwargs.line, "`kwargs` of a log handler are not read".into());
            self.warnings.push(note.hint("write the values in `args`"));
        }
        let (class, line) = self.needed(section, "class")?;
        let short = class.strip_prefix("logging.").unwrap_or(&class);
        let sink = match short {
            "StreamHandler" => {
                self.arguments(section, &["stream"])?;
                Sink::Stderr
            }
            "NullHandler" => Sink::Nowhere,
            "FileHandler" => self.file(section, line)?,
            _ => {
                let note = self.fail(line, format!("the log handler `{class}` is not supported and is ignored"));
                self.warnings.push(note.hint("supported are StreamHandler, FileHandler and NullHandler"));
                Sink::Nowhere
            }
        };
        Ok(Handler { level, format, sink })
    }

    /// Arguments of a handler in `args`, by parameter name.
    fn arguments(&self, section: &str, parameters: &[&'static str]) -> Result<Vec<(&'static str, Value)>> {
        let Some((text, line)) = self.text(section, "args")?.filter(|(text, _)| !text.is_empty()) else {
            return Ok(vec![]);
        };
        let streams = [("sys.stdout", Value::str("stdout")), ("sys.stderr", Value::str("stderr"))];
        let args = literal(&text, Names::Known(&streams)).map_err(|error| {
            let error = ini::at(err!("`args`: {}", error.message()), self.file, line);
            error.hint("a log handler's arguments are literals, `sys.stdout` or `sys.stderr`; nothing is evaluated")
        })?;
        match args.as_sequence() {
            Some(values) if values.len() <= parameters.len() => Ok(parameters.iter().copied().zip(values).collect()),
            Some(_) => Err(self.fail(line, format!("`args`: expected at most {} values", parameters.len()))),
            None => {
                Err(self.fail(line, format!("`args`: expected a tuple such as `('out.log', 'a')`, found {args:?}")))
            }
        }
    }

    fn file(&self, section: &str, line: usize) -> Result<Sink> {
        let line = self.ini.get(section, "args").map_or(line, |entry| entry.line);
        let (mut path, mut append) = (None, true);
        for (name, value) in self.arguments(section, &["filename", "mode", "encoding", "delay", "errors"])? {
            let expected = match (name, value.as_str()) {
                ("filename", Some(text)) if !text.is_empty() => {
                    path = Some(PathBuf::from(text));
                    continue;
                }
                ("mode", Some("a" | "at" | "a+")) => continue,
                ("mode", Some("w" | "wt" | "w+")) => {
                    append = false;
                    continue;
                }
                ("encoding", Some("utf8" | "utf-8" | "UTF-8")) | ("delay" | "errors", _) => continue,
                ("encoding", _) if value.is_none() => continue,
                ("filename", _) => "a file name",
                ("mode", _) => "'a' or 'w'",
                _ => "'utf-8'",
            };
            return Err(self.fail(line, format!("`{name}`: expected {expected}, found {value:?}")));
        }
        let path = path.ok_or_else(|| self.fail(line, format!("[{section}] needs a file name in `args`")))?;
        Ok(Sink::File { path, append })
    }

    fn logger(&self, key: &str, handlers: &[String]) -> Result<Logger> {
        let section = format!("logger_{key}");
        let root = key == "root";
        let level = self.level(&section)?.filter(|level| root || *level != 0);
        let name = if root { "root".to_owned() } else { self.needed(&section, "qualname")?.0 };
        let (list, line) = self.text(&section, "handlers")?.unwrap_or_default();
        let places = list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(|name| {
            handlers
                .iter()
                .position(|known| known == name)
                .ok_or_else(|| self.fail(line, format!("unknown handler `{name}`")))
        });
        let handlers = places.collect::<Result<_>>()?;
        let propagate = match self.text(&section, "propagate")? {
            None => true,
            Some((text, line)) => match text.parse::<i64>() {
                Ok(number) => number != 0,
                Err(_) => return Err(self.fail(line, format!("`propagate`: expected 0 or 1, found `{text}`"))),
            },
        };
        Ok(Logger { name, level, handlers, propagate: propagate || root })
    }
}
