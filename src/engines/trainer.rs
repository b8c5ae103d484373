//! SupervisedTrainer (monai.engines.trainer, MONAI 1.6.1): batch, forward, loss, backward, step.
//!
//! [`SupervisedTrainer`] is the component, [`Training`] its loop. Draws from torch's generator follow MONAI and ignite
//! in number and order: a pass over the loader begins with its first batch, after the validation of the previous epoch.
//! Differences from MONAI:
//! - The postprocessing of an iteration runs only if a metric or handler uses its output.
//! - A non-finite loss ends the run before the optimizer step.
//! - The training state is saved for resuming (see `training_state`).

mod training;

use super::amp::Amp;
use super::workflow::{Workflow, WorkflowArgs, check_network};
use super::{cases, training_state};
use crate::component::{Accepted, Dict, NotSupported, Value};
use crate::contracts::{
    Engine, EngineStart, EngineState, Event, Explanation, Handler, Inferer, Loader, Loss, Network, Optimizer,
    RunOptions, Shared,
};
use crate::data::{Transforms, alignment};
use crate::distributed;
use crate::err;
use crate::error::{Error, Kind, Result};
use crate::optim::GradScaler;
use crate::text::count;
use crate::torch::{Device, DeviceExt};
use parking_lot::Mutex;
use std::sync::Arc;
use training::Training;

component! {
    /// Train a network on images and labels.
    pub static COMPONENT = engine "SupervisedTrainer" in "monai.engines" / "trainer";

    pub struct SupervisedTrainerArgs {
        /// Device to run the network on.
        device: Device,
        /// Number of epochs to train.
        max_epochs: usize,
        /// Data loader of batches with images and labels.
        train_data_loader: Arc<Loader>,
        /// Network to run.
        network: Shared<dyn Network>,
        /// Optimizer of the network's parameters.
        optimizer: Shared<dyn Optimizer>,
        /// Loss function to minimize.
        loss_function: Arc<dyn Loss>,
        /// Number of iterations per epoch; None is one pass over the data loader.
        epoch_length: Option<usize> = (),
        /// No effect: transfers between host and device are always synchronous.
        non_blocking: Accepted = false,
        /// Function that extracts image and label from a batch; not supported.
        prepare_batch: NotSupported = (),
        /// Function that replaces the iteration; not supported.
        iteration_update: NotSupported = (),
        /// Inference method of the forward pass: only SimpleInferer, or None for the same, is supported.
        inferer: Option<Arc<dyn Inferer>> = (),
        /// Transform or list of transforms to apply to predictions and labels before the metrics are computed.
        postprocessing: Transforms = (),
        /// Metric that selects the best epoch, by name: `{'train_accuracy': metric}`.
        key_train_metric: Option<Dict> = (),
        /// Further metrics by name; computed only if there is a key metric, as in MONAI.
        additional_metrics: Option<Dict> = (),
        /// Function of (current, best) that returns whether the current value is better; None prefers larger values.
        metric_cmp_fn: Value = (),
        /// Handlers to attach to the engine's events.
        train_handlers: Option<Vec<Arc<dyn Handler>>> = (),
        /// Automatic mixed precision: float16 with a gradient scaler on a GPU; float32 on a CPU, as in MONAI, unless
        /// `--amp-dtype` or `amp_kwargs` sets a type.
        amp: bool = false,
        /// No effect: custom events are not supported.
        event_names: Accepted = (),
        /// No effect: custom events are not supported.
        event_to_attr: Accepted = (),
        /// No effect: the postprocessing is always applied to the items of a batch one by one.
        decollate: Accepted = true,
        /// No effect: gradients are set to None in each iteration, with the same optimizer steps.
        optim_set_to_none: Accepted = false,
        /// No effect: tensors have no options of how to be moved.
        to_kwargs: Accepted = (),
        /// Arguments of `torch.autocast`; only `dtype` is used, also on a CPU.
        amp_kwargs: Option<Dict> = (),
        /// No effect: `torch.compile` needs Python.
        compile: Accepted = false,
        /// No effect: `torch.compile` needs Python.
        compile_kwargs: Accepted = (),
        /// Number of batches whose gradients are accumulated for one optimizer step.
        accumulation_steps: usize = 1,
    }

    differs: [
        "the training state is saved in `ckpt_dir`, from where `--resume` resumes it",
        "a non-finite loss stops the training before the optimizer step",
    ],
    build: SupervisedTrainer::new,
}

struct SupervisedTrainer {
    args: SupervisedTrainerArgs,
    amp: Amp,
    workflow: Workflow,
    scaler: Mutex<GradScaler>,
}

impl SupervisedTrainer {
    fn new(args: SupervisedTrainerArgs) -> Result<SupervisedTrainer> {
        if let Some(inferer) = args.inferer.as_ref().filter(|inferer| !inferer.is_single_pass()) {
            return Err(err!("`inferer` is {}, only SimpleInferer is supported in training", inferer.name())
                .kind(Kind::Unsupported));
        }
        if args.max_epochs == 0 || args.accumulation_steps == 0 {
            return Err(err!("`max_epochs` and `accumulation_steps` must be at least 1").kind(Kind::Config));
        }
        args.device.check()?;
        check_network(&args.network)?;
        let amp = Amp::new(args.amp, args.amp_kwargs.as_ref(), args.device)?;
        let workflow_args = WorkflowArgs {
            key_metric: args.key_train_metric.clone(),
            additional_metrics: args.additional_metrics.clone(),
            metric_cmp_fn: args.metric_cmp_fn.clone(),
            handlers: args.train_handlers.clone(),
        };
        let workflow = Workflow::new(COMPONENT.name, workflow_args)?;
        workflow.update(|state| state.trains = true);
        let scaler = Mutex::new(GradScaler::new(args.amp && args.device != Device::Cpu));
        Ok(SupervisedTrainer { args, amp, workflow, scaler })
    }
}

impl Engine for SupervisedTrainer {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn run(&self, start: &Arc<EngineStart>) -> Result<()> {
        start.run.with_step("iteration", || self.train(start))
    }
    fn explain(&self, start: &Arc<EngineStart>) -> Result<Explanation> {
        self.training(start)?.explanation().map(Explanation::Training)
    }
    fn check(&self, start: &EngineStart) -> Vec<Error> {
        let loader = &self.args.train_data_loader;
        let empty = (loader.batches() == 0).then(|| no_batches(loader));
        let cases = cases::check(&*loader.dataset, &[]);
        let folder = training_state::check_writable(&start.config).err();
        empty.into_iter().chain(cases).chain(folder).chain(self.workflow.check(start)).collect()
    }
    fn prepare(&self, start: &EngineStart) -> Result<()> {
        start.run.options.room_bytes()?;
        training_state::check_writable(&start.config)?;
        let dataset = &*self.args.train_data_loader.dataset;
        cases::check_files(dataset)?;
        alignment::check(dataset, &start.run.cancel)?;
        self.workflow.prepare(start)?;
        dataset.prepare(&start.run, None)
    }
    fn unused_options(&self, options: &RunOptions) -> Vec<(&'static str, &'static str)> {
        let skip = options.skip_existing.then_some(("--skip-existing", "a training is continued with --resume"));
        skip.into_iter().chain(self.amp.ignores(options).map(|why| ("--amp-dtype", why))).collect()
    }
    fn terminate(&self) {
        self.workflow.terminate();
    }
    fn state(&self) -> EngineState {
        self.workflow.state()
    }
}

fn no_batches(loader: &Loader) -> Error {
    match loader.cases() {
        0 => err!("the data loader has no batches: its dataset is empty").of_working_folder(),
        cases => err!(
            "the data loader has no batches: its dataset has {}, fewer than a batch of {} with `drop_last`",
            count(cases, "case"),
            loader.batch_size
        ),
    }
    .kind(Kind::Config)
}

impl SupervisedTrainer {
    fn train(&self, start: &Arc<EngineStart>) -> Result<()> {
        let training = self.training(start)?;
        let averages = self.args.network.lock().average_gradients(true);
        if distributed::world_size() > 1 && !averages {
            tracing::warn!(
                "each rank trains a network of its own: wrap it in torch.nn.parallel.DistributedDataParallel to train one"
            );
        }
        self.prepare(start)?;
        self.amp.log(&*self.args.network.lock(), training.autocast);
        let mut begun = training.begin()?;
        let iteration = begun.iteration();
        let result = training.train(&mut begun);
        if let Err(error) = &result {
            tracing::debug!("the training failed: {error}");
            // Handlers must not save diverged weights. On an interrupt they are not called either, as in ignite, which
            // does not handle KeyboardInterrupt. Until an iteration is complete, the weights are not those of this
            // training and must not replace the files of an earlier one. Errors of the handlers are dropped in favor of
            // the first one.
            if !matches!(error.get_kind(), Kind::Diverged | Kind::Cancelled) && begun.iteration() > iteration {
                let _ = self.workflow.fire(Event::Failed);
            }
        }
        result
    }

    /// Sets the engine's state for a run and returns its training loop.
    fn training(&self, start: &Arc<EngineStart>) -> Result<Training<'_>> {
        let batches = self.args.train_data_loader.batches();
        let epoch_length = self.args.epoch_length.unwrap_or(batches);
        if batches == 0 || epoch_length == 0 {
            return Err(no_batches(&self.args.train_data_loader));
        }
        self.workflow.update(|state| {
            (state.max_epochs, state.epoch_length) = (self.args.max_epochs, epoch_length);
            state.start = start.clone();
        });
        Ok(Training {
            args: &self.args,
            workflow: &self.workflow,
            scaler: &self.scaler,
            start: start.clone(),
            autocast: self.amp.autocast(&start.run.options),
        })
    }
}
