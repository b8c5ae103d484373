//! DataLoader and ThreadDataLoader (monai.data, MONAI 1.6.1): iterate over a dataset in batches. Workers are threads.

use super::pass;
use crate::component::{Accepted, BuildContext, NotSupported};
use crate::contracts::{Dataset, Loader, Sampler};
use crate::error::Result;
use crate::{bail, err};
use std::sync::Arc;

/// Maximum of `num_workers`: each worker is a thread, and a config is untrusted.
const MAX_WORKERS: usize = 1024;

/// Declares a loader: `dataset`, the arguments of its own, and those that it shares with PyTorch's DataLoader.
macro_rules! loader_component {
    (
        $(#[doc = $doc:literal])*
        pub static $static:ident = loader $name:literal in $package:literal / $module:literal;
        pub struct $args:ident { $($own:tt)* }
        $($rest:tt)*
    ) => {
        component! {
            $(#[doc = $doc])*
            pub static $static = loader $name in $package / $module;

            pub struct $args {
                /// Dataset to load cases from.
                dataset: Arc<dyn Dataset>,
                $($own)*
                /// Number of threads that load cases in the background; 0 loads each case when it is needed. Every
                /// worker has its own random state, as in MONAI.
                #[no_effect_on_results]
                num_workers: usize = 0,
                /// Number of cases per training batch. Evaluation processes cases one by one, with the same results.
                #[no_effect_on_results]
                batch_size: usize = 1,
                /// Shuffle the cases in every epoch of a training. Evaluation keeps their order, with the same metrics.
                #[no_effect_on_results]
                shuffle: Option<bool> = (),
                /// DistributedSampler of the dataset; None is all cases.
                #[no_effect_on_results]
                sampler: Option<Arc<dyn Sampler>> = (),
                /// Sampler of batches; not supported.
                batch_sampler: NotSupported = (),
                /// No effect: images of equal shape are stacked into a batch, including all samples of a crop
                /// transform.
                collate_fn: Accepted = (),
                /// No effect: workers are threads that share memory with the engine.
                pin_memory: Accepted = false,
                /// Drop the last incomplete batch of a training epoch.
                #[no_effect_on_results]
                drop_last: bool = false,
                /// No effect: workers are threads of this process.
                timeout: Accepted = 0,
                /// No effect: workers are threads of this process.
                worker_init_fn: Accepted = (),
                /// No effect: workers are threads of this process.
                multiprocessing_context: Accepted = (),
                /// Random number generator of the shuffling; not supported: PyTorch's default generator is used.
                generator: NotSupported = (),
                /// No effect: every worker prefetches two batches.
                prefetch_factor: Accepted = (),
                /// Keep the workers, with their random states, from epoch to epoch instead of seeding them again.
                #[no_effect_on_results]
                persistent_workers: bool = false,
                /// No effect: workers share memory with the engine.
                pin_memory_device: Accepted = "",
                /// No effect: batches are always returned in order.
                in_order: Accepted = true,
            }

            $($rest)*
        }
    };
}

loader_component! {
    /// Iterates over a dataset in batches.
    pub static COMPONENT = loader "DataLoader" in "monai.data" / "dataloader";

    pub struct DataLoaderArgs {}

    differs: ["workers are threads and share memory"],
    build in context: loader,
}

loader_component! {
    /// Iterates over a dataset in batches; equivalent to DataLoader here.
    pub static THREADED = loader "ThreadDataLoader" in "monai.data" / "thread_buffer";

    pub struct ThreadDataLoaderArgs {
        /// No effect: every worker prefetches two batches.
        buffer_size: Accepted = 1,
        /// No effect: a batch is consumed as soon as it is ready.
        buffer_timeout: Accepted = 0.01,
        /// Number of times each batch is used; only 1 is supported.
        #[no_effect_on_results]
        repeats: usize = 1,
        /// No effect: workers are always threads.
        use_thread_workers: Accepted = false,
    }

    differs: ["equivalent to DataLoader, whose workers are threads too"],
    build in context: thread_loader,
}

fn thread_loader(args: ThreadDataLoaderArgs, context: &mut BuildContext) -> Result<Loader> {
    if args.repeats != 1 {
        bail!("`repeats` is {}, only 1 is supported", args.repeats);
    }
    let flags = [args.shuffle == Some(true), args.drop_last, args.persistent_workers];
    build(args.dataset, args.sampler, args.batch_size, flags, args.num_workers, context)
}

fn loader(args: DataLoaderArgs, context: &mut BuildContext) -> Result<Loader> {
    build(
        args.dataset,
        args.sampler,
        args.batch_size,
        [args.shuffle == Some(true), args.drop_last, args.persistent_workers],
        args.num_workers,
        context,
    )
}

fn build(
    dataset: Arc<dyn Dataset>,
    sampler: Option<Arc<dyn Sampler>>,
    batch_size: usize,
    [shuffle, drop_last, persistent]: [bool; 3],
    num_workers: usize,
    context: &mut BuildContext,
) -> Result<Loader> {
    if persistent && num_workers == 0 {
        return Err(err!("persistent_workers is True, but num_workers is 0")
            .arguments(&["num_workers", "persistent_workers"])
            .hint("set num_workers to at least 1, or remove persistent_workers"));
    }
    if shuffle && let Some(sampler) = &sampler {
        return Err(err!("shuffle is True, but {} determines the order of the cases", sampler.name())
            .arguments(&["shuffle", "sampler"])
            .hint("set shuffle to False: the sampler shuffles"));
    }
    if batch_size == 0 {
        bail!("batch_size is 0, expected at least 1");
    }
    if num_workers > MAX_WORKERS {
        return Err(err!("num_workers is {num_workers}, expected at most {MAX_WORKERS}"));
    }
    let rng = context.run().rng.clone();
    if num_workers == 0 {
        // Without workers MONAI seeds the transforms here, and then resets torch's generator to its initial seed.
        let first = segbundle_native::generator_seed(tch::Device::Cpu)?;
        dataset.seed(pass::draw()? as u32, &mut rng.lock());
        tch::manual_seed(first as i64);
    }
    Ok(Loader { dataset, batch_size, shuffle, sampler, drop_last, num_workers, persistent, rng })
}
