//! `segbundle verify`: list all problems of a config, without running it.

use crate::bundle::{LoggingFile, Plan, Rules, RunArgs, Warning};
use crate::err;
use crate::error::{Error, Kind, Result};
use crate::registry;
use crate::text::count;
use crate::workflow;
use std::fmt::Write as _;

/// Prints the report to stdout.
///
/// # Errors
/// The config has at least one problem.
pub fn verify(argv: &[String], rules: Rules) -> Result<()> {
    let Some(mut args) = super::monai::VERIFY.parse_run(argv, rules)? else { return Ok(()) };
    let mut warnings = vec![];
    let logging = workflow::logging(&args, &mut warnings)?;
    args.warnings.append(&mut warnings);
    let no_logging = (logging.is_none() && args.logging_file == LoggingFile::Beside)
        .then(|| err!("no logging.conf beside the config: default logging is used"));
    super::set_up_torch(None);
    let plan = Plan::prepare(&args, registry::table())?.dry_run();
    super::show(&report(&args, &plan, no_logging.as_ref()))?;
    let what = match plan.problems().iter().any(|error| error.get_kind() == Kind::Unsupported) {
        true => "problem",
        false => "mistake",
    };
    match plan.problems().len() {
        0 => Ok(()),
        found => Err(err!("{} in {}", count(found, what), args.config_files.join(", ")).kind(Kind::Config)),
    }
}

/// Formats the findings. `note`: a further note.
fn report(args: &RunArgs, plan: &Plan, note: Option<&Warning>) -> String {
    let mut out = String::new();
    let (unsupported, wrong): (Vec<&Error>, Vec<&Error>) =
        plan.problems().iter().partition(|error| error.get_kind() == Kind::Unsupported);
    for error in &wrong {
        let _ = writeln!(out, "error: {error}\n");
    }
    for error in &unsupported {
        let _ = writeln!(out, "unsupported: {error}\n");
    }
    for warning in args.warnings.iter().chain(plan.warnings()) {
        let _ = writeln!(out, "warning: {warning}\n");
    }
    for note in plan.notes().iter().chain(note) {
        let _ = writeln!(out, "note: {note}\n");
    }
    for error in plan.dormant() {
        let _ = writeln!(out, "note: in a section that this run does not use: {error}\n");
    }
    if !plan.effects().is_empty() {
        out.push_str("a run calls these functions and components, which write files or change settings:\n");
        for effect in plan.effects() {
            let _ = writeln!(out, "  {}  ({}, {})", effect.name, effect.file, effect.id);
        }
        out.push('\n');
    }
    let _ = writeln!(
        out,
        "{}: {}, {} of MONAI that segbundle does not support, {}",
        args.config_files.join(", "),
        count(wrong.len(), "mistake"),
        count(unsupported.len(), "component"),
        count(args.warnings.len() + plan.warnings().len(), "warning"),
    );
    out
}
