//! SupervisedEvaluator (monai.engines.evaluator, MONAI 1.6.1): cases through a network, one after the other.
//!
//! While one case is in the network the next is read and the last is written (see `pipeline`). A case that fails is
//! reported and the others go on; the run as a whole fails at its end. Deliberate differences: a batch is a number of
//! single cases, and what no postprocessing asks for is never computed.

use super::cases;
use super::explain::Explain;
use super::pipeline::Pipeline;
use super::record::{RunRecord, Settings};
use super::resume::Identity;
use crate::component::{Accepted, Component, Declared, Dict, Effect, FromValue, Value};
use crate::contracts::{Engine, EngineHandle, EngineState, Event, Handler, Inferer, Loader, Network, Run, Shared};
use crate::data::Transforms;
use crate::error::{Kind, Result};
use crate::formats::digest;
use crate::torch::Device;
use crate::torch::convert::to_u8;
use crate::{args, bail, err};
use std::sync::Arc;

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

impl Engine for SupervisedEvaluator {
    fn name(&self) -> &'static str {
        "SupervisedEvaluator"
    }

    fn run(&self) -> Result<()> {
        let loader = &self.args.val_data_loader;
        let total = loader.dataset.len().min(self.args.epoch_length.unwrap_or(usize::MAX));
        if total == 0 {
            return Err(err!("there are no cases: the datalist is empty")
                .kind(Kind::Config)
                .hint("check dataset_dir, or give --datalist \"['a.nii.gz']\""));
        }
        let postprocessing = &self.args.postprocessing.0;
        let cases = cases::plan(&*loader.dataset, postprocessing, total)?;
        let folder = cases::output_folder(postprocessing);
        if let Some(text) = &self.run.explanation {
            self.fire(Event::Started, &EngineState { epoch: 1, max_epochs: 1, iteration: 0, epoch_length: total })?;
            return self.explain(&cases, &mut text.lock());
        }
        match cases::clear_stale(&cases, folder.as_deref()) {
            0 => {}
            count => tracing::info!("removed {count} half-written files of a run that was killed"),
        }
        let state = |iteration| EngineState { epoch: 1, max_epochs: 1, iteration, epoch_length: total };
        self.fire(Event::Started, &state(0))?;
        let _no_grad = tch::no_grad_guard();
        let (identity, config) = self.identity()?;
        let record = folder.map(|folder| RunRecord::start(&folder, self.settings(&identity, config), total));
        let pipeline = Pipeline {
            loader,
            network: &self.args.network,
            inferer: self.args.inferer.as_deref(),
            postprocessing,
            run: &self.run,
            device: self.args.device,
            autocast: self.autocast,
            cases: &cases,
            identity: &identity,
        };
        let (failed, record) = pipeline.run(record);
        let cancelled = self.run.cancel.load(std::sync::atomic::Ordering::Relaxed);
        if let Some(record) = record {
            record.finish(match (cancelled, failed) {
                (true, _) => "interrupted",
                (_, 0) => "done",
                _ => "failed",
            });
        }
        if cancelled {
            return Err(err!("interrupted").kind(Kind::Cancelled).hint("`segbundle --skip-existing run …` goes on where this run stopped"));
        }
        self.fire(Event::Completed, &state(total))?;
        match failed {
            0 => Ok(()),
            failed => Err(err!("{failed} of {total} cases failed; the messages are above")),
        }
    }
}

impl SupervisedEvaluator {
    fn fire(&self, event: Event, state: &EngineState) -> Result<()> {
        for handler in self.args.val_handlers.iter().flatten() {
            handler.on(event, state)?;
        }
        Ok(())
    }

    /// What results depend on besides their inputs, and the config for the record.
    fn identity(&self) -> Result<(Identity, serde_json::Value)> {
        let config = self.run.config();
        let whole = serde_json::json!({
            "config": config.fingerprint,
            "device": self.args.device.to_string(),
            "amp": self.amp_name(),
        });
        let identity = Identity {
            version: env!("CARGO_PKG_VERSION"),
            weights_sha256: weights_sha256(&*self.args.network.lock())?,
            config_sha256: digest::of_pieces([whole.to_string().as_bytes()]),
        };
        Ok((identity, config.resolved))
    }

    fn settings<'a>(&self, identity: &'a Identity, config: serde_json::Value) -> Settings<'a> {
        Settings {
            identity,
            config,
            device: self.args.device.to_string(),
            amp: self.amp_name(),
            threads: tch::get_num_threads().max(0) as usize,
            memory_bytes: self.run.memory_bytes,
            skip_existing: self.run.skip_existing,
        }
    }

    fn explain(&self, cases: &[cases::Case], out: &mut String) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        Explain {
            loader: &self.args.val_data_loader,
            network: &self.args.network,
            inferer: self.args.inferer.as_deref(),
            postprocessing: &self.args.postprocessing.0,
            memory_bytes: self.run.memory_bytes,
            device: self.args.device,
            autocast: self.autocast,
        }
        .write(cases, out)
    }

    fn amp_name(&self) -> Option<&'static str> {
        self.autocast.map(|kind| if kind == tch::Kind::BFloat16 { "bfloat16" } else { "float16" })
    }
}

/// Of all parameters and buffers with their names, wherever they came from.
fn weights_sha256(network: &dyn Network) -> Result<String> {
    let mut pieces: Vec<Vec<u8>> = vec![];
    for (name, tensor) in &network.state().tensors {
        pieces.push(format!("{name} {:?} {:?}\0", tensor.kind(), tensor.size()).into_bytes());
        let flat = tensor.f_detach()?.f_to_device(tch::Device::Cpu)?.f_contiguous()?.f_view([-1])?;
        pieces.push(to_u8(&flat.f_view_dtype(tch::Kind::Uint8)?)?);
    }
    Ok(digest::of_pieces(pieces.iter().map(Vec::as_slice)))
}
