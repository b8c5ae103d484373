//! CheckpointSaver (monai.handlers.checkpoint_saver, MONAI 1.6.1): save networks, optimizers and schedules of the best
//! epochs, at intervals, and at the end.
//!
//! Deliberate differences:
//! - Files are written atomically, and the new file exists before an old one is removed.
//! - Weights are saved as f32.
//! - Only rank 0 saves, as with ignite's default.
//! - A folder that is not writable is an error before the first epoch, not after it.
//! - `save_final` saves nothing if the first iteration fails.
//! - A resumed training continues with the same list of files.

use super::checkpoint_files::{self, Files, Priority, Rule};
use super::logger;
use super::parts::{Part, parts_of};
use crate::checkpoint::StateDict;
use crate::component::Dict;
use crate::contracts::{EngineStart, EngineState, Event, Handler, Score};
use crate::distributed;
use crate::error::{Error, Kind, Result};
use crate::{err, log_error};
use std::path::PathBuf;

component! {
    /// Save networks, optimizers and schedules: the best epochs, at intervals, and at the end of a training.
    pub static COMPONENT = handler "CheckpointSaver" in "monai.handlers" / "checkpoint_saver";

    pub struct CheckpointSaverArgs {
        /// Folder to save the checkpoints to.
        save_dir: PathBuf,
        /// Networks, optimizers and schedules to save, by name; a single object is saved without its name.
        save_dict: Dict,
        /// Name of the logger; None is the engine's.
        name: Option<String> = (),
        /// Prefix of the file names.
        file_prefix: String = "",
        /// Save a checkpoint when the training ends, also with an error after the first iteration, but not when it is
        /// interrupted.
        save_final: bool = false,
        /// File name of the final checkpoint; None is `model_final_iteration=N.pt`.
        final_filename: Option<String> = (),
        /// Save a checkpoint after each epoch whose key metric is among the best.
        save_key_metric: bool = false,
        /// Name of the metric to compare; None is the engine's key metric.
        key_metric_name: Option<String> = (),
        /// Number of best checkpoints to keep.
        key_metric_n_saved: usize = 1,
        /// File name of the best checkpoint; None is `model_key_metric=0.1234.pt`.
        key_metric_filename: Option<String> = (),
        /// Save the list of the best checkpoints in each of them, under the key `checkpointer`.
        key_metric_save_state: bool = false,
        /// Replace the best checkpoint by a later one with an equal metric.
        key_metric_greater_or_equal: bool = false,
        /// Prefer smaller values of the metric.
        key_metric_negative_sign: bool = false,
        /// Count `save_interval` in epochs (True) or iterations (False).
        epoch_level: bool = true,
        /// Save a checkpoint every N epochs or iterations; 0 disables it.
        save_interval: usize = 0,
        /// Number of checkpoints at intervals to keep; None keeps all.
        n_saved: Option<usize> = (),
    }

    effect: Acts,
    differs: [
        "files are replaced atomically, and a new file is complete before an old one is removed",
        "engines cannot be saved; `--resume` resumes a training",
    ],
    build: CheckpointSaver::new,
}

struct CheckpointSaver {
    args: CheckpointSaverArgs,
    parts: Vec<(String, Part)>,
    /// Files saved at the end of the run.
    last: Option<Files>,
    /// Files of the best epochs by key metric.
    best: Option<Files>,
    /// Files saved at intervals.
    regular: Option<Files>,
}

impl CheckpointSaver {
    fn new(args: CheckpointSaverArgs) -> Result<CheckpointSaver> {
        let wrong = |message: &str| Err(err!("{message}"));
        let parts = parts_of("save_dict", &args.save_dict)?;
        if args.save_key_metric && args.key_metric_n_saved == 0 || args.save_interval > 0 && args.n_saved == Some(0) {
            return wrong("`key_metric_n_saved` and `n_saved` must be at least 1");
        }
        if args.save_key_metric && args.key_metric_filename.is_some() && args.key_metric_n_saved > 1 {
            return wrong("`key_metric_filename` names one file, but `key_metric_n_saved` is larger than 1");
        }
        if args.save_key_metric && args.key_metric_save_state && parts.iter().any(|(name, _)| name == "checkpointer") {
            return wrong("`save_dict` has a `checkpointer`, the name that `key_metric_save_state` uses");
        }
        let rule = |score| Rule {
            folder: args.save_dir.clone(),
            prefix: args.file_prefix.clone(),
            score,
            keep: None,
            fixed: None,
            or_equal: false,
            with_list: false,
        };
        let last = Rule { keep: Some(1), fixed: args.final_filename.clone(), ..rule("final_iteration") };
        let best = Rule {
            keep: Some(args.key_metric_n_saved),
            fixed: args.key_metric_filename.clone(),
            or_equal: args.key_metric_greater_or_equal,
            with_list: args.key_metric_save_state,
            ..rule("key_metric")
        };
        let regular = Rule { keep: args.n_saved, ..rule(if args.epoch_level { "epoch" } else { "iteration" }) };
        let last = args.save_final.then(|| Files::new(last));
        let best = args.save_key_metric.then(|| Files::new(best));
        let regular = (args.save_interval > 0).then(|| Files::new(regular));
        Ok(CheckpointSaver { args, parts, last, best, regular })
    }
}

impl Handler for CheckpointSaver {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn check(&self, _start: &EngineStart) -> Vec<Error> {
        let saves = self.files().next().is_some();
        saves.then(|| checkpoint_files::check_writable(&self.args.save_dir).err()).flatten().into_iter().collect()
    }
    fn on(&self, event: Event, engine: &EngineState) -> Result<()> {
        match event {
            _ if distributed::rank() > 0 => Ok(()),
            Event::Started => Ok(()),
            Event::IterationCompleted if self.args.epoch_level => Ok(()),
            Event::IterationCompleted => self.save_regular(engine.iteration, engine),
            Event::EpochCompleted => {
                self.save_best(engine)?;
                if self.args.epoch_level { self.save_regular(engine.epoch, engine) } else { Ok(()) }
            }
            Event::Completed => self.save_last("Train completed, saved final checkpoint", engine),
            Event::Failed => {
                let result = self.save_last("Exception raised, saved the last checkpoint", engine);
                // The run ends with its original error, so that this one is only logged.
                if let Err(error) = &result {
                    log_error!(error, error, "CheckpointSaver: {}", error.message());
                }
                result
            }
        }
    }
    fn prepare(&self, _start: &EngineStart) -> Result<()> {
        match self.files().next() {
            Some(_) => checkpoint_files::check(&self.args.save_dir).map_err(|error| error.context(COMPONENT.name)),
            None => Ok(()),
        }
    }
    fn save(&self) -> Result<StateDict> {
        let kept = |files: &Option<Files>| files.as_ref().map_or(StateDict::None, Files::save);
        Ok(StateDict::dict([
            ("final", kept(&self.last)),
            ("key_metric", kept(&self.best)),
            ("interval", kept(&self.regular)),
        ]))
    }
    fn load(&self, saved: &StateDict) -> Result<()> {
        for (name, files) in [("final", &self.last), ("key_metric", &self.best), ("interval", &self.regular)] {
            if let (Some(files), Some(saved @ StateDict::List(_))) = (files, saved.get(name)) {
                files.load(saved)?;
            }
        }
        Ok(())
    }
}

impl CheckpointSaver {
    fn files(&self) -> impl Iterator<Item = &Files> {
        [&self.last, &self.best, &self.regular].into_iter().flatten()
    }

    fn log(&self, engine: &EngineState, text: &str) {
        let logger = self.args.name.clone().unwrap_or_else(|| logger(engine));
        tracing::info!(logger = &*logger, "{text}");
    }

    fn save_last(&self, done: &str, engine: &EngineState) -> Result<()> {
        let Some(files) = &self.last else { return Ok(()) };
        if let Some(old) = files.replace(&self.parts, Priority::Int(engine.iteration as i64))? {
            self.log(engine, &format!("Deleted previous saved final checkpoint: {old}"));
        }
        self.log(engine, &format!("{done}: {}", files.last()));
        Ok(())
    }

    fn save_best(&self, engine: &EngineState) -> Result<()> {
        let Some(files) = &self.best else { return Ok(()) };
        files.offer(&self.parts, self.score(engine)?)?;
        Ok(())
    }

    /// Value of the key metric; -1 if it is not a scalar, as in MONAI.
    fn score(&self, engine: &EngineState) -> Result<Priority> {
        let name = self.args.key_metric_name.as_deref().or(engine.key_metric.as_deref());
        let hint = "set `key_metric_name` to the metric to compare; the default is the engine's key metric";
        let missing = |text: String| Err(err!("{text}").kind(Kind::Config).hint(hint));
        let Some(name) = name else {
            return missing(format!("expected a key metric to select the best epochs, {} has none", engine.engine));
        };
        match engine.metrics.get(name) {
            Some(Score::Number(metric)) => {
                Ok(Priority::Float(if self.args.key_metric_negative_sign { -metric } else { *metric }))
            }
            Some(_) => {
                tracing::warn!(
                    "the key metric {name} is not a scalar, so no best epoch can be selected; `reduction: \"mean\"` returns a scalar"
                );
                Ok(Priority::Int(-1))
            }
            None => {
                let known: Vec<&str> = engine.metrics.keys().map(|name| &**name).collect();
                missing(format!("expected a metric `{name}`, {} has {known:?}", engine.engine))
            }
        }
    }

    fn save_regular(&self, count: usize, engine: &EngineState) -> Result<()> {
        let Some(files) = self.regular.as_ref().filter(|_| count.is_multiple_of(self.args.save_interval.max(1))) else {
            return Ok(());
        };
        files.offer(&self.parts, Priority::Int(count as i64))?;
        self.log(engine, &format!("Saved checkpoint at {}: {count}", files.score()));
        Ok(())
    }
}
