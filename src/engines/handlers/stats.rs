//! StatsHandler (monai.handlers.stats_handler, MONAI 1.6.1): log lines of an engine's iterations and epochs.
//!
//! Deliberate difference: what is no number is left out without a warning.

use super::when::When;
use super::{logger, picked};
use crate::bundle::expr::values::template;
use crate::component::{Args, BuildContext, NotSupported, Value};
use crate::contracts::{EngineState, Event, Handler, Score};
use crate::error::Result;

component! {
    /// Log the outputs of iterations and the metrics of epochs.
    pub static COMPONENT = handler "StatsHandler" in "monai.handlers" / "stats_handler";

    pub struct StatsHandlerArgs {
        /// Log iterations: bool, or a function of engine and iteration that returns a bool.
        iteration_log: When = true,
        /// Log the metrics of epochs: bool, or a function of engine and epoch that returns a bool.
        epoch_log: When = true,
        /// Function of the engine that logs an epoch; not supported.
        epoch_print_logger: NotSupported = (),
        /// Function of the engine that logs an iteration; not supported.
        iteration_print_logger: NotSupported = (),
        /// Function that converts an iteration's output to a number or a dict of numbers; None uses the first item of
        /// the batch.
        output_transform: Value = (),
        /// Function that converts the engine's epoch to the one that is logged, such as the trainer's in an evaluator.
        global_epoch_transform: Value = (),
        /// Attributes of `engine.state` to log with each epoch.
        state_attributes: Option<Vec<String>> = (),
        /// Name of the logger; None is the engine's.
        name: Option<String> = "monai.handlers.StatsHandler",
        /// Name for an output that is a single number.
        tag_name: String = "Loss",
        /// Format string for a name and its value.
        key_var_format: String = "{}: {:.4f} ",
    }

    differs: ["what is no number is left out without a warning"],
    build: |args| Ok(Stats(args)),
}

struct Stats(StatsHandlerArgs);

impl Handler for Stats {
    fn name(&self) -> &'static str {
        "StatsHandler"
    }
    fn wants_output(&self) -> bool {
        self.0.iteration_log.ever()
    }
    fn on(&self, event: Event, engine: &EngineState) -> Result<()> {
        match event {
            Event::IterationCompleted if self.0.iteration_log.now(engine, engine.iteration)? => self.iteration(engine),
            Event::EpochCompleted if self.0.epoch_log.now(engine, engine.epoch)? => self.epoch(engine),
            _ => Ok(()),
        }
    }
}

impl Stats {
    fn log(&self, engine: &EngineState, text: &str) {
        match &self.0.name {
            Some(name) => tracing::info!(logger = name.as_str(), "{text}"),
            None => tracing::info!(logger = logger(engine), "{text}"),
        }
    }

    fn format(&self, name: &str, value: Value) -> Result<String> {
        template::format(&self.0.key_var_format, &Args::positional([name.into(), value]), &mut BuildContext::default())
            .map_err(|error| error.context("key_var_format"))
    }

    fn iteration(&self, engine: &EngineState) -> Result<()> {
        let mut text = String::new();
        for (name, value) in picked(&self.0.output_transform, &self.0.tag_name, engine)?.numbers {
            text += &self.format(&name, value)?;
        }
        if !text.is_empty() {
            let (epoch, max, length) = (engine.epoch, engine.max_epochs, engine.epoch_length);
            let inside = (engine.iteration.max(1) - 1) % length.max(1) + 1;
            self.log(engine, &format!("Epoch: {epoch}/{max}, Iter: {inside}/{length} -- {text}"));
        }
        Ok(())
    }

    fn epoch(&self, engine: &EngineState) -> Result<()> {
        let mut scores: Vec<(String, Value)> = vec![];
        for (name, score) in &engine.metrics {
            match score {
                Score::Named(all) => scores.extend(all.iter().map(|(name, x)| (name.clone(), Value::Float(*x)))),
                score => scores.push((name.to_string(), score.to_value())),
            }
        }
        scores.sort_by(|a, b| a.0.cmp(&b.0));
        if !scores.is_empty() {
            let epoch = match &self.0.global_epoch_transform {
                Value::None => Value::Int(engine.epoch as i64),
                change => {
                    change.call(Args::positional([Value::Int(engine.epoch as i64)]), &mut BuildContext::default())?
                }
            };
            let mut text = format!("Epoch[{epoch}] Metrics -- ");
            for (name, value) in scores {
                text += &match value {
                    Value::Float(_) => self.format(&name, value)?,
                    value => format!("{name}: {value}"),
                };
            }
            self.log(engine, &text);
        }
        if let Some(key) = &engine.key_metric {
            self.log(
                engine,
                &format!("Key metric: {key} best value: {} at epoch: {}", engine.best_value(), engine.best_epoch()),
            );
        }
        if let Some(names) = self.0.state_attributes.as_ref().filter(|names| !names.is_empty()) {
            let mut text = "State values: ".to_owned();
            for name in names {
                text += &format!("{name}: {} ", engine.attribute(name));
            }
            self.log(engine, &text);
        }
        Ok(())
    }
}
