//! `logging`: named loggers whose messages go to the program's own log.
//!
//! As in Python, `getLogger` returns the same logger for the same name, and a logger without a level inherits that of
//! its parent in the dotted name, up to the root logger's (WARNING). A bundle's `logging.conf` also sets these levels.
//! Expressions cannot create handlers, formatters and filters.

use super::common::{acts, pure, wrong};
use super::given::Given;
use crate::component::Member::{self, Attribute, Method};
use crate::component::{Args, FromValue, Function, Object, Value};
use crate::error::Result;
use crate::members;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Levels.
pub const CONSTANTS: super::common::Constants = &[
    ("logging.CRITICAL", || Value::Int(50)),
    ("logging.ERROR", || Value::Int(40)),
    ("logging.WARNING", || Value::Int(30)),
    ("logging.INFO", || Value::Int(20)),
    ("logging.DEBUG", || Value::Int(10)),
    ("logging.NOTSET", || Value::Int(0)),
];

/// `getLogger` and `basicConfig`.
pub const FUNCTIONS: &[Function] = &[
    pure("logging.getLogger", |args, call| {
        // Loggers are never dropped.
        call.charge(1000)?;
        let name: Option<String> = Given::bind("logging.getLogger", &["name"], args)?.get(0)?;
        let name = name.as_deref().unwrap_or("root");
        if name.len() > 500 {
            crate::bail!("logging.getLogger: expected a name of at most 500 bytes, found {}", name.len());
        }
        Ok(Value::object(Logger::named(name)))
    }),
    acts("logging.basicConfig", |mut args, _| {
        // Sets the root logger's level; the command line controls format, files and handlers.
        if let Some(level) = args.take("level") {
            Logger::named("root").set_level(parse_level(&level)?);
        }
        Ok(Value::None)
    }),
];

/// A logger; all loggers of the same name share their level.
#[derive(Clone)]
pub struct Logger {
    name: Arc<str>,
    level: Arc<AtomicI64>,
}

/// All loggers of the process by name.
static LOGGERS: Mutex<BTreeMap<Arc<str>, Logger>> = Mutex::new(BTreeMap::new());

impl Logger {
    /// The logger `name`, created on first use; an empty name is the root logger.
    pub fn named(name: &str) -> Logger {
        let name: Arc<str> = if name.is_empty() { "root".into() } else { name.into() };
        let fresh =
            || Logger { name: name.clone(), level: Arc::new(AtomicI64::new(if &*name == "root" { 30 } else { 0 })) };
        LOGGERS.lock().entry(name.clone()).or_insert_with(fresh).clone()
    }
    /// Level set on this logger, from 10 (DEBUG) to 50 (CRITICAL); 0 if none is set.
    pub fn level(&self) -> i64 {
        self.level.load(Ordering::Relaxed)
    }
    /// Sets the level; 0 inherits that of the parent.
    pub fn set_level(&self, level: i64) {
        self.level.store(level, Ordering::Relaxed);
    }
    fn log(&self, level: i64, args: Args) -> Result<Value> {
        if level >= effective_level(&self.name) {
            // Further arguments are appended; `%` formatting of the message is not supported.
            let text = args.positional.iter().map(Value::to_string).collect::<Vec<_>>().join(" ");
            match level {
                40.. => tracing::error!(logger = &*self.name, "{text}"),
                30.. => tracing::warn!(logger = &*self.name, "{text}"),
                20.. => tracing::info!(logger = &*self.name, "{text}"),
                _ => tracing::debug!(logger = &*self.name, "{text}"),
            }
        }
        Ok(Value::None)
    }
}

/// Level of the logger `name` or of its closest ancestor that has one, even if the logger does not exist yet.
pub fn effective_level(name: &str) -> i64 {
    own_level(name).unwrap_or_else(|| LOGGERS.lock().get("root").map_or(30, Logger::level))
}

/// As [`effective_level`], without the root logger.
pub fn own_level(name: &str) -> Option<i64> {
    let (mut name, loggers) = (name, LOGGERS.lock());
    loop {
        if let Some(level) = loggers.get(name).map(Logger::level).filter(|level| *level != 0 && name != "root") {
            return Some(level);
        }
        name = name.rsplit_once('.')?.0;
    }
}

/// Number of a level by its name, such as `INFO` or `WARN`.
pub fn level_number(name: &str) -> Option<i64> {
    let name = if name == "WARN" { "WARNING" } else { name };
    let (_, level) = CONSTANTS.iter().find(|(path, _)| path.strip_prefix("logging.") == Some(name))?;
    i64::from_value(&level())
}

fn parse_level(level: &Value) -> Result<i64> {
    let number = level.as_str().map_or_else(|| i64::from_value(level), level_number);
    number.ok_or_else(|| wrong("setLevel", "a level such as logging.INFO or 'INFO'", level))
}

static MEMBERS: &[Member<Logger>] = &[
    Attribute("level", |logger| Ok(logger.level().into())),
    Method("setLevel", |logger, args, _| {
        let [level] = args.expect("setLevel", ["level"])?;
        logger.set_level(parse_level(&level)?);
        Ok(Value::None)
    }),
    Method("debug", |logger, args, _| logger.log(10, args)),
    Method("info", |logger, args, _| logger.log(20, args)),
    Method("warning", |logger, args, _| logger.log(30, args)),
    Method("error", |logger, args, _| logger.log(40, args)),
];

impl Object for Logger {
    fn type_name(&self) -> &str {
        "logging.Logger"
    }
    fn repr(&self) -> String {
        format!("<Logger {}>", self.name)
    }
    fn equals(&self, other: &Value) -> bool {
        other.downcast::<Logger>().is_some_and(|other| Arc::ptr_eq(&other.level, &self.level))
    }
    members!(MEMBERS);
    fn set_attr(&self, name: &str, _: Value) -> Result<()> {
        match name {
            // No effect: messages are not passed from logger to logger.
            "propagate" => Ok(()),
            _ => crate::bail!("attribute `{name}` of logging.Logger cannot be set"),
        }
    }
}
