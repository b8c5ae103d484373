//! `segbundle run`: a bundle's config, as MONAI's own `run` takes it.

use super::console::{Console, RunReport};
use super::signals::stop_on_signals;
use crate::bundle::{Plan, Rules, RunArgs, Warning};
use crate::component::Surroundings;
use crate::contracts::Run;
use crate::err;
use crate::error::{Error, Kind, Result};
use crate::registry;
use crate::workflow;
use std::sync::Arc;

const HELP: &str = "\
usage: segbundle [OPTIONS] run --config_file FILE [ARGS] [--key value ...]

  --config_file FILE     a config, or several: \"['a.json','b.json']\"
  --bundle_root DIR      the bundle's folder, if the config reads it
  --meta_file FILE       metadata.json [default: beside the config]
  --logging_file FILE    logging.conf, or False [default: beside the config]
  --args_file FILE       arguments from a file; those given here win
  --run_id, --init_id, --final_id ID   what to run [default: run, initialize, finalize]
  --tracking SETTINGS    write the config that is run to output_dir: \"{'handlers_id': {}, 'configs': {}}\"
  --KEY VALUE            replace a value of the config: --output_dir out, --displayable_configs#highres False

examples:
  segbundle run --config_file configs/inference.json --datalist \"['a.nii.gz','b.nii.gz']\"
  segbundle run --config_file configs/inference.json --device \"$torch.device('cpu')\"
";

pub fn run(argv: &[String], rules: Rules, options: Run, console: &Console) -> Result<()> {
    if argv.iter().any(|arg| arg == "--help" || arg == "-h") {
        return super::show(HELP);
    }
    let mut warn = |warning: &Warning| tracing::warn!("{warning}");
    let args = RunArgs::parse(argv, rules)?;
    let mut notes = args.warnings.clone();
    let logging = workflow::logging(&args, &mut notes);
    if let Ok(Some(conf)) = &logging {
        console.apply_logging(conf.clone())?;
    }
    notes.iter().for_each(&mut warn);
    logging?;
    let plan = prepared(&args, console, &mut warn)?;
    stop_on_signals(options.cancel.clone())?;
    // What libtorch may allocate beside what is there already: a case that asks for more fails, the process lives.
    let tensors = options.memory_bytes.saturating_sub(crate::env::resident_memory_bytes());
    segbundle_native::set_limit(usize::try_from(tensors).ok());
    let surroundings: Surroundings = Arc::new(Run { observer: Arc::new(RunReport::new(console.clone())), ..options });
    workflow::run(plan, Some(surroundings), &mut warn).inspect_err(|error| show_others(&args, error, console))
}

/// Where a config turns out to be wrong while it is built, its other mistakes too.
fn show_others(args: &RunArgs, error: &Error, console: &Console) {
    if !matches!(error.get_kind(), Kind::Config | Kind::Unsupported) {
        return;
    }
    let Ok(plan) = Plan::prepare(args, registry::table()).map(Plan::dry_run) else { return };
    plan.problems().iter().filter(|other| other.message() != error.message()).for_each(|other| console.error(other));
}

/// The plan; of several errors all but the last are printed.
pub fn prepared(args: &RunArgs, console: &Console, warn: &mut dyn FnMut(&Warning)) -> Result<Plan> {
    workflow::prepare(args, registry::table(), warn).map_err(|mut errors| {
        let last = errors.pop().unwrap_or_else(|| err!("the config cannot run").kind(Kind::Config));
        errors.iter().for_each(|error| console.error(error));
        last
    })
}
