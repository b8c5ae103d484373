//! [`Pipeline`]: prefetches cases, runs inference on them one by one, and writes results in the background.
//!
//! `num_workers` threads read and preprocess as many cases in advance, and one thread writes; both queues are bounded
//! in bytes. Only the calling thread uses the network.

use super::case_plan::CasePlan;
use super::cases::Case;
use super::explain::Explain;
use super::record::{CaseRecord, RunRecord};
use super::resume::{self, FileRecord, Identity, InputFiles, SkipDecision};
use super::write_behind::{NextWrite, WriteBehind};
use crate::contracts::{
    CaseContext, CaseFacts, CaseReport, Clock, Inferer, Item, Loader, Network, NoProgress, Observer, OutputRules,
    Progress, RunContext, Sample, Shared, Stage, Transform, TransformContext, WriteJob, apply_to_predictions,
};
use crate::data::alignment;
use crate::data::pass::{LoaderPass, LoaderPosition, PassItem, is_random};
use crate::error::{Error, Kind, Result};
use crate::formats::digest::{Digest, FileDigests};
use crate::prediction::volume_tensor;
use crate::random::RngStates;
use crate::torch::{Device, guard, joined, limit_tensors};
use crate::{bail, err, text};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Results that wait to be written may take the memory limit of the process divided by this.
const BEHIND_SHARE: u64 = 8;
/// A case is read only while at most this many bytes wait to be written, so that large results and large inputs are not
/// in memory at once.
const READ_BESIDE_BYTES: u64 = 64 << 20;
/// Sampling interval of the resident memory.
const SAMPLE_EVERY: Duration = Duration::from_millis(50);
/// Maximum delay of `run.json` after a case.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// Files of a result with their hashes, and the input files it was made from.
type WrittenResult = (Vec<(PathBuf, Digest)>, Vec<FileRecord>);

/// Arguments of a pass over all cases.
pub struct Pipeline<'a> {
    /// Data loader of the cases.
    pub loader: &'a Arc<Loader>,
    /// Network to apply.
    pub network: &'a Shared<dyn Network>,
    /// Inference method; `None` is one pass over the whole image.
    pub inferer: Option<&'a dyn Inferer>,
    /// Transforms of the prediction, in order.
    pub postprocessing: &'a [Arc<dyn Transform>],
    /// Cancellation, memory limit and progress.
    pub run: &'a RunContext,
    /// Device of the network.
    pub device: Device,
    /// Autocast dtype; `None` computes in float32.
    pub autocast: Option<tch::Kind>,
    /// Names, inputs and outputs of all cases in the dataset's order.
    pub cases: &'a [Case],
    /// Indices of the cases to process, in order.
    pub share: &'a [usize],
    /// See [`CaseContext::output_rules`].
    pub output_rules: &'a OutputRules,
    /// Version, weights and config, for the record beside each result.
    pub identity: &'a Identity,
    /// Receives the report of each case.
    pub observer: &'a dyn Observer,
    /// Skip cases whose results are up to date.
    pub skip_existing: bool,
    /// Position of the loader at the end of the previous pass.
    pub before: Option<LoaderPosition>,
    /// Digests of the files whose contents a dataset has cached.
    pub digests: &'a FileDigests,
    /// Called with the index of the case and each of its samples after the postprocessing, before its files are written.
    pub each: &'a (dyn Fn(usize, Sample, &CaseContext) -> Result<()> + Sync),
}

/// A case that was read or skipped.
struct PrefetchedCase {
    context: CaseContext,
    outcome: Result<Prefetched>,
}

enum Prefetched {
    Read(ReadCase),
    /// Its results are up to date; their earlier record.
    Skip(Box<CaseRecord>),
}

/// A preprocessed case.
struct ReadCase {
    samples: Vec<Sample>,
    /// Files of the preprocessing.
    writes: Vec<WriteJob>,
    /// Records of the input files, if the case has outputs.
    inputs: Vec<FileRecord>,
}

/// A case whose files remain to be written.
struct FinishedCase {
    index: usize,
    clock: Clock,
    facts: CaseFacts,
    result: Result<CaseOutcome>,
}

enum CaseOutcome {
    Write(Vec<WriteJob>, Vec<FileRecord>),
    Skip(Box<CaseRecord>),
}

/// Counts windows for the record, and forwards the progress.
struct CountingProgress {
    inner: Arc<dyn Progress>,
    windows: AtomicUsize,
}

impl Progress for CountingProgress {
    fn windows(&self, total: usize) {
        self.windows.fetch_add(total, Ordering::Relaxed);
        self.inner.windows(total);
    }
    fn window_done(&self) {
        self.inner.window_done();
    }
}

/// Calls a function when it is dropped, also in a panic.
struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Result of a pass over the cases.
pub struct PassResult {
    /// Number of failed cases.
    pub failed: usize,
    /// The record passed to [`Pipeline::run`], with all cases.
    pub record: Option<RunRecord>,
    /// The cases, if no record was passed.
    pub cases: Vec<CaseRecord>,
    /// Position of the loader at the end of the pass.
    pub position: LoaderPosition,
}

impl Pipeline<'_> {
    /// Runs the cases of the share.
    ///
    /// # Errors
    /// The pass over the loader cannot begin; a panic in one of the threads. Errors of cases are reported to the
    /// observer.
    pub fn run(&self, record: Option<RunRecord>) -> Result<PassResult> {
        let memory_bytes = self.run.options.memory_bytes;
        // Memory for a case besides the program and the weights.
        let room = self.run.options.room_bytes()?;
        let behind = WriteBehind::new(memory_bytes / BEHIND_SHARE);
        let (peak, over) = (AtomicU64::new(0), AtomicBool::new(false));
        let read = |number: usize, _: &[usize], rng: &mut RngStates| {
            if self.loader.num_workers > 0 {
                behind.wait_below(READ_BESIDE_BYTES);
            }
            let loaded = self.load(self.share[number], room, rng);
            let bytes = loaded.bytes();
            (loaded, bytes)
        };
        let (mut pass, readers) = LoaderPass::begin(
            self.loader,
            PassItem::Case(self.share),
            self.before.as_ref(),
            memory_bytes,
            Arc::new(read),
        )?;
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let _closing = OnDrop(|| behind.close());
                self.write_all(&behind, record)
            });
            let ending = OnDrop(|| {
                behind.close();
                over.store(true, Ordering::Relaxed);
            });
            let sampler = scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    peak.fetch_max(crate::env::resident_memory_bytes(), Ordering::Relaxed);
                    std::thread::sleep(SAMPLE_EVERY);
                }
            });
            let readers = readers.into_iter().map(|reader| scope.spawn(|| reader.run())).collect::<Vec<_>>();
            for &index in self.share {
                if self.cancelled() {
                    break;
                }
                let Some(done) = pass.take().and_then(|loaded| self.infer_one(index, loaded, &peak)) else { break };
                let bytes = done.bytes();
                if !behind.put(done, bytes) {
                    break;
                }
            }
            let position = pass.position();
            drop(pass);
            drop(ending);
            let written = joined(writer.join());
            // Every thread is joined: the scope would turn a panic of another one into its own.
            let ended = readers.into_iter().chain([sampler]).map(|thread| joined(thread.join())).collect::<Vec<_>>();
            ended.into_iter().collect::<Result<()>>()?;
            let (failed, record, cases) = written?;
            Ok(PassResult { failed, record, cases, position })
        })
    }

    fn cancelled(&self) -> bool {
        self.run.cancel.load(Ordering::Relaxed)
    }

    /// Reads and preprocesses a case, unless it can be skipped.
    fn load(&self, index: usize, room: u64, rng: &mut RngStates) -> PrefetchedCase {
        let writes = self.cases[index].outputs.as_ref().is_ok_and(|outputs| !outputs.is_empty());
        let context = CaseContext {
            device: self.device,
            autocast: self.autocast,
            blends_as_gpu: false,
            cancel: self.run.cancel.clone(),
            progress: Arc::new(NoProgress),
            clock: Clock::default(),
            budget_bytes: self.run.options.memory_bytes,
            // Inputs are hashed while they are read, for the record beside the result.
            digests: writes.then(|| match self.loader.dataset.reads_files() {
                true => FileDigests::default(),
                false => self.digests.clone(),
            }),
            output_rules: self.output_rules.clone(),
        };
        let outcome = guard(|| self.read(index, room, rng, &context));
        PrefetchedCase { context, outcome }
    }

    fn read(&self, index: usize, room: u64, rng: &mut RngStates, context: &CaseContext) -> Result<Prefetched> {
        context.check()?;
        let case = &self.cases[index];
        let outputs = case.outputs.as_ref().map_err(Clone::clone)?;
        let files = InputFiles::look_up(&case.inputs)?;
        let inputs = || match &context.digests {
            Some(digests) => context.clock.time(Stage::Check, || files.records(digests, context)),
            None => Ok(vec![]),
        };
        if self.skip_existing {
            match resume::skip_decision(outputs, inputs, self.identity, context)? {
                // A skipped case draws no random numbers, so that all later results would differ.
                SkipDecision::Current(_) if is_random(&*self.loader.dataset) => {
                    tracing::info!("{}: computed again: its dataset has random transforms", case.name)
                }
                SkipDecision::Current(record) => return Ok(Prefetched::Skip(record)),
                SkipDecision::Missing => {}
                SkipDecision::Stale(why) => tracing::info!("{}: computed again: {why}", case.name),
            }
        }
        let dataset = &*self.loader.dataset;
        let plan = match dataset.reads_files() {
            true => Some(CasePlan::new(dataset, index, self.postprocessing)?),
            false => None,
        };
        plan.iter().try_for_each(|plan| plan.admit(room))?;
        alignment::check_case(dataset, index)?;
        let mut writes = vec![];
        let mut cx = TransformContext { case: context, writes: &mut writes, rng };
        let samples = context.clock.time(Stage::Pre, || match plan {
            Some(plan) => plan.read(&mut cx),
            None => dataset.get(index, &mut cx),
        })?;
        let inputs = inputs()?;
        files.check_unchanged()?;
        Ok(Prefetched::Read(ReadCase { samples, writes, inputs }))
    }

    /// Runs inference on a case; `None` if the run was interrupted before.
    fn infer_one(&self, index: usize, loaded: PrefetchedCase, peak: &AtomicU64) -> Option<FinishedCase> {
        let PrefetchedCase { mut context, outcome } = loaded;
        let mut facts = CaseFacts::default();
        let clock = context.clock.clone();
        let result = match outcome {
            Err(error) if error.get_kind() == Kind::Cancelled => return None,
            Err(error) => Err(error),
            Ok(Prefetched::Skip(record)) => Ok(CaseOutcome::Skip(record)),
            Ok(Prefetched::Read(ReadCase { samples, writes, inputs })) => {
                let inner = self.observer.case_started(&self.cases[index].name, index, self.cases.len());
                let counted = Arc::new(CountingProgress { inner, windows: AtomicUsize::new(0) });
                context.progress = counted.clone();
                peak.store(crate::env::resident_memory_bytes(), Ordering::Relaxed);
                let result = limit_tensors(&self.run.options).and_then(|room| {
                    context.budget_bytes = room;
                    guard(|| self.infer(index, samples, writes, &context, &mut facts))
                });
                peak.fetch_max(crate::env::resident_memory_bytes(), Ordering::Relaxed);
                facts.peak_memory_bytes = peak.load(Ordering::Relaxed);
                facts.windows = counted.windows.load(Ordering::Relaxed);
                let tensors = segbundle_native::memory();
                tracing::debug!(
                    "tensors took {} at most, in pages of {}",
                    text::bytes(tensors.peak as u64),
                    text::bytes(tensors.held as u64)
                );
                segbundle_native::reset_peak();
                segbundle_native::trim();
                result.map(|jobs| CaseOutcome::Write(jobs, inputs))
            }
        };
        let result = result.map_err(|error| self.with_sufficient_memory(index, error));
        Some(FinishedCase { index, clock, facts, result })
    }

    /// Names a sufficient limit in an error of kind [`Kind::Memory`], from a measurement on a part of a window.
    fn with_sufficient_memory(&self, index: usize, error: Error) -> Error {
        if error.get_kind() != Kind::Memory {
            return error;
        }
        segbundle_native::set_limit(None);
        let explain = Explain {
            loader: self.loader,
            network: self.network,
            inferer: self.inferer,
            postprocessing: self.postprocessing,
            memory_bytes: self.run.options.memory_bytes,
            device: self.device,
            autocast: self.autocast,
            calibration: Duration::ZERO,
        };
        match explain.sufficient_bytes(index, &self.cases[index]) {
            Some(bytes) => error.sufficient_memory(bytes),
            None => error,
        }
    }

    /// Runs network and postprocessing on the samples of a case; returns the files to write.
    fn infer(
        &self,
        index: usize,
        samples: Vec<Sample>,
        before: Vec<WriteJob>,
        context: &CaseContext,
        facts: &mut CaseFacts,
    ) -> Result<Vec<WriteJob>> {
        let mut writes = vec![];
        for mut sample in samples {
            let image = sample.image("image")?.clone();
            facts.input = Some((image.header.channels.unwrap_or(1), image.header.grid));
            facts.network = Some((image.layout.channels(), image.grid()));
            let expected = self.network.lock().in_channels();
            if image.layout.channels() != expected {
                bail!("the image has {} channels, but the network takes {expected}", image.layout.channels());
            }
            let x = volume_tensor(&image)?.f_unsqueeze(0)?; // [1,C,X,Y,Z]
            // The sum of finite float32 values is finite in float64; NaN and infinity propagate.
            if !x.f_sum(tch::Kind::Double)?.f_double_value(&[])?.is_finite() {
                let odd = x.numel() as i64 - x.f_isfinite()?.f_sum(tch::Kind::Int64)?.f_int64_value(&[])?;
                return Err(err!("{odd} voxels of the preprocessed image are NaN or infinite")
                    .hint("check the file for NaN, and the transforms for a division by zero"));
            }
            let prediction = match self.inferer {
                Some(inferer) => inferer.infer(&x, &image, self.network, context)?,
                None => crate::inferers::SimpleInferer.infer(&x, &image, self.network, context)?,
            };
            drop((image, x));
            sample.set("pred", Item::Prediction(prediction));
            let start = Instant::now();
            let elsewhere = || context.clock.get(Stage::Inferer) + context.clock.get(Stage::Invert);
            let before = elsewhere();
            let mut cx = TransformContext { case: context, writes: &mut writes, rng: &mut RngStates::default() };
            let samples = apply_to_predictions(self.postprocessing, vec![sample], &mut cx)?;
            for sample in samples {
                (self.each)(index, sample, context)?;
            }
            context.clock.add(Stage::Post, start.elapsed().saturating_sub(elsewhere() - before));
        }
        // The sidecar record is written beside the first file: that of the postprocessing.
        writes.extend(before);
        Ok(writes)
    }

    /// Writes finished cases and reports each; returns the number of failed cases, and their records in `record` or in a
    /// list.
    fn write_all(
        &self,
        behind: &WriteBehind<FinishedCase>,
        mut record: Option<RunRecord>,
    ) -> (usize, Option<RunRecord>, Vec<CaseRecord>) {
        let (mut failed, mut cases) = (0, vec![]);
        loop {
            match behind.take(FLUSH_EVERY) {
                NextWrite::Item(done) => {
                    let (report, case) = self.finish(done);
                    failed +=
                        usize::from(report.error.as_ref().is_some_and(|error| error.get_kind() != Kind::Cancelled));
                    match &mut record {
                        Some(record) => record.add(case),
                        None => cases.push(case),
                    }
                    self.observer.case_finished(&report);
                }
                NextWrite::TimedOut => record.iter_mut().for_each(RunRecord::flush),
                NextWrite::Closed => return (failed, record, cases),
            }
        }
    }

    /// Writes a case's files and the record of their inputs.
    fn finish(&self, done: FinishedCase) -> (CaseReport, CaseRecord) {
        let FinishedCase { index, clock, facts, result } = done;
        let case = &self.cases[index];
        let mut report = CaseReport {
            name: case.name.clone(),
            index,
            total: self.cases.len(),
            outputs: vec![],
            clock,
            facts,
            skipped: false,
            error: None,
        };
        let mut recorded = None;
        let mut made: Option<WrittenResult> = None;
        match result {
            Err(error) => report.error = Some(error),
            Ok(CaseOutcome::Skip(record)) => {
                report.skipped = true;
                report.outputs = case.outputs.clone().unwrap_or_default();
                recorded = Some(record);
            }
            Ok(CaseOutcome::Write(jobs, inputs)) => {
                let (clock, mut written) = (report.clock.clone(), Vec::with_capacity(jobs.len()));
                let result: Result<()> = clock.time(Stage::Write, || {
                    jobs.into_iter().try_for_each(|job| {
                        report.outputs.push(job.path.clone());
                        written.push((job.path, guard(job.write)?));
                        Ok(())
                    })
                });
                report.error = result.err();
                made = Some((written, inputs));
            }
        }
        // Names the case; a file that the error already names, such as an unwritable output, is kept.
        report.error = report.error.take().map(|error| match &case.source {
            Some(source) => error.file(source),
            None => error,
        });
        if let (Some((written, inputs)), None) = (made, &report.error) {
            let record = CaseRecord::from(&report);
            let saved = report.clock.time(Stage::Check, || resume::save(written, inputs, self.identity, &record));
            if let Err(error) = saved {
                report.error = Some(error.context("the result is written, but not the record of its inputs"));
            }
        }
        let record = match recorded {
            Some(earlier) => CaseRecord { index, status: report.status(), ..*earlier },
            None => CaseRecord::from(&report),
        };
        (report, record)
    }
}

impl PrefetchedCase {
    fn bytes(&self) -> u64 {
        let Ok(Prefetched::Read(read)) = &self.outcome else { return 0 };
        let images = read.samples.iter().map(Sample::bytes);
        images.chain(read.writes.iter().map(|job| job.bytes)).sum()
    }
}

impl FinishedCase {
    fn bytes(&self) -> u64 {
        match &self.result {
            Ok(CaseOutcome::Write(jobs, _)) => jobs.iter().map(|job| job.bytes).sum(),
            _ => 0,
        }
    }
}
