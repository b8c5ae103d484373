//! DataLoader (monai.data.dataloader, MONAI 1.6.1): how an engine goes through a dataset. Workers are threads.

use crate::component::{Accepted, Component, Declared, Effect, Value};
use crate::contracts::{Dataset, Loader, LoaderHandle};
use crate::{args, bail};
use std::sync::Arc;

args! {
    /// Arguments of DataLoader.
    pub struct DataLoaderArgs {
        /// The cases.
        dataset: Arc<dyn Dataset>,
        /// Cases in flight beside the one at work; 0 reads each case when it is needed.
        num_workers: usize = 0,
        /// Cases per iteration. Evaluation takes them one by one, with the same results.
        batch_size: usize = 1,
        /// Take the cases in random order. Evaluation goes through them in order, with the same results.
        shuffle: bool = false,
        /// A sampler; not supported yet, must be None.
        sampler: Value = (),
        /// A sampler of batches; not supported yet, must be None.
        batch_sampler: Value = (),
        /// No effect: cases are not collated in evaluation.
        collate_fn: Accepted = (),
        /// No effect: workers share memory with the engine.
        pin_memory: Accepted = false,
        /// Leave out an incomplete last batch; must be false in evaluation.
        drop_last: bool = false,
        /// No effect: workers are threads of this process.
        timeout: Accepted = 0,
        /// No effect: workers are threads of this process.
        worker_init_fn: Accepted = (),
        /// No effect: workers are threads of this process.
        multiprocessing_context: Accepted = (),
        /// No effect: workers are threads of this process.
        prefetch_factor: Accepted = (),
        /// No effect: workers are threads of this process.
        persistent_workers: Accepted = false,
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
    build: |args, _| {
        let args = DataLoaderArgs::parse("DataLoader", args)?;
        if !args.sampler.is_none() || !args.batch_sampler.is_none() {
            bail!("DataLoader: samplers are not supported yet");
        }
        if args.drop_last {
            bail!("DataLoader: drop_last=True is not supported yet");
        }
        if args.batch_size == 0 {
            bail!("DataLoader: batch_size is 0, expected at least 1");
        }
        let loader = Loader { dataset: args.dataset, batch_size: args.batch_size, shuffle: args.shuffle, num_workers: args.num_workers };
        Ok(Value::object(LoaderHandle(Arc::new(loader))))
    },
};
