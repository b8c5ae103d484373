//! TensorBoardStatsHandler (monai.handlers.tensorboard_handlers, MONAI 1.6.1): write losses and metrics as TensorBoard
//! scalars.
//!
//! Deliberate differences:
//! - The event file is created with the first value, not when the config is built.
//! - Only rank 0 writes.
//! - Values that are not scalars are skipped without a message unless an `output_transform` selected them.
//! - The event file of a resumed training purges steps that a killed run wrote after its last saved state. This applies
//!   to trainers only: an evaluator's iterations restart in every run, so that purging by step would remove the
//!   trainer's values as well; the values that an evaluator writes twice are equal.

use super::when::When;
use super::{Picked, picked};
use crate::checkpoint::{self, StateDict};
use crate::component::{Args, BuildContext, FromValue, NotSupported, Value};
use crate::contracts::{EngineState, Event, Handler, Score};
use crate::distributed;
use crate::err;
use crate::error::{Kind, Result};
use crate::formats::tfevents::EventWriter;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

component! {
    /// Write losses and metrics as TensorBoard scalars.
    pub static COMPONENT = handler "TensorBoardStatsHandler" in "monai.handlers" / "tensorboard_handlers";

    pub struct TensorBoardStatsArgs {
        /// Custom SummaryWriter; not supported.
        summary_writer: NotSupported = (),
        /// Folder for the event file.
        log_dir: PathBuf = "./runs",
        /// Write iterations: bool, an int N for every N iterations, or a function of engine and iteration that returns
        /// a bool.
        iteration_log: When = true,
        /// Write the metrics of epochs: bool, an int N, or a function of engine and epoch.
        epoch_log: When = true,
        /// Function that writes an epoch; not supported.
        epoch_event_writer: NotSupported = (),
        /// Function that writes an iteration; not supported.
        iteration_event_writer: NotSupported = (),
        /// Function that converts an iteration's output to a number or a dict of numbers; None uses the first item of
        /// the batch.
        output_transform: Value = (),
        /// Function that converts the engine's epoch to the one that is written, such as the trainer's in an evaluator.
        global_epoch_transform: Value = (),
        /// Attributes of `engine.state` to write with each epoch.
        state_attributes: Option<Vec<String>> = (),
        /// Name for an output that is a single number.
        tag_name: String = "Loss",
    }

    effect: Acts,
    differs: ["custom writers and writing functions are not supported"],
    build: TensorBoardStats::new,
}

struct TensorBoardStats {
    args: TensorBoardStatsArgs,
    file: Mutex<Events>,
}

/// State of the handler in a saved training.
#[derive(Serialize, Deserialize)]
struct SavedEvents {
    iteration: usize,
    epoch: usize,
}

/// The event file, and the steps that a later file has to purge.
#[derive(Default)]
struct Events {
    writer: Option<EventWriter>,
    /// The engine's last iteration.
    iteration: usize,
    epoch: usize,
    /// The first iteration that a resumed training writes again.
    purge: Option<usize>,
}

impl TensorBoardStats {
    fn new(args: TensorBoardStatsArgs) -> Result<TensorBoardStats> {
        for (name, value) in
            [("output_transform", &args.output_transform), ("global_epoch_transform", &args.global_epoch_transform)]
        {
            if !value.is_none() && !value.callable() {
                return Err(err!("`{name}`: expected a function, found {value:?}").kind(Kind::Config));
            }
        }
        Ok(TensorBoardStats { args, file: Mutex::default() })
    }
}

impl Handler for TensorBoardStats {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn on(&self, event: Event, engine: &EngineState) -> Result<()> {
        if let Event::IterationCompleted | Event::EpochCompleted = event {
            let mut file = self.file.lock();
            (file.iteration, file.epoch) = (engine.iteration, engine.epoch);
        }
        match event {
            _ if distributed::rank() > 0 => Ok(()),
            Event::IterationCompleted if self.args.iteration_log.now(engine, engine.iteration)? => {
                self.write(engine, engine.iteration as i64, self.iteration_values(engine)?)
            }
            Event::EpochCompleted if self.args.epoch_log.now(engine, engine.epoch)? => {
                self.write(engine, self.global_epoch(engine)?, self.epoch_values(engine)?)
            }
            _ => Ok(()),
        }
    }
    fn wants_output(&self) -> bool {
        self.args.iteration_log.ever()
    }
    fn save(&self) -> Result<StateDict> {
        let file = self.file.lock();
        checkpoint::to_state(&SavedEvents { iteration: file.iteration, epoch: file.epoch })
    }
    fn load(&self, saved: &StateDict) -> Result<()> {
        let SavedEvents { iteration, epoch } = checkpoint::from_state(saved)?;
        *self.file.lock() = Events { writer: None, iteration, epoch, purge: Some(iteration + 1) };
        Ok(())
    }
}

impl TensorBoardStats {
    fn write(&self, engine: &EngineState, step: i64, values: Vec<(String, f64)>) -> Result<()> {
        if values.is_empty() {
            return Ok(());
        }
        let mut file = self.file.lock();
        let file = &mut *file;
        let writer = match &mut file.writer {
            Some(writer) => writer,
            none => {
                let counts_on = engine.trains && self.args.iteration_log.ever();
                let purge = file.purge.take().filter(|_| counts_on).map(|step| step as i64);
                none.insert(EventWriter::create(&self.args.log_dir, purge)?)
            }
        };
        writer.scalars(step, values.iter().map(|(tag, value)| (tag.as_str(), *value as f32)))
    }

    fn global_epoch(&self, engine: &EngineState) -> Result<i64> {
        let transform = &self.args.global_epoch_transform;
        if transform.is_none() {
            return Ok(engine.epoch as i64);
        }
        let epoch = transform.call(Args::positional([Value::Int(engine.epoch as i64)]), &mut BuildContext::default());
        let epoch = epoch.map_err(|error| error.context("global_epoch_transform"))?;
        let number = i64::from_value(&epoch).or_else(|| f64::from_value(&epoch).map(|x| x as i64));
        number.ok_or_else(|| err!("`global_epoch_transform` returned {epoch:?}, expected an epoch"))
    }

    fn epoch_values(&self, engine: &EngineState) -> Result<Vec<(String, f64)>> {
        let numbers = engine.metrics.iter().filter_map(|(name, score)| match score {
            Score::Number(x) => Some((name.to_string(), *x)),
            _ => None,
        });
        let mut values: Vec<(String, f64)> = numbers.collect();
        let view = engine.as_engine();
        let attribute =
            |of: &Value, name: &str| if let Value::Object(object) = of { object.attr(name) } else { Ok(None) };
        let state = attribute(&view, "state")?.unwrap_or_default();
        for name in self.args.state_attributes.iter().flatten() {
            let value = attribute(&state, name)?.unwrap_or_default();
            let number = f64::from_value(&value).ok_or_else(|| {
                let names =
                    if let Value::Object(object) = &state { object.attr_names().join(", ") } else { String::new() };
                err!("state_attributes: `{name}` is {value:?}, expected a number")
                    .hint(format!("an engine's state has {names}"))
            })?;
            values.push((name.clone(), number));
        }
        Ok(values)
    }

    fn iteration_values(&self, engine: &EngineState) -> Result<Vec<(String, f64)>> {
        let transform = &self.args.output_transform;
        let Picked { numbers, others } = picked(transform, &self.args.tag_name, engine)?;
        if !others.is_empty() && !transform.is_none() {
            tracing::warn!("TensorBoardStatsHandler: ignored values that are not scalars: {}", others.join(", "));
        }
        Ok(numbers.into_iter().filter_map(|(tag, value)| Some((tag, f64::from_value(&value)?))).collect())
    }
}
