//! ValidationHandler (monai.handlers.validation_handler, MONAI 1.6.1): run an evaluator every so often in a training.

use crate::args;
use crate::checkpoint::StateDict;
use crate::component::{Component, Declared, Effect, Value};
use crate::contracts::{Engine, EngineState, Event, Handler, HandlerHandle};
use crate::err;
use crate::error::{Kind, Result};
use parking_lot::Mutex;
use std::sync::Arc;

args! {
    /// Arguments of ValidationHandler.
    pub struct ValidationHandlerArgs {
        /// Validate every so many epochs or iterations.
        interval: usize,
        /// The evaluator; `set_validator` may give it later.
        validator: Option<Arc<dyn Engine>> = (),
        /// Whether `interval` counts epochs; else iterations.
        epoch_level: bool = true,
        /// Validate before the first iteration too.
        exec_at_start: bool = false,
    }
}

pub static COMPONENT: Component = Component {
    name: "ValidationHandler",
    path: "monai.handlers.ValidationHandler",
    aliases: &["monai.handlers.validation_handler.ValidationHandler"],
    doc: "Run an evaluator every so often in a training.",
    params: ValidationHandlerArgs::PARAMS,
    differences: &[],
    effect: Effect::Pure,
    build: |args, _| {
        let args = ValidationHandlerArgs::parse("ValidationHandler", args)?;
        if args.interval == 0 {
            return Err(err!("ValidationHandler: `interval` is 0, expected at least 1").kind(Kind::Config));
        }
        let validator = Mutex::new(args.validator.clone());
        Ok(Value::object(HandlerHandle(Arc::new(Validation { args, validator }))))
    },
};

struct Validation {
    args: ValidationHandlerArgs,
    validator: Mutex<Option<Arc<dyn Engine>>>,
}

impl Validation {
    fn validator(&self) -> Result<Arc<dyn Engine>> {
        self.validator.lock().clone().ok_or_else(|| err!("there is no validator").hint("give the argument `validator`"))
    }
}

impl Handler for Validation {
    fn name(&self) -> &'static str {
        "ValidationHandler"
    }
    fn on(&self, event: Event, engine: &EngineState) -> Result<()> {
        let due = match event {
            // A training that goes on has done so already.
            Event::Started => self.args.exec_at_start && engine.iteration == 0,
            Event::EpochCompleted => self.args.epoch_level && engine.epoch.is_multiple_of(self.args.interval),
            Event::IterationCompleted => !self.args.epoch_level && engine.iteration.is_multiple_of(self.args.interval),
            Event::Completed | Event::Failed => false,
        };
        if due { self.validator()?.run_at(engine.epoch) } else { Ok(()) }
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
