//! [`WriteBehind`]: a queue of results for the writer thread, bounded in bytes.

use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::time::Duration;

/// Ordered queue for one consumer, limited to `capacity_bytes` including the item in progress; a single item of any
/// size is accepted.
pub struct WriteBehind<T> {
    state: Mutex<WriteBehindState<T>>,
    changed: Condvar,
    capacity_bytes: u64,
}

struct WriteBehindState<T> {
    waiting: VecDeque<(T, u64)>,
    /// Bytes of the item that was taken last.
    in_progress_bytes: u64,
    /// Bytes of all waiting items and the item in progress.
    held_bytes: u64,
    closed: bool,
}

/// Result of [`WriteBehind::take`].
pub enum NextWrite<T> {
    /// The next item.
    Item(T),
    /// No item within the timeout.
    TimedOut,
    /// The queue is closed and empty.
    Closed,
}

impl<T> WriteBehind<T> {
    /// Creates an empty queue.
    pub fn new(capacity_bytes: u64) -> Self {
        let state = WriteBehindState { waiting: VecDeque::new(), in_progress_bytes: 0, held_bytes: 0, closed: false };
        WriteBehind { state: Mutex::new(state), changed: Condvar::new(), capacity_bytes }
    }

    /// Waits for capacity and appends an item. Returns false, and drops the item, once the queue is closed.
    #[must_use]
    pub fn put(&self, item: T, bytes: u64) -> bool {
        let mut state = self.state.lock();
        while !state.closed && state.held_bytes > 0 && state.held_bytes + bytes > self.capacity_bytes {
            self.changed.wait(&mut state);
        }
        if state.closed {
            return false;
        }
        state.held_bytes += bytes;
        state.waiting.push_back((item, bytes));
        self.changed.notify_all();
        true
    }

    /// Waits until at most `bytes` are queued or in progress.
    pub fn wait_below(&self, bytes: u64) {
        let mut state = self.state.lock();
        while state.held_bytes > bytes && !state.closed {
            self.changed.wait(&mut state);
        }
    }

    /// Waits for the next item, at most `timeout`. Marks the previous item as finished.
    pub fn take(&self, timeout: Duration) -> NextWrite<T> {
        let mut state = self.state.lock();
        state.held_bytes -= std::mem::take(&mut state.in_progress_bytes);
        self.changed.notify_all();
        loop {
            if let Some((item, bytes)) = state.waiting.pop_front() {
                state.in_progress_bytes = bytes;
                return NextWrite::Item(item);
            }
            if state.closed {
                return NextWrite::Closed;
            }
            if self.changed.wait_for(&mut state, timeout).timed_out() && state.waiting.is_empty() && !state.closed {
                return NextWrite::TimedOut;
            }
        }
    }

    /// Ends all waiting once the queue is empty.
    pub fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

    #[test]
    fn queued_results_stay_within_the_byte_limit() {
        let behind = WriteBehind::new(25);
        let most = AtomicU64::new(0);
        let held = AtomicU64::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for item in 0..30 {
                    assert!(behind.put(item, 10));
                    most.fetch_max(held.fetch_add(10, Ordering::SeqCst) + 10, Ordering::SeqCst);
                }
                behind.close();
            });
            let mut seen = vec![];
            loop {
                match behind.take(Duration::from_millis(1)) {
                    NextWrite::Item(item) => {
                        std::thread::sleep(Duration::from_micros(200));
                        held.fetch_sub(10, Ordering::SeqCst);
                        seen.push(item);
                    }
                    NextWrite::TimedOut => {}
                    NextWrite::Closed => break,
                }
            }
            assert_eq!(seen, (0..30).collect::<Vec<_>>());
        });
        assert!(most.load(Ordering::SeqCst) <= 30, "{most:?}");
    }

    #[test]
    fn wait_below_returns_once_the_item_in_progress_is_finished() {
        let behind = WriteBehind::new(100);
        let written = AtomicUsize::new(0);
        assert!(behind.put(1, 50));
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                behind.wait_below(20);
                written.load(Ordering::SeqCst)
            });
            assert!(matches!(behind.take(Duration::from_secs(1)), NextWrite::Item(1)));
            written.store(1, Ordering::SeqCst);
            // This call marks the item as finished.
            assert!(matches!(behind.take(Duration::from_millis(1)), NextWrite::TimedOut));
            assert_eq!(reader.join().unwrap(), 1);
        });
        assert!(behind.put(2, 50));
        behind.close();
        behind.wait_below(20);
    }

    #[test]
    fn closing_ends_a_put_that_waits_for_capacity() {
        let behind = WriteBehind::new(10);
        assert!(behind.put(1, 10));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| behind.put(2, 10));
            std::thread::sleep(Duration::from_millis(5));
            behind.close();
            assert!(!waiting.join().unwrap());
        });
    }
}
