//! `datetime.datetime.now` and `time`: the clock, and times as text.

use super::common::{none, one, reads};
use crate::component::{Args, BuildContext, Function, Object, Value};
use crate::err;
use crate::error::{Kind, Result};
use chrono::{Local, NaiveDateTime};
use std::fmt::Write;

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

/// Seconds since 1970.
pub fn seconds() -> f64 {
    Local::now().timestamp_micros() as f64 / 1e6
}

/// Local time as text, by Python's format codes.
pub fn local(seconds: f64, format: &str) -> Result<String> {
    let time = chrono::DateTime::from_timestamp_micros((seconds * 1e6) as i64).unwrap_or_default();
    strftime("strftime", &time.with_timezone(&Local).naive_local(), format)
}

/// Python's format codes, which are C's and `%f` for six digits of microseconds.
fn strftime(name: &str, time: &NaiveDateTime, format: &str) -> Result<String> {
    let mut text = String::new();
    let codes = |part: &str| part.replace("%f", "%6f").replace("%c", "%a %b %e %H:%M:%S %Y").replace("%x", "%m/%d/%y");
    let own = format.split("%%").map(codes).collect::<Vec<_>>().join("%%");
    write!(text, "{}", time.format(&own)).map_err(|_| err!("{name}: cannot format '{format}'").kind(Kind::Config))?;
    Ok(text)
}

/// A point in time without a zone, to the microsecond.
struct DateTime(NaiveDateTime);

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
    fn attr_names(&self) -> &[&str] {
        &["strftime"]
    }
    fn call_method(&self, name: &str, args: &mut Args, _call: &mut BuildContext) -> Result<Option<Value>> {
        match name {
            "strftime" => {
                let format: String = one("strftime", "format", std::mem::take(args))?;
                Ok(Some(strftime("strftime", &self.0, &format)?.into()))
            }
            _ => Ok(None),
        }
    }
}
