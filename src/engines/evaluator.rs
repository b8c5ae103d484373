//! SupervisedEvaluator (monai.engines.evaluator, MONAI 1.6.1): cases through a network, one after the other.
//!
//! While one case is in the network the next is read and the last is written. A case that fails is reported and the
//! others go on; the run as a whole fails at its end. Deliberate differences: a batch is a number of single cases, and
//! what no postprocessing asks for is never computed.

use crate::component::{Accepted, Component, Declared, Dict, Effect, FromValue, Value};
use crate::contracts::{
    CaseReport, Clock, Cx, Engine, EngineHandle, EngineState, Event, Handler, Inferer, Item, Loader, Network, Run, Sample, Shared, Stage,
    Transform, Work, WriteJob,
};
use crate::data::Transforms;
use crate::error::{Kind, Result};
use crate::prediction::volume_tensor;
use crate::torch::{Device, guard};
use crate::{args, bail, err};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

args! {
    /// Arguments of SupervisedEvaluator.
    pub struct SupervisedEvaluatorArgs {
        /// Where the network runs.
        device: Device,
        /// The cases.
        val_data_loader: Arc<Loader>,
        /// The network.
        network: Shared<dyn Network>,
        /// Evaluate only this many cases; all if None.
        epoch_length: Option<usize> = (),
        /// No effect: there is nothing to wait for on the host.
        non_blocking: Accepted = false,
        /// A function that picks image and label from a batch; not supported, must be None.
        prepare_batch: Value = (),
        /// A function that replaces the iteration; not supported, must be None.
        iteration_update: Value = (),
        /// How the network is applied; the whole image at once if None.
        inferer: Option<Arc<dyn Inferer>> = (),
        /// What is done with the prediction.
        postprocessing: Transforms = (),
        /// Metrics; not supported yet, must be None.
        key_val_metric: Value = (),
        /// More metrics; not supported yet, must be None.
        additional_metrics: Value = (),
        /// No effect without metrics.
        metric_cmp_fn: Accepted = (),
        /// Handlers of the engine's events.
        val_handlers: Option<Vec<Arc<dyn Handler>>> = (),
        /// Mixed precision: fp16 on a GPU; on a CPU f32, as in MONAI, unless a type is asked for.
        amp: bool = false,
        /// 'eval'; 'train' is not supported.
        mode: String = "eval",
        /// No effect: there are no events of one's own.
        event_names: Accepted = (),
        /// No effect: there are no events of one's own.
        event_to_attr: Accepted = (),
        /// No effect: cases are never collated.
        decollate: Accepted = true,
        /// No effect: tensors are moved as a whole.
        to_kwargs: Accepted = (),
        /// Arguments of autocast; `dtype` counts, also on a CPU.
        amp_kwargs: Option<Dict> = (),
        /// No effect: there is no Python to compile.
        compile: Accepted = false,
        /// No effect: there is no Python to compile.
        compile_kwargs: Accepted = (),
    }
}

pub static COMPONENT: Component = Component {
    name: "SupervisedEvaluator",
    path: "monai.engines.SupervisedEvaluator",
    aliases: &["monai.engines.evaluator.SupervisedEvaluator"],
    doc: "Run a network over cases and hand each result to the postprocessing.",
    params: SupervisedEvaluatorArgs::PARAMS,
    differences: &["a case that fails is reported and the others go on", "cases are taken one by one whatever the batch size"],
    effect: Effect::Pure,
    build: |args, call| {
        let args = SupervisedEvaluatorArgs::parse("SupervisedEvaluator", args)?;
        let unsupported = |name: &str| Err(err!("SupervisedEvaluator: `{name}` is not supported yet").kind(Kind::Unsupported));
        for (name, value) in [
            ("prepare_batch", &args.prepare_batch),
            ("iteration_update", &args.iteration_update),
            ("key_val_metric", &args.key_val_metric),
            ("additional_metrics", &args.additional_metrics),
        ] {
            if !value.is_none() {
                return unsupported(name);
            }
        }
        if args.mode != "eval" {
            bail!("SupervisedEvaluator: argument `mode`: only 'eval' is supported, found '{}'", args.mode);
        }
        args.device.check()?;
        let surroundings = call.surroundings.clone().and_then(|any| any.downcast::<Run>().ok());
        let run = surroundings.unwrap_or_default();
        let autocast = autocast(&args, &run)?;
        Ok(Value::object(EngineHandle(Arc::new(SupervisedEvaluator { args, run, autocast }))))
    },
};

/// The type that `amp` computes in; `None` is f32.
fn autocast(args: &SupervisedEvaluatorArgs, run: &Run) -> Result<Option<tch::Kind>> {
    if !args.amp {
        return Ok(None);
    }
    let asked = match args.amp_kwargs.as_ref().and_then(|kwargs| kwargs.get("dtype")) {
        Some(value) => match tch::Kind::from_value(&value) {
            Some(kind @ (tch::Kind::Half | tch::Kind::BFloat16)) => Some(kind),
            _ => bail!("SupervisedEvaluator: amp_kwargs: expected dtype torch.float16 or torch.bfloat16, found {value:?}"),
        },
        None => run.amp_dtype,
    };
    match (args.device, asked) {
        (Device::Cpu, Some(tch::Kind::Half)) => bail!("float16 is not supported on a CPU; bfloat16 is"),
        (Device::Cpu, asked) => Ok(asked),
        (Device::Cuda(_), asked) => Ok(Some(asked.unwrap_or(tch::Kind::Half))),
    }
}

struct SupervisedEvaluator {
    args: SupervisedEvaluatorArgs,
    run: Arc<Run>,
    autocast: Option<tch::Kind>,
}

/// A case on its way: number, when it began, its clock, and its samples or why there are none.
struct Loaded {
    index: usize,
    began: Instant,
    work: Work,
    samples: Result<Vec<Sample>>,
}

/// A case whose files remain to be written.
struct Done {
    index: usize,
    began: Instant,
    clock: Clock,
    result: Result<Vec<WriteJob>>,
}

impl Engine for SupervisedEvaluator {
    fn name(&self) -> &'static str {
        "SupervisedEvaluator"
    }

    fn run(&self) -> Result<()> {
        let total = self.args.val_data_loader.dataset.len().min(self.args.epoch_length.unwrap_or(usize::MAX));
        if total == 0 {
            return Err(err!("there are no cases: the datalist is empty")
                .kind(Kind::Config)
                .hint("check dataset_dir, or give --datalist \"['a.nii.gz']\""));
        }
        self.check_outputs(total)?;
        let state = |iteration| EngineState { epoch: 1, max_epochs: 1, iteration, epoch_length: total };
        self.fire(Event::Started, &state(0))?;
        let _no_grad = tch::no_grad_guard();
        let failed = std::thread::scope(|scope| {
            let (to_writer, from_network) = sync_channel::<Done>(1);
            let writer = scope.spawn(move || self.write_all(&from_network, total));
            let prefetch = self.args.val_data_loader.num_workers > 0;
            if prefetch {
                // A rendezvous: at most one case waits, read ahead.
                let (to_network, from_loader) = sync_channel::<Loaded>(0);
                scope.spawn(move || {
                    for index in 0..total {
                        if self.cancelled() || to_network.send(self.load(index)).is_err() {
                            break;
                        }
                    }
                });
                self.infer_all(from_loader.iter(), &to_writer, total);
            } else {
                self.infer_all((0..total).map(|index| self.load(index)), &to_writer, total);
            }
            drop(to_writer);
            writer.join().unwrap_or(total)
        });
        if self.cancelled() {
            return Err(err!("interrupted").kind(Kind::Cancelled));
        }
        self.fire(Event::Completed, &state(total))?;
        match failed {
            0 => Ok(()),
            failed => Err(err!("{failed} of {total} cases failed; the messages are above")),
        }
    }
}

impl SupervisedEvaluator {
    fn cancelled(&self) -> bool {
        self.run.cancel.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn fire(&self, event: Event, state: &EngineState) -> Result<()> {
        for handler in self.args.val_handlers.iter().flatten() {
            handler.on(event, state)?;
        }
        Ok(())
    }

    /// The input file of a case, as the datalist names it.
    fn source(&self, index: usize) -> Option<PathBuf> {
        match self.args.val_data_loader.dataset.entry(index).ok()? {
            Value::Dict(dict) => PathBuf::from_value(&dict.get("image")?),
            _ => None,
        }
    }

    /// Two cases must not write the same file; found before anything is computed.
    fn check_outputs(&self, total: usize) -> Result<()> {
        let mut seen: HashMap<PathBuf, PathBuf> = HashMap::new();
        for source in (0..total).filter_map(|index| self.source(index)) {
            for path in self.outputs(&source)? {
                if let Some(other) = seen.insert(path.clone(), source.clone()) {
                    return Err(err!("{} and {} would both be written to {}", other.display(), source.display(), path.display())
                        .kind(Kind::Config)
                        .hint("set data_root_dir of SaveImaged to a folder above both inputs, or rename one"));
                }
            }
        }
        Ok(())
    }

    fn outputs(&self, source: &Path) -> Result<Vec<PathBuf>> {
        fn walk(transform: &dyn Transform, source: &Path, out: &mut Vec<PathBuf>) -> Result<()> {
            if let Some(path) = transform.output_path(source) {
                out.push(path?);
            }
            transform.children().iter().try_for_each(|child| walk(&**child, source, out))
        }
        let mut out = vec![];
        for transform in &self.args.postprocessing.0 {
            walk(&**transform, source, &mut out)?;
        }
        Ok(out)
    }

    /// Read and preprocess a case.
    fn load(&self, index: usize) -> Loaded {
        let began = Instant::now();
        let work = Work {
            device: self.args.device,
            autocast: self.autocast,
            cancel: self.run.cancel.clone(),
            progress: Arc::new(crate::contracts::NoProgress),
            clock: Clock::default(),
            budget_bytes: self.run.budget_bytes,
        };
        let mut writes = vec![];
        let samples = work.clock.time(Stage::Pre, || {
            guard(|| {
                self.args.val_data_loader.dataset.get(index, &mut Cx { work: &work, writes: &mut writes, streams: &mut Default::default() })
            })
        });
        Loaded { index, began, work, samples }
    }

    fn infer_all(&self, cases: impl Iterator<Item = Loaded>, to_writer: &SyncSender<Done>, total: usize) {
        for Loaded { index, began, mut work, samples } in cases {
            work.progress = self.run.observer.case_started(&self.name_of(index), index, total);
            let result = samples.and_then(|samples| guard(|| self.infer(samples, &work)));
            let stop = result.as_ref().is_err_and(|e| e.get_kind() == Kind::Cancelled);
            segbundle_native::trim();
            if stop || to_writer.send(Done { index, began, clock: work.clock, result }).is_err() {
                break;
            }
        }
    }

    /// Network and postprocessing of one case; the files are left to be written.
    fn infer(&self, samples: Vec<Sample>, work: &Work) -> Result<Vec<WriteJob>> {
        let mut writes = vec![];
        for mut sample in samples {
            let image = sample.image("image")?.clone();
            let x = volume_tensor(&image)?.f_unsqueeze(0)?; // [1,C,X,Y,Z]
            let expected = self.args.network.lock().in_channels();
            if image.layout.channels() != expected {
                bail!("the image has {} channels, but the network takes {expected}", image.layout.channels());
            }
            let prediction = match &self.args.inferer {
                Some(inferer) => inferer.infer(&x, &image, &self.args.network, work)?,
                None => crate::inferers::SimpleInferer.infer(&x, &image, &self.args.network, work)?,
            };
            drop((image, x));
            sample.set("pred", Item::Prediction(prediction));
            let start = Instant::now();
            let elsewhere = || work.clock.get(Stage::Inferer) + work.clock.get(Stage::Invert);
            let before = elsewhere();
            let mut samples = vec![sample];
            for transform in &self.args.postprocessing.0 {
                let mut after = vec![];
                for sample in samples {
                    after.extend(
                        transform
                            .apply(sample, &mut Cx { work, writes: &mut writes, streams: &mut Default::default() })
                            .map_err(|e| e.context(transform.name()))?,
                    );
                }
                samples = after;
            }
            work.clock.add(Stage::Post, start.elapsed().saturating_sub(elsewhere() - before));
        }
        Ok(writes)
    }

    /// Write finished cases and report each; returns how many failed.
    fn write_all(&self, cases: &Receiver<Done>, total: usize) -> usize {
        let mut failed = 0;
        for Done { index, began, clock, result } in cases {
            let mut outputs = vec![];
            let error = match result {
                Err(error) => Some(error),
                Ok(jobs) => clock.time(Stage::Write, || {
                    jobs.into_iter().find_map(|job| {
                        outputs.push(job.path);
                        guard(job.write).err()
                    })
                }),
            };
            failed += usize::from(error.is_some());
            let error = error.map(|error| match self.source(index) {
                Some(source) => error.file(source),
                None => error,
            });
            let elapsed: Duration = began.elapsed();
            self.run.observer.case_finished(&CaseReport { name: self.name_of(index), index, total, outputs, clock, elapsed, error });
        }
        failed
    }

    fn name_of(&self, index: usize) -> String {
        self.source(index).map_or_else(|| format!("case {index}"), |source| source.display().to_string())
    }
}
