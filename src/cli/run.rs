//! `segbundle run`: a bundle's config, as MONAI's own `run` takes it.

use super::console::{Console, RunReport};
use crate::bundle::{RunArgs, Warning, workflow};
use crate::component::Surroundings;
use crate::contracts::Run;
use crate::err;
use crate::error::{Kind, Result};
use crate::registry;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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

pub fn run(argv: &[String], amp_dtype: Option<tch::Kind>, console: &Console) -> Result<()> {
    if argv.iter().any(|arg| arg == "--help" || arg == "-h") {
        print!("{HELP}");
        return Ok(());
    }
    let mut warn = |warning: &Warning| tracing::warn!("{warning}");
    let args = RunArgs::parse(argv)?;
    let mut notes = args.warnings.clone();
    let logging = workflow::logging(&args, &mut notes);
    if let Ok(Some(conf)) = &logging {
        console.apply_logging(conf.clone())?;
    }
    notes.iter().for_each(&mut warn);
    logging?;
    let plan = match workflow::prepare(&args, registry::table(), &mut warn) {
        Ok(plan) => plan,
        Err(mut errors) => {
            let last = errors.pop().unwrap_or_else(|| err!("the config cannot run").kind(Kind::Config));
            errors.iter().for_each(|error| console.error(error));
            return Err(last);
        }
    };
    let cancel = Arc::new(AtomicBool::new(false));
    stop_on_interrupt(cancel.clone())?;
    let surroundings = Run { cancel, observer: Arc::new(RunReport::new(console.clone())), amp_dtype, ..Run::default() };
    let surroundings: Surroundings = Arc::new(surroundings);
    workflow::run(plan, Some(surroundings), &mut warn)
}

/// The first interrupt lets the run stop at the next window; the second ends the process at once.
fn stop_on_interrupt(cancel: Arc<AtomicBool>) -> Result<()> {
    ctrlc::set_handler(move || {
        if cancel.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        tracing::warn!("stopping after this window; interrupt again to stop at once");
    })
    .map_err(|e| err!("cannot catch interrupts: {e}").kind(Kind::Run))
}
