//! EarlyStopHandler (monai.handlers.earlystop_handler, MONAI 1.6.1, over ignite.handlers.early_stopping, ignite 0.5.5):
//! stop training if a score has not improved for a number of events.
//!
//! Deliberate difference: a resumed training keeps the count and the best score.

use crate::checkpoint::{self, StateDict};
use crate::component::{Args, BuildContext, FromValue, Value};
use crate::contracts::{Engine, EngineState, Event, Handler};
use crate::err;
use crate::error::{Kind, Result};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Weak};

/// Logger name of ignite.
const LOGGER: &str = "ignite.handlers.early_stopping.EarlyStopping";

component! {
    /// Stop a training when a score has not improved for a number of events.
    pub static COMPONENT = handler "EarlyStopHandler" in "monai.handlers" / "earlystop_handler";

    pub struct EarlyStopArgs {
        /// Number of events without improvement before the training stops.
        patience: usize,
        /// Function of the engine that returns the score; higher is better.
        score_function: Value,
        /// Trainer to stop; None waits for `set_trainer`.
        trainer: Option<Arc<dyn Engine>> = (),
        /// Minimum increase of the score that counts as an improvement.
        min_delta: f64 = 0.0,
        /// Compare with the score at the last improvement instead of the best score.
        cumulative_delta: bool = false,
        /// Check after every epoch (True) or iteration (False).
        epoch_level: bool = true,
    }

    differs: ["`--resume` restores the count and the best score"],
    build: EarlyStop::new,
}

struct EarlyStop {
    args: EarlyStopArgs,
    trainer: Mutex<Option<Weak<dyn Engine>>>,
    standing: Mutex<Standing>,
}

#[derive(Default, Serialize, Deserialize)]
struct Standing {
    /// Number of events since the last improvement.
    #[serde(rename = "counter")]
    count: usize,
    #[serde(rename = "best_score")]
    best: Option<f64>,
}

impl Standing {
    /// Updates with a score. Returns whether it is not an improvement.
    fn is_stuck(&mut self, score: f64, min_delta: f64, cumulative: bool) -> bool {
        let Some(best) = self.best else {
            self.best = Some(score);
            return false;
        };
        // Comparisons with NaN are false, so that a NaN score counts as an improvement, as in ignite.
        let stuck = score <= best + min_delta;
        if !stuck {
            *self = Standing { count: 0, best: Some(score) };
            return false;
        }
        if !cumulative {
            self.best = Some(best.max(score));
        }
        self.count += 1;
        true
    }
}

impl EarlyStop {
    fn new(args: EarlyStopArgs) -> Result<EarlyStop> {
        let wrong = |message: String| Err(err!("{message}").kind(Kind::Config));
        if args.patience == 0 {
            return wrong("`patience` is 0, expected at least 1".into());
        }
        if !args.score_function.callable() {
            return wrong(format!(
                "`score_function`: expected a function of the engine, found {:?}",
                args.score_function
            ));
        }
        if args.min_delta < 0.0 {
            return wrong(format!("`min_delta` is {}, expected at least 0", args.min_delta));
        }
        let trainer = Mutex::new(args.trainer.as_ref().map(Arc::downgrade));
        // Not kept here: the trainer may own the engine of this handler, which would be a reference cycle.
        let args = EarlyStopArgs { trainer: None, ..args };
        Ok(EarlyStop { args, trainer, standing: Mutex::default() })
    }
}

impl Handler for EarlyStop {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn on(&self, event: Event, engine: &EngineState) -> Result<()> {
        let args = &self.args;
        if event != if args.epoch_level { Event::EpochCompleted } else { Event::IterationCompleted } {
            return Ok(());
        }
        let Some(trainer) = self.trainer.lock().clone() else {
            return Err(err!("expected a trainer to stop, found none").kind(Kind::Config).hint(
                "set the argument `trainer`, or call `set_trainer(@train::trainer)` on the handler before the run",
            ));
        };
        let value = args.score_function.call(Args::positional([engine.as_engine()]), &mut BuildContext::default());
        let value = value.map_err(|error| error.context("score_function"))?;
        let score =
            f64::from_value(&value).ok_or_else(|| err!("`score_function` returned {value:?}, expected a number"))?;
        let mut standing = self.standing.lock();
        if standing.is_stuck(score, args.min_delta, args.cumulative_delta) {
            tracing::debug!(logger = LOGGER, "EarlyStopping: {} / {}", standing.count, args.patience);
            if standing.count >= args.patience {
                tracing::info!(logger = LOGGER, "EarlyStopping: Stop training");
                trainer.upgrade().ok_or_else(|| err!("the trainer to stop no longer exists"))?.terminate();
            }
        }
        Ok(())
    }
    fn wants_output(&self) -> bool {
        // The score may depend on the iteration's loss.
        !self.args.epoch_level
    }
    fn save(&self) -> Result<StateDict> {
        checkpoint::to_state(&*self.standing.lock())
    }
    fn load(&self, saved: &StateDict) -> Result<()> {
        *self.standing.lock() = checkpoint::from_state(saved)?;
        Ok(())
    }
    fn set_engine(&self, engine: Arc<dyn Engine>) -> bool {
        *self.trainer.lock() = Some(Arc::downgrade(&engine));
        *self.standing.lock() = Standing::default();
        true
    }
}
