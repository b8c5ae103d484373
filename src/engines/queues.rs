//! The two sides of the network: cases read ahead, and results that wait to be written, both bounded in bytes.

use parking_lot::{Condvar, Mutex};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Items 0, 1, 2 … made by several threads ahead of one that takes them in order.
///
/// At most `count` items exist at a time, and no item is begun that would make all of them larger than `capacity_bytes`
/// if it is as large as the largest so far. One may always exist, whatever its size.
pub struct Prefetcher<T> {
    state: Mutex<PrefetcherState<T>>,
    changed: Condvar,
    total: usize,
    count: usize,
    capacity_bytes: u64,
}

struct PrefetcherState<T> {
    begun: usize,
    taken: usize,
    ready: BTreeMap<usize, (T, u64)>,
    /// Bytes of what is ready, and of what is being made as far as that is known.
    held_bytes: u64,
    largest_bytes: u64,
    closed: bool,
}

impl<T> Prefetcher<T> {
    pub fn new(total: usize, count: usize, capacity_bytes: u64) -> Self {
        let state = PrefetcherState {
            begun: 0,
            taken: 0,
            ready: BTreeMap::new(),
            held_bytes: 0,
            largest_bytes: 0,
            closed: false,
        };
        Prefetcher { state: Mutex::new(state), changed: Condvar::new(), total, count: count.max(1), capacity_bytes }
    }

    /// Wait for room; the item to make, with the bytes set aside for it. `None`: there is nothing more to do.
    pub fn begin(&self) -> Option<(usize, u64)> {
        let mut state = self.state.lock();
        loop {
            if state.closed || state.begun == self.total {
                return None;
            }
            let exist = state.begun - state.taken;
            if exist == 0 || exist < self.count && state.held_bytes + state.largest_bytes <= self.capacity_bytes {
                let (index, aside) = (state.begun, state.largest_bytes);
                state.begun += 1;
                state.held_bytes += aside;
                return Some((index, aside));
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

    /// The next item in order; `None` after the last, or once closed.
    pub fn take(&self) -> Option<T> {
        let mut state = self.state.lock();
        loop {
            let next = state.taken;
            if let Some((item, bytes)) = state.ready.remove(&next) {
                state.taken += 1;
                state.held_bytes -= bytes;
                self.changed.notify_all();
                return Some(item);
            }
            if state.closed || next == self.total {
                return None;
            }
            self.changed.wait(&mut state);
        }
    }

    /// Nothing more is begun or taken.
    pub fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_all();
    }
}

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
    fn items_come_in_order_and_stay_within_the_bytes() {
        let most = AtomicUsize::new(0);
        let ahead = Prefetcher::new(40, 8, 50);
        // The first tells the size.
        let (first, aside) = ahead.begin().unwrap();
        ahead.put(first, first, 10, aside);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while let Some((index, aside)) = ahead.begin() {
                        // Items that exist, those that are being made included.
                        let exist = {
                            let state = ahead.state.lock();
                            state.begun - state.taken
                        };
                        most.fetch_max(exist, Ordering::SeqCst);
                        std::thread::sleep(Duration::from_micros(300 * (40 - index as u64) / 10));
                        ahead.put(index, index, 10, aside);
                    }
                });
            }
            let mut taken = vec![];
            while let Some(index) = ahead.take() {
                taken.push(index);
            }
            assert_eq!(taken, (0..40).collect::<Vec<_>>());
        });
        assert!((3..=5).contains(&most.load(Ordering::SeqCst)), "{most:?}");
    }

    #[test]
    fn an_item_larger_than_the_bound_passes_alone() {
        let ahead = Prefetcher::new(3, 4, 5);
        for expected in 0..3 {
            let (index, aside) = ahead.begin().unwrap();
            ahead.put(index, (), 100, aside);
            assert_eq!(index, expected);
            ahead.take().unwrap();
        }
        assert!(ahead.begin().is_none() && ahead.take().is_none());
    }

    #[test]
    fn closing_ends_both_sides() {
        let ahead: Prefetcher<()> = Prefetcher::new(3, 1, 5);
        ahead.close();
        assert!(ahead.begin().is_none() && ahead.take().is_none());
    }

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
