//! Ctrl-C and SIGTERM (and SIGHUP, unless nohup has put it out of action): the first lets the run stop at the next
//! window, with finished results kept; the second ends the process at once, still without temporary files.

use crate::env;
use crate::err;
use crate::error::{Error, Kind, Result};
use crate::formats::atomic;
use segbundle_native as native;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Exit code of an interrupted run, whichever signal it was.
const INTERRUPTED: i32 = 130;

fn wanted() -> Vec<i32> {
    [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| !env::ignores_signal(*signal)).collect()
}

fn failed(error: std::io::Error) -> Error {
    err!("cannot catch interrupts: {error}").kind(Kind::Run)
}

/// Before libtorch starts any thread: signals wait for the one that [`stop_on_signals`] starts.
pub fn hold_signals() -> Result<()> {
    native::block_signals(&wanted()).map_err(failed)
}

pub fn stop_on_signals(cancel: Arc<AtomicBool>) -> Result<()> {
    let wanted = wanted();
    let mut signals = Signals::new(&wanted).map_err(failed)?;
    let watch = move || {
        if let Err(error) = native::unblock_signals(&wanted) {
            tracing::warn!("interrupts are not noticed: {error}");
        }
        for _ in signals.forever() {
            if cancel.swap(true, Ordering::Relaxed) {
                atomic::remove_live();
                // Without the exit handlers of libraries that are at work on other threads.
                signal_hook::low_level::exit(INTERRUPTED);
            }
            tracing::warn!("stopping after this window; interrupt again to stop at once");
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(watch).map(drop).map_err(failed)
}
