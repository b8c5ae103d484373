//! What a person sees on stderr: log lines, and progress bars where stderr is a terminal.

use crate::contracts::{CaseReport, CaseStatus, Observer, Progress, Stage};
use crate::error::Error;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use parking_lot::Mutex;
use std::io::{IsTerminal, Write, stderr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone)]
pub struct Console {
    /// `None` where stderr is no terminal.
    bars: Option<MultiProgress>,
    level: LevelFilter,
    /// Whether the level was asked for on the command line.
    chosen: bool,
    json: bool,
    /// Changes the level of the log that was set up.
    reload: Arc<OnceLock<Reload>>,
}

type Reload = Box<dyn Fn(EnvFilter) + Send + Sync>;

impl Console {
    pub fn new(verbose: u8, quiet: bool, json: bool) -> Console {
        let level = match (quiet, verbose) {
            (true, _) => LevelFilter::WARN,
            (_, 0) => LevelFilter::INFO,
            (_, 1) => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        };
        Console {
            bars: (stderr().is_terminal() && !quiet && !json).then(MultiProgress::new),
            level,
            chosen: quiet || verbose > 0,
            json,
            reload: Arc::default(),
        }
    }

    pub fn init_log(&self) {
        let log = tracing_subscriber::fmt().with_target(false).with_ansi(stderr().is_terminal()).with_writer(self.clone());
        // A second initialisation can only come from a test in the same process; the first one stays.
        let filter = EnvFilter::new(self.level.to_string());
        let _ = if self.json {
            let log = log.json().flatten_event(true).with_current_span(false).with_env_filter(filter).with_filter_reloading();
            let handle = log.reload_handle();
            let _ = self.reload.set(Box::new(move |filter| drop(handle.reload(filter))));
            log.try_init()
        } else {
            let log = log.compact().with_env_filter(filter).with_filter_reloading();
            let handle = log.reload_handle();
            let _ = self.reload.set(Box::new(move |filter| drop(handle.reload(filter))));
            log.try_init()
        };
    }

    /// The level that a logging.conf gives to its root, by Python's name; -v and -q on the command line win.
    pub fn follow(&self, python_level: &str) {
        let level = match python_level {
            "DEBUG" => LevelFilter::DEBUG,
            "WARNING" | "WARN" => LevelFilter::WARN,
            "ERROR" | "CRITICAL" | "FATAL" => LevelFilter::ERROR,
            _ => LevelFilter::INFO,
        };
        if let (false, Some(reload)) = (self.chosen, self.reload.get()) {
            reload(EnvFilter::new(level.to_string()));
        }
    }

    /// The error as a person should read it.
    pub fn error(&self, error: &Error) {
        if self.json {
            tracing::error!("{error}");
        } else {
            let _ = writeln!(self.make_writer(), "error: {error}");
        }
    }
}

/// Writes above the progress bars.
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

/// Reports a run: a bar for the windows of the case in the network, a line for each finished case.
pub struct RunReport {
    console: Console,
    /// Cases that are in the network, with their bars.
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
                let style = ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len} windows, {elapsed} (still {eta}) {msg}");
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
                bar.set_prefix(format!("[{}/{total}]", index + 1));
                bar.set_message(name.to_owned());
                self.bars.lock().push((index, bar.clone()));
                Arc::new(Bar(bar))
            }
            None => {
                tracing::info!("[{}/{total}] {name}", index + 1);
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
        let place = format!("[{}/{}]", report.index + 1, report.total);
        match &report.error {
            Some(_) if report.status() == CaseStatus::Interrupted => tracing::warn!("{place} {}: interrupted", report.name),
            None if report.skipped => tracing::info!("{place} {}: its result is there already", report.name),
            Some(error) => tracing::error!("{place} {}: {error}", report.name),
            None => {
                let outputs: Vec<String> = report.outputs.iter().map(|path| path.display().to_string()).collect();
                tracing::info!("{place} {} -> {}", report.name, if outputs.is_empty() { "no file".into() } else { outputs.join(", ") });
                tracing::info!("{}", latencies(report));
            }
        }
    }
}

/// Busy seconds by stage, as MONAI Label prints them, and the process's peak memory so far.
fn latencies(report: &CaseReport) -> String {
    let seconds = |stage| report.clock.get(stage);
    let show = |elapsed: Duration| format!("{:.4}", elapsed.as_secs_f64());
    // What takes no time of its own was computed together with the windows.
    let post = match seconds(Stage::Post) {
        post if post < Duration::from_millis(1) => "0 (fused into Inferer)".into(),
        post => show(post),
    };
    format!(
        "++ Latencies => Total: {}; Pre: {}; Inferer: {}; Invert: {}; Post: {post}; Write: {}; peak memory {:.2} GB",
        show(report.elapsed),
        show(seconds(Stage::Pre)),
        show(seconds(Stage::Inferer)),
        show(seconds(Stage::Invert)),
        show(seconds(Stage::Write)),
        crate::env::peak_memory_bytes() as f64 / 1e9,
    )
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
