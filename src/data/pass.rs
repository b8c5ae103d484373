//! One pass over a data loader: order, seeds, workers and position, for training and evaluation.
//!
//! Sources: torch.utils.data.dataloader and sampler (torch 2.11), monai.data.utils.worker_init_fn (MONAI 1.6.1). A pass
//! begins with a draw from torch's generator for the workers' seeds and, when it shuffles, one for its order. Worker i
//! seeds the random transforms anew with the base seed + i and serves the batches i, i + N, …; without workers the random
//! states go on from pass to pass. Each item comes with the random states as they were after it, so that a saved training
//! has what was used, not what was prefetched.

use super::prefetcher::Prefetcher;
use crate::contracts::{Loader, flattened};
use crate::err;
use crate::error::Result;
use crate::random::RngStates;
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// Batches that each worker is ahead: torch's `prefetch_factor`.
const PREFETCH_FACTOR: usize = 2;
/// Threads that read the cases of an evaluation without random transforms, at most.
const MAX_READERS: usize = 8;
/// Share of the memory of the process that prefetched items may take: one part in so many.
const MEMORY_SHARE: u64 = 4;

/// A draw of 63 bits from torch's generator: `torch.empty((), dtype=torch.int64).random_()`.
pub fn draw() -> Result<u64> {
    Ok(Tensor::f_empty([0; 0], (Kind::Int64, Device::Cpu))?.f_random_()?.f_int64_value(&[])? as u64)
}

/// Position in a pass.
#[derive(Clone, Default)]
pub struct LoaderPosition {
    /// Worker i's transforms are seeded with this + i.
    pub base_seed: u64,
    /// Seed of the order; `None` without shuffling.
    pub order_seed: Option<u64>,
    /// Items that were taken.
    pub used: usize,
    /// Each worker's random states after its last taken item, `None` before it; without workers only one.
    pub rng: Vec<Option<RngStates>>,
}

/// What an item of a pass is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PassItem {
    /// A batch of cases in the loader's order, for training.
    Batch,
    /// One case; of so many, in the dataset's order, which gives the same metrics as any other.
    Case { total: usize },
}

/// Makes item `number` of the given cases; with the bytes that it takes.
pub type MakeItem<'a, T> = dyn Fn(usize, &[usize], &mut RngStates) -> (T, u64) + Send + Sync + 'a;

/// A pass in progress. Dropping it ends its workers.
pub struct LoaderPass<'a, T> {
    loader: Arc<Loader>,
    position: LoaderPosition,
    schedule: Arc<Schedule>,
    prefetcher: Arc<Prefetcher<(T, RngStates)>>,
    make: Arc<MakeItem<'a, T>>,
}

/// Which cases are in which item, and who makes it.
struct Schedule {
    /// Numbers of cases.
    order: Vec<usize>,
    /// Cases in an item.
    size: usize,
    /// Items in the pass.
    total: usize,
    /// Threads that make items; 0 makes them when they are taken.
    workers: usize,
    /// Successive items that one worker makes.
    run: usize,
}

impl Schedule {
    fn cases(&self, number: usize) -> &[usize] {
        let start = (number * self.size).min(self.order.len());
        &self.order[start..(start + self.size).min(self.order.len())]
    }
    fn worker(&self, number: usize) -> usize {
        number / self.run % self.workers.max(1)
    }
}

/// A worker of a pass, to be run on a thread of its own.
pub struct PassWorker<'a, T> {
    number: usize,
    first: usize,
    rng: RngStates,
    schedule: Arc<Schedule>,
    prefetcher: Arc<Prefetcher<(T, RngStates)>>,
    make: Arc<MakeItem<'a, T>>,
}

impl<T> PassWorker<'_, T> {
    /// Makes this worker's items until the pass ends.
    pub fn run(mut self) {
        let own = |item: &usize| self.schedule.worker(*item) == self.number;
        for item in (self.first..self.schedule.total).filter(own) {
            let Some(aside) = self.prefetcher.begin(item) else { return };
            let (made, bytes) = (self.make)(item, self.schedule.cases(item), &mut self.rng);
            self.prefetcher.put(item, (made, self.rng.clone()), bytes, aside);
        }
    }
}

impl<'a, T> LoaderPass<'a, T> {
    /// Begins a pass, which draws from torch's generator. `before`: where the pass before it ended.
    pub fn begin(
        loader: &Arc<Loader>,
        item: PassItem,
        before: Option<&LoaderPosition>,
        memory_bytes: u64,
        make: Arc<MakeItem<'a, T>>,
    ) -> Result<(Self, Vec<PassWorker<'a, T>>)> {
        let stays = before.filter(|_| loader.persistent && loader.num_workers > 0);
        let base_seed = stays.map_or_else(draw, |before| Ok(before.base_seed))?;
        let order_seed = if loader.shuffle { Some(draw()?) } else { None };
        let rng = stays.map_or_else(|| vec![None; loader.num_workers.max(1)], |before| before.rng.clone());
        LoaderPass::resume(loader, item, LoaderPosition { base_seed, order_seed, used: 0, rng }, memory_bytes, make)
    }

    /// Resumes a pass; draws nothing.
    ///
    /// # Errors
    /// The position is of another number of workers.
    pub fn resume(
        loader: &Arc<Loader>,
        item: PassItem,
        position: LoaderPosition,
        memory_bytes: u64,
        make: Arc<MakeItem<'a, T>>,
    ) -> Result<(Self, Vec<PassWorker<'a, T>>)> {
        if position.rng.len() != loader.num_workers.max(1) {
            return Err(err!(
                "the saved training had {} workers, the config has {}",
                position.rng.len(),
                loader.num_workers
            )
            .hint("each worker has random numbers of its own: resume with as many, or start anew without --resume"));
        }
        let (cases, workers) = (loader.dataset.len(), loader.num_workers);
        let schedule = match item {
            PassItem::Batch => Schedule {
                order: match position.order_seed {
                    Some(seed) => segbundle_native::permutation(cases, seed)?,
                    None => (0..cases).collect(),
                },
                size: loader.batch_size.max(1),
                total: loader.batches(),
                workers,
                run: 1,
            },
            PassItem::Case { total } => {
                let random = flattened(loader.dataset.transforms()).iter().any(|transform| transform.is_random());
                Schedule {
                    order: (0..cases).collect(),
                    size: 1,
                    total: total.min(cases),
                    workers: if random { workers } else { workers.min(MAX_READERS) },
                    // A worker's random numbers go through its batches.
                    run: if random { loader.batch_size.max(1) } else { 1 },
                }
            }
        };
        let count = workers * if item == PassItem::Batch { PREFETCH_FACTOR } else { 1 };
        if workers == 0
            && let Some(Some(states)) = position.rng.first()
        {
            loader.restore_rng_states(states.clone());
        }
        let pass = LoaderPass {
            loader: loader.clone(),
            prefetcher: Arc::new(Prefetcher::new(position.used, count, memory_bytes / MEMORY_SHARE)),
            schedule: Arc::new(schedule),
            position,
            make,
        };
        let workers = (0..pass.schedule.workers).map(|number| PassWorker {
            number,
            first: pass.position.used,
            rng: match &pass.position.rng[number] {
                Some(states) => states.clone(),
                None => seeded(loader, pass.position.base_seed, number),
            },
            schedule: pass.schedule.clone(),
            prefetcher: pass.prefetcher.clone(),
            make: pass.make.clone(),
        });
        let workers = workers.collect();
        Ok((pass, workers))
    }

    /// The next item; `None` at the end of the pass.
    pub fn take(&mut self) -> Option<T> {
        let number = self.position.used;
        if number >= self.schedule.total {
            return None;
        }
        let item = match self.schedule.workers {
            0 => (self.make)(number, self.schedule.cases(number), &mut self.loader.rng.lock()).0,
            _ => {
                let (item, rng) = self.prefetcher.take()?;
                self.position.rng[self.schedule.worker(number)] = Some(rng);
                item
            }
        };
        self.position.used += 1;
        Some(item)
    }

    /// The position after the last item that was taken.
    pub fn position(&self) -> LoaderPosition {
        let mut position = self.position.clone();
        if self.loader.num_workers == 0 {
            // Another loader may have drawn from the states of transforms that both use.
            position.rng = vec![Some(self.loader.rng_states())];
        }
        position
    }
}

impl<T> Drop for LoaderPass<'_, T> {
    fn drop(&mut self) {
        self.prefetcher.close();
    }
}

/// The random states of a worker at the start of a pass; the same transforms in the same order whatever it draws later.
pub fn seeded(loader: &Loader, base_seed: u64, worker: usize) -> RngStates {
    let mut states = RngStates::default();
    // MONAI takes the seed modulo 2³².
    loader.dataset.seed(base_seed.wrapping_add(worker as u64) as u32, &mut states);
    states
}
