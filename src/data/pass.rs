//! One pass over a data loader: order, seeds, workers and position, for training and evaluation.
//!
//! Sources: torch.utils.data.dataloader and sampler (torch 2.11), monai.data.utils.worker_init_fn (MONAI 1.6.1). A pass
//! begins with a draw from torch's generator for the workers' seeds and, with shuffling, one for its order. Worker i of
//! N seeds the random transforms with the base seed + i and loads the batches i, i + N, …; without workers the random
//! states continue from pass to pass. Each item carries the random states after it, so that a saved training contains
//! the states of consumed items, not of prefetched ones.

use super::prefetcher::Prefetcher;
use crate::contracts::{Dataset, Loader, flattened};
use crate::err;
use crate::error::Result;
use crate::random::RngStates;
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// Batches that each worker prefetches: torch's `prefetch_factor`.
const PREFETCH_FACTOR: usize = 2;
/// Maximum number of threads that read the cases of an evaluation without random transforms.
const MAX_READERS: usize = 8;
/// Prefetched items may take the memory limit of the process divided by this.
const MEMORY_SHARE: u64 = 4;

/// Draws 63 bits from torch's generator: `torch.empty((), dtype=torch.int64).random_()`.
pub fn draw() -> Result<u64> {
    Ok(Tensor::f_empty([0; 0], (Kind::Int64, Device::Cpu))?.f_random_()?.f_int64_value(&[])? as u64)
}

/// Position in a pass.
#[derive(Clone, Default)]
pub struct LoaderPosition {
    /// The transforms of worker i are seeded with `base_seed + i`.
    pub base_seed: u64,
    /// Seed of the order; `None` without shuffling.
    pub order_seed: Option<u64>,
    /// Number of consumed items.
    pub used: usize,
    /// Random states of each worker after its last consumed item, `None` before it; without workers a single entry.
    pub rng: Vec<Option<RngStates>>,
}

impl LoaderPosition {
    /// Checks that the position belongs to `loader`.
    ///
    /// # Errors
    /// The position was saved with another number of workers.
    pub fn check(&self, loader: &Loader) -> Result<()> {
        if self.rng.len() == loader.num_workers.max(1) {
            return Ok(());
        }
        Err(err!("the saved training had {} workers, the config has {}", self.rng.len(), loader.num_workers)
            .hint("set num_workers to the saved number, or start again without --resume"))
    }
}

/// Unit of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PassItem<'a> {
    /// A batch of cases in the loader's order, for training.
    Batch {
        /// Epoch of the training, from 1: MONAI sets it as that of the sampler. 0 without a training.
        epoch: usize,
    },
    /// A single case, for evaluation: these cases in this order.
    Case(&'a [usize]),
}

/// Loads item `number` from the given cases; returns it with its size in bytes.
pub type MakeItem<'a, T> = dyn Fn(usize, &[usize], &mut RngStates) -> (T, u64) + Send + Sync + 'a;

/// A pass in progress. Dropping it stops its workers.
pub struct LoaderPass<'a, T> {
    loader: Arc<Loader>,
    position: LoaderPosition,
    schedule: Arc<Schedule>,
    prefetcher: Arc<Prefetcher<(T, RngStates)>>,
    make: Arc<MakeItem<'a, T>>,
}

/// Assignment of cases to items, and of items to workers.
struct Schedule {
    /// Indices of cases in the order of the pass.
    order: Vec<usize>,
    /// Cases per item.
    size: usize,
    /// Items in the pass.
    total: usize,
    /// Number of worker threads; 0 loads each item when it is taken.
    workers: usize,
    /// Number of successive items of one worker.
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

/// A worker of a pass, which runs on its own thread.
pub struct PassWorker<'a, T> {
    number: usize,
    first: usize,
    rng: RngStates,
    schedule: Arc<Schedule>,
    prefetcher: Arc<Prefetcher<(T, RngStates)>>,
    make: Arc<MakeItem<'a, T>>,
}

impl<T> Drop for PassWorker<'_, T> {
    /// Ends the pass if this worker panics: its items would be waited for without end.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.prefetcher.close();
        }
    }
}

impl<T> PassWorker<'_, T> {
    /// Loads this worker's items until the pass ends.
    pub fn run(mut self) {
        let own = |item: &usize| self.schedule.worker(*item) == self.number;
        for item in (self.first..self.schedule.total).filter(own) {
            let Some(reserved) = self.prefetcher.begin(item) else { return };
            let (made, bytes) = (self.make)(item, self.schedule.cases(item), &mut self.rng);
            self.prefetcher.put(item, (made, self.rng.clone()), bytes, reserved);
        }
    }
}

impl<'a, T> LoaderPass<'a, T> {
    /// Begins a pass, which draws from torch's generator. `before`: position at the end of the previous pass.
    pub fn begin(
        loader: &Arc<Loader>,
        item: PassItem<'_>,
        before: Option<&LoaderPosition>,
        memory_bytes: u64,
        make: Arc<MakeItem<'a, T>>,
    ) -> Result<(Self, Vec<PassWorker<'a, T>>)> {
        let stays = before.filter(|_| loader.persistent && loader.num_workers > 0);
        let base_seed = stays.map_or_else(draw, |before| Ok(before.base_seed))?;
        let order_seed = match (&loader.sampler, item) {
            (Some(sampler), PassItem::Batch { epoch }) => sampler.order_seed(epoch),
            (None, _) if loader.shuffle => Some(draw()?),
            _ => None,
        };
        let rng = stays.map_or_else(|| vec![None; loader.num_workers.max(1)], |before| before.rng.clone());
        LoaderPass::resume(loader, item, LoaderPosition { base_seed, order_seed, used: 0, rng }, memory_bytes, make)
    }

    /// Resumes a pass, without draws from torch's generator.
    ///
    /// # Errors
    /// The position was saved with another number of workers.
    pub fn resume(
        loader: &Arc<Loader>,
        item: PassItem<'_>,
        position: LoaderPosition,
        memory_bytes: u64,
        make: Arc<MakeItem<'a, T>>,
    ) -> Result<(Self, Vec<PassWorker<'a, T>>)> {
        position.check(loader)?;
        let (cases, workers, sampler) = (loader.dataset.len(), loader.num_workers, loader.sampler.as_ref());
        let schedule = match item {
            PassItem::Batch { .. } => Schedule {
                order: match (sampler, position.order_seed) {
                    (Some(sampler), seed) => sampler.order(seed)?,
                    (None, Some(seed)) => segbundle_native::permutation(cases, seed)?,
                    (None, None) => (0..cases).collect(),
                },
                size: loader.batch_size.max(1),
                total: loader.batches(),
                workers,
                run: 1,
            },
            PassItem::Case(order) => {
                let random = is_random(&*loader.dataset);
                Schedule {
                    order: order.to_vec(),
                    size: 1,
                    total: order.len(),
                    workers: if random { workers } else { workers.min(MAX_READERS) },
                    // A worker draws random numbers batch by batch.
                    run: if random { loader.batch_size.max(1) } else { 1 },
                }
            }
        };
        let count = workers * if let PassItem::Batch { .. } = item { PREFETCH_FACTOR } else { 1 };
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

    /// The next item; `None` at the end of the pass, or if a worker has panicked.
    pub fn take(&mut self) -> Option<T> {
        let number = self.position.used;
        if number >= self.schedule.total {
            return None;
        }
        let item = match self.schedule.workers {
            0 => {
                // The states of the run are not locked meanwhile: a transform may itself iterate over a loader.
                let mut rng = self.loader.rng_states();
                let item = (self.make)(number, self.schedule.cases(number), &mut rng).0;
                self.loader.restore_rng_states(rng);
                item
            }
            _ => {
                let (item, rng) = self.prefetcher.take()?;
                self.position.rng[self.schedule.worker(number)] = Some(rng);
                item
            }
        };
        self.position.used += 1;
        Some(item)
    }

    /// Whether all items were consumed.
    pub fn is_complete(&self) -> bool {
        self.position.used >= self.schedule.total
    }

    /// The position after the last consumed item.
    pub fn position(&self) -> LoaderPosition {
        let mut position = self.position.clone();
        if self.loader.num_workers == 0 {
            // Another loader that shares transforms may have drawn from their states.
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

/// Whether the results of a dataset depend on random numbers.
pub fn is_random(dataset: &dyn Dataset) -> bool {
    flattened(dataset.transforms()).iter().any(|transform| transform.is_random())
}

/// Random states of a worker at the start of a pass, one for each random transform in order.
pub fn seeded(loader: &Loader, base_seed: u64, worker: usize) -> RngStates {
    let mut states = RngStates::default();
    // MONAI takes the seed modulo 2³².
    loader.dataset.seed(base_seed.wrapping_add(worker as u64) as u32, &mut states);
    states
}
