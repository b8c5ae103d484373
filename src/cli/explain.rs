//! `segbundle explain`: what `run` would do with the same arguments, from headers and two seconds of the network.

use super::console::Console;
use crate::bundle::{Rules, RunArgs, Warning};
use crate::component::Surroundings;
use crate::contracts::Run;
use crate::error::Result;
use crate::workflow;
use parking_lot::Mutex;
use std::sync::Arc;

/// Print the explanation to stdout; an error if a case cannot run. What the config does besides running its engine
/// (loading a checkpoint, setting a seed) happens as in a run.
pub fn explain(argv: &[String], rules: Rules, options: Run, console: &Console) -> Result<()> {
    if super::run::shows_help("explain", argv)? {
        return Ok(());
    }
    let mut warn = |warning: &Warning| tracing::warn!("{warning}");
    let args = RunArgs::parse(argv, rules)?;
    args.warnings.iter().for_each(&mut warn);
    let plan = super::run::prepared(&args, console, &mut warn)?;
    let run = Arc::new(Run { explanation: Some(Mutex::default()), ..options });
    let surroundings: Surroundings = run.clone();
    let result = workflow::run(plan, Some(surroundings), &mut warn);
    if let Some(text) = &run.explanation {
        super::show(&text.lock())?;
    }
    result
}
