//! The training loop of SupervisedTrainer: epochs, iterations, saving and resuming.

use super::SupervisedTrainerArgs;
use crate::checkpoint::{self, StateDict, Uint8Tensor};
use crate::component::Value;
use crate::contracts::{
    CaseContext, EngineStart, EngineState, Event, Item, Mode, Sample, TrainingExplanation, TransformContext,
    apply_to_predictions, parameters,
};
use crate::data::alignment;
use crate::data::batches::{Batch, Batches, case_name};
use crate::data::pass::LoaderPosition;
use crate::distributed;
use crate::engines::cases::warn_of_unwritten;
use crate::engines::training_state::{self, TrainingCursor, TrainingData, TrainingProgress, TrainingState};
use crate::engines::workflow::{Workflow, clock, loss_output};
use crate::error::{Error, Kind, Result};
use crate::formats::digest;
use crate::image::Spatial;
use crate::optim::GradScaler;
use crate::prediction::{Computed, Prediction, volume_tensor};
use crate::random::RngStates;
use crate::text::count;
use crate::torch::{DeviceExt, guard, tensor_bytes};
use crate::{bail, err};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use tch::Tensor;

/// Outcome of an epoch.
enum EpochOutcome {
    Complete,
    /// A handler terminated the engine.
    Stopped,
}

/// The training loop of one run.
pub(super) struct Training<'a> {
    pub(super) args: &'a SupervisedTrainerArgs,
    pub(super) workflow: &'a Workflow,
    pub(super) scaler: &'a Mutex<GradScaler>,
    pub(super) start: Arc<EngineStart>,
    /// `None` computes in float32.
    pub(super) autocast: Option<tch::Kind>,
}

impl Training<'_> {
    /// Opens the saved state, restores it with `--resume`, and calls the handlers at the start of the run.
    ///
    /// # Errors
    /// The saved state is damaged or does not match the config, before any handler is called; a failed handler.
    pub(super) fn begin(&self) -> Result<Begun> {
        warn_of_unwritten(self.args.train_data_loader.dataset.transforms(), "training");
        let began = Instant::now();
        let case = self.batch_context();
        let workflow = self.workflow;
        let mut saver = TrainingState::open(&self.start)?;
        let saved = saver.take_saved();
        let path = saver.path().to_owned();
        let restored = |saved: &StateDict| self.restore(saved).map_err(|error| error.file(&path));
        let (epoch, iteration) = match &saved {
            Some(saved) => restored(saved).map(|(progress, _)| (progress.epoch, progress.cursor.iteration))?,
            None => (0, 0),
        };
        workflow.update(|state| (state.epoch, state.iteration) = (epoch, iteration));
        let state = workflow.state();
        self.compare_ranks([epoch, iteration, state.epoch_length])?;
        self.log(format!(
            "Engine run resuming from iteration {iteration}, epoch {} until {} epochs",
            iteration / state.epoch_length,
            state.max_epochs
        ));
        workflow.fire(Event::Started)?;
        // The saved state is newer than what handlers such as CheckpointLoader load, so it is restored again.
        let loop_state = match &saved {
            Some(saved) => {
                let (progress, position) = restored(saved)?;
                self.resume(progress, position, &case).map_err(|error| error.file(&path))?
            }
            None => LoopState::default(),
        };
        saver.compare_config(&self.start.config.resolved, saved.is_some());
        Ok(Begun { began, saver, loop_state })
    }

    /// Compares epoch, iteration and iterations per epoch with those of rank 0.
    fn compare_ranks(&self, own: [usize; 3]) -> Result<()> {
        let all = distributed::gather("the start of the training", own)?;
        let Some((rank, other)) = all.iter().enumerate().find(|(_, other)| **other != all[0]) else { return Ok(()) };
        let ([_, first, length], [_, iteration, other]) = (all[0], *other);
        Err(match length == other {
            true => err!("rank {rank} starts from iteration {iteration}, rank 0 from {first}")
                .hint("give all ranks the same options and the same `ckpt_dir`, in a folder that they share"),
            false => err!("rank {rank} has {other} iterations per epoch, rank 0 has {length}")
                .hint("set even_divisible of DistributedSampler to True"),
        })
    }

    /// Checks that ranks that train one network have the same weights: an exchange that went wrong must not go unnoticed.
    fn compare_weights(&self) -> Result<()> {
        let network = self.args.network.lock();
        let Some(group) = distributed::group().filter(|_| !network.prefix().is_empty()) else { return Ok(()) };
        let bytes = parameters(&*network).iter().map(|(_, tensor)| tensor_bytes(tensor)).collect::<Result<Vec<_>>>()?;
        let all = group.gather("the end of the training", &digest::of_pieces(bytes.iter().map(Vec::as_slice)))?;
        match all.iter().position(|sha256| *sha256 != all[0]) {
            None => Ok(()),
            Some(rank) => Err(err!("the weights of rank {rank} differ from those of rank 0 after the training")),
        }
    }

    /// Whether a handler or the user stops the training, and whether its state is saved now (`due`): on all ranks, if it is
    /// on one.
    fn agreed(&self, due: bool) -> Result<[bool; 3]> {
        let flags = [self.workflow.take_stop(), self.start.run.cancel.load(Ordering::Relaxed), due];
        match distributed::group() {
            Some(group) => group.any("the end of an iteration", flags),
            None => Ok(flags),
        }
    }

    /// Runs all epochs.
    ///
    /// # Errors
    /// A failed iteration, validation or handler, after the training state is saved; cancellation.
    pub(super) fn train(&self, Begun { began, saver, loop_state }: &mut Begun) -> Result<()> {
        let (workflow, case) = (self.workflow, self.batch_context());
        while !loop_state.stopped && (workflow.state().epoch < self.args.max_epochs || loop_state.in_epoch) {
            let epoch_began = Instant::now();
            if !loop_state.in_epoch {
                workflow.update(|state| state.epoch += 1);
                workflow.begin_epoch();
                loop_state.in_epoch = true;
            }
            let ended = self.epoch(loop_state, saver, &case)?;
            // If the validation fails or is interrupted, a resumed training repeats it.
            let snapshot = self.snapshot(loop_state)?;
            if let EpochOutcome::Stopped = ended {
                loop_state.stopped = true;
                saver.save(|| self.saved(self.snapshot(loop_state)?));
                break;
            }
            if let Err(error) = self.check_weights().and_then(|()| workflow.complete_epoch()) {
                return Err(self.failed(error, snapshot, saver));
            }
            loop_state.in_epoch = false;
            [loop_state.stopped, ..] = self.agreed(false)?;
            saver.save(|| self.saved(self.snapshot(loop_state)?));
            if loop_state.stopped {
                break;
            }
            self.log(format!(
                "Epoch[{}] Complete. Time taken: {}",
                workflow.state().epoch,
                clock(epoch_began.elapsed())
            ));
        }
        self.compare_weights()?;
        workflow.fire(Event::Completed)?;
        self.log(format!("Engine run finished. Time taken: {}", clock(began.elapsed())));
        if saver.has_failed() {
            return Err(err!("the training is complete, but its state could not be saved; the message is above"));
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

    /// The context in which batches are loaded: an interrupt also stops the workers of the loader. Several ranks load the
    /// batch of an iteration to its end, and then stop together.
    fn batch_context(&self) -> CaseContext {
        match distributed::world_size() {
            1 => CaseContext { cancel: self.start.run.cancel.clone(), ..self.case_context() },
            _ => self.case_context(),
        }
    }

    /// Runs the remaining iterations of an epoch.
    fn epoch(&self, loop_state: &mut LoopState, saver: &mut TrainingState, case: &CaseContext) -> Result<EpochOutcome> {
        let workflow = self.workflow;
        let length = workflow.state().epoch_length;
        // State at the last change of the weights; a resumed training repeats the iterations after it.
        let mut snapshot = self.snapshot(loop_state)?;
        while loop_state.pending_loss.is_some() || loop_state.iteration < length * workflow.state().epoch {
            let output = match loop_state.pending_loss {
                // The metrics are already updated.
                Some(loss) => loss_output(loss),
                None => {
                    let buffers = self.buffers()?;
                    let stepped = self.next_batch(loop_state, case).and_then(|batch| {
                        workflow.update(|state| state.iteration = loop_state.iteration + 1);
                        tracing::debug!("iteration {}: {}", loop_state.iteration + 1, batch_text(&batch));
                        guard(|| self.step(batch))
                    });
                    let (samples, loss) = match stepped {
                        Ok(stepped) => stepped,
                        Err(error) => {
                            // The failed batch may have updated the statistics of batch normalization.
                            restore_buffers(buffers)?;
                            return Err(self.failed(error, snapshot, saver));
                        }
                    };
                    loop_state.iteration += 1;
                    loop_state.pending_loss = Some(loss);
                    let output =
                        guard(|| workflow.update_metrics(self.items(samples)?, Some(loss), &self.case_context()));
                    if self.steps_at(loop_state.iteration) {
                        snapshot = self.snapshot(loop_state)?;
                    }
                    output
                }
            };
            if let Err(error) = guard(|| workflow.complete_iteration(output?)) {
                return Err(self.failed(error, snapshot, saver));
            }
            loop_state.pending_loss = None;
            let changed = self.steps_at(loop_state.iteration);
            if changed {
                snapshot = self.snapshot(loop_state)?;
            }
            let [stop, cancelled, due] = match self.agreed(changed && saver.is_due()) {
                Ok(flags) => flags,
                Err(error) => return Err(self.failed(error, snapshot, saver)),
            };
            if stop {
                return Ok(EpochOutcome::Stopped);
            }
            if cancelled {
                return Err(self.failed(err!("interrupted").kind(Kind::Cancelled), snapshot, saver));
            }
            if due {
                if let Err(error) = self.check_weights() {
                    return Err(self.failed(error, snapshot, saver));
                }
                saver.save(|| self.saved(self.snapshot(loop_state)?));
            }
        }
        Ok(EpochOutcome::Complete)
    }

    /// Saves the training at `snapshot` after an error, and returns the error with a hint about resuming.
    fn failed(&self, error: Error, snapshot: TrainingSnapshot, saver: &mut TrainingState) -> Error {
        // The weights may be unusable: the last good state is kept.
        if error.get_kind() == Kind::Diverged {
            saver.save_failed(|| self.saved_alone(snapshot));
            return error;
        }
        // The ranks have agreed on an interrupt. Another error is that of one rank, and the states of the others are not
        // known: the last saved state is kept.
        if distributed::world_size() == 1 || error.get_kind() == Kind::Cancelled {
            saver.save(|| self.saved(snapshot));
        }
        saver.hint(error)
    }

    /// Checks the weights before they replace a good saved state.
    ///
    /// # Errors
    /// A tensor contains NaN or infinite values.
    fn check_weights(&self) -> Result<()> {
        let network = self.args.network.lock();
        let Some(name) = network.state().not_finite()?.first().copied() else { return Ok(()) };
        let state = self.workflow.state();
        Err(err!("`{name}` is not finite after iteration {} in epoch {}", state.iteration, state.epoch)
            .kind(Kind::Diverged)
            .hint("lower the learning rate, or check its schedule"))
    }

    /// The buffers that a forward pass updates, each with a copy.
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

    /// Whether the optimizer steps at the end of `iteration` (from 1).
    fn steps_at(&self, iteration: usize) -> bool {
        let length = self.workflow.state().epoch_length;
        let inside = (iteration - 1) % length + 1;
        inside.is_multiple_of(self.args.accumulation_steps) || inside == length
    }

    /// The next batch of the pass, or the first batch of the next pass.
    fn next_batch(&self, loop_state: &mut LoopState, case: &CaseContext) -> Result<Batch> {
        if let Some(batch) = loop_state.batches.as_mut().and_then(Batches::next_batch) {
            return batch;
        }
        let batches = Batches::begin(
            &self.args.train_data_loader,
            self.workflow.state().epoch,
            loop_state.batches.as_ref().map(Batches::position).as_ref(),
            case,
        )?;
        let batches = loop_state.batches.insert(batches);
        batches.next_batch().unwrap_or_else(|| bail!("the data loader has no batches"))
    }

    /// Runs forward, loss, backward and optimizer step. Returns the loss, and the samples with their predictions if a
    /// metric or handler uses them.
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
        let mut network = args.network.lock();
        network.average_gradients(self.steps_at(state.iteration));
        let prediction = network.forward(&images, mode).map_err(named)?;
        drop(network);
        let loss = args
            .loss_function
            .forward(&prediction, &labels)
            .map_err(|error| named(self.name_bad_label(error, &batch)))?
            .f_mean(None)?;
        let value = loss.f_double_value(&[])?; // synchronizes with the GPU
        if !value.is_finite() {
            return Err(err!(
                "the loss is {value} in epoch {}, iteration {}; cases: {}",
                state.epoch,
                inside + 1,
                names()
            )
            .kind(Kind::Diverged)
            .hint("check these images and labels, or lower the learning rate"));
        }
        let part = if every > 1 { loss.f_div_scalar(every as f64)? } else { loss.shallow_clone() };
        let mut scaler = self.scaler.lock();
        scaler.scale(&part)?.f_backward().map_err(|error| distributed::named(error.into()))?;
        if self.steps_at(state.iteration) {
            scaler.step(&mut *optimizer)?;
        }
        drop((scaler, optimizer, loss, part));
        let samples =
            if self.workflow.wants_output() { with_predictions(batch, &prediction.f_detach()?)? } else { vec![] };
        Ok((samples, value))
    }

    /// Stacks images `[N, C, X, Y, Z]` and labels `[N, …]` on the network's device.
    ///
    /// # Errors
    /// Label and image of a sample differ in shape or position; samples differ in shape.
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
                    "the image {} has {:?} voxels after its transforms, its label {:?}",
                    image.header.path.display(),
                    &shapes.0[1..],
                    &shapes.1[1..]
                )
                .file(&label.header.path)
                .hint("apply the same spatial transforms to image and label"));
            }
            match &first {
                None => first = Some((at, shapes.0, shapes.1)),
                Some((other, image, label)) if (*image, *label) != shapes => {
                    return Err(err!(
                        "expected images of one shape in a batch: {} has {image:?}, {} has {:?}",
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

    /// Adds to an error of the loss which file contains a label outside the classes of the network.
    fn name_bad_label(&self, error: Error, batch: &Batch) -> Error {
        let classes = self.args.network.lock().out_channels();
        for sample in &batch.samples {
            let Ok(label) = sample.image("label") else { continue };
            let values = label.to_f32_vec().unwrap_or_default();
            if let Some(bad) = values.iter().find(|value| !(0.0..classes as f32).contains(*value)) {
                return error
                    .context(format_args!("found label {bad}, where the network has {classes} classes"))
                    .file(&label.header.path);
            }
        }
        error
    }

    /// Applies the postprocessing. It is not cancelled: the optimizer step is already done.
    fn items(&self, samples: Vec<Sample>) -> Result<Vec<Sample>> {
        let _no_grad = tch::no_grad_guard();
        let case = self.case_context();
        apply_to_predictions(
            &self.args.postprocessing.steps,
            samples,
            &mut TransformContext { case: &case, writes: &mut vec![], rng: &mut RngStates::default() },
        )
    }

    /// The current state, except for the network's tensors.
    fn snapshot(&self, loop_state: &LoopState) -> Result<TrainingSnapshot> {
        let position = loop_state.batches.as_ref().map(Batches::position);
        let cursor = TrainingCursor::new(
            self.args.device,
            loop_state.iteration,
            loop_state.pending_loss,
            loop_state.in_epoch,
            position.as_ref(),
        )?;
        let (workflow, optimizer) = (self.workflow.save(loop_state.in_epoch)?, self.args.optimizer.lock().state()?);
        Ok(TrainingSnapshot { cursor, workflow, optimizer, stopped: loop_state.stopped })
    }

    /// What the training reads.
    fn data(&self) -> TrainingData {
        TrainingData::new(&self.args.train_data_loader, &self.start.config)
    }

    /// The whole state at a snapshot since which the network's tensors have not changed: that of [`Training::saved_alone`]
    /// with the position, random states and handlers of the other ranks under `ranks`.
    fn saved(&self, snapshot: TrainingSnapshot) -> Result<StateDict> {
        let Some(group) = distributed::group() else { return self.saved_alone(snapshot) };
        let what = "the saving of the training";
        let cursors = group.gather_bytes(what, &checkpoint::to_bytes(&checkpoint::to_state(&snapshot.cursor)?)?)?;
        let workflows = group.gather_bytes(what, &checkpoint::to_bytes(&snapshot.workflow)?)?;
        let bytes = |bytes| checkpoint::to_state(&Uint8Tensor(bytes));
        let rank = |(cursor, workflow)| Ok(StateDict::dict([("mark", bytes(cursor)?), ("workflow", bytes(workflow)?)]));
        let others = cursors.into_iter().zip(workflows).skip(1).map(rank).collect::<Result<_>>()?;
        Ok(self.saved_alone(snapshot)?.with("ranks", StateDict::List(others)))
    }

    /// The state of this rank.
    fn saved_alone(
        &self,
        TrainingSnapshot { cursor, workflow, optimizer, stopped }: TrainingSnapshot,
    ) -> Result<StateDict> {
        let EngineState { epoch, epoch_length, .. } = self.workflow.state();
        let stopped = stopped.then_some(self.args.max_epochs);
        let data = Some(self.data());
        let progress = checkpoint::to_state(&TrainingProgress { epoch, epoch_length, cursor, stopped, data })?;
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

    /// Restores the components from the result of [`Training::saved`]; returns the progress and the position in the
    /// pass over the loader for [`Training::resume`].
    ///
    /// # Errors
    /// The saved state is damaged, or does not match the config.
    fn restore(&self, saved: &StateDict) -> Result<(TrainingProgress, Option<LoaderPosition>)> {
        let get =
            |key: &str| saved.get(key).ok_or_else(|| err!("the saved training is damaged: missing field `{key}`"));
        let mut progress = TrainingProgress::of(saved)?;
        progress.data.as_ref().map_or(Ok(()), |saved| self.data().check(saved))?;
        let others = match saved.get("ranks") {
            Some(StateDict::List(others)) => others.as_slice(),
            _ => &[],
        };
        let (rank, ranks, saved_ranks) = (distributed::rank(), distributed::world_size(), others.len() + 1);
        let mut workflow = None;
        if let Some(saved) = rank.checked_sub(1).and_then(|at| others.get(at)) {
            let part = |key: &str| -> Result<StateDict> {
                let bytes =
                    saved.get(key).ok_or_else(|| err!("the saved training is damaged: missing field `{key}`"))?;
                checkpoint::from_bytes(checkpoint::from_state::<Vec<u8>>(bytes)?)
            };
            progress.cursor = checkpoint::from_state(&part("mark")?)?;
            workflow = Some(part("workflow")?);
        }
        let (epoch_length, own) = (progress.epoch_length, self.workflow.state().epoch_length);
        if ranks != saved_ranks {
            progress.cursor.rescale(epoch_length, own);
            tracing::warn!(
                "this training was saved with {} and resumes with {}: weights, optimizer, schedules and epochs continue; the \
                 rest of an incomplete epoch begins a new pass over the cases, and random numbers differ from those of an \
                 uninterrupted training",
                count(saved_ranks, "rank"),
                count(ranks, "rank")
            );
        } else if epoch_length != own {
            return Err(err!("the saved training has {epoch_length} iterations per epoch, this config has {own}")
                .hint("resume with the same cases and batch size, or start again without --resume"));
        }
        let StateDict::Dict(tensors) = get("network")? else {
            bail!("the saved training is damaged: `network` is not a dict")
        };
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
        let workflow = workflow.as_ref().map_or_else(|| get("workflow"), Ok)?;
        self.workflow.load(workflow)?;
        let loader = &self.args.train_data_loader;
        let position = progress.cursor.position(loader)?;
        position.iter().try_for_each(|position| position.check(loader))?;
        Ok((progress, position))
    }

    /// Resumes the pass over the loader and the random generators at the end of [`Training::restore`].
    fn resume(
        &self,
        progress: TrainingProgress,
        position: Option<LoaderPosition>,
        case: &CaseContext,
    ) -> Result<LoopState> {
        let TrainingProgress { epoch, cursor, stopped, .. } = progress;
        let loader = &self.args.train_data_loader;
        self.workflow.update(|state| (state.epoch, state.iteration) = (epoch, cursor.iteration));
        let batches = position.map(|position| Batches::resume(loader, position, case)).transpose()?;
        cursor.restore_generators(self.args.device)?;
        let stopped = stopped == Some(self.args.max_epochs);
        match stopped {
            true => {
                tracing::info!("a handler ended this training in epoch {epoch}; set another max_epochs to continue it")
            }
            false if epoch >= self.args.max_epochs && !cursor.in_epoch => tracing::info!(
                "the training is complete: it was saved after epoch {epoch} of {}; set a larger max_epochs to continue it",
                self.args.max_epochs
            ),
            false => tracing::info!("resumed from epoch {}, iteration {}", epoch.max(1), cursor.iteration),
        }
        let TrainingCursor { iteration, pending_loss, in_epoch, .. } = cursor;
        Ok(LoopState { iteration, pending_loss, in_epoch, stopped, batches })
    }

    /// What [`Training::train`] would do.
    pub(super) fn explanation(&self) -> Result<TrainingExplanation> {
        let (loader, state, network) = (&self.args.train_data_loader, self.workflow.state(), self.args.network.lock());
        Ok(TrainingExplanation {
            cases: loader.dataset.len(),
            batch_size: loader.batch_size,
            iterations_per_epoch: state.epoch_length,
            epochs: state.max_epochs,
            network: network.name().to_owned(),
            parameters: crate::contracts::parameters(&*network).iter().map(|(_, tensor)| tensor.numel()).sum(),
            saved_in: training_state::folder(&self.start.config)?,
        })
    }
}

/// The samples of a batch, each with its item of `predictions` `[N, K, X, Y, Z]` under `pred`.
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

/// The cases of a batch and the start of each crop, for the log: `a.nii.gz from [12, 0, 7]`.
fn batch_text(batch: &Batch) -> String {
    let one = |(sample, entry): (&Sample, &Value)| {
        let start = sample.image("image").ok().and_then(|image| match image.trace.last()?.what {
            Spatial::CropPad { start } => Some(format!(" from {start:?}")),
            _ => None,
        });
        case_name(entry) + &start.unwrap_or_default()
    };
    batch.samples.iter().zip(&batch.entries).map(one).collect::<Vec<_>>().join(", ")
}

/// State of a training between two iterations, except for the network's tensors.
struct TrainingSnapshot {
    cursor: TrainingCursor,
    workflow: StateDict,
    optimizer: StateDict,
    stopped: bool,
}

/// Restores the result of [`Training::buffers`].
fn restore_buffers(buffers: Vec<(Tensor, Tensor)>) -> Result<()> {
    let _no_grad = tch::no_grad_guard();
    buffers.into_iter().try_for_each(|(mut tensor, copy)| Ok(tensor.f_copy_(&copy).map(drop)?))
}

/// A training that has begun: the result of [`Training::begin`], which [`Training::train`] advances.
pub(super) struct Begun {
    began: Instant,
    saver: TrainingState,
    loop_state: LoopState,
}

impl Begun {
    /// Number of completed iterations.
    pub(super) fn iteration(&self) -> usize {
        self.loop_state.iteration
    }
}

/// State of the training loop between two iterations.
#[derive(Default)]
struct LoopState {
    /// Number of completed iterations.
    iteration: usize,
    /// Loss of the last iteration, if its handlers have not been called yet.
    pending_loss: Option<f64>,
    /// Whether the current epoch is incomplete.
    in_epoch: bool,
    /// Whether a handler ended the training.
    stopped: bool,
    /// The current pass over the loader.
    batches: Option<Batches>,
}
