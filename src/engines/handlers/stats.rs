//! StatsHandler (monai.handlers.stats_handler, MONAI 1.6.1): log lines of an engine's iterations and epochs.
//!
//! An evaluation without metrics has nothing to log here, as in MONAI; the cases themselves are reported by the run.

use crate::args;
use crate::component::{Accepted, Component, Declared, Effect, Value};
use crate::contracts::{EngineState, Event, Handler, HandlerHandle};
use crate::error::Result;
use std::sync::Arc;

args! {
    /// Arguments of StatsHandler.
    pub struct StatsHandlerArgs {
        /// Log each iteration; an evaluation's iterations are logged as cases anyway.
        iteration_log: Value = true,
        /// Log each epoch's metrics.
        epoch_log: Value = true,
        /// No effect: an evaluation without metrics logs nothing per epoch.
        epoch_print_logger: Accepted = (),
        /// No effect: an evaluation has no loss to log.
        iteration_print_logger: Accepted = (),
        /// No effect: an evaluation has no loss to log.
        output_transform: Accepted = (),
        /// No effect: an evaluation has one epoch.
        global_epoch_transform: Accepted = (),
        /// No effect: an evaluation without metrics logs nothing per epoch.
        state_attributes: Accepted = (),
        /// No effect: there is one log.
        name: Accepted = "StatsHandler",
        /// No effect: an evaluation has no loss to log.
        tag_name: Accepted = "Loss",
        /// No effect: an evaluation without metrics logs nothing per epoch.
        key_var_format: Accepted = "",
    }
}

pub static COMPONENT: Component = Component {
    name: "StatsHandler",
    path: "monai.handlers.StatsHandler",
    aliases: &["monai.handlers.stats_handler.StatsHandler"],
    doc: "Log an engine's iterations and epochs.",
    params: StatsHandlerArgs::PARAMS,
    differences: &[],
    effect: Effect::Pure,
    build: |args, _| {
        StatsHandlerArgs::parse("StatsHandler", args)?;
        Ok(Value::object(HandlerHandle(Arc::new(Stats))))
    },
};

struct Stats;

impl Handler for Stats {
    fn name(&self) -> &'static str {
        "StatsHandler"
    }
    fn on(&self, event: Event, engine: &EngineState) -> Result<()> {
        if event == Event::Completed {
            tracing::debug!("epoch {}/{} completed: {} iterations", engine.epoch, engine.max_epochs, engine.iteration);
        }
        Ok(())
    }
}
