//! SupervisedEvaluator (monai.engines.evaluator, MONAI 1.6.1): applies a network to cases, for inference and
//! validation.
//!
//! During the inference of a case, the next case is read and the previous one written (see `pipeline`). Differences
//! from MONAI:
//! - A failed case is reported and the others are processed; the run fails at its end.
//! - Cases are processed one by one, whatever the batch size.
//! - Values that no postprocessing uses are never computed.
//! - Ranks share the cases as their sampler says; rows of metrics are in the order of the dataset, MONAI's by rank.

use super::amp::Amp;
use super::cases::{self, Case, Cases};
use super::explain::Explain;
use super::pipeline::{PassResult, Pipeline};
use super::record::{self, CaseRecord, Division, RunRecord, RunStatus, Settings};
use super::resume::Identity;
use super::share;
use super::training_state::{SavedPosition, SavedRngStates};
use super::workflow::{self, Workflow, WorkflowArgs, check_network};
use crate::checkpoint::{self, StateDict};
use crate::component::{Accepted, Dict, NotSupported, Value};
use crate::contracts::{
    CaseContext, CaseReport, CaseRequest, Engine, EngineStart, EngineState, Event, Explanation, Handler, Inferer,
    Loader, Network, Observer, OutputRules, Progress, RunContext, RunOptions, Sample, ServeCase, Shared,
};
use crate::data::pass::{LoaderPosition, is_random};
use crate::data::{Transforms, alignment, single_case};
use crate::distributed;
use crate::error::{Error, Kind, Result};
use crate::formats::digest::FileDigests;
use crate::formats::digest::{self, HashingWriter};
use crate::formats::lock::FolderLock;
use crate::run::Part;
use crate::torch::{Device, DeviceExt, tensor_bytes};
use crate::{bail, err, log_error, text};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

component! {
    /// Run a network on every case and apply the postprocessing to each prediction.
    pub static COMPONENT = engine "SupervisedEvaluator" in "monai.engines" / "evaluator";

    pub struct SupervisedEvaluatorArgs {
        /// Device to run the network on.
        device: Device,
        /// Data loader of the cases to evaluate.
        val_data_loader: Arc<Loader>,
        /// Network to run.
        network: Shared<dyn Network>,
        /// Number of cases to evaluate; None evaluates all.
        #[no_effect_on_results]
        epoch_length: Option<usize> = (),
        /// No effect: transfers between host and device are always synchronous.
        non_blocking: Accepted = false,
        /// Function that extracts image and label from a batch; not supported.
        prepare_batch: NotSupported = (),
        /// Function that replaces the iteration; not supported.
        iteration_update: NotSupported = (),
        /// Inference method; None is SimpleInferer, the whole image in one forward pass.
        inferer: Option<Arc<dyn Inferer>> = (),
        /// Transform or list of transforms to apply to each prediction.
        postprocessing: Transforms = (),
        /// Metric that selects the best epoch, by name: `{'val_mean_dice': metric}`.
        key_val_metric: Option<Dict> = (),
        /// Further metrics by name; computed only if there is a key metric, as in MONAI.
        additional_metrics: Option<Dict> = (),
        /// Function of (current, best) that returns whether the current value is better; None prefers larger values.
        metric_cmp_fn: Value = (),
        /// Handlers to attach to the engine's events.
        #[no_effect_on_results]
        val_handlers: Option<Vec<Arc<dyn Handler>>> = (),
        /// Automatic mixed precision: float16 on a GPU; float32 on a CPU, as in MONAI, unless `--amp-dtype` or
        /// `amp_kwargs` sets a type.
        amp: bool = false,
        /// Mode of the network during evaluation; only "eval" is supported.
        mode: String = "eval",
        /// No effect: custom events are not supported.
        event_names: Accepted = (),
        /// No effect: custom events are not supported.
        event_to_attr: Accepted = (),
        /// No effect: cases are never collated into batches.
        decollate: Accepted = true,
        /// No effect: tensors have no options of how to be moved.
        to_kwargs: Accepted = (),
        /// Arguments of `torch.autocast`; only `dtype` is used, also on a CPU.
        amp_kwargs: Option<Dict> = (),
        /// No effect: `torch.compile` needs Python.
        compile: Accepted = false,
        /// No effect: `torch.compile` needs Python.
        compile_kwargs: Accepted = (),
    }

    differs: [
        "a failed case is reported and the remaining cases are processed",
        "cases are processed one by one, whatever the batch size",
    ],
    build: SupervisedEvaluator::new,
}

struct SupervisedEvaluator {
    args: SupervisedEvaluatorArgs,
    amp: Amp,
    workflow: Workflow,
    /// Position of the loader at the end of the last pass, with persistent workers.
    last_pass: Mutex<Option<LoaderPosition>>,
    /// Digests of the files whose contents a dataset has cached.
    digests: FileDigests,
}

impl SupervisedEvaluator {
    fn new(args: SupervisedEvaluatorArgs) -> Result<SupervisedEvaluator> {
        if args.mode != "eval" {
            bail!("argument `mode`: only 'eval' is supported, found '{}'", args.mode);
        }
        args.device.check()?;
        check_network(&args.network)?;
        if let Some(inferer) = &args.inferer {
            inferer.check(&*args.network.lock())?;
        }
        let amp = Amp::new(args.amp, args.amp_kwargs.as_ref(), args.device)?;
        let workflow_args = WorkflowArgs {
            key_metric: args.key_val_metric.clone(),
            additional_metrics: args.additional_metrics.clone(),
            metric_cmp_fn: args.metric_cmp_fn.clone(),
            handlers: args.val_handlers.clone(),
        };
        let workflow = Workflow::new(COMPONENT.name, workflow_args)?;
        Ok(SupervisedEvaluator { args, amp, workflow, last_pass: Mutex::new(None), digests: FileDigests::default() })
    }
}

impl SupervisedEvaluator {
    fn prepare_data(&self, start: &EngineStart) -> Result<()> {
        self.workflow.prepare(start)?;
        let dataset = &*self.args.val_data_loader.dataset;
        let writes = cases::output_folder(&self.args.postprocessing.steps).is_some();
        dataset.prepare(&start.run, writes.then_some(&self.digests))
    }
}

impl Engine for SupervisedEvaluator {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn run(&self, start: &Arc<EngineStart>) -> Result<()> {
        // The other cases are computed.
        if let Err(error) = cases::check_files(&*self.args.val_data_loader.dataset) {
            tracing::warn!("{}", error.message());
        }
        let _lock = self.lock(false, self.part(&start.run.options)?)?;
        self.prepare_data(start)?;
        self.evaluate(start, 1, &*start.run.observer, self.skips_existing(&start.run.options), false)
    }
    fn run_at(&self, epoch: usize, start: &Arc<EngineStart>) -> Result<()> {
        let _lock = self.lock(true, None)?;
        self.evaluate(start, epoch, &FailuresOnly, false, true)
    }
    fn explain(&self, start: &Arc<EngineStart>) -> Result<Explanation> {
        let total = self.begin(start, 1)?;
        start.run.options.room_bytes()?;
        let dataset = &*self.args.val_data_loader.dataset;
        let cases = cases::plan(dataset, &self.args.postprocessing.steps, total, OutputRules::default())?;
        cases.announce(dataset);
        let cases = cases.cases;
        let (share, _) = self.share(&cases, start.run.options.part);
        self.workflow.fire(Event::Started)?;
        let _no_grad = tch::no_grad_guard();
        let explain = Explain {
            loader: &self.args.val_data_loader,
            network: &self.args.network,
            inferer: self.args.inferer.as_deref(),
            postprocessing: &self.args.postprocessing.steps,
            memory_bytes: start.run.options.memory_bytes,
            device: self.args.device,
            autocast: self.amp.autocast(&start.run.options),
            calibration: Duration::from_secs(2),
        };
        Ok(Explanation::Evaluation(explain.explain(&cases, &share)))
    }
    fn serve<'a>(&'a self, start: &Arc<EngineStart>) -> Result<Box<ServeCase<'a>>> {
        if self.workflow.has_metrics() {
            return Err(err!("a worker computes no metrics")
                .kind(Kind::Config)
                .hint("give the config of an inference"));
        }
        let start = start.clone();
        let autocast = self.amp.autocast(&start.run.options);
        self.amp.log(&*self.args.network.lock(), autocast);
        self.workflow.update(|state| {
            (state.epoch, state.max_epochs, state.iteration, state.epoch_length) = (1, 1, 0, 1);
            state.start = start.clone();
        });
        self.workflow.fire(Event::Started)?;
        let (identity, _) = self.identity(&start, autocast, true)?;
        Ok(Box::new(move |request| self.serve_case(request, &start.run, autocast, &identity)))
    }
    fn check(&self, start: &EngineStart) -> Vec<Error> {
        let dataset = &*self.args.val_data_loader.dataset;
        let empty = dataset.is_empty().then(no_cases);
        let cases = cases::check(dataset, &self.args.postprocessing.steps);
        empty.into_iter().chain(cases).chain(self.workflow.check(start)).collect()
    }
    fn prepare(&self, start: &EngineStart) -> Result<()> {
        let dataset = &*self.args.val_data_loader.dataset;
        cases::check_files(dataset)?;
        alignment::check(dataset, &start.run.cancel)?;
        self.prepare_data(start)
    }
    fn check_part(&self) -> Result<()> {
        if self.workflow.has_metrics() {
            return Err(err!("`--part`: metrics need the predictions of all cases")
                .hint("run the inference in parts, and this evaluation without --part"));
        }
        Ok(())
    }
    fn unused_options(&self, options: &RunOptions) -> Vec<(&'static str, &'static str)> {
        let resume = options
            .resume
            .then_some(("--resume", "only a training can be resumed; use --skip-existing to continue an inference"));
        let save = options.save_every.map(|_| ("--save-minutes", "only a training has a state to save"));
        let skip = (options.skip_existing && !self.skips_existing(options))
            .then_some(("--skip-existing", "metrics need the predictions of all cases"));
        let amp = self.amp.ignores(options).map(|why| ("--amp-dtype", why));
        [resume, save, skip, amp].into_iter().flatten().collect()
    }
    fn state(&self) -> EngineState {
        self.workflow.state()
    }
    fn save(&self) -> Result<StateDict> {
        let last_pass = self.last_pass.lock();
        let saved = SavedEvaluator {
            begun: last_pass.is_some(),
            workers: last_pass.as_ref().map(SavedPosition::new),
            streams: SavedRngStates::new(&self.args.val_data_loader.rng_states()),
        };
        Ok(checkpoint::to_state(&saved)?.with("workflow", self.workflow.save(false)?))
    }
    fn load(&self, saved: &StateDict) -> Result<()> {
        let damaged = |error: Error| error.context("the saved state of the validation is damaged");
        let SavedEvaluator { begun, streams, workers } = checkpoint::from_state(saved).map_err(damaged)?;
        let loader = &self.args.val_data_loader;
        let restored = streams.restore(loader.rng_states());
        let other = || err!("the saved validation has other random transforms than the config");
        loader.restore_rng_states(restored.ok_or_else(other)?);
        *self.last_pass.lock() = match workers {
            Some(saved) => Some(saved.position(loader).ok_or_else(other)?),
            // Saved by a version that did not save the workers.
            None if begun => {
                Some(LoaderPosition { rng: vec![None; loader.num_workers.max(1)], ..LoaderPosition::default() })
            }
            None => None,
        };
        self.workflow.load(saved.get("workflow").ok_or_else(|| damaged(err!("missing field `workflow`")))?)
    }
}

/// State of a validation in the checkpoint of a training, besides its workflow.
#[derive(Serialize, Deserialize)]
struct SavedEvaluator {
    /// Whether persistent workers have been seeded.
    begun: bool,
    /// Random states of the transforms without workers.
    streams: SavedRngStates,
    /// Persistent workers: position at the end of the last pass.
    #[serde(default)]
    workers: Option<SavedPosition>,
}

/// What a rank did of an evaluation.
#[derive(Serialize, Deserialize)]
struct Share {
    failed: usize,
    cancelled: bool,
    /// Its cases, unless they are in its `run.json`.
    cases: Vec<CaseRecord>,
}

/// Reports only failures: the cases of a validation do not write files.
struct FailuresOnly;

impl Observer for FailuresOnly {
    fn case_finished(&self, report: &CaseReport) {
        if let Some(error) = report.error.as_ref().filter(|error| error.get_kind() != Kind::Cancelled) {
            let (case, index, total) = (&*report.name, report.index + 1, report.total);
            log_error!(error, error, { case, index, total, }, "[{index}/{total}] {case}: {}", error.message());
        }
    }
}

/// Keeps the report of a single case.
struct KeepReport<'a> {
    inner: &'a dyn Observer,
    report: Mutex<Option<CaseReport>>,
}

impl Observer for KeepReport<'_> {
    fn case_started(&self, name: &str, index: usize, total: usize) -> Arc<dyn Progress> {
        self.inner.case_started(name, index, total)
    }
    fn case_finished(&self, report: &CaseReport) {
        self.inner.case_finished(report);
        *self.report.lock() = Some(report.clone());
    }
}

fn no_cases() -> Error {
    err!("there are no cases: the datalist is empty").kind(Kind::Config).of_working_folder()
}

impl SupervisedEvaluator {
    /// The folder of the run's record. `whole`: see [`SupervisedEvaluator::evaluate`]; a validation of a training has no
    /// record, unless it writes files for its cases.
    fn record_folder(&self, whole: bool) -> Option<PathBuf> {
        let folder = cases::output_folder(&self.args.postprocessing.steps);
        folder.or_else(|| self.workflow.output_folder().filter(|_| !whole).map(Path::to_owned))
    }

    /// The part of the cases that this process evaluates: that of the options, or that of its rank if the ranks are not
    /// in a group, whose sampler divides the cases. Metrics need all cases.
    ///
    /// # Errors
    /// Both are given.
    fn part(&self, options: &RunOptions) -> Result<Option<Part>> {
        let rank = options.rank.filter(|_| !self.workflow.has_metrics() && !distributed::is_initialized());
        match (options.part, rank) {
            (Some(_), Some(rank)) => Err(err!("`--part` cannot be divided further among {} ranks", rank.of)
                .kind(Kind::Config)
                .hint("give as many parts as there are processes, and unset RANK and WORLD_SIZE")),
            (part, rank) => Ok(part.or(rank)),
        }
    }

    /// Keeps other runs out of the folder of the record.
    fn lock(&self, whole: bool, part: Option<Part>) -> Result<Option<FolderLock>> {
        Ok(self.record_folder(whole).as_deref().map(|folder| record::lock(folder, part)).transpose()?.flatten())
    }

    /// Sets the state for a run and returns the number of cases. `epoch`: that of the training, 0 before its first
    /// (`exec_at_start`), 1 without a training.
    fn begin(&self, start: &Arc<EngineStart>, epoch: usize) -> Result<usize> {
        let total = self.args.val_data_loader.dataset.len().min(self.args.epoch_length.unwrap_or(usize::MAX));
        if total == 0 {
            return Err(no_cases());
        }
        self.workflow.update(|state| {
            (state.epoch, state.max_epochs, state.iteration, state.epoch_length) = (epoch, epoch.max(1), 0, total);
            state.start = start.clone();
        });
        Ok(total)
    }

    /// Indices of the cases of this rank and of a part, and the division into parts if there is one.
    fn share(&self, cases: &[Case], part: Option<Part>) -> (Vec<usize>, Option<Division>) {
        let own: Vec<usize> = match &self.args.val_data_loader.sampler {
            Some(sampler) => sampler.share().into_iter().filter(|index| *index < cases.len()).collect(),
            None => (0..cases.len()).collect(),
        };
        let Some(part) = part else { return (own, None) };
        let bytes: Vec<u64> = cases.iter().map(share::input_bytes).collect();
        let mut share = share::of_part(&bytes, part);
        let size = share.iter().map(|&case| bytes[case]).sum();
        tracing::info!(
            "{part}: {} of {}, {} of {}",
            share.len(),
            text::count(cases.len(), "case"),
            text::bytes(size),
            text::bytes(bytes.iter().sum())
        );
        if is_random(&*self.args.val_data_loader.dataset) {
            tracing::warn!("the dataset has random transforms: the results of parts differ from those of one run");
        }
        let names = cases.iter().flat_map(|case| [case.name.as_bytes(), &b"\0"[..]]);
        let division = Division { part, cases: cases.len(), names_sha256: digest::of_pieces(names) };
        share.retain(|index| own.contains(index));
        (share, Some(division))
    }

    /// Evaluates all cases, or those of a part, on all ranks together. `whole`: fails if any case failed, so that a
    /// validation is never the best epoch for lack of a case.
    fn evaluate(
        &self,
        start: &Arc<EngineStart>,
        epoch: usize,
        observer: &dyn Observer,
        skip_existing: bool,
        whole: bool,
    ) -> Result<()> {
        let total = self.begin(start, epoch)?;
        let (loader, workflow, run) = (&self.args.val_data_loader, &self.workflow, &*start.run);
        let autocast = self.amp.autocast(&run.options);
        self.amp.log(&*self.args.network.lock(), autocast);
        let postprocessing = &self.args.postprocessing.steps;
        let cases = cases::plan(&*loader.dataset, postprocessing, total, OutputRules::default())?;
        if !whole {
            cases.announce(&*loader.dataset);
        }
        let Cases { cases, output_rules } = cases;
        let part = self.part(&run.options)?.filter(|_| !whole);
        let (share, division) = self.share(&cases, part);
        let total = if division.is_some() { share.len() } else { cases.len() };
        let folder = cases::output_folder(postprocessing);
        match cases::clear_stale(&cases, folder.as_deref()) {
            0 => {}
            found => {
                tracing::info!("removed {} of an interrupted run", text::count(found, "half-written file"))
            }
        }
        let (began, since) = (Instant::now(), SystemTime::now());
        let state = workflow.state();
        let ignite = |text: String| tracing::info!(logger = &*workflow.logger, "{text}");
        if workflow.has_metrics() {
            ignite(format!(
                "Engine run resuming from iteration 0, epoch {} until {} epochs",
                epoch as i64 - 1,
                state.max_epochs
            ));
        }
        workflow.fire(Event::Started)?;
        let _no_grad = tch::no_grad_guard();
        self.args.network.lock().synchronize()?;
        workflow.begin_epoch();
        let writes = folder.is_some();
        let folder = self.record_folder(whole);
        let (identity, config) = self.identity(start, autocast, folder.is_some() || skip_existing)?;
        let record = folder
            .as_ref()
            .filter(|_| distributed::rank() == 0)
            .map(|folder| RunRecord::start(folder, self.settings(run, autocast, &identity, config, division), total));
        *run.record.lock() = record.as_ref().map(|record| record.path().to_owned());
        let each = |index: usize, sample: Sample, case: &CaseContext| {
            workflow.update(|state| (state.iteration, state.case) = (state.iteration + 1, index));
            workflow.iteration(vec![sample], case)
        };
        let pipeline = Pipeline {
            loader,
            network: &self.args.network,
            inferer: self.args.inferer.as_deref(),
            postprocessing,
            run,
            device: self.args.device,
            autocast,
            cases: &cases,
            share: &share,
            output_rules: &output_rules,
            identity: &identity,
            observer,
            skip_existing,
            before: self.last_pass.lock().clone(),
            digests: &self.digests,
            each: &each,
        };
        let PassResult { failed, record, cases, position } = pipeline.run(record)?;
        *self.last_pass.lock() = loader.persistent.then_some(position);
        let own = Share { failed, cancelled: run.cancel.load(Ordering::Relaxed), cases };
        let shares = distributed::gather("the end of an evaluation", own)?;
        let failed: usize = shares.iter().map(|share| share.failed).sum();
        let cancelled = shares.iter().any(|share| share.cancelled);
        *run.record.lock() = None;
        if let Some(mut record) = record {
            shares.into_iter().flat_map(|share| share.cases).for_each(|case| record.add(case));
            record.finish(match (cancelled, failed) {
                (true, _) => RunStatus::Interrupted,
                (_, 0) => RunStatus::Done,
                _ => RunStatus::Failed,
            });
        }
        if let (Some(rank), Some(folder)) = (part.filter(|_| run.options.rank.is_some()), &folder) {
            if failed > 0 && !cancelled {
                tracing::info!("waiting for the other ranks: {failed} of {} failed", text::count(total, "case"));
                record::wait_for_ranks(folder, rank, since, &run.cancel);
            }
            if let Err(error) = record::join_ranks(folder, rank) {
                log_error!(warn, &error, "cannot join the records of the ranks: {}", error.message());
            }
        }
        if cancelled {
            let error = err!("interrupted").kind(Kind::Cancelled);
            return Err(if writes && !workflow.has_metrics() {
                error.hint("`segbundle --skip-existing run …` continues this run")
            } else {
                error
            });
        }
        if whole && failed > 0 {
            return Err(err!(
                "{failed} of {} failed, so the validation has no result; the messages are above",
                text::count(total, "case")
            ));
        }
        if failed < total || total == 0 {
            workflow.complete_epoch()?;
            if workflow.has_metrics() {
                ignite(format!("Epoch[{epoch}] Complete. Time taken: {}", workflow::clock(began.elapsed())));
            }
        }
        workflow.fire(Event::Completed)?;
        if workflow.has_metrics() {
            ignite(format!("Engine run finished. Time taken: {}", workflow::clock(began.elapsed())));
        }
        match failed {
            0 => Ok(()),
            failed => Err(err!("{failed} of {} failed; the messages are above", text::count(total, "case"))),
        }
    }

    /// Processes a case that is not in the dataset, with the dataset's transforms.
    fn serve_case(
        &self,
        CaseRequest { entry, output_dir }: CaseRequest,
        run: &RunContext,
        autocast: Option<tch::Kind>,
        identity: &Identity,
    ) -> Result<CaseReport> {
        let base = &self.args.val_data_loader;
        let loader = Arc::new(Loader {
            dataset: single_case(entry, base.dataset.transforms()),
            batch_size: 1,
            shuffle: false,
            sampler: None,
            drop_last: false,
            num_workers: 0,
            persistent: false,
            rng: base.rng.clone(),
        });
        let postprocessing = &self.args.postprocessing.steps;
        let moved = |to: PathBuf| match cases::output_folder(postprocessing) {
            Some(from) => Ok(Arc::new((from, to))),
            None => Err(err!("`output_dir` has no effect: no transform of the postprocessing writes files")),
        };
        let rules = OutputRules { root: None, moved: output_dir.map(moved).transpose()? };
        let Cases { cases, output_rules } = cases::plan(&*loader.dataset, postprocessing, 1, rules)?;
        let observer = KeepReport { inner: &*run.observer, report: Mutex::new(None) };
        let each = |index: usize, sample: Sample, case: &CaseContext| {
            self.workflow.update(|state| (state.iteration, state.case) = (state.iteration + 1, index));
            self.workflow.iteration(vec![sample], case)
        };
        let _no_grad = tch::no_grad_guard();
        let pipeline = Pipeline {
            loader: &loader,
            network: &self.args.network,
            inferer: self.args.inferer.as_deref(),
            postprocessing,
            run,
            device: self.args.device,
            autocast,
            cases: &cases,
            share: &[0],
            output_rules: &output_rules,
            identity,
            observer: &observer,
            skip_existing: run.options.skip_existing,
            before: None,
            digests: &FileDigests::default(),
            each: &each,
        };
        pipeline.run(None)?;
        observer.report.into_inner().ok_or_else(|| err!("interrupted").kind(Kind::Cancelled))
    }

    /// Identity of the results, and the config for the record; both empty unless `wanted`.
    fn identity(
        &self,
        start: &EngineStart,
        autocast: Option<tch::Kind>,
        wanted: bool,
    ) -> Result<(Identity, serde_json::Value)> {
        if !wanted {
            return Ok((Identity::default(), serde_json::Value::Null));
        }
        let whole = serde_json::json!({
            "config": start.config.fingerprint,
            "device": self.args.device.to_string(),
            "amp": amp_name(autocast),
        });
        let identity = Identity {
            version: env!("CARGO_PKG_VERSION"),
            weights_sha256: weights_sha256(&*self.args.network.lock())?,
            config_sha256: digest::of_pieces([whole.to_string().as_bytes()]),
        };
        Ok((identity, start.config.resolved.clone()))
    }

    /// Whether existing results are skipped. Metrics need the predictions of all cases.
    fn skips_existing(&self, options: &RunOptions) -> bool {
        options.skip_existing && !self.workflow.has_metrics()
    }

    fn settings(
        &self,
        run: &RunContext,
        autocast: Option<tch::Kind>,
        identity: &Identity,
        config: serde_json::Value,
        division: Option<Division>,
    ) -> Settings {
        Settings {
            identity: identity.clone(),
            config,
            device: self.args.device.to_string(),
            amp: amp_name(autocast),
            threads: tch::get_num_threads().max(0) as usize,
            memory_bytes: run.options.memory_bytes,
            skip_existing: self.skips_existing(&run.options),
            division,
        }
    }
}

fn amp_name(autocast: Option<tch::Kind>) -> Option<&'static str> {
    autocast.map(|kind| if kind == tch::Kind::BFloat16 { "bfloat16" } else { "float16" })
}

/// SHA-256 of all parameters and buffers with their names, and of the network's file if it has one (TorchScript).
fn weights_sha256(network: &dyn Network) -> Result<String> {
    let mut hash = HashingWriter::new(std::io::sink());
    if let Some(sha256) = network.file_sha256() {
        write!(hash, "file {sha256}\0")?;
    }
    for (name, tensor) in &network.state().tensors {
        write!(hash, "{name} {:?} {:?}\0", tensor.kind(), tensor.size())?;
        hash.write_all(&tensor_bytes(tensor)?)?;
    }
    Ok(hash.finish().sha256)
}
