//! LrScheduleHandler (monai.handlers.lr_schedule_handler, MONAI 1.6.1): a learning-rate schedule's steps.
//!
//! Deliberate differences: a `step_transform` must give nothing, because none of the schedules takes a value
//! (ReduceLROnPlateau is not there); a training that goes on takes the schedule up where it was.

use crate::args;
use crate::checkpoint::StateDict;
use crate::component::{Args, BuildContext, Component, Declared, Effect, Value};
use crate::contracts::{EngineState, Event, Handler, HandlerHandle, Schedule, Shared};
use crate::err;
use crate::error::{Kind, Result};
use std::sync::Arc;

args! {
    /// Arguments of LrScheduleHandler.
    pub struct LrScheduleArgs {
        /// The schedule.
        lr_scheduler: Shared<dyn Schedule>,
        /// Whether to log the learning rate after each step.
        print_lr: bool = true,
        /// The logger to use; None: the engine's.
        name: Option<String> = (),
        /// Step after every epoch (True) or after every iteration (False).
        epoch_level: bool = true,
        /// A function of the engine; must give an empty tuple, as nothing is passed to the schedule's step.
        step_transform: Value = (),
    }
}

pub static COMPONENT: Component = Component {
    name: "LrScheduleHandler",
    path: "monai.handlers.LrScheduleHandler",
    aliases: &["monai.handlers.lr_schedule_handler.LrScheduleHandler"],
    doc: "Step a learning-rate schedule after every epoch or iteration.",
    params: LrScheduleArgs::PARAMS,
    differences: &["`step_transform` must give an empty tuple: ReduceLROnPlateau is not there"],
    effect: Effect::Pure,
    build: |args, _| {
        let args = LrScheduleArgs::parse("LrScheduleHandler", args)?;
        if !args.step_transform.is_none() && !args.step_transform.callable() {
            return Err(err!(
                "LrScheduleHandler: `step_transform`: expected a function, found {:?}",
                args.step_transform
            )
            .kind(Kind::Config));
        }
        Ok(Value::object(HandlerHandle(Arc::new(LrSchedule(args)))))
    },
};

struct LrSchedule(LrScheduleArgs);

impl Handler for LrSchedule {
    fn name(&self) -> &'static str {
        "LrScheduleHandler"
    }
    fn on(&self, event: Event, engine: &EngineState) -> Result<()> {
        let args = &self.0;
        if event != if args.epoch_level { Event::EpochCompleted } else { Event::IterationCompleted } {
            return Ok(());
        }
        if !args.step_transform.is_none() {
            let given =
                args.step_transform.call(Args::positional([engine.as_engine()]), &mut BuildContext::default())?;
            if given != Value::tuple([]) && given != Value::list([]) {
                return Err(err!("`step_transform` gives {given:?}, expected an empty tuple").kind(Kind::Unsupported));
            }
        }
        let mut schedule = args.lr_scheduler.lock();
        schedule.step()?;
        if args.print_lr {
            let rate = Value::Float(schedule.last_lr().first().copied().unwrap_or(0.0));
            let logger = args.name.clone().unwrap_or_else(|| super::logger(engine));
            tracing::info!(logger = &*logger, "Current learning rate: {rate}");
        }
        Ok(())
    }
    fn save(&self) -> Result<StateDict> {
        Ok(self.0.lr_scheduler.lock().state())
    }
    fn load(&self, saved: &StateDict) -> Result<()> {
        self.0.lr_scheduler.lock().load_state(saved)
    }
}
