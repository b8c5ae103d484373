//! `logging`: named loggers whose messages go to the program's own log.
//!
//! As in Python, `getLogger` gives the same logger for the same name, and a logger without a level takes that of its
//! parent by dots, at last the root's (WARNING). A bundle's `logging.conf` sets levels here as well; handlers, formatters
//! and filters cannot be made by expressions.

use super::common::{pure, wrong};
use crate::args;
use crate::component::{Args, BuildContext, Declared, FromValue, Function, Object, Value};
use crate::error::Result;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};

pub const CONSTANTS: super::common::Constants = &[
    ("logging.CRITICAL", || Value::Int(50)),
    ("logging.ERROR", || Value::Int(40)),
    ("logging.WARNING", || Value::Int(30)),
    ("logging.INFO", || Value::Int(20)),
    ("logging.DEBUG", || Value::Int(10)),
    ("logging.NOTSET", || Value::Int(0)),
];

pub const FUNCTIONS: &[Function] = &[
    pure("logging.getLogger", |args, call| {
        // Loggers stay for as long as the process does.
        call.charge(1000)?;
        let name = GetLogger::parse("logging.getLogger", args)?.name;
        let name = name.as_deref().unwrap_or("root");
        if name.len() > 500 {
            crate::bail!("logging.getLogger: expected a name of at most 500 bytes, found {}", name.len());
        }
        Ok(Value::object(Logger::named(name)))
    }),
    super::common::acts("logging.basicConfig", |mut args, _| {
        // Format, file and handlers are the program's own affair; the level is the root's.
        if let Some(level) = args.take("level") {
            Logger::named("root").set_level(parse_level(&level)?);
        }
        Ok(Value::None)
    }),
];

args! {
    struct GetLogger {
        name: Option<String> = (),
    }
}

/// A logger, shared by all that ask for its name.
#[derive(Clone)]
pub struct Logger {
    name: Arc<str>,
    level: Arc<AtomicI64>,
}

/// The process's loggers, as Python's module keeps them.
static LOGGERS: Mutex<BTreeMap<Arc<str>, Logger>> = Mutex::new(BTreeMap::new());

impl Logger {
    pub fn named(name: &str) -> Logger {
        let name: Arc<str> = if name.is_empty() { "root".into() } else { name.into() };
        let fresh =
            || Logger { name: name.clone(), level: Arc::new(AtomicI64::new(if &*name == "root" { 30 } else { 0 })) };
        LOGGERS.lock().entry(name.clone()).or_insert_with(fresh).clone()
    }
    /// The level set on this logger (10 DEBUG … 50 CRITICAL), 0 if none.
    pub fn level(&self) -> i64 {
        self.level.load(Ordering::Relaxed)
    }
    pub fn set_level(&self, level: i64) {
        self.level.store(level, Ordering::Relaxed);
    }
    fn log(&self, level: i64, args: Args) -> Result<Value> {
        if level >= effective_level(&self.name) {
            // `%` formatting of further arguments is left to the expression; they are appended.
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

/// The level that counts for the logger `name`, whether or not anybody has asked for it.
pub fn effective_level(name: &str) -> i64 {
    let mut name = name;
    let loggers = LOGGERS.lock();
    loop {
        if let Some(level) = loggers.get(name).map(Logger::level).filter(|level| *level != 0) {
            return level;
        }
        match name.rsplit_once('.') {
            Some((parent, _)) => name = parent,
            None if name == "root" => return loggers.get(name).map_or(30, Logger::level),
            None => name = "root",
        }
    }
}

/// A level's number: `INFO`, `WARN`.
pub fn level_number(name: &str) -> Option<i64> {
    let name = if name == "WARN" { "WARNING" } else { name };
    let (_, level) = CONSTANTS.iter().find(|(path, _)| path.strip_prefix("logging.") == Some(name))?;
    i64::from_value(&level())
}

fn parse_level(level: &Value) -> Result<i64> {
    let number = level.as_str().map_or_else(|| i64::from_value(level), level_number);
    number.ok_or_else(|| wrong("setLevel", "a level such as logging.INFO or 'INFO'", level))
}

type Method = fn(&Logger, Args) -> Result<Value>;

static METHODS: &[(&str, Method)] = &[
    ("setLevel", |logger, args| {
        let [level] = args.expect("setLevel", ["level"])?;
        logger.set_level(parse_level(&level)?);
        Ok(Value::None)
    }),
    ("debug", |logger, args| logger.log(10, args)),
    ("info", |logger, args| logger.log(20, args)),
    ("warning", |logger, args| logger.log(30, args)),
    ("error", |logger, args| logger.log(40, args)),
];

static NAMES: LazyLock<Vec<&str>> =
    LazyLock::new(|| ["level"].into_iter().chain(METHODS.iter().map(|(name, _)| *name)).collect());

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
    fn attr_names(&self) -> &[&str] {
        &NAMES
    }
    fn attr(&self, name: &str) -> Result<Option<Value>> {
        Ok((name == "level").then(|| self.level().into()))
    }
    fn set_attr(&self, name: &str, _: Value) -> Result<()> {
        match name {
            // Messages are not passed from logger to logger here.
            "propagate" => Ok(()),
            _ => crate::bail!("attribute `{name}` of logging.Logger cannot be set"),
        }
    }
    fn call_method(&self, name: &str, args: &mut Args, _call: &mut BuildContext) -> Result<Option<Value>> {
        let method = METHODS.iter().find(|(own, _)| *own == name);
        method.map(|(_, method)| method(self, std::mem::take(args))).transpose()
    }
}
