//! `datetime.datetime.now`, `time.time` and `time.strftime`.

use super::common::{none, one, reads};
use crate::component::Member::{self, Method};
use crate::component::{Function, Object, Value};
use crate::error::{Kind, Result};
use crate::{err, members};
use chrono::{Local, NaiveDateTime};
use std::fmt::Write;

/// Functions of `datetime` and `time`.
pub const FUNCTIONS: &[Function] = &[
    reads("datetime.datetime.now", |args, _| {
        none("datetime.datetime.now", args)?;
        Ok(Value::object(DateTime(Local::now().naive_local())))
    }),
    reads("time.time", |args, _| {
        none("time.time", args)?;
        Ok(Value::Float(seconds()))
    }),
    reads("time.strftime", |args, _| {
        let format: String = one("time.strftime", "format", args)?;
        Ok(strftime("time.strftime", &Local::now().naive_local(), &format)?.into())
    }),
];

/// Seconds since 1970-01-01 UTC.
pub fn seconds() -> f64 {
    Local::now().timestamp_micros() as f64 / 1e6
}

/// Formats a time in seconds since 1970 as local time, with Python's format codes.
pub fn local(seconds: f64, format: &str) -> Result<String> {
    let time = chrono::DateTime::from_timestamp_micros((seconds * 1e6) as i64).unwrap_or_default();
    strftime("strftime", &time.with_timezone(&Local).naive_local(), format)
}

/// Formats a time with Python's format codes: those of C, and `%f` for microseconds with six digits.
fn strftime(name: &str, time: &NaiveDateTime, format: &str) -> Result<String> {
    let mut text = String::new();
    let codes = |part: &str| part.replace("%f", "%6f").replace("%c", "%a %b %e %H:%M:%S %Y").replace("%x", "%m/%d/%y");
    let own = format.split("%%").map(codes).collect::<Vec<_>>().join("%%");
    write!(text, "{}", time.format(&own)).map_err(|_| err!("{name}: cannot format '{format}'").kind(Kind::Config))?;
    Ok(text)
}

/// A local time without a time zone.
struct DateTime(NaiveDateTime);

static MEMBERS: &[Member<DateTime>] = &[Method("strftime", |time, args, _| {
    let format: String = one("strftime", "format", args)?;
    Ok(strftime("strftime", &time.0, &format)?.into())
})];

impl Object for DateTime {
    fn type_name(&self) -> &str {
        "datetime.datetime"
    }
    fn to_str(&self) -> String {
        self.0.format("%Y-%m-%d %H:%M:%S%.6f").to_string()
    }
    fn repr(&self) -> String {
        format!("datetime.datetime.fromisoformat('{}')", self.to_str())
    }
    members!(MEMBERS);
}
