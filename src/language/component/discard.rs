//! Drops deeply nested values without recursion for each level.

use std::any::Any;
use std::cell::{Cell, RefCell};

/// Levels that are dropped recursively before the rest is deferred.
const AT_ONCE: u32 = 32;

thread_local! {
    static LEVEL: Cell<u32> = const { Cell::new(0) };
    static WAITING: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) };
}

/// Drop `value`, now or after the drops in progress have finished. Types that contain values call this in their `drop`,
/// so that a chain of a million lists, closures or iterators is dropped level by level.
pub fn discard<T: 'static>(value: T) {
    // Thread-local variables are destroyed when the thread exits; remaining values are then dropped recursively.
    let Ok(level) = LEVEL.try_with(Cell::get) else { return };
    if level >= AT_ONCE {
        let mut value = Some(value);
        let _ = WAITING.try_with(|waiting| waiting.borrow_mut().push(Box::new(value.take())));
        return;
    }
    let set = |level| LEVEL.try_with(|cell| cell.set(level)).unwrap_or_default();
    set(level + 1);
    drop(value);
    if level == 0 {
        while let Some(next) = WAITING.try_with(|waiting| waiting.borrow_mut().pop()).ok().flatten() {
            drop(next);
        }
    }
    set(level);
}
