//! LrScheduleHandler (monai.handlers.lr_schedule_handler, MONAI 1.6.1): step a learning-rate schedule.
//!
//! Deliberate differences: `step_transform` must return an empty tuple, because none of the supported schedules takes a
//! value (ReduceLROnPlateau is not supported); a resumed training continues the schedule from its saved step.

use crate::checkpoint::StateDict;
use crate::component::{Args, BuildContext, Value};
use crate::contracts::{EngineState, Event, Handler, Schedule, Shared};
use crate::err;
use crate::error::{Kind, Result};

component! {
    /// Step a learning-rate schedule after every epoch or iteration.
    pub static COMPONENT = handler "LrScheduleHandler" in "monai.handlers" / "lr_schedule_handler";

    pub struct LrScheduleArgs {
        /// Learning-rate schedule to step.
        lr_scheduler: Shared<dyn Schedule>,
        /// Log the learning rate after each step.
        print_lr: bool = true,
        /// Name of the logger; None is the engine's.
        name: Option<String> = (),
        /// Step after every epoch (True) or iteration (False).
        epoch_level: bool = true,
        /// Function of the engine that returns the arguments of the schedule's step: only an empty tuple is supported.
        step_transform: Value = (),
    }

    differs: ["`step_transform` must return an empty tuple: ReduceLROnPlateau is not supported"],
    build: LrSchedule::new,
}

struct LrSchedule(LrScheduleArgs);

impl LrSchedule {
    fn new(args: LrScheduleArgs) -> Result<LrSchedule> {
        if !args.step_transform.is_none() && !args.step_transform.callable() {
            return Err(
                err!("`step_transform`: expected a function, found {:?}", args.step_transform).kind(Kind::Config)
            );
        }
        Ok(LrSchedule(args))
    }
}

impl Handler for LrSchedule {
    fn name(&self) -> &'static str {
        COMPONENT.name
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
                return Err(
                    err!("`step_transform` returned {given:?}, expected an empty tuple").kind(Kind::Unsupported)
                );
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
