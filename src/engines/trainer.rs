//! SupervisedTrainer (monai.engines.trainer, MONAI 1.6.1): batch, forward, loss, backward, step.
//!
//! The numbers are MONAI's: what is drawn from torch's generator, and when, follows MONAI and ignite (a pass over the
//! loader begins when its first batch is needed, after the validation of the epoch before). Deliberate differences: the
//! postprocessing of an iteration runs only if a metric or handler looks at it; a loss that is not finite ends the run
//! before it reaches the weights; and the training is saved so that it can go on (see `training_state`).

use super::amp::Amp;
use super::cases::warn_of_unwritten;
use super::training_state::{self, TrainingCursor, TrainingProgress, TrainingState};
use super::workflow::{Parts, Workflow, check_network, clock, loss_alone};
use crate::checkpoint::{self, StateDict};
use crate::component::{Accepted, Dict, NotSupported, Value};
use crate::contracts::{
    CaseContext, Engine, EngineStart, EngineState, Event, Explanation, Handler, Inferer, Item, Loader, Loss, Mode,
    Network, Optimizer, Sample, Shared, TrainingExplanation, TransformContext, apply_all,
};
use crate::data::batches::{Batch, Batches, case_name};
use crate::data::{Transforms, alignment};
use crate::error::{Error, Kind, Result};
use crate::image::Spatial;
use crate::optim::GradScaler;
use crate::prediction::{Computed, Prediction, volume_tensor};
use crate::random::RngStates;
use crate::torch::{Device, DeviceExt, guard};
use crate::{bail, err};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use tch::Tensor;

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
        let parts = Parts {
            key_metric: args.key_train_metric.clone(),
            additional_metrics: args.additional_metrics.clone(),
            better: args.metric_cmp_fn.clone(),
            handlers: args.train_handlers.clone(),
        };
        let workflow = Workflow::new(COMPONENT.name, parts)?;
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
        let training = self.training(start)?;
        self.prepare(start)?;
        let result = training.train();
        if let Err(error) = &result {
            tracing::debug!("the training ends: {error}");
            // Handlers do not save weights that may be of no use; an interrupt is no exception to them, as in ignite, where
            // a KeyboardInterrupt passes them by. The error at hand is the one to report.
            if !matches!(error.get_kind(), Kind::Diverged | Kind::Cancelled) {
                let _ = self.workflow.fire(Event::Failed);
            }
        }
        result
    }
    fn explain(&self, start: &Arc<EngineStart>) -> Result<Explanation> {
        Ok(Explanation::Training(self.training(start)?.explanation()))
    }
    fn check(&self) -> Vec<Error> {
        let loader = &self.args.train_data_loader;
        let empty = (loader.batches() == 0).then(no_batches);
        let cases = super::cases::check(&*loader.dataset, &[]);
        empty.into_iter().chain(cases).chain(self.workflow.check()).collect()
    }
    fn prepare(&self, start: &EngineStart) -> Result<()> {
        let dataset = &*self.args.train_data_loader.dataset;
        alignment::check(dataset, &start.run.cancel)?;
        self.workflow.prepare(start)?;
        dataset.prepare(&start.run)
    }
    fn terminate(&self) {
        self.workflow.terminate();
    }
    fn state(&self) -> EngineState {
        self.workflow.state()
    }
}

fn no_batches() -> Error {
    err!(
        "there is nothing to train on: the data loader has no batches; `drop_last` leaves out a batch that is not full"
    )
    .kind(Kind::Config)
    .of_working_folder()
}

/// How an epoch ended.
enum Ended {
    Complete,
    /// A handler asked to stop.
    Stopped,
}

impl SupervisedTrainer {
    /// A training that starts now.
    fn training(&self, start: &Arc<EngineStart>) -> Result<Training<'_>> {
        let batches = self.args.train_data_loader.batches();
        let epoch_length = self.args.epoch_length.unwrap_or(batches);
        if batches == 0 || epoch_length == 0 {
            return Err(no_batches());
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

/// A training in progress.
struct Training<'a> {
    args: &'a SupervisedTrainerArgs,
    workflow: &'a Workflow,
    scaler: &'a Mutex<GradScaler>,
    start: Arc<EngineStart>,
    /// `None` computes in float32.
    autocast: Option<tch::Kind>,
}

impl Training<'_> {
    fn train(&self) -> Result<()> {
        warn_of_unwritten(self.args.train_data_loader.dataset.transforms(), "training");
        let began = Instant::now();
        // Reading ahead stops at an interrupt.
        let case = CaseContext { cancel: self.start.run.cancel.clone(), ..self.case_context() };
        let workflow = self.workflow;
        let mut saver = TrainingState::open(&self.start)?;
        let mut place = Place::default();
        let saved = saver.take_saved();
        let progress = saved.as_ref().map(TrainingProgress::of).transpose();
        let progress = progress.map_err(|error| error.file(saver.path()))?;
        let (epoch, iteration) = progress.as_ref().map_or((0, 0), |saved| (saved.epoch, saved.cursor.iteration));
        workflow.update(|state| (state.epoch, state.iteration) = (epoch, iteration));
        let state = workflow.state();
        self.log(format!(
            "Engine run resuming from iteration {iteration}, epoch {} until {} epochs",
            iteration / state.epoch_length,
            state.max_epochs
        ));
        // Handlers such as CheckpointLoader come first: what was saved is newer than what they load.
        workflow.fire(Event::Started)?;
        if let (Some(saved), Some(progress)) = (&saved, progress) {
            place = self.restore(saved, progress, &case).map_err(|error| error.file(saver.path()))?;
        }
        saver.compare_config(&self.start.config.resolved, saved.is_some());
        drop(saved);
        while !place.stopped && (workflow.state().epoch < self.args.max_epochs || place.in_epoch) {
            let epoch_began = Instant::now();
            if !place.in_epoch {
                workflow.update(|state| state.epoch += 1);
                workflow.begin_epoch();
                place.in_epoch = true;
            }
            let ended = self.epoch(&mut place, &mut saver, &case)?;
            // If the validation fails or is interrupted, it is done again.
            let snapshot = self.snapshot(&place)?;
            if let Ended::Stopped = ended {
                place.stopped = true;
                saver.save(|| self.saved(self.snapshot(&place)?));
                break;
            }
            if let Err(error) = self.check_weights().and_then(|()| workflow.complete_epoch()) {
                return Err(self.failed(error, snapshot, &mut saver));
            }
            place.in_epoch = false;
            place.stopped = workflow.take_stop();
            saver.save(|| self.saved(self.snapshot(&place)?));
            if place.stopped {
                break;
            }
            self.log(format!(
                "Epoch[{}] Complete. Time taken: {}",
                workflow.state().epoch,
                clock(epoch_began.elapsed())
            ));
        }
        workflow.fire(Event::Completed)?;
        self.log(format!("Engine run finished. Time taken: {}", clock(began.elapsed())));
        if saver.has_failed() {
            return Err(err!("the training came to its end, but its state could not be saved; the message is above"));
        }
        Ok(())
    }

    fn log(&self, text: String) {
        tracing::info!(logger = &*self.workflow.logger, "{text}");
    }

    fn case_context(&self) -> CaseContext {
        CaseContext {
            device: self.args.device,
            autocast: self.autocast,
            budget_bytes: self.start.run.options.memory_bytes,
            ..CaseContext::quiet()
        }
    }

    /// The iterations of an epoch that are still to come.
    fn epoch(&self, place: &mut Place, saver: &mut TrainingState, case: &CaseContext) -> Result<Ended> {
        let workflow = self.workflow;
        let length = workflow.state().epoch_length;
        // Where the weights last changed: what comes after is done again when the training goes on.
        let mut snapshot = self.snapshot(place)?;
        while place.pending_loss.is_some() || place.iteration < length * workflow.state().epoch {
            let output = match place.pending_loss {
                // The metrics have seen it.
                Some(loss) => loss_alone(loss),
                None => {
                    let buffers = self.buffers()?;
                    let stepped = self.next_batch(place, case).and_then(|batch| {
                        workflow.update(|state| state.iteration = place.iteration + 1);
                        tracing::debug!("iteration {}: {}", place.iteration + 1, described(&batch));
                        guard(|| self.step(batch))
                    });
                    let (samples, loss) = match stepped {
                        Ok(stepped) => stepped,
                        Err(error) => {
                            // A batch norm has seen the batch that failed.
                            put_back(buffers)?;
                            return Err(self.failed(error, snapshot, saver));
                        }
                    };
                    place.iteration += 1;
                    place.pending_loss = Some(loss);
                    let output = guard(|| workflow.measured(self.items(samples)?, Some(loss), &self.case_context()));
                    if self.steps_at(place.iteration) {
                        snapshot = self.snapshot(place)?;
                    }
                    output
                }
            };
            if let Err(error) = guard(|| workflow.tell(output?)) {
                return Err(self.failed(error, snapshot, saver));
            }
            place.pending_loss = None;
            let changed = self.steps_at(place.iteration);
            if changed {
                snapshot = self.snapshot(place)?;
            }
            if workflow.take_stop() {
                return Ok(Ended::Stopped);
            }
            if self.start.run.cancel.load(Ordering::Relaxed) {
                return Err(self.failed(err!("interrupted").kind(Kind::Cancelled), snapshot, saver));
            }
            if changed && saver.is_due() {
                if let Err(error) = self.check_weights() {
                    return Err(self.failed(error, snapshot, saver));
                }
                saver.save(|| self.saved(self.snapshot(place)?));
            }
        }
        Ok(Ended::Complete)
    }

    /// Save the training as it was at `snapshot`; the error with what there is to say of that.
    fn failed(&self, error: Error, snapshot: TrainingSnapshot, saver: &mut TrainingState) -> Error {
        // Its weights may be of no use, so that the good state stays where it is.
        if error.get_kind() == Kind::Diverged {
            saver.save_failed(|| self.saved(snapshot));
            return error;
        }
        saver.save(|| self.saved(snapshot));
        saver.hint(error)
    }

    /// An error if a step has left weights of no use: nothing good is to be overwritten with them.
    fn check_weights(&self) -> Result<()> {
        let network = self.args.network.lock();
        let Some(name) = network.state().not_finite()?.first().copied() else { return Ok(()) };
        let state = self.workflow.state();
        Err(err!("`{name}` is not finite after iteration {} in epoch {}", state.iteration, state.epoch)
            .kind(Kind::Diverged)
            .hint("lower the learning rate, or look at its schedule"))
    }

    /// What a forward pass changes in the network, with copies.
    fn buffers(&self) -> Result<Vec<(Tensor, Tensor)>> {
        let network = self.args.network.lock();
        let buffers = network.state().tensors.iter().filter(|(_, tensor)| !tensor.requires_grad());
        let with_copy = |(_, tensor): (&String, &Tensor)| {
            let mut copy = tensor.f_zeros_like()?;
            copy.f_copy_(tensor)?;
            Ok((tensor.shallow_clone(), copy))
        };
        buffers.map(with_copy).collect()
    }

    /// Whether the optimizer steps at the end of an iteration, from 1.
    fn steps_at(&self, iteration: usize) -> bool {
        let length = self.workflow.state().epoch_length;
        let inside = (iteration - 1) % length + 1;
        inside.is_multiple_of(self.args.accumulation_steps) || inside == length
    }

    /// The next batch of the pass, or the first of the next one.
    fn next_batch(&self, place: &mut Place, case: &CaseContext) -> Result<Batch> {
        if let Some(batch) = place.batches.as_mut().and_then(Batches::next_batch) {
            return batch;
        }
        let batches =
            Batches::begin(&self.args.train_data_loader, place.batches.as_ref().map(Batches::position).as_ref(), case)?;
        let batches = place.batches.insert(batches);
        batches.next_batch().unwrap_or_else(|| bail!("the data loader has no batches"))
    }

    /// Forward, loss, backward, step; the batch's samples with their predictions, if anybody looks at them, and the loss.
    fn step(&self, batch: Batch) -> Result<(Vec<Sample>, f64)> {
        let args = &self.args;
        let names = || batch.entries.iter().map(case_name).collect::<Vec<_>>().join(", ");
        let (images, labels) = self.collate(&batch)?;
        let state = self.workflow.state();
        let (every, inside) = (args.accumulation_steps, (state.iteration - 1) % state.epoch_length);
        let mut optimizer = args.optimizer.lock();
        if inside.is_multiple_of(every) {
            optimizer.zero_grad()?;
        }
        let mode = Mode { train: true, autocast: self.autocast };
        let named = |error: Error| error.context(format_args!("cases {}", names()));
        let prediction = args.network.lock().forward(&images, mode).map_err(named)?;
        let loss = args
            .loss_function
            .forward(&prediction, &labels)
            .map_err(|error| named(self.name_bad_label(error, &batch)))?
            .f_mean(None)?;
        let value = loss.f_double_value(&[])?; // waits for a GPU
        if !value.is_finite() {
            return Err(err!(
                "the loss is {value} in epoch {}, iteration {}; cases: {}",
                state.epoch,
                inside + 1,
                names()
            )
            .kind(Kind::Diverged)
            .hint("look at these images and labels, or lower the learning rate"));
        }
        let part = if every > 1 { loss.f_div_scalar(every as f64)? } else { loss.shallow_clone() };
        let mut scaler = self.scaler.lock();
        scaler.scale(&part)?.f_backward()?;
        if self.steps_at(state.iteration) {
            scaler.step(&mut *optimizer)?;
        }
        drop((scaler, optimizer, loss, part));
        let samples =
            if self.workflow.wants_output() { with_predictions(batch, &prediction.f_detach()?)? } else { vec![] };
        Ok((samples, value))
    }

    /// Images [N,C,X,Y,Z] and labels [N,…] on the network's device.
    fn collate(&self, batch: &Batch) -> Result<(Tensor, Tensor)> {
        let mut first: Option<(usize, [usize; 4], [usize; 4])> = None;
        let (mut images, mut labels) = (vec![], vec![]);
        for (at, sample) in batch.samples.iter().enumerate() {
            let name = || case_name(&batch.entries[at]);
            let (image, label) = (sample.image("image"), sample.image("label"));
            let (image, label) = (image.map_err(|e| e.context(name()))?, label.map_err(|e| e.context(name()))?);
            alignment::check_sample(sample)?;
            let shapes = (image.layout.shape, label.layout.shape);
            if shapes.0[1..] != shapes.1[1..] {
                return Err(err!(
                    "the image has {:?} voxels after its transforms, the label {:?}",
                    &shapes.0[1..],
                    &shapes.1[1..]
                )
                .file(&label.header.path)
                .hint("image and label must lie on one grid"));
            }
            match &first {
                None => first = Some((at, shapes.0, shapes.1)),
                Some((other, image, label)) if (*image, *label) != shapes => {
                    return Err(err!(
                        "a batch needs images of one shape: {} has {image:?}, {} has {:?}",
                        case_name(&batch.entries[*other]),
                        name(),
                        shapes.0
                    )
                    .hint("crop or pad to one size (RandSpatialCropd, SpatialPadd), or set batch_size to 1"));
                }
                Some(_) => {}
            }
            images.push(volume_tensor(image)?);
            labels.push(volume_tensor(label)?);
        }
        let device = self.args.device.tch();
        Ok((Tensor::f_stack(&images, 0)?.f_to_device(device)?, Tensor::f_stack(&labels, 0)?.f_to_device(device)?))
    }

    /// Which file holds the label that the loss does not take.
    fn name_bad_label(&self, error: Error, batch: &Batch) -> Error {
        let classes = self.args.network.lock().out_channels() as f32;
        for sample in &batch.samples {
            let Ok(label) = sample.image("label") else { continue };
            let values = label.to_f32_vec().unwrap_or_default();
            if let Some(bad) = values.iter().find(|value| !(0.0..classes).contains(*value)) {
                return error.context(format_args!("the label {bad} occurs")).file(&label.header.path);
            }
        }
        error
    }

    /// Samples after the postprocessing. It cannot be interrupted: the step is done already.
    fn items(&self, samples: Vec<Sample>) -> Result<Vec<Sample>> {
        let _no_grad = tch::no_grad_guard();
        let case = self.case_context();
        apply_all(
            &self.args.postprocessing.steps,
            samples,
            &mut TransformContext { case: &case, writes: &mut vec![], rng: &mut RngStates::default() },
        )
    }

    /// The training as it is now, except for the network's tensors.
    fn snapshot(&self, place: &Place) -> Result<TrainingSnapshot> {
        let position = place.batches.as_ref().map(Batches::position);
        let cursor = TrainingCursor::new(
            self.args.device,
            place.iteration,
            place.pending_loss,
            place.in_epoch,
            position.as_ref(),
        )?;
        let (workflow, optimizer) = (self.workflow.save(place.in_epoch)?, self.args.optimizer.lock().state()?);
        Ok(TrainingSnapshot { cursor, workflow, optimizer, stopped: place.stopped })
    }

    /// All of the training at `snapshot`, since which its tensors have not changed.
    fn saved(&self, TrainingSnapshot { cursor, workflow, optimizer, stopped }: TrainingSnapshot) -> Result<StateDict> {
        let EngineState { epoch, epoch_length, .. } = self.workflow.state();
        let stopped = stopped.then_some(self.args.max_epochs);
        let progress = checkpoint::to_state(&TrainingProgress { epoch, epoch_length, cursor, stopped })?;
        let network = self.args.network.lock();
        let tensors = network
            .state()
            .tensors
            .iter()
            .map(|(name, tensor)| Ok((name.clone(), StateDict::Tensor(tensor.f_detach()?))));
        Ok(progress
            .with("network", StateDict::dict(tensors.collect::<Result<Vec<_>>>()?))
            .with("optimizer", optimizer)
            .with("scaler", self.scaler.lock().save()?)
            .with("workflow", workflow))
    }

    /// Restores what [`Training::saved`] gave.
    fn restore(&self, saved: &StateDict, progress: TrainingProgress, case: &CaseContext) -> Result<Place> {
        let get =
            |key: &str| saved.get(key).ok_or_else(|| err!("the saved training is damaged: missing field `{key}`"));
        let TrainingProgress { epoch, epoch_length, cursor, stopped } = progress;
        let own = self.workflow.state().epoch_length;
        if epoch_length != own {
            return Err(err!("the saved training has epochs of {epoch_length} iterations, this config makes {own}")
                .hint("go on with the same cases and batch size, or start anew without --resume"));
        }
        let StateDict::Dict(tensors) = get("network")? else { bail!("the saved training's `network` is no dict") };
        let tensors: Vec<(String, Tensor)> = tensors
            .iter()
            .filter_map(|(name, tensor)| match (name, tensor) {
                (StateDict::Str(name), StateDict::Tensor(tensor)) => Some((name.clone(), tensor.shallow_clone())),
                _ => None,
            })
            .collect();
        self.args.network.lock().load(&tensors)?;
        self.args.optimizer.lock().load_state(get("optimizer")?)?;
        self.scaler.lock().load(get("scaler")?)?;
        self.workflow.load(get("workflow")?)?;
        let loader = &self.args.train_data_loader;
        self.workflow.update(|state| (state.epoch, state.iteration) = (epoch, cursor.iteration));
        let position = cursor.position(loader)?;
        let batches = position.map(|position| Batches::resume(loader, position, case)).transpose()?;
        cursor.restore_generators(self.args.device)?;
        let stopped = stopped == Some(self.args.max_epochs);
        match stopped {
            true => {
                tracing::info!("a handler ended this training in epoch {epoch}; another max_epochs goes on with it")
            }
            false => tracing::info!("resumed after iteration {} in epoch {}", cursor.iteration, epoch.max(1)),
        }
        let TrainingCursor { iteration, pending_loss, in_epoch, .. } = cursor;
        Ok(Place { iteration, pending_loss, in_epoch, stopped, batches })
    }

    fn explanation(&self) -> TrainingExplanation {
        let (loader, state, network) = (&self.args.train_data_loader, self.workflow.state(), self.args.network.lock());
        TrainingExplanation {
            cases: loader.dataset.len(),
            batch_size: loader.batch_size,
            iterations_per_epoch: state.epoch_length,
            epochs: state.max_epochs,
            network: network.name().to_owned(),
            parameters: crate::contracts::parameters(&*network).iter().map(|(_, tensor)| tensor.numel()).sum(),
            saved_in: training_state::folder(&self.start.config),
        }
    }
}

/// A batch's samples, each with its part of `predictions` [N,K,X,Y,Z] under `pred`.
fn with_predictions(batch: Batch, predictions: &Tensor) -> Result<Vec<Sample>> {
    let with = |(at, mut sample): (usize, Sample)| {
        let image = sample.image("image")?;
        let values = Computed::new(predictions.f_select(0, at as i64)?, image.grid())?;
        let prediction = Prediction::pending(Box::new(values), image.header.clone(), image.trace.clone());
        sample.set("pred", Item::Prediction(prediction));
        Ok(sample)
    };
    batch.samples.into_iter().enumerate().map(with).collect()
}

/// The batch's cases, and where each was cropped last: `a.nii.gz from [12, 0, 7]`.
fn described(batch: &Batch) -> String {
    let one = |(sample, entry): (&Sample, &Value)| {
        let start = sample.image("image").ok().and_then(|image| match image.trace.last()?.what {
            Spatial::CropPad { start } => Some(format!(" from {start:?}")),
            _ => None,
        });
        case_name(entry) + &start.unwrap_or_default()
    };
    batch.samples.iter().zip(&batch.entries).map(one).collect::<Vec<_>>().join(", ")
}

/// A training between two iterations, except for its network's tensors.
struct TrainingSnapshot {
    cursor: TrainingCursor,
    workflow: StateDict,
    optimizer: StateDict,
    stopped: bool,
}

fn put_back(buffers: Vec<(Tensor, Tensor)>) -> Result<()> {
    let _no_grad = tch::no_grad_guard();
    buffers.into_iter().try_for_each(|(mut tensor, copy)| Ok(tensor.f_copy_(&copy).map(drop)?))
}

/// Where a training stands in its data.
#[derive(Default)]
struct Place {
    /// Iterations that are done.
    iteration: usize,
    /// The loss of the last one, if its handlers have not been called yet.
    pending_loss: Option<f64>,
    /// In the middle of an epoch.
    in_epoch: bool,
    /// A handler has ended it.
    stopped: bool,
    /// The pass over the loader that batches come from.
    batches: Option<Batches>,
}
