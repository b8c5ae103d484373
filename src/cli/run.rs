//! `segbundle run`: run a bundle's config, with the arguments of MONAI's `run`.

use super::console::{Console, RunReport};
use super::signals::stop_on_signals;
use crate::bundle::{Node, Plan, Rules, RunArgs, Tree, Warning, id};
use crate::err;
use crate::error::{Error, Kind, Result};
use crate::registry;
use crate::run::{RunContext, RunOptions};
use crate::torch::limit_tensors;
use crate::{env, text, workflow};
use std::sync::Arc;

/// Help of `run`, `verify` and `explain`, which take MONAI's arguments.
const HELP: &str = "\
Usage: segbundle [OPTIONS] COMMAND --config_file FILE [ARGS] [--KEY VALUE ...]

Arguments (those of `python -m monai.bundle run`):
  --config_file FILE   Config file, or several: \"['a.json','b.json']\"
  --bundle_root DIR    Folder of the bundle, if the config uses it
  --meta_file FILE     metadata.json [default: beside the config]
  --logging_file FILE  logging.conf, or False for none [default: beside the config]
  --args_file FILE     Read arguments from a file; arguments given here override them
  --run_id ID          Section to run [default: run]
  --init_id ID         Section to run first [default: initialize]
  --final_id ID        Section to run last [default: finalize]
  --tracking SETTINGS  Write the executed config to output_dir: \"{'handlers_id': {}, 'configs': {}}\"
  --KEY VALUE          Override a config value: --output_dir out, --displayable_configs#highres False

Options of segbundle precede the command; `segbundle --help` lists them.

Examples:
  segbundle run --config_file configs/inference.json --datalist \"['a.nii.gz','b.nii.gz']\"
  segbundle run --config_file configs/inference.json --device cpu
";

/// Prints the help of `command` if the arguments ask for it.
pub fn shows_help(command: &str, argv: &[String]) -> Result<bool> {
    let asked = argv.iter().any(|arg| arg == "--help" || arg == "-h");
    if asked {
        super::show(&HELP.replace("COMMAND", command).replace("segbundle run", &format!("segbundle {command}")))?;
    }
    Ok(asked)
}

/// Parses the arguments after `command`.
///
/// # Errors
/// Besides those of [`RunArgs::parse`]: an argument is an option of segbundle and not a key of the config.
pub fn parse(command: &str, argv: &[String], rules: Rules) -> Result<RunArgs> {
    let args = RunArgs::parse(argv, rules)?;
    let is_option =
        |(key, node): &(String, Node)| super::option(key).map(|option| (key.clone(), option, node.to_value()));
    let mut misplaced: Vec<_> = args.overrides.iter().filter_map(is_option).collect();
    if !misplaced.is_empty() {
        let tree = Tree::load(&args)?;
        misplaced.retain(|(key, ..)| tree.get(&id::normalize(key)).is_none());
    }
    let names: Vec<String> = misplaced.iter().map(|(_, (name, _), _)| format!("`{name}`")).collect();
    let written = misplaced.iter().map(|(_, (name, takes_value), value)| match takes_value {
        true => format!("{name} {value} "),
        false => format!("{name} "),
    });
    let are = match names.len() {
        0 => return Ok(args),
        1 => "is an option",
        _ => "are options",
    };
    Err(err!("{} {are} of segbundle: options precede the command", names.join(" and "))
        .kind(Kind::Config)
        .file("command line")
        .hint(format!("write `segbundle {}{command} …`", written.collect::<String>())))
}

/// Runs a bundle's config.
pub fn run(argv: &[String], rules: Rules, options: RunOptions, console: &Console) -> Result<()> {
    if shows_help("run", argv)? {
        return Ok(());
    }
    let mut warn = super::console::warn;
    let args = parse("run", argv, rules)?;
    let mut notes = args.warnings.clone();
    let logging = workflow::logging(&args, &mut notes);
    if let Ok(Some(conf)) = &logging {
        console.apply_logging(conf.clone())?;
    }
    notes.iter().for_each(&mut warn);
    logging?;
    let plan = prepared(&args, console, &mut warn)?;
    let context = RunContext { observer: Arc::new(RunReport::new(console.clone())), ..RunContext::new(options) };
    stop_on_signals(&context)?;
    limit_tensors(&context.options)?;
    let memory_bytes = context.options.memory_bytes;
    let result = workflow::run(plan, Some(Arc::new(context)), &mut warn);
    let peak_bytes = env::peak_memory_bytes();
    if peak_bytes > memory_bytes {
        let (peak, limit) = (text::bytes(peak_bytes), text::bytes(memory_bytes));
        tracing::warn!("the program took {peak} at most, more than its memory limit of {limit}");
    }
    result.inspect_err(|error| show_others(&args, error, console))
}

/// After a config error while building, print the config's other problems, too.
fn show_others(args: &RunArgs, error: &Error, console: &Console) {
    if !matches!(error.get_kind(), Kind::Config | Kind::Unsupported) {
        return;
    }
    let Ok(plan) = Plan::prepare(args, registry::table()).map(Plan::dry_run) else { return };
    plan.problems().iter().filter(|other| other.message() != error.message()).for_each(|other| console.error(other));
}

/// Prepare the plan of a config. All errors are printed except the last one, which is returned.
pub fn prepared(args: &RunArgs, console: &Console, warn: &mut dyn FnMut(&Warning)) -> Result<Plan> {
    workflow::prepare(args, registry::table(), warn).map_err(|mut errors| {
        let last = errors.pop().unwrap_or_else(|| err!("the config cannot run").kind(Kind::Config));
        errors.iter().for_each(|error| console.error(error));
        last
    })
}
