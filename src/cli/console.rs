//! Output on stderr: log lines, and progress bars if stderr is a terminal.

use super::log::Log;
use crate::bundle::{LoggingConf, Warning};
use crate::contracts::{CaseReport, CaseStatus, Observer, Progress, Stage};
use crate::error::{Error, Result};
use crate::{log_error, text};
use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use parking_lot::Mutex;
use std::collections::HashSet;
use std::fmt::{self, Debug};
use std::io::{IsTerminal, Write, stderr};
use std::path::Path;
use std::sync::Arc;
use tracing::field::Field;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, dynamic_filter_fn};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, MakeWriter};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

#[derive(Clone)]
pub struct Console {
    /// Progress bars; `None` if stderr is not a terminal.
    bars: Option<MultiProgress>,
    level: LevelFilter,
    /// Whether log lines are JSON objects.
    json: bool,
    /// Whether -v or -q set the level of the console.
    forced: bool,
    /// The log lines that are text.
    log: Log,
}

impl Console {
    pub fn new(verbose: bool, quiet: bool, json: bool) -> Console {
        let level = match (quiet, verbose) {
            (true, _) => LevelFilter::WARN,
            (_, true) => LevelFilter::DEBUG,
            (_, false) => LevelFilter::INFO,
        };
        let bars = (stderr().is_terminal() && !quiet && !json).then(MultiProgress::new);
        Console { bars, level, json, forced: quiet || verbose, log: Log::default() }
    }

    pub fn init_log(&self) {
        let lines = tracing_subscriber::fmt::layer().with_target(false).with_ansi(false).with_writer(self.clone());
        let json = lines.json().flatten_event(true).with_current_span(false).map_event_format(JsonLines);
        let json = self.json.then(|| json.with_filter(self.level));
        let (log, level) = (self.log.clone(), self.level);
        let text = self.log.clone();
        let text = text.with_filter(dynamic_filter_fn(move |meta, _| log.is_configured() || *meta.level() <= level));
        self.log.start(self, self.number());
        // Only a test in the same process can initialize a second time; the first one remains in effect.
        let _ = tracing_subscriber::registry().with(json).with(text).with(WarnOnce::default()).try_init();
    }

    /// The level as a number of Python's `logging`.
    fn number(&self) -> i64 {
        match self.level {
            LevelFilter::WARN => 30,
            LevelFilter::INFO => 20,
            _ => 10,
        }
    }

    /// Whether stderr shows JSON lines, which logging.conf does not affect.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Configure the log from logging.conf. -v and -q still determine the level of the console, and JSON lines are
    /// still written to stderr, in addition to the files of logging.conf.
    pub fn apply_logging(&self, conf: LoggingConf) -> Result<()> {
        self.log.apply(conf, self, self.forced.then_some(self.number()))
    }

    /// A progress bar for the bytes of a file; hidden if there are no bars.
    pub fn byte_bar(&self, file: &Path) -> ProgressBar {
        let Some(bars) = &self.bars else { return ProgressBar::hidden() };
        let style =
            ProgressStyle::with_template("{prefix} {bar:30} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left");
        let bar = bars.add(ProgressBar::new(0));
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_prefix(file.file_name().unwrap_or_default().display().to_string());
        bar
    }

    /// Print an error.
    pub fn error(&self, error: &Error) {
        if self.json {
            log_error!(error, error, "{}", error.message());
        } else {
            let _ = writeln!(self.make_writer(), "error: {error}");
        }
    }
}

/// Logs a warning.
pub fn warn(warning: &Warning) {
    log_error!(warn, warning, "{}", warning.message());
}

/// Drops warnings that were logged before, word for word, such as those of every epoch. Those of a named logger are
/// all logged, as in Python: they come from the config.
#[derive(Default)]
struct WarnOnce(Mutex<HashSet<String>>);

impl WarnOnce {
    /// Maximum number of warnings to remember; later ones are all logged.
    const MOST: usize = 10_000;
}

impl<S: Subscriber> Layer<S> for WarnOnce {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() != Level::WARN || metadata.fields().field("logger").is_some() {
            return true;
        }
        let mut text = String::new();
        event.record(&mut |field: &Field, value: &dyn Debug| text += &format!("{}: {value:?}\n", field.name()));
        let mut logged = self.0.lock();
        logged.len() >= WarnOnce::MOST || logged.insert(text)
    }
}

/// Writes an event as a JSON object. The field `outputs`, which holds a JSON array as text, becomes an array.
struct JsonLines<F>(F);

impl<S, N, F> FormatEvent<S, N> for JsonLines<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, cx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        if event.metadata().fields().field("outputs").is_none() {
            return self.0.format_event(cx, writer, event);
        }
        let mut text = String::new();
        self.0.format_event(cx, Writer::new(&mut text), event)?;
        let mut line: serde_json::Value = serde_json::from_str(&text).map_err(|_| fmt::Error)?;
        if let Some(list) = line["outputs"].as_str().and_then(|list| serde_json::from_str(list).ok()) {
            line["outputs"] = list;
        }
        writeln!(writer, "{line}")
    }
}

/// Writes lines above the progress bars.
pub struct Line(Console);

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match &self.0.bars {
            Some(bars) => bars.suspend(|| stderr().write(bytes)),
            None => stderr().write(bytes),
        }
    }
    fn flush(&mut self) -> std::io::Result<()> {
        stderr().flush()
    }
}

impl<'a> MakeWriter<'a> for Console {
    type Writer = Line;
    fn make_writer(&'a self) -> Line {
        Line(self.clone())
    }
}

/// Reports the progress of a run: a bar for the windows of the current case, a log line for each finished case.
pub struct RunReport {
    console: Console,
    /// Index and progress bar of each case in inference.
    bars: Mutex<Vec<(usize, ProgressBar)>>,
}

impl RunReport {
    pub fn new(console: Console) -> RunReport {
        RunReport { console, bars: Mutex::new(vec![]) }
    }
}

impl Observer for RunReport {
    fn case_started(&self, name: &str, index: usize, total: usize) -> Arc<dyn Progress> {
        match &self.console.bars {
            Some(bars) => {
                let bar = bars.add(ProgressBar::new(0));
                let style = ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len} windows, {left} left  {msg}");
                let left = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                    let _ = out.write_str(&text::duration(state.eta()));
                };
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).with_key("left", left));
                bar.set_prefix(format!("[{}/{total}]", index + 1));
                bar.set_message(text::printable(name).into_owned());
                self.bars.lock().push((index, bar.clone()));
                Arc::new(Bar(bar))
            }
            None => {
                let index = index + 1;
                tracing::info!(case = name, index, total, "[{index}/{total}] {name}");
                Arc::new(crate::contracts::NoProgress)
            }
        }
    }

    fn case_finished(&self, report: &CaseReport) {
        let mut bars = self.bars.lock();
        if let Some(at) = bars.iter().position(|(index, _)| *index == report.index) {
            bars.swap_remove(at).1.finish_and_clear();
        }
        drop(bars);
        let (case, index, total) = (&*report.name, report.index + 1, report.total);
        let (place, seconds) = (format!("[{index}/{total}]"), report.clock.total().as_secs_f64());
        match &report.error {
            Some(_) if report.status() == CaseStatus::Interrupted => {
                tracing::warn!(case, index, total, status = "interrupted", "{place} {case}: interrupted")
            }
            None if report.skipped => {
                tracing::info!(case, index, total, status = "skipped", "{place} {case}: skipped, its result exists")
            }
            Some(error) => log_error!(
                error,
                error,
                { case, index, total, seconds, status = "failed", },
                "{place} {case}: {}",
                error.message()
            ),
            None => {
                let outputs: Vec<String> = report.outputs.iter().map(|path| path.display().to_string()).collect();
                if outputs.is_empty() {
                    tracing::info!(case, index, total, seconds, status = "done", "{place} {case}: done");
                } else {
                    let list = serde_json::json!(outputs).to_string();
                    let outputs = outputs.join(", ");
                    tracing::info!(
                        case,
                        index,
                        total,
                        seconds,
                        outputs = list,
                        status = "done",
                        "{place} {case} -> {outputs}"
                    );
                }
                log_latencies(report);
            }
        }
    }
}

/// Logs the seconds spent in each stage, in the format of MONAI Label, and the peak memory of the process so far.
/// Operations that are fused with the windows (softmax, argmax) count as Inferer, not as Post.
fn log_latencies(report: &CaseReport) {
    let seconds = |stage| report.clock.get(stage).as_secs_f64();
    let [pre, inferer, invert, post, write] =
        [Stage::Pre, Stage::Inferer, Stage::Invert, Stage::Post, Stage::Write].map(seconds);
    let (total, peak_memory_bytes) = (report.clock.total().as_secs_f64(), crate::env::peak_memory_bytes());
    tracing::info!(
        case = report.name,
        total_s = total,
        pre_s = pre,
        inferer_s = inferer,
        invert_s = invert,
        post_s = post,
        write_s = write,
        peak_memory_bytes,
        "++ Latencies => Total: {total:.4}; Pre: {pre:.4}; Inferer: {inferer:.4}; Invert: {invert:.4}; Post: {post:.4}; \
         Write: {write:.4}; peak memory {}",
        text::bytes(peak_memory_bytes),
    );
}

struct Bar(ProgressBar);

impl Progress for Bar {
    fn windows(&self, total: usize) {
        self.0.set_length(total as u64);
    }
    fn window_done(&self) {
        self.0.inc(1);
    }
}
