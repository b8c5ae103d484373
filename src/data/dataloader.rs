//! DataLoader and ThreadDataLoader (monai.data, MONAI 1.6.1): how an engine goes through a dataset. Workers are threads.

use super::batches;
use crate::component::{Accepted, Component, Declared, Effect, Value};
use crate::contracts::{Dataset, Loader, LoaderHandle};
use crate::error::Result;
use crate::random::RngStates;
use crate::{args, bail, err};
use parking_lot::Mutex;
use std::sync::Arc;

/// A config is untrusted: each worker is a thread.
const MAX_WORKERS: usize = 1024;

args! {
    /// Arguments of DataLoader.
    pub struct DataLoaderArgs {
        /// The cases.
        dataset: Arc<dyn Dataset>,
        /// Threads that read and transform cases ahead; 0 does it when a case is needed. Each has its own random numbers.
        num_workers: usize = 0,
        /// Cases per iteration of a training. Evaluation takes them one by one, with the same results.
        batch_size: usize = 1,
        /// Take the cases in random order. Evaluation goes through them in order, with the same metrics.
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
        persistent_workers: bool = false,
    }
}

pub static COMPONENT: Component = Component {
    name: "DataLoader",
    path: "monai.data.DataLoader",
    aliases: &["monai.data.dataloader.DataLoader", "torch.utils.data.DataLoader"],
    doc: "How an engine goes through a dataset.",
    params: DataLoaderArgs::PARAMS,
    differences: &["workers are threads and share memory"],
    effect: Effect::Pure,
    build: |args, _| loader("DataLoader", DataLoaderArgs::parse("DataLoader", args)?),
};

args! {
    /// Arguments of ThreadDataLoader: its own, then DataLoader's.
    pub struct ThreadDataLoaderArgs {
        /// The cases.
        dataset: Arc<dyn Dataset>,
        /// No effect: each worker is two batches ahead.
        buffer_size: Accepted = 1,
        /// No effect: a batch is taken as soon as it is there.
        buffer_timeout: Accepted = 0.01,
        /// How often each batch is used; only 1 is supported.
        repeats: usize = 1,
        /// No effect: workers are threads.
        use_thread_workers: Accepted = false,
        /// As DataLoader's.
        num_workers: usize = 0,
        /// As DataLoader's.
        batch_size: usize = 1,
        /// As DataLoader's.
        shuffle: bool = false,
        /// As DataLoader's.
        drop_last: bool = false,
        /// As DataLoader's.
        collate_fn: Accepted = (),
        /// As DataLoader's.
        pin_memory: Accepted = false,
        /// As DataLoader's.
        persistent_workers: bool = false,
        /// As DataLoader's.
        prefetch_factor: Accepted = (),
    }
}

pub static THREADED: Component = Component {
    name: "ThreadDataLoader",
    path: "monai.data.ThreadDataLoader",
    aliases: &["monai.data.thread_buffer.ThreadDataLoader"],
    doc: "How an engine goes through a dataset; here the same as DataLoader.",
    params: ThreadDataLoaderArgs::PARAMS,
    differences: &["the same as DataLoader, whose workers are threads too"],
    effect: Effect::Pure,
    build: |args, _| {
        let args = ThreadDataLoaderArgs::parse("ThreadDataLoader", args)?;
        if args.repeats != 1 {
            bail!("ThreadDataLoader: `repeats` is {}, only 1 is supported", args.repeats);
        }
        let flags = [args.shuffle, args.drop_last, args.persistent_workers];
        build("ThreadDataLoader", args.dataset, args.batch_size, flags, args.num_workers)
    },
};

fn loader(name: &str, args: DataLoaderArgs) -> Result<Value> {
    if !args.sampler.is_none() || !args.batch_sampler.is_none() {
        bail!("{name}: samplers are not supported yet");
    }
    build(
        name,
        args.dataset,
        args.batch_size,
        [args.shuffle, args.drop_last, args.persistent_workers],
        args.num_workers,
    )
}

fn build(
    name: &str,
    dataset: Arc<dyn Dataset>,
    batch_size: usize,
    [shuffle, drop_last, persistent]: [bool; 3],
    num_workers: usize,
) -> Result<Value> {
    if persistent && num_workers == 0 {
        return Err(
            err!("{name}: persistent_workers is True, but num_workers is 0").hint("give it workers, or leave it out")
        );
    }
    if batch_size == 0 {
        bail!("{name}: batch_size is 0, expected at least 1");
    }
    if num_workers > MAX_WORKERS {
        return Err(err!("{name}: num_workers is {num_workers}, expected at most {MAX_WORKERS}"));
    }
    let mut rng = RngStates::default();
    if num_workers == 0 {
        // Without workers MONAI seeds the transforms here, and then sets torch's generator back to its beginning.
        let first = segbundle_native::generator_seed(tch::Device::Cpu)?;
        dataset.seed(batches::draw()? as u32, &mut rng);
        tch::manual_seed(first as i64);
    }
    let rng = Mutex::new(rng);
    Ok(Value::object(LoaderHandle(Arc::new(Loader {
        dataset,
        batch_size,
        shuffle,
        drop_last,
        num_workers,
        persistent,
        rng,
    }))))
}
