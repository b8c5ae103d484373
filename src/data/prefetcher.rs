//! [`Prefetcher`]: an ordered queue that worker threads fill in advance, bounded in items and bytes.

use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;

/// Queue of numbered items that several threads produce and one consumes in order.
///
/// Producers begin at most `count` items from the next one on. They do not begin an item that would exceed
/// `capacity_bytes`, assuming that it is as large as the largest so far. The next item can always begin; until its size
/// is known, the first item is the only one in progress.
pub struct Prefetcher<T> {
    state: Mutex<PrefetcherState<T>>,
    changed: Condvar,
    count: usize,
    capacity_bytes: u64,
}

struct PrefetcherState<T> {
    /// Number of the next item to take.
    next: usize,
    ready: BTreeMap<usize, (T, u64)>,
    /// Bytes of ready items, plus the bytes reserved for items in progress.
    held_bytes: u64,
    /// `None` before the first item is added.
    largest_bytes: Option<u64>,
    closed: bool,
}

impl<T> Prefetcher<T> {
    /// Creates a queue whose first item has the number `first`.
    pub fn new(first: usize, count: usize, capacity_bytes: u64) -> Self {
        let state =
            PrefetcherState { next: first, ready: BTreeMap::new(), held_bytes: 0, largest_bytes: None, closed: false };
        Prefetcher { state: Mutex::new(state), changed: Condvar::new(), count: count.max(1), capacity_bytes }
    }

    /// Waits until item `index` may begin, and returns the bytes reserved for it; `None` once closed.
    pub fn begin(&self, index: usize) -> Option<u64> {
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return None;
            }
            let near = index < state.next + self.count;
            let fits = state.largest_bytes.is_some_and(|bytes| state.held_bytes + bytes <= self.capacity_bytes);
            if index == state.next || near && fits {
                let reserved = state.largest_bytes.unwrap_or(0);
                state.held_bytes += reserved;
                return Some(reserved);
            }
            self.changed.wait(&mut state);
        }
    }

    /// Adds a finished item; `reserved` is the result of [`Prefetcher::begin`].
    pub fn put(&self, index: usize, item: T, bytes: u64, reserved: u64) {
        let mut state = self.state.lock();
        state.held_bytes = state.held_bytes - reserved + bytes;
        state.largest_bytes = state.largest_bytes.max(Some(bytes));
        state.ready.insert(index, (item, bytes));
        self.changed.notify_all();
    }

    /// Waits for the next item; `None` once closed.
    pub fn take(&self) -> Option<T> {
        let mut state = self.state.lock();
        loop {
            let next = state.next;
            if let Some((item, bytes)) = state.ready.remove(&next) {
                state.next += 1;
                state.held_bytes -= bytes;
                self.changed.notify_all();
                return Some(item);
            }
            if state.closed {
                return None;
            }
            self.changed.wait(&mut state);
        }
    }

    /// Ends all waiting: no further items begin, and only ready items can be taken.
    pub fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    #[test]
    fn items_come_in_order_within_the_byte_limit() {
        let most = AtomicU64::new(0);
        let prefetcher = Prefetcher::new(0, 8, 50);
        // The first item sets the expected size.
        let reserved = prefetcher.begin(0).unwrap();
        prefetcher.put(0, 0, 10, reserved);
        let (most, prefetcher) = (&most, &prefetcher);
        std::thread::scope(|scope| {
            for lane in 0..4 {
                scope.spawn(move || {
                    for index in (1..40).filter(|index| index % 4 == lane) {
                        let reserved = prefetcher.begin(index).unwrap();
                        most.fetch_max(prefetcher.state.lock().held_bytes, Ordering::SeqCst);
                        std::thread::sleep(Duration::from_micros(300 * (40 - index as u64) / 10));
                        prefetcher.put(index, index, 10, reserved);
                    }
                });
            }
            let taken: Vec<usize> = (0..40).filter_map(|_| prefetcher.take()).collect();
            assert_eq!(taken, (0..40).collect::<Vec<_>>());
        });
        // The next item may begin beyond the capacity.
        assert!((20..=60).contains(&most.load(Ordering::SeqCst)), "{most:?}");
    }

    #[test]
    fn workers_that_start_together_stay_within_the_byte_limit() {
        let (in_progress, most) = (AtomicU64::new(0), AtomicU64::new(0));
        let prefetcher = Prefetcher::new(0, 8, 25);
        let (in_progress, most, prefetcher) = (&in_progress, &most, &prefetcher);
        std::thread::scope(|scope| {
            for index in 0..8 {
                scope.spawn(move || {
                    let reserved = prefetcher.begin(index).unwrap();
                    most.fetch_max(in_progress.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(5));
                    in_progress.fetch_sub(1, Ordering::SeqCst);
                    prefetcher.put(index, index, 10, reserved);
                });
            }
            let taken: Vec<usize> = (0..8).filter_map(|_| prefetcher.take()).collect();
            assert_eq!(taken, (0..8).collect::<Vec<_>>());
        });
        // Two items fit, and the next one may begin beyond the capacity.
        assert!(most.load(Ordering::SeqCst) <= 3, "{most:?}");
    }

    #[test]
    fn an_item_above_the_byte_limit_passes_alone() {
        let prefetcher = Prefetcher::new(5, 4, 5);
        for expected in 5..8 {
            let reserved = prefetcher.begin(expected).unwrap();
            prefetcher.put(expected, expected, 100, reserved);
            assert_eq!(prefetcher.take(), Some(expected));
        }
    }

    #[test]
    fn closing_ends_both_sides() {
        let prefetcher: Prefetcher<()> = Prefetcher::new(0, 1, 5);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| prefetcher.begin(3));
            prefetcher.close();
            assert!(waiting.join().unwrap().is_none());
        });
        assert!(prefetcher.begin(0).is_none() && prefetcher.take().is_none());
    }
}
