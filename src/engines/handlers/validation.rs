//! ValidationHandler (monai.handlers.validation_handler, MONAI 1.6.1): run an evaluator at intervals during training.

use crate::checkpoint::StateDict;
use crate::contracts::{Engine, EngineStart, EngineState, Event, Handler};
use crate::err;
use crate::error::{Error, Kind, Result};
use parking_lot::Mutex;
use std::sync::Arc;

component! {
    /// Run an evaluator at intervals during a training.
    pub static COMPONENT = handler "ValidationHandler" in "monai.handlers" / "validation_handler";

    pub struct ValidationHandlerArgs {
        /// Run the validation every N epochs or iterations.
        interval: usize,
        /// Evaluator to run; None waits for `set_validator`.
        validator: Option<Arc<dyn Engine>> = (),
        /// Count `interval` in epochs (True) or iterations (False).
        epoch_level: bool = true,
        /// Also run a validation before the first iteration.
        exec_at_start: bool = false,
    }

    build: Validation::new,
}

struct Validation {
    args: ValidationHandlerArgs,
    validator: Mutex<Option<Arc<dyn Engine>>>,
}

impl Validation {
    fn validator(&self) -> Result<Arc<dyn Engine>> {
        self.validator
            .lock()
            .clone()
            .ok_or_else(|| err!("expected a validator, found none").hint("set the argument `validator`"))
    }
}

impl Validation {
    fn new(args: ValidationHandlerArgs) -> Result<Validation> {
        if args.interval == 0 {
            return Err(err!("`interval` is 0, expected at least 1").kind(Kind::Config));
        }
        let validator = Mutex::new(args.validator.clone());
        Ok(Validation { args, validator })
    }
}

impl Handler for Validation {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn check(&self, start: &EngineStart) -> Vec<Error> {
        self.validator().map_or_else(|error| vec![error], |validator| validator.check(start))
    }
    fn on(&self, event: Event, engine: &EngineState) -> Result<()> {
        let due = match event {
            // A resumed training has validated at its start already.
            Event::Started => self.args.exec_at_start && engine.iteration == 0,
            Event::EpochCompleted => self.args.epoch_level && engine.epoch.is_multiple_of(self.args.interval),
            Event::IterationCompleted => !self.args.epoch_level && engine.iteration.is_multiple_of(self.args.interval),
            Event::Completed | Event::Failed => false,
        };
        if !due {
            return Ok(());
        }
        let validator = self.validator()?;
        engine.start.run.with_step("window", || validator.run_at(engine.epoch, &engine.start))
    }
    fn prepare(&self, start: &EngineStart) -> Result<()> {
        self.validator.lock().as_ref().map_or(Ok(()), |validator| validator.prepare(start))
    }
    fn save(&self) -> Result<StateDict> {
        self.validator()?.save()
    }
    fn load(&self, saved: &StateDict) -> Result<()> {
        self.validator()?.load(saved)
    }
    fn set_engine(&self, engine: Arc<dyn Engine>) -> bool {
        *self.validator.lock() = Some(engine);
        true
    }
}
