//! Converts panics of tch into errors: tch's non-`f_` calls panic when libtorch throws.

use crate::err;
use crate::error::{Error, Result, SMALLER};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `work` and converts a panic into an [`Error`] with libtorch's message, without its C++ backtrace.
///
/// After an error the caller must not use values that `work` changed.
pub fn guard<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(from_panic(&*panic)))
}

/// The result of a finished thread, with a panic as an [`Error`].
pub fn joined<T>(ended: std::thread::Result<T>) -> Result<T> {
    ended.map_err(|panic| from_panic(&*panic).context("a thread of the run failed"))
}

fn from_panic(panic: &(dyn std::any::Any + Send)) -> Error {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("unknown failure");
    // tch's `unwrap` prints the Debug form of `TchError` with escaped line breaks.
    let text = text.split("\\nException raised from").next().unwrap_or(text);
    let text = text.split("\nException raised from").next().unwrap_or(text);
    let text = text.rsplit("Torch(\"").next().unwrap_or(text).trim_end_matches("\")");
    if text.contains("not enough memory") || text.contains("bad alloc") || text.contains("out of memory") {
        return Error::memory(format!("out of memory: {}", text.trim()), SMALLER);
    }
    err!("libtorch: {}", text.trim())
}
