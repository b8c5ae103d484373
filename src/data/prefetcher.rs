//! Items made by several threads ahead of the one that takes them, bounded in number and bytes.

use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;

/// Items 0, 1, 2 … that several threads make and one takes in order.
///
/// At most `count` items from the next one on are begun, and none that would make all of them larger than
/// `capacity_bytes` if it is as large as the largest so far. The next item is always begun, whatever its size.
pub struct Prefetcher<T> {
    state: Mutex<PrefetcherState<T>>,
    changed: Condvar,
    count: usize,
    capacity_bytes: u64,
}

struct PrefetcherState<T> {
    /// The next item to be taken.
    next: usize,
    ready: BTreeMap<usize, (T, u64)>,
    /// Bytes of what is ready, and of what is being made as far as that is known.
    held_bytes: u64,
    largest_bytes: u64,
    closed: bool,
}

impl<T> Prefetcher<T> {
    /// Items from `first` on.
    pub fn new(first: usize, count: usize, capacity_bytes: u64) -> Self {
        let state =
            PrefetcherState { next: first, ready: BTreeMap::new(), held_bytes: 0, largest_bytes: 0, closed: false };
        Prefetcher { state: Mutex::new(state), changed: Condvar::new(), count: count.max(1), capacity_bytes }
    }

    /// Wait for room for item `index`; the bytes set aside for it. `None`: closed.
    pub fn begin(&self, index: usize) -> Option<u64> {
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return None;
            }
            let near = index < state.next + self.count;
            if index == state.next || near && state.held_bytes + state.largest_bytes <= self.capacity_bytes {
                let aside = state.largest_bytes;
                state.held_bytes += aside;
                return Some(aside);
            }
            self.changed.wait(&mut state);
        }
    }

    /// Hand over an item; `aside` is what [`Prefetcher::begin`] set aside for it.
    pub fn put(&self, index: usize, item: T, bytes: u64, aside: u64) {
        let mut state = self.state.lock();
        state.held_bytes = state.held_bytes - aside + bytes;
        state.largest_bytes = state.largest_bytes.max(bytes);
        state.ready.insert(index, (item, bytes));
        self.changed.notify_all();
    }

    /// The next item, once it is made; `None` once closed.
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

    /// Nothing more is begun, and nothing taken that is not ready.
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
    fn items_come_in_order_and_stay_within_the_bytes() {
        let most = AtomicU64::new(0);
        let prefetcher = Prefetcher::new(0, 8, 50);
        // The first one shows the size.
        let aside = prefetcher.begin(0).unwrap();
        prefetcher.put(0, 0, 10, aside);
        let (most, prefetcher) = (&most, &prefetcher);
        std::thread::scope(|scope| {
            for lane in 0..4 {
                scope.spawn(move || {
                    for index in (1..40).filter(|index| index % 4 == lane) {
                        let aside = prefetcher.begin(index).unwrap();
                        most.fetch_max(prefetcher.state.lock().held_bytes, Ordering::SeqCst);
                        std::thread::sleep(Duration::from_micros(300 * (40 - index as u64) / 10));
                        prefetcher.put(index, index, 10, aside);
                    }
                });
            }
            let taken: Vec<usize> = (0..40).filter_map(|_| prefetcher.take()).collect();
            assert_eq!(taken, (0..40).collect::<Vec<_>>());
        });
        // The item that is waited for may come on top.
        assert!((20..=60).contains(&most.load(Ordering::SeqCst)), "{most:?}");
    }

    #[test]
    fn an_item_larger_than_the_bound_passes_alone() {
        let prefetcher = Prefetcher::new(5, 4, 5);
        for expected in 5..8 {
            let aside = prefetcher.begin(expected).unwrap();
            prefetcher.put(expected, expected, 100, aside);
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
