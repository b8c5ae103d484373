//! tch's plain calls panic when libtorch throws. At a few doors such a panic becomes an error.

use crate::err;
use crate::error::{Error, Result};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Run `work`; a panic inside becomes an [`Error`] with libtorch's message, without its C++ backtrace.
///
/// The caller drops whatever `work` may have left half done: nothing that it changed is used after an error.
pub fn guard<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(from_panic(&*panic)))
}

fn from_panic(panic: &(dyn std::any::Any + Send)) -> Error {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("unknown failure");
    // tch's unwrap prints TchError's Debug form with escaped line ends.
    let text = text.split("\\nException raised from").next().unwrap_or(text);
    let text = text.split("\nException raised from").next().unwrap_or(text);
    let text = text.rsplit("Torch(\"").next().unwrap_or(text);
    if text.contains("not enough memory") || text.contains("bad alloc") || text.contains("out of memory") {
        return err!("out of memory: {}", text.trim());
    }
    err!("libtorch: {}", text.trim())
}
