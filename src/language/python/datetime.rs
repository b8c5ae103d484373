//! `datetime.datetime` and `time`: the clock, and times as text.

use super::common::{none, one, pure, reads, wrong};
use crate::component::{Args, BuildContext, Function, Object, Value};
use crate::err;
use crate::error::{Kind, Result};
use chrono::format::{Item, StrftimeItems};
use chrono::{Datelike, Local, NaiveDateTime, TimeDelta, Timelike};
use std::fmt::Write;

pub const FUNCTIONS: &[Function] = &[
    reads("datetime.datetime.now", |args, _| {
        none("datetime.datetime.now", args)?;
        Ok(Value::object(DateTime(Local::now().naive_local())))
    }),
    reads("datetime.datetime.today", |args, _| {
        none("datetime.datetime.today", args)?;
        Ok(Value::object(DateTime(Local::now().naive_local())))
    }),
    reads("datetime.datetime.utcnow", |args, _| {
        none("datetime.datetime.utcnow", args)?;
        Ok(Value::object(DateTime(Local::now().naive_utc())))
    }),
    pure("datetime.datetime.fromisoformat", |args, _| {
        let text: String = one("datetime.datetime.fromisoformat", "date_string", args)?;
        let full = if text.len() <= 10 { format!("{text} 00:00:00") } else { text.replacen('T', " ", 1) };
        let time = NaiveDateTime::parse_from_str(&full, "%Y-%m-%d %H:%M:%S%.f")
            .or_else(|_| NaiveDateTime::parse_from_str(&full, "%Y-%m-%d %H:%M"));
        time.map(|time| Value::object(DateTime(time)))
            .map_err(|_| err!("datetime.datetime.fromisoformat: '{text}' is no time in ISO format").kind(Kind::Config))
    }),
    reads("time.time", |args, _| {
        none("time.time", args)?;
        Ok(Value::Float(seconds()))
    }),
    reads("time.perf_counter", |args, _| {
        none("time.perf_counter", args)?;
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
        let t = self.0;
        let mut parts = vec![i64::from(t.year()), t.month().into(), t.day().into(), t.hour().into(), t.minute().into()];
        let micros = t.nanosecond() / 1000;
        if t.second() > 0 || micros > 0 {
            parts.push(t.second().into());
        }
        if micros > 0 {
            parts.push(micros.into());
        }
        format!("datetime.datetime({})", parts.iter().map(i64::to_string).collect::<Vec<_>>().join(", "))
    }
    fn to_str(&self) -> String {
        self.iso(" ")
    }
    fn equals(&self, other: &Value) -> bool {
        other.downcast::<DateTime>().is_some_and(|other| *other == *self)
    }
    fn attr_names(&self) -> &[&str] {
        &["strftime", "isoformat", "timestamp", "year", "month", "day", "hour", "minute", "second", "microsecond"]
    }
    fn attr(&self, name: &str) -> Result<Option<Value>> {
        let t = self.0;
        Ok(Some(Value::Int(match name {
            "year" => t.year().into(),
            "month" => t.month().into(),
            "day" => t.day().into(),
            "hour" => t.hour().into(),
            "minute" => t.minute().into(),
            "second" => t.second().into(),
            "microsecond" => (t.nanosecond() / 1000).into(),
            _ => return Ok(None),
        })))
    }
    fn call_method(&self, name: &str, args: &mut Args, _call: &mut BuildContext) -> Result<Option<Value>> {
        let args = std::mem::take(args);
        Ok(Some(match name {
            "strftime" | "__format__" => {
                strftime("strftime", &self.0, &one::<String>("strftime", "format", args)?)?.into()
            }
            "isoformat" => self.iso(&args.positional.first().map_or("T".into(), Value::to_string)).into(),
            "timestamp" => {
                none("timestamp", args)?;
                let local = self.0.and_local_timezone(Local).earliest();
                Value::Float(local.map_or(f64::NAN, |time| time.timestamp_micros() as f64 / 1e6))
            }
            "weekday" => Value::Int(self.0.weekday().num_days_from_monday().into()),
            _ => return Ok(None),
        }))
    }
    fn operator(
        &self,
        operator: &str,
        other: &Value,
        reflected: bool,
        _call: &mut BuildContext,
    ) -> Result<Option<Value>> {
        if !matches!(operator, "<" | "<=" | ">" | ">=" | "-") {
            return Ok(None);
        }
        let other = other.downcast::<DateTime>().ok_or_else(|| wrong("datetime", "datetime", other))?;
        let (a, b) = if reflected { (other.0, self.0) } else { (self.0, other.0) };
        Ok(Some(match operator {
            "<" => (a < b).into(),
            "<=" => (a <= b).into(),
            ">" => (a > b).into(),
            ">=" => (a >= b).into(),
            _ => Value::object(Span(a - b)),
        }))
    }
}

impl DateTime {
    fn iso(&self, separator: &str) -> String {
        let micros = self.0.nanosecond() / 1000;
        let fraction = if micros > 0 { format!(".{micros:06}") } else { String::new() };
        format!("{}{separator}{}{fraction}", self.0.format("%Y-%m-%d"), self.0.format("%H:%M:%S"))
    }
}

/// `datetime.timedelta`, as a difference of two times.
struct Span(TimeDelta);

impl Object for Span {
    fn type_name(&self) -> &str {
        "datetime.timedelta"
    }
    fn attr_names(&self) -> &[&str] {
        &["total_seconds", "days", "seconds"]
    }
    fn attr(&self, name: &str) -> Result<Option<Value>> {
        let seconds = self.0.num_milliseconds().div_euclid(1000);
        Ok(match name {
            "days" => Some(seconds.div_euclid(86_400).into()),
            "seconds" => Some(seconds.rem_euclid(86_400).into()),
            _ => None,
        })
    }
    fn call_method(&self, name: &str, _args: &mut Args, _call: &mut BuildContext) -> Result<Option<Value>> {
        Ok((name == "total_seconds")
            .then(|| Value::Float(self.0.num_microseconds().map_or(f64::NAN, |us| us as f64 / 1e6))))
    }
}
