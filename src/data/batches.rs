//! One pass over a data loader, batch by batch, with the random numbers that MONAI's loader would draw.
//!
//! Sources: torch.utils.data.dataloader and sampler (torch 2.11), monai.data.utils.worker_init_fn (MONAI 1.6.1). A pass
//! begins with a draw for the workers' seeds and, when it shuffles, one for its order. Worker i seeds the random
//! transforms anew with the base seed + i and serves the batches i, i + N, …; without workers the random states go on from pass
//! to pass. Each batch brings the random states as they were after it, so that a training that is saved knows what was used,
//! not what was read ahead.

use crate::component::Value;
use crate::contracts::{CaseContext, Loader, Sample, TransformContext};
use crate::err;
use crate::error::{Error, Result};
use crate::random::RngStates;
use crate::torch::guard;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use tch::{Device, Kind, Tensor};

/// Batches that a worker is ahead: torch's `prefetch_factor`.
const AHEAD: usize = 2;

/// A draw of 63 bits from torch's generator: `torch.empty((), dtype=torch.int64).random_()`.
pub fn draw() -> Result<u64> {
    Ok(Tensor::f_empty([0; 0], (Kind::Int64, Device::Cpu))?.f_random_()?.f_int64_value(&[])? as u64)
}

/// Where a pass stands.
#[derive(Clone, Default)]
pub struct Position {
    /// Worker i's transforms are seeded with this + i.
    pub base_seed: u64,
    /// Of the order; None without shuffling.
    pub order_seed: Option<u64>,
    /// Batches that were used.
    pub used: usize,
    /// Each worker's random states after its last used batch, None before it; without workers only one.
    pub rng: Vec<Option<RngStates>>,
}

/// Samples that go through the network together.
pub struct Batch {
    /// The datalist's entries that they came from.
    pub entries: Vec<Value>,
    pub samples: Vec<Sample>,
    rng: RngStates,
}

/// A pass in progress.
pub struct Batches {
    loader: Arc<Loader>,
    order: Arc<Vec<usize>>,
    position: Position,
    workers: Vec<Receiver<Result<Batch>>>,
    /// Tells the workers that nobody waits any more.
    over: Arc<AtomicBool>,
    case: CaseContext,
}

impl Batches {
    /// Begin a pass: draws from torch's generator. `before`: where the pass before it ended.
    pub fn begin(loader: &Arc<Loader>, before: Option<&Position>, case: &CaseContext) -> Result<Batches> {
        let stays = before.filter(|_| loader.persistent && loader.num_workers > 0);
        let base_seed = stays.map_or_else(draw, |before| Ok(before.base_seed))?;
        let order_seed = if loader.shuffle { Some(draw()?) } else { None };
        let rng = match (loader.num_workers, stays) {
            (0, _) => vec![Some(loader.rng_states())],
            (_, Some(before)) => before.rng.clone(),
            (workers, None) => vec![None; workers],
        };
        Batches::resume(loader, Position { base_seed, order_seed, used: 0, rng }, case)
    }

    /// Go on with a pass; draws nothing.
    pub fn resume(loader: &Arc<Loader>, position: Position, case: &CaseContext) -> Result<Batches> {
        let cases = loader.dataset.len();
        let order = match position.order_seed {
            Some(seed) => segbundle_native::permutation(cases, seed)?,
            None => (0..cases).collect(),
        };
        if position.rng.len() != loader.num_workers.max(1) {
            return Err(err!(
                "the saved training had {} workers, the config has {}",
                position.rng.len(),
                loader.num_workers
            )
            .hint("each worker has random numbers of its own: go on with as many, or start anew without --resume"));
        }
        let over = Arc::new(AtomicBool::new(false));
        let mut batches = Batches {
            loader: loader.clone(),
            order: Arc::new(order),
            position,
            workers: vec![],
            over,
            case: case.clone(),
        };
        if loader.num_workers == 0 {
            if let Some(Some(rng)) = batches.position.rng.first() {
                loader.restore_rng_states(rng.clone());
            }
        } else {
            for worker in 0..loader.num_workers {
                batches.start(worker)?;
            }
        }
        Ok(batches)
    }

    /// A thread for the batches of one worker that are still to come.
    fn start(&mut self, worker: usize) -> Result<()> {
        let (send, receive) = sync_channel(AHEAD);
        self.workers.push(receive);
        let (loader, order, over, case) =
            (self.loader.clone(), self.order.clone(), self.over.clone(), self.case.clone());
        let (used, count) = (self.position.used, self.loader.num_workers);
        let mut rng = match &self.position.rng[worker] {
            Some(rng) => rng.clone(),
            None => seeded(&loader, self.position.base_seed, worker),
        };
        let serve = move || {
            for number in (worker..loader.batches()).step_by(count).filter(|number| *number >= used) {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let batch = guard(|| load(&loader, &order, number, &mut rng, &case));
                let failed = batch.is_err();
                // Nobody receives any more: the pass was given up.
                if send.send(batch).is_err() || failed {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name(format!("loader {worker}")).spawn(serve);
        thread.map(drop).map_err(|error| err!("cannot start a thread that loads data: {error}"))
    }

    /// The next batch; `None` at the end of the pass.
    pub fn next_batch(&mut self) -> Option<Result<Batch>> {
        let number = self.position.used;
        if number >= self.loader.batches() {
            return None;
        }
        let worker = number % self.loader.num_workers.max(1);
        let batch = match self.workers.get(worker) {
            Some(receive) => receive.recv().unwrap_or_else(|_| Err(err!("a thread that loads data has died"))),
            None => load(&self.loader, &self.order, number, &mut self.loader.rng.lock(), &self.case),
        };
        Some(batch.inspect(|batch| {
            self.position.used += 1;
            self.position.rng[worker] = Some(batch.rng.clone());
        }))
    }

    pub fn position(&self) -> Position {
        let mut position = self.position.clone();
        if self.loader.num_workers == 0 {
            // Another loader may have drawn from the states of transforms that both use.
            position.rng = vec![Some(self.loader.rng_states())];
        }
        position
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// The random states of a worker at the start of a pass; the same transforms in the same order whatever it has drawn later.
pub fn seeded(loader: &Loader, base_seed: u64, worker: usize) -> RngStates {
    let mut rng = RngStates::default();
    // MONAI takes the seed modulo 2³².
    loader.dataset.seed(base_seed.wrapping_add(worker as u64) as u32, &mut rng);
    rng
}

fn load(loader: &Loader, order: &[usize], number: usize, rng: &mut RngStates, case: &CaseContext) -> Result<Batch> {
    let (mut entries, mut samples) = (vec![], vec![]);
    for &index in order.iter().skip(number * loader.batch_size).take(loader.batch_size) {
        case.check()?;
        let entry = loader.dataset.entry(index)?;
        let mut cx = TransformContext { case, writes: &mut vec![], rng };
        let loaded = loader.dataset.get(index, &mut cx).map_err(|error| named(error, &entry))?;
        entries.extend(std::iter::repeat_n(entry, loaded.len()));
        samples.extend(loaded);
    }
    Ok(Batch { entries, samples, rng: rng.clone() })
}

/// An error of a case, with the case's name if no file is named yet.
fn named(error: Error, entry: &Value) -> Error {
    match error.get_file() {
        Some(_) => error,
        None => error.context(case_name(entry)),
    }
}

/// What to call a case of a datalist: its image.
pub fn case_name(entry: &Value) -> String {
    let image = match entry {
        Value::Dict(dict) => dict.get("image"),
        _ => None,
    };
    image.as_ref().unwrap_or(entry).to_string()
}
