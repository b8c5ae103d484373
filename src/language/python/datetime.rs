//! `datetime.datetime.now`, `datetime.timedelta`, `time.time` and `time.strftime`.

use super::common::{none, one, pure, reads};
use crate::component::Member::{self, Method};
use crate::component::{Declared, FromValue, Function, Object, Value};
use crate::error::{Kind, Result};
use crate::{args, err, members};
use chrono::{Local, NaiveDateTime};
use std::fmt::Write;
use std::time::Duration;

/// Functions of `datetime` and `time`.
pub const FUNCTIONS: &[Function] = &[
    reads("datetime.datetime.now", |args, _| {
        none("datetime.datetime.now", args)?;
        Ok(Value::object(DateTime(Local::now().naive_local())))
    }),
    pure("datetime.timedelta", |args, _| {
        let given = Delta::parse("datetime.timedelta", args)?;
        let minutes = given.minutes + 60.0 * (given.hours + 24.0 * (given.days + 7.0 * given.weeks));
        let seconds = given.seconds + 60.0 * minutes + given.milliseconds / 1e3 + given.microseconds / 1e6;
        let span = Duration::try_from_secs_f64(seconds).map_err(|_| {
            err!("datetime.timedelta: expected a time of at least 0, found {seconds} seconds").kind(Kind::Config)
        })?;
        Ok(Value::object(TimeDelta(span)))
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

args! {
    struct Delta {
        days: f64 = 0,
        seconds: f64 = 0,
        microseconds: f64 = 0,
        milliseconds: f64 = 0,
        minutes: f64 = 0,
        hours: f64 = 0,
        weeks: f64 = 0,
    }
}

/// `datetime.timedelta`, of at least 0; converts to a [`Duration`].
struct TimeDelta(Duration);

impl Object for TimeDelta {
    fn type_name(&self) -> &str {
        "datetime.timedelta"
    }
    fn repr(&self) -> String {
        format!("datetime.timedelta(seconds={})", self.0.as_secs_f64())
    }
    fn equals(&self, other: &Value) -> bool {
        other.downcast::<TimeDelta>().is_some_and(|other| other.0 == self.0)
    }
}

impl FromValue for Duration {
    fn expected() -> String {
        "datetime.timedelta".into()
    }
    fn from_value(value: &Value) -> Option<Self> {
        value.downcast::<TimeDelta>().map(|span| span.0)
    }
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
