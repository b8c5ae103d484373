//! `segbundle worker`: process cases that arrive as JSON lines on standard input, with a model that is loaded once.

use super::console::Console;
use super::monai::CommandArgs;
use crate::bundle::Rules;
use crate::contracts::{CaseReport, CaseRequest, CaseStatus, Engine};
use crate::data::datalist::entry_of;
use crate::engines::record::ErrorRecord;
use crate::error::{Error, Kind, Result};
use crate::run::{EngineStart, RunOptions};
use crate::{err, workflow};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// `segbundle worker`.
pub const ARGS: CommandArgs = CommandArgs {
    command: "worker",
    examples: "\
A request is one line on standard input, its answer one line on standard output; logs go to stderr:
  {\"id\": 1, \"image\": \"a.nii.gz\"}
  {\"id\": 1, \"status\": \"done\", \"outputs\": [\"eval/a/a_trans.nii.gz\"], \"seconds\": 2.1, \"error\": null}
`image` is a path, a list of paths, or an object with the keys of the case; `output_dir` is an
optional folder for its results. The status is done, skipped, failed or interrupted. The worker
ends at the end of its input, and after the current window on SIGTERM.

Example:
  segbundle --skip-existing worker --config_file configs/inference.json",
    ..super::monai::RUN
};

/// Longest line of a request in bytes.
const MAX_LINE: usize = 1 << 20;
/// Interval at which an idle worker looks for an interrupt.
const POLL_EVERY: Duration = Duration::from_millis(50);

/// A line of the input.
enum Line {
    Text(Vec<u8>),
    /// A line of more than [`MAX_LINE`] bytes, which was skipped.
    TooLong,
    Unreadable(std::io::Error),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    #[serde(default)]
    id: Json,
    image: Json,
    #[serde(default)]
    output_dir: Option<PathBuf>,
}

/// The answer to a request.
#[derive(Serialize)]
struct Answer {
    id: Json,
    status: CaseStatus,
    outputs: Vec<String>,
    seconds: f64,
    error: Option<ErrorRecord>,
}

impl Answer {
    fn new(id: Json, report: &CaseReport) -> Answer {
        Answer {
            id,
            status: report.status(),
            outputs: report.outputs.iter().map(|path| path.display().to_string()).collect(),
            seconds: report.clock.total().as_secs_f64(),
            error: report.error.as_ref().map(ErrorRecord::from),
        }
    }
    fn failed(id: Json, error: &Error) -> Answer {
        let status = match error.get_kind() {
            Kind::Cancelled => CaseStatus::Interrupted,
            _ => CaseStatus::Failed,
        };
        Answer { id, status, outputs: vec![], seconds: 0.0, error: Some(error.into()) }
    }
}

/// Answers requests until the end of the input.
pub fn worker(argv: &[String], rules: Rules, options: RunOptions, console: &Console) -> Result<()> {
    let mut warn = super::console::warn;
    let Some((_, plan, context)) = super::run::start(&ARGS, argv, rules, options, console, &mut warn)? else {
        return Ok(());
    };
    // Only answers are written to standard output: `print` in a config and libraries write to stderr from here on.
    let mut out = segbundle_native::take_stdout().map_err(|error| err!("cannot use standard output: {error}"))?;
    let mut answer = |engine: &dyn Engine, start: &Arc<EngineStart>| answer_all(engine, start, &mut out);
    workflow::with_engines(plan, &context, &mut answer, &mut warn)
}

fn answer_all(engine: &dyn Engine, start: &Arc<EngineStart>, out: &mut File) -> Result<()> {
    let mut serve = engine.serve(start)?;
    let (send, lines) = sync_channel(1);
    // Blocked in a read when the worker is interrupted; it ends with the process.
    std::thread::Builder::new().name("requests".into()).spawn(move || read_lines(&send))?;
    tracing::info!("waiting for requests");
    let mut number = 0usize;
    while let Some(line) = next(&lines, start)? {
        number += 1;
        let answer = match request(line) {
            Ok(None) => continue,
            Ok(Some((id, request))) => match serve(request) {
                Ok(report) => Answer::new(id, &report),
                Err(error) => Answer::failed(id, &error),
            },
            Err((id, error)) => Answer::failed(id, &error.context(format_args!("request in line {number}"))),
        };
        let text = serde_json::to_string(&answer)? + "\n";
        out.write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .map_err(|error| err!("cannot write the answer to request {}: {error}", answer.id))?;
    }
    Ok(())
}

/// The next line; `None` at the end of the input.
///
/// # Errors
/// An interrupt; the input cannot be read.
fn next(lines: &Receiver<Line>, start: &EngineStart) -> Result<Option<Line>> {
    loop {
        if start.run.cancel.load(Ordering::Relaxed) {
            return Err(err!("interrupted").kind(Kind::Cancelled));
        }
        match lines.recv_timeout(POLL_EVERY) {
            Ok(Line::Unreadable(error)) => return Err(err!("cannot read requests: {error}")),
            Ok(line) => return Ok(Some(line)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
        }
    }
}

fn read_lines(send: &SyncSender<Line>) {
    let mut input = BufReader::new(std::io::stdin().lock());
    loop {
        let line = match read_line(&mut input) {
            Ok(None) => return,
            Ok(Some(line)) => line,
            Err(error) => Line::Unreadable(error),
        };
        let last = matches!(line, Line::Unreadable(_));
        if send.send(line).is_err() || last {
            return;
        }
    }
}

/// Reads a line with bounded memory; `None` at the end.
fn read_line(input: &mut impl BufRead) -> std::io::Result<Option<Line>> {
    let mut text = vec![];
    if input.by_ref().take(MAX_LINE as u64 + 1).read_until(b'\n', &mut text)? == 0 {
        return Ok(None);
    }
    if text.len() <= MAX_LINE || text.ends_with(b"\n") {
        return Ok(Some(Line::Text(text)));
    }
    loop {
        let buffer = input.fill_buf()?;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let (used, last) = (end.map_or(buffer.len(), |at| at + 1), end.is_some() || buffer.is_empty());
        input.consume(used);
        if last {
            return Ok(Some(Line::TooLong));
        }
    }
}

/// The request in a line, with its id; `None` for an empty line.
fn request(line: Line) -> Result<Option<(Json, CaseRequest)>, (Json, Error)> {
    let text = match line {
        Line::Text(text) => text,
        _ => return Err((Json::Null, err!("expected at most {MAX_LINE} bytes, found more"))),
    };
    if text.trim_ascii().is_empty() {
        return Ok(None);
    }
    let expected = |error: serde_json::Error| {
        err!("expected an object: {error}").hint("such as {\"id\": 1, \"image\": \"a.nii.gz\"}")
    };
    let json: Json = serde_json::from_slice(&text).map_err(|error| (Json::Null, expected(error)))?;
    let id = json.get("id").cloned().unwrap_or_default();
    let Request { id, image, output_dir } =
        serde_json::from_value(json).map_err(|error| (id.clone(), expected(error)))?;
    match entry_of(&image) {
        Ok(entry) => Ok(Some((id, CaseRequest { entry, output_dir }))),
        Err(error) => Err((id, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_skipped_with_bounded_memory() {
        let long = "x".repeat(MAX_LINE + 7);
        let text = format!("one\n{long}\ntwo\n{}\nlast", &long[..MAX_LINE]);
        let mut input = BufReader::with_capacity(100, text.as_bytes());
        let mut seen = vec![];
        while let Some(line) = read_line(&mut input).unwrap() {
            seen.push(match line {
                Line::Text(text) => String::from_utf8(text).unwrap().trim_end().len(),
                _ => 0,
            });
        }
        assert_eq!(seen, [3, 0, 3, MAX_LINE, 4]);
    }
}
