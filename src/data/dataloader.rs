//! DataLoader and ThreadDataLoader (monai.data, MONAI 1.6.1): how an engine goes through a dataset. Workers are threads.

use super::batches;
use crate::component::{Accepted, Value};
use crate::contracts::{Dataset, Loader};
use crate::error::Result;
use crate::random::RngStates;
use crate::{bail, err};
use parking_lot::Mutex;
use std::sync::Arc;

/// A config is untrusted: each worker is a thread.
const MAX_WORKERS: usize = 1024;

component! {
    /// How an engine goes through a dataset.
    pub static COMPONENT = loader "DataLoader" in "monai.data" / "dataloader";

    pub struct DataLoaderArgs {
        /// The cases.
        dataset: Arc<dyn Dataset>,
        /// Threads that read and transform cases ahead; 0 does it when a case is needed. Each has its own random numbers.
        #[no_effect_on_results]
        num_workers: usize = 0,
        /// Cases per iteration of a training. Evaluation takes them one by one, with the same results.
        #[no_effect_on_results]
        batch_size: usize = 1,
        /// Take the cases in random order. Evaluation goes through them in order, with the same metrics.
        #[no_effect_on_results]
        shuffle: bool = false,
        /// A sampler; not supported yet, must be None.
        sampler: Value = (),
        /// A sampler of batches; not supported yet, must be None.
        batch_sampler: Value = (),
        /// No effect: images of one shape become a batch, of all samples that crops make.
        collate_fn: Accepted = (),
        /// No effect: workers share memory with the engine.
        pin_memory: Accepted = false,
        /// Leave out an incomplete last batch of a training.
        #[no_effect_on_results]
        drop_last: bool = false,
        /// No effect: workers are threads of this process.
        timeout: Accepted = 0,
        /// No effect: workers are threads of this process.
        worker_init_fn: Accepted = (),
        /// No effect: workers are threads of this process.
        multiprocessing_context: Accepted = (),
        /// No effect: workers are threads of this process.
        prefetch_factor: Accepted = (),
        /// Workers are seeded once, and their random numbers go on from pass to pass.
        #[no_effect_on_results]
        persistent_workers: bool = false,
    }

    differs: ["workers are threads and share memory"],
    build: loader,
}

component! {
    /// How an engine goes through a dataset; here the same as DataLoader.
    pub static THREADED = loader "ThreadDataLoader" in "monai.data" / "thread_buffer";

    pub struct ThreadDataLoaderArgs {
        /// The cases.
        dataset: Arc<dyn Dataset>,
        /// No effect: each worker is two batches ahead.
        buffer_size: Accepted = 1,
        /// No effect: a batch is taken as soon as it is there.
        buffer_timeout: Accepted = 0.01,
        /// How often each batch is used; only 1 is supported.
        #[no_effect_on_results]
        repeats: usize = 1,
        /// No effect: workers are threads.
        use_thread_workers: Accepted = false,
        /// As DataLoader's.
        #[no_effect_on_results]
        num_workers: usize = 0,
        /// As DataLoader's.
        #[no_effect_on_results]
        batch_size: usize = 1,
        /// As DataLoader's.
        #[no_effect_on_results]
        shuffle: bool = false,
        /// As DataLoader's.
        #[no_effect_on_results]
        drop_last: bool = false,
        /// As DataLoader's.
        collate_fn: Accepted = (),
        /// As DataLoader's.
        pin_memory: Accepted = false,
        /// As DataLoader's.
        #[no_effect_on_results]
        persistent_workers: bool = false,
        /// As DataLoader's.
        prefetch_factor: Accepted = (),
    }

    differs: ["the same as DataLoader, whose workers are threads too"],
    build: thread_loader,
}

fn thread_loader(args: ThreadDataLoaderArgs) -> Result<Loader> {
    if args.repeats != 1 {
        bail!("`repeats` is {}, only 1 is supported", args.repeats);
    }
    let flags = [args.shuffle, args.drop_last, args.persistent_workers];
    build(args.dataset, args.batch_size, flags, args.num_workers)
}

fn loader(args: DataLoaderArgs) -> Result<Loader> {
    if !args.sampler.is_none() || !args.batch_sampler.is_none() {
        bail!("samplers are not supported yet");
    }
    build(args.dataset, args.batch_size, [args.shuffle, args.drop_last, args.persistent_workers], args.num_workers)
}

fn build(
    dataset: Arc<dyn Dataset>,
    batch_size: usize,
    [shuffle, drop_last, persistent]: [bool; 3],
    num_workers: usize,
) -> Result<Loader> {
    if persistent && num_workers == 0 {
        return Err(err!("persistent_workers is True, but num_workers is 0").hint("give it workers, or leave it out"));
    }
    if batch_size == 0 {
        bail!("batch_size is 0, expected at least 1");
    }
    if num_workers > MAX_WORKERS {
        return Err(err!("num_workers is {num_workers}, expected at most {MAX_WORKERS}"));
    }
    let mut rng = RngStates::default();
    if num_workers == 0 {
        // Without workers MONAI seeds the transforms here, and then sets torch's generator back to its beginning.
        let first = segbundle_native::generator_seed(tch::Device::Cpu)?;
        dataset.seed(batches::draw()? as u32, &mut rng);
        tch::manual_seed(first as i64);
    }
    let rng = Mutex::new(rng);
    Ok(Loader { dataset, batch_size, shuffle, drop_last, num_workers, persistent, rng })
}
