//! Log lines as text, in the format, levels and files of a bundle's `logging.conf`. Without one, all go to stderr, in the
//! format of segbundle's own.
//!
//! Loggers share their levels with [`crate::python::logging`], so that `setLevel` in a config has an effect here.
//! Messages of segbundle itself come from loggers named after its modules, for example `segbundle.engines.evaluator`.

use super::console::Console;
use crate::bundle::logging_conf::{Format, Handler, Logger, LoggingConf, Record, Sink};
use crate::err;
use crate::error::{Error, Kind, Result, field_text};
use crate::python::{datetime, logging};
use crate::text::printable;
use parking_lot::{Mutex, RwLock};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::Context;

/// State shared by the console and the layer that receives messages.
#[derive(Clone, Default)]
pub struct Log(Arc<RwLock<Option<Active>>>);

struct Active {
    conf: LoggingConf,
    /// Whether `conf` was read from a file.
    configured: bool,
    /// Open file of each handler in the conf; `None` if the handler does not write a file.
    files: Vec<Option<Mutex<File>>>,
    console: Console,
    /// Level of the console: that of -v or -q, which overrides that of the file, or the default without a file.
    forced: Option<i64>,
    started: Instant,
}

impl Log {
    /// Whether a logging.conf determines which messages are shown.
    pub fn is_configured(&self) -> bool {
        self.0.read().as_ref().is_some_and(|active| active.configured)
    }

    /// Write messages from `level` on to stderr.
    pub fn start(&self, console: &Console, level: i64) {
        let format = Format::new("%(asctime)s %(levelname)s %(name)s: %(message)s");
        let handlers = vec![Handler { level: 0, format, sink: Sink::Stderr }];
        let loggers = vec![Logger { name: "root".into(), level: None, handlers: vec![0], propagate: true }];
        self.set(LoggingConf { loggers, handlers }, false, vec![None], console, Some(level));
    }

    fn set(
        &self,
        conf: LoggingConf,
        configured: bool,
        files: Vec<Option<Mutex<File>>>,
        console: &Console,
        forced: Option<i64>,
    ) {
        let (console, started) = (console.clone(), Instant::now());
        *self.0.write() = Some(Active { conf, configured, files, console, forced, started });
    }

    /// Open the files, set the loggers' levels, and send all further messages to the conf's handlers.
    pub fn apply(&self, conf: LoggingConf, console: &Console, forced: Option<i64>) -> Result<()> {
        let sinks = conf.handlers.iter().map(|handler| match &handler.sink {
            Sink::File { path, append } => open(path, *append).map(|file| Some(Mutex::new(file))),
            Sink::Stderr | Sink::Nowhere => Ok(None),
        });
        let files = sinks.collect::<Result<Vec<_>>>()?;
        for handler in &conf.handlers {
            if let Some(date) = &handler.format.date {
                datetime::local(0.0, date).map_err(|error| error.context("logging file, `datefmt`"))?;
            }
        }
        for logger in &conf.loggers {
            if let Some(level) = logger.level {
                logging::Logger::named(&logger.name).set_level(level);
            }
        }
        self.set(conf, true, files, console, forced);
        Ok(())
    }
}

impl<S: Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if let Some(active) = &*self.0.read() {
            active.event(event);
        }
    }
}

/// Text and logger of a message.
#[derive(Default)]
struct Fields {
    message: String,
    logger: Option<String>,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "logger" => self.logger = Some(value.to_owned()),
            _ => self.record_debug(field, &format_args!("{value}")),
        }
    }
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let text = format!("{value:?}");
        let text = if field.name() == "message" { Some(text) } else { field_text(field.name(), &text) };
        self.message += &printable(&text.unwrap_or_default());
    }
}

impl Active {
    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let meta = event.metadata();
        let name = fields.logger.unwrap_or_else(|| meta.target().replace("::", "."));
        let (level, level_name) = match *meta.level() {
            Level::ERROR => (40, "ERROR"),
            Level::WARN => (30, "WARNING"),
            Level::INFO => (20, "INFO"),
            Level::DEBUG => (10, "DEBUG"),
            Level::TRACE => (5, "TRACE"),
        };
        let now = datetime::seconds();
        let record = Record {
            name: &name,
            level,
            level_name,
            message: &fields.message,
            created: now,
            relative: self.started.elapsed().as_secs_f64(),
            path: meta.file().unwrap_or_default(),
            line: meta.line().unwrap_or_default(),
            ..Record::default()
        };
        let wanted = level >= logging::effective_level(&name);
        let handlers = self.handlers_of(&name);
        if handlers.is_empty() && level >= self.forced.unwrap_or(30) {
            // Python's `logging.lastResort`.
            return self.line(&fields.message);
        }
        for at in handlers {
            let Some(handler) = self.conf.handlers.get(at) else { continue };
            let shown = match (self.forced, &handler.sink) {
                // Without a file and -v, levels that a config or `crate::distributed` has set still apply.
                (Some(forced), Sink::Stderr) => {
                    let own = if self.configured || forced <= 10 { None } else { logging::own_level(&name) };
                    level >= own.map_or(forced, |own| forced.max(own))
                }
                _ => wanted && level >= handler.level,
            };
            if shown {
                self.write(at, handler, &record);
            }
        }
    }

    /// Handlers of a logger and of its parents, up to the first one that does not propagate.
    fn handlers_of(&self, name: &str) -> Vec<usize> {
        let mut found = vec![];
        let mut name = name;
        loop {
            if let Some(logger) = self.conf.loggers.iter().find(|logger| logger.name == name) {
                found.extend(&logger.handlers);
                if !logger.propagate || name == "root" {
                    return found;
                }
            }
            name = match name.rsplit_once('.') {
                Some((parent, _)) => parent,
                None if name == "root" => return found,
                None => "root",
            };
        }
    }

    fn write(&self, at: usize, handler: &Handler, record: &Record) {
        let time = match &handler.format.date {
            Some(date) => datetime::local(record.created, date).unwrap_or_default(),
            None => {
                let seconds = datetime::local(record.created, "%Y-%m-%d %H:%M:%S").unwrap_or_default();
                format!("{seconds},{:03}", (record.created.fract() * 1000.0) as u32)
            }
        };
        let record = Record { asctime: &time, ..record.clone() };
        // Formats were validated when the file was read.
        let Ok(text) = handler.format.render(&record) else { return };
        match (&handler.sink, self.files.get(at)) {
            (Sink::Stderr, _) => self.line(&text),
            (Sink::File { .. }, Some(Some(file))) => {
                // A failure to write a log file does not stop the run.
                let _ = file.lock().write_all(format!("{text}\n").as_bytes());
            }
            _ => {}
        }
    }
    fn line(&self, text: &str) {
        // The message was written to stderr as JSON already.
        if self.console.is_json() {
            return;
        }
        let _ = self.console.make_writer().write_all(format!("{text}\n").as_bytes());
    }
}

fn open(path: &Path, append: bool) -> Result<File> {
    let mut options = File::options();
    let options = if append { options.append(true) } else { options.write(true).truncate(true) };
    let cannot = |e: std::io::Error| -> Error { err!("cannot open the log file: {e}").kind(Kind::Config).file(path) };
    options.create(true).open(path).map_err(cannot).map_err(|e| e.hint("`--logging_file False` ignores logging.conf"))
}
