//! Results that wait to be written, bounded in bytes.

use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::time::Duration;

/// Items that wait in order for one thread; together at most `capacity_bytes`, the one at work included, but always one.
pub struct WriteBehind<T> {
    state: Mutex<WriteBehindState<T>>,
    changed: Condvar,
    capacity_bytes: u64,
}

struct WriteBehindState<T> {
    waiting: VecDeque<(T, u64)>,
    /// Bytes of the item that was taken last.
    at_work_bytes: u64,
    held_bytes: u64,
    closed: bool,
}

/// What [`WriteBehind::take`] found.
pub enum NextWrite<T> {
    Item(T),
    /// Nothing came in time.
    Nothing,
    /// Nothing will come.
    Closed,
}

impl<T> WriteBehind<T> {
    pub fn new(capacity_bytes: u64) -> Self {
        let state = WriteBehindState { waiting: VecDeque::new(), at_work_bytes: 0, held_bytes: 0, closed: false };
        WriteBehind { state: Mutex::new(state), changed: Condvar::new(), capacity_bytes }
    }

    /// Wait for room and leave an item.
    pub fn put(&self, item: T, bytes: u64) {
        let mut state = self.state.lock();
        while state.held_bytes > 0 && state.held_bytes + bytes > self.capacity_bytes {
            self.changed.wait(&mut state);
        }
        state.held_bytes += bytes;
        state.waiting.push_back((item, bytes));
        self.changed.notify_all();
    }

    /// Wait until at most `bytes` are held.
    pub fn wait_below(&self, bytes: u64) {
        let mut state = self.state.lock();
        while state.held_bytes > bytes && !state.closed {
            self.changed.wait(&mut state);
        }
    }

    /// The next item. Taking one says that the one before is done with.
    pub fn take(&self, patience: Duration) -> NextWrite<T> {
        let mut state = self.state.lock();
        state.held_bytes -= std::mem::take(&mut state.at_work_bytes);
        self.changed.notify_all();
        loop {
            if let Some((item, bytes)) = state.waiting.pop_front() {
                state.at_work_bytes = bytes;
                return NextWrite::Item(item);
            }
            if state.closed {
                return NextWrite::Closed;
            }
            if self.changed.wait_for(&mut state, patience).timed_out() && state.waiting.is_empty() && !state.closed {
                return NextWrite::Nothing;
            }
        }
    }

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
    fn results_wait_for_the_writer_to_be_done_with_bytes() {
        let behind = WriteBehind::new(25);
        let most = AtomicU64::new(0);
        let held = AtomicU64::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for item in 0..30 {
                    behind.put(item, 10);
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
                    NextWrite::Nothing => {}
                    NextWrite::Closed => break,
                }
            }
            assert_eq!(seen, (0..30).collect::<Vec<_>>());
        });
        assert!(most.load(Ordering::SeqCst) <= 30, "{most:?}");
    }

    #[test]
    fn reading_waits_until_little_is_to_be_written() {
        let behind = WriteBehind::new(100);
        let written = AtomicUsize::new(0);
        behind.put(1, 50);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                behind.wait_below(20);
                written.load(Ordering::SeqCst)
            });
            assert!(matches!(behind.take(Duration::from_secs(1)), NextWrite::Item(1)));
            written.store(1, Ordering::SeqCst);
            // Only now is the item done with.
            assert!(matches!(behind.take(Duration::from_millis(1)), NextWrite::Nothing));
            assert_eq!(reader.join().unwrap(), 1);
        });
        behind.put(2, 50);
        behind.close();
        behind.wait_below(20);
    }
}
