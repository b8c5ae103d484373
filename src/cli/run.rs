//! `segbundle run`: run a bundle's config, with the arguments of MONAI's `run`.

use super::console::{Console, RunReport};
use super::monai::CommandArgs;
use super::signals::stop_on_signals;
use crate::bundle::{Node, Plan, Rules, RunArgs, Tree, Warning, id};
use crate::distributed;
use crate::err;
use crate::error::{Error, Kind, Result};
use crate::registry;
use crate::run::{RunContext, RunOptions};
use crate::torch::limit_tensors;
use crate::{env, text, workflow};
use std::sync::Arc;

/// # Errors
/// An argument after `command` is an option of segbundle and not a key of the config.
pub fn check_options(command: &str, args: &RunArgs) -> Result<()> {
    let is_option =
        |(key, node): &(String, Node)| super::option(key).map(|option| (key.clone(), option, node.to_value()));
    let mut misplaced: Vec<_> = args.overrides.iter().filter_map(is_option).collect();
    if !misplaced.is_empty() {
        let tree = Tree::load(args)?;
        misplaced.retain(|(key, ..)| tree.get(&id::normalize(key)).is_none());
    }
    let names: Vec<String> = misplaced.iter().map(|(_, (name, _), _)| format!("`{name}`")).collect();
    let written = misplaced.iter().map(|(_, (name, takes_value), value)| match takes_value {
        true => format!("{name} {value} "),
        false => format!("{name} "),
    });
    let are = match names.len() {
        0 => return Ok(()),
        1 => "is an option",
        _ => "are options",
    };
    Err(err!("{} {are} of segbundle: options precede the command", names.join(" and "))
        .kind(Kind::Config)
        .file("command line")
        .hint(format!("write `segbundle {}{command} …`", written.collect::<String>())))
}

/// Sets up logging, the plan of a config and the context of its run, which signals stop; `None` if the words ask for help.
///
/// # Errors
/// The arguments or the config are wrong.
pub fn start(
    command: &CommandArgs,
    argv: &[String],
    rules: Rules,
    options: RunOptions,
    console: &Console,
    warn: &mut dyn FnMut(&Warning),
) -> Result<Option<(RunArgs, Plan, Arc<RunContext>)>> {
    let Some(args) = command.parse_run(argv, rules)? else { return Ok(None) };
    let mut notes = args.warnings.clone();
    let logging = workflow::logging(&args, &mut notes);
    if let Ok(Some(conf)) = &logging {
        console.apply_logging(conf.clone())?;
    }
    notes.iter().for_each(&mut *warn);
    logging?;
    let plan = prepared(&args, console, warn)?;
    let context = RunContext { observer: Arc::new(RunReport::new(console.clone())), ..RunContext::new(options) };
    stop_on_signals(&context)?;
    limit_tensors(&context.options)?;
    Ok(Some((args, plan, Arc::new(context))))
}

/// Runs a bundle's config.
pub fn run(argv: &[String], rules: Rules, options: RunOptions, console: &Console) -> Result<()> {
    let mut warn = super::console::warn;
    let command = &super::monai::RUN;
    let Some((args, plan, context)) = start(command, argv, rules, options, console, &mut warn)? else { return Ok(()) };
    let memory_bytes = context.options.memory_bytes;
    let result = workflow::run(plan, Some(context), &mut warn).map_err(distributed::fail);
    if distributed::is_initialized() {
        distributed::leave()?;
    }
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
    workflow::prepare(args, registry::table(), warn).map_err(|errors| super::monai::printed(errors, console))
}
