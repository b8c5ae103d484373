//! StatsHandler (monai.handlers.stats_handler, MONAI 1.6.1): log losses and metrics of iterations and epochs.
//!
//! Difference from MONAI: values of an iteration that are not scalars are reported once, and only if an
//! `output_transform` selected them.

use super::when::When;
use super::{Picked, logger, picked};
use crate::bundle::expr::values::template;
use crate::component::{Args, BuildContext, NotSupported, Value};
use crate::contracts::{EngineState, Event, Handler, Score};
use crate::error::Result;

component! {
    /// Log the outputs of iterations and the metrics of epochs.
    pub static COMPONENT = handler "StatsHandler" in "monai.handlers" / "stats_handler";

    pub struct StatsHandlerArgs {
        /// Log iterations: bool, or a function of engine and iteration that returns a bool. Other ints than 0 are True.
        iteration_log: When = true,
        /// Log the metrics of epochs: bool, or a function of engine and epoch that returns a bool. Other ints than 0
        /// are True.
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

    differs: ["values that are not scalars are reported once, and only if `output_transform` selected them"],
    build: Stats::new,
}

struct Stats {
    args: StatsHandlerArgs,
}

impl Stats {
    fn new(args: StatsHandlerArgs) -> Result<Stats> {
        let args = StatsHandlerArgs {
            iteration_log: args.iteration_log.without_interval("iteration_log"),
            epoch_log: args.epoch_log.without_interval("epoch_log"),
            ..args
        };
        Ok(Stats { args })
    }
}

impl Handler for Stats {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn wants_output(&self) -> bool {
        self.args.iteration_log.ever()
    }
    fn on(&self, event: Event, engine: &EngineState) -> Result<()> {
        match event {
            Event::IterationCompleted if self.args.iteration_log.now(engine, engine.iteration)? => {
                self.iteration(engine)
            }
            Event::EpochCompleted if self.args.epoch_log.now(engine, engine.epoch)? => self.epoch(engine),
            _ => Ok(()),
        }
    }
}

impl Stats {
    fn log(&self, engine: &EngineState, text: &str) {
        let (epoch, iteration) = (engine.epoch, engine.iteration);
        match &self.args.name {
            Some(name) => tracing::info!(logger = name.as_str(), epoch, iteration, "{text}"),
            None => tracing::info!(logger = logger(engine), epoch, iteration, "{text}"),
        }
    }

    fn format(&self, name: &str, value: Value) -> Result<String> {
        template::format(
            &self.args.key_var_format,
            &Args::positional([name.into(), value]),
            &mut BuildContext::default(),
        )
        .map_err(|error| error.context("key_var_format"))
    }

    fn iteration(&self, engine: &EngineState) -> Result<()> {
        let mut text = String::new();
        let transform = &self.args.output_transform;
        let Picked { numbers, others } = picked(transform, &self.args.tag_name, engine)?;
        if !others.is_empty() && !transform.is_none() {
            tracing::warn!("StatsHandler: ignored values that are not scalars: {}", others.join(", "));
        }
        for (name, value) in numbers {
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
        let mut scores: Vec<(String, Score)> = vec![];
        for (name, score) in &engine.metrics {
            match score {
                Score::Named(all) => scores.extend(all.iter().map(|(name, x)| (name.clone(), Score::Number(*x)))),
                score => scores.push((name.to_string(), score.clone())),
            }
        }
        scores.sort_by(|a, b| a.0.cmp(&b.0));
        if !scores.is_empty() {
            let epoch = match &self.args.global_epoch_transform {
                Value::None => Value::Int(engine.epoch as i64),
                change => {
                    change.call(Args::positional([Value::Int(engine.epoch as i64)]), &mut BuildContext::default())?
                }
            };
            let mut text = format!("Epoch[{epoch}] Metrics -- ");
            for (name, score) in scores {
                text += &match score {
                    Score::Numbers(all) => format!("{name}: {}", tensor_text(&all)),
                    score => self.format(&name, score.to_value())?,
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
        if let Some(names) = self.args.state_attributes.as_ref().filter(|names| !names.is_empty()) {
            let mut text = "State values: ".to_owned();
            for name in names {
                text += &format!("{name}: {} ", engine.attribute(name));
            }
            self.log(engine, &text);
        }
        Ok(())
    }
}

/// `str(torch.tensor(values))` as PyTorch 2.11 prints a float32 vector of at most 1000 elements (torch/_tensor_str.py):
/// four decimals, none if all values are integral, an exponent if they span a large range, lines of 80 columns.
pub(super) fn tensor_text(values: &[f64]) -> String {
    let values: Vec<f32> = values.iter().map(|x| *x as f32).collect();
    let shown = |x: &&f32| x.is_finite() && **x != 0.0;
    let sizes = || values.iter().filter(shown).map(|x| x.abs());
    let (low, high) = (sizes().fold(f32::INFINITY, f32::min), sizes().fold(0.0, f32::max));
    let scientific = high / low > 1000.0 || high > 1e8 || low < 1e-4;
    let whole = sizes().all(|x| x.fract() == 0.0);
    let one = |x: &f32| match *x {
        x if x.is_nan() => "nan".to_owned(),
        x if x.is_infinite() => (if x > 0.0 { "inf" } else { "-inf" }).to_owned(),
        x if scientific => {
            let text = format!("{x:.4e}");
            let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
            format!("{digits}e{sign}{exponent:0>2}")
        }
        x if whole => format!("{x:.0}."),
        x => format!("{x:.4}"),
    };
    let width = values.iter().filter(shown).map(|x| one(x).len()).max().unwrap_or(1);
    let texts: Vec<String> = values.iter().map(|x| format!("{:>width$}", one(x))).collect();
    const INDENT: usize = "tensor(".len();
    let lines: Vec<String> = texts.chunks(((80 - INDENT) / (width + 2)).max(1)).map(|line| line.join(", ")).collect();
    format!("tensor([{}])", lines.join(&format!(",\n{}", " ".repeat(INDENT + 1))))
}

#[cfg(test)]
mod tests {
    use super::tensor_text;

    /// `print(torch.tensor(values))` of PyTorch 2.11.
    #[test]
    fn vectors_are_printed_as_torch_prints_them() {
        let cases: [(&[f64], &str); 6] = [
            (&[0.5, 0.75], "tensor([0.5000, 0.7500])"),
            (&[0.9, f64::NAN, 1.0], "tensor([0.9000,    nan, 1.0000])"),
            (&[1.0, 0.0, 1.0], "tensor([1., 0., 1.])"),
            (&[0.5, 1e-5, 0.0], "tensor([5.0000e-01, 1.0000e-05, 0.0000e+00])"),
            (&[f64::NAN, 0.0], "tensor([nan, 0.])"),
            (
                &[0.123456; 12],
                "tensor([0.1235, 0.1235, 0.1235, 0.1235, 0.1235, 0.1235, 0.1235, 0.1235, 0.1235,\n        0.1235, 0.1235, 0.1235])",
            ),
        ];
        for (values, expected) in cases {
            assert_eq!(tensor_text(values), expected);
        }
    }
}
