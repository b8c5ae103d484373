//! `datetime.datetime` and `time`: the clock, and times as text.

use super::common::{none, one, reads};
use crate::component::{Args, BuildContext, Function, Object, Value};
use crate::err;
use crate::error::{Kind, Result};
use chrono::format::{Item, StrftimeItems};
use chrono::{Local, NaiveDateTime, Timelike};
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

/// A point in time without a zone, to the microsecond.
struct DateTime(NaiveDateTime);

/// Python's format codes, which are C's and `%f` for six digits of microseconds.
fn strftime(name: &str, time: &NaiveDateTime, format: &str) -> Result<String> {
    let mut own = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        own.push(c);
        if c != '%' {
            continue;
        }
        match chars.next() {
            Some('f') => own.push_str("6f"),
            // A time without a zone has neither offset nor name.
            Some('z' | 'Z') => drop(own.pop()),
            Some('c') => own.push_str("a %b %e %H:%M:%S %Y"),
            Some('x') => own.push_str("m/%d/%y"),
            Some(
                code @ ('a' | 'A' | 'w' | 'd' | 'b' | 'B' | 'm' | 'y' | 'Y' | 'H' | 'I' | 'p' | 'M' | 'S' | 'j' | 'U'
                | 'W' | 'X' | 'G' | 'u'),
            ) => {
                own.push(code);
            }
            Some(code @ ('V' | 'e' | 'D' | 'F' | 'T' | 'R' | 'h' | 'n' | 't' | '%')) => own.push(code),
            other => {
                let code = other.map(String::from).unwrap_or_default();
                return Err(err!("{name}: unknown format code '%{code}' in '{format}'").kind(Kind::Config));
            }
        }
    }
    let items: Vec<Item<'_>> = StrftimeItems::new(&own).collect();
    let mut text = String::new();
    write!(text, "{}", time.format_with_items(items.iter()))
        .map_err(|_| err!("{name}: '{format}' cannot be formatted").kind(Kind::Config))?;
    Ok(text)
}

impl Object for DateTime {
    fn type_name(&self) -> &str {
        "datetime.datetime"
    }
    fn repr(&self) -> String {
        format!("datetime.datetime.fromisoformat('{}')", self.iso('T'))
    }
    fn to_str(&self) -> String {
        self.iso(' ')
    }
    fn attr_names(&self) -> &[&str] {
        &["strftime", "isoformat"]
    }
    fn call_method(&self, name: &str, args: &mut Args, _call: &mut BuildContext) -> Result<Option<Value>> {
        let args = std::mem::take(args);
        Ok(Some(match name {
            "strftime" => strftime("strftime", &self.0, &one::<String>("strftime", "format", args)?)?.into(),
            "isoformat" => {
                none("isoformat", args)?;
                self.iso('T').into()
            }
            _ => return Ok(None),
        }))
    }
}

impl DateTime {
    fn iso(&self, separator: char) -> String {
        let micros = self.0.nanosecond() / 1000;
        let fraction = if micros > 0 { format!(".{micros:06}") } else { String::new() };
        format!("{}{separator}{}{fraction}", self.0.format("%Y-%m-%d"), self.0.format("%H:%M:%S"))
    }
}
