//! Handling of Ctrl-C, SIGTERM and SIGHUP (unless ignored by nohup): the first signal stops the run at the next window
//! and keeps finished results; the second one removes temporary files, writes "interrupted" to the
//! record of the run and exits immediately. Both exit with the shell's code for the first signal: 130 for Ctrl-C, 143
//! for SIGTERM, 129 for SIGHUP.

use crate::engines::record;
use crate::env;
use crate::err;
use crate::error::{Error, Kind, Result};
use crate::formats::atomic;
use crate::run::RunContext;
use segbundle_native as native;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

/// The first signal that was received; 0 before.
static RECEIVED: AtomicI32 = AtomicI32::new(0);
/// Signals within this time count as one: `timeout` and batch systems signal a process and then its group.
const ONE_INTERRUPT: Duration = Duration::from_secs(1);

fn wanted() -> Vec<i32> {
    [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| !env::ignores_signal(*signal)).collect()
}

fn failed(error: std::io::Error) -> Error {
    err!("cannot catch interrupts: {error}").kind(Kind::Run)
}

/// Block the signals before libtorch starts a thread, so that only the thread of [`stop_on_signals`] receives them.
pub fn hold_signals() -> Result<()> {
    native::block_signals(&wanted()).map_err(failed)
}

/// The signals that end a server or the ranks of a run.
pub struct StopSignals(Signals);

/// Catches the signals from now on.
pub fn stop_signals() -> Result<StopSignals> {
    Signals::new(wanted()).map(StopSignals).map_err(failed)
}

impl StopSignals {
    /// The signals since the last call.
    pub fn received(&mut self) -> Vec<i32> {
        let signals: Vec<i32> = self.0.pending().collect();
        if let Some(first) = signals.first() {
            let _ = RECEIVED.compare_exchange(0, *first, Ordering::Relaxed, Ordering::Relaxed);
        }
        signals
    }
    /// Waits for a signal.
    pub fn wait(mut self) {
        let _ = self.0.forever().next();
    }
}

/// Exit code of a program that ends with `error`.
pub fn exit_code(error: &Error) -> u8 {
    match (error.get_kind(), RECEIVED.load(Ordering::Relaxed)) {
        (Kind::Cancelled, signal) if signal > 0 => (128 + signal) as u8,
        _ => error.exit_code(),
    }
}

/// Stops the run at the first signal, and the process at the second.
pub fn stop_on_signals(run: &RunContext) -> Result<()> {
    let (cancel, step, record) = (run.cancel.clone(), run.step.clone(), run.record.clone());
    let wanted = wanted();
    let mut signals = Signals::new(&wanted).map_err(failed)?;
    let watch = move || {
        if let Err(error) = native::unblock_signals(&wanted) {
            tracing::warn!("cannot receive interrupts: {error}");
        }
        let mut first: Option<Instant> = None;
        for signal in signals.forever() {
            match first {
                Some(first) if first.elapsed() < ONE_INTERRUPT => continue,
                Some(_) => {
                    atomic::remove_live();
                    if let Some(Err(error)) = record.lock().as_deref().map(record::mark_interrupted) {
                        tracing::warn!("cannot write the record of the run: {error}");
                    }
                    // Skip exit handlers of libraries whose threads are still running.
                    signal_hook::low_level::exit(128 + RECEIVED.load(Ordering::Relaxed));
                }
                None => first = Some(Instant::now()),
            }
            RECEIVED.store(signal, Ordering::Relaxed);
            cancel.store(true, Ordering::Relaxed);
            tracing::warn!("stopping after this {}; interrupt again to exit immediately", *step.lock());
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(watch).map(drop).map_err(failed)
}
