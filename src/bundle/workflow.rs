//! A whole run: initialize, run, finalize, as MONAI's `ConfigWorkflow` does it.

use super::args::{LoggingFile, RunArgs};
use super::load::Warning;
use super::plan::Plan;
use super::session::Session;
use crate::component::{Surroundings, Table};
use crate::contracts::{ConfigRecord, Run};
use crate::err;
use crate::error::{Error, Kind, Result};
use std::path::PathBuf;
use std::sync::Arc;

/// The logging file to apply, if any. One that was asked for must exist.
pub fn logging_file(args: &RunArgs, warnings: &mut Vec<Warning>) -> Result<Option<PathBuf>> {
    match &args.logging_file {
        LoggingFile::Off => Ok(None),
        LoggingFile::Beside => {
            let path = args.config_root().join("logging.conf");
            if path.is_file() {
                return Ok(Some(path));
            }
            warnings.push(err!("there is no logging.conf beside the config, so logging stays as it is").kind(Kind::Config).file(&path));
            Ok(None)
        }
        LoggingFile::File(file) => {
            let path = PathBuf::from(file);
            if path.is_file() {
                return Ok(Some(path));
            }
            Err(err!("cannot find the logging file `{file}`").kind(Kind::Config).file(file).hint("`--logging_file False` goes without"))
        }
    }
}

/// `level` of the section `logger_root` in a logging.conf. Where messages go and how they look is the program's own.
pub fn root_level(text: &str) -> Option<String> {
    let mut lines =
        text.lines().map(str::trim).skip_while(|line| *line != "[logger_root]").skip(1).take_while(|line| !line.starts_with('['));
    lines.find_map(|line| {
        let (name, value) = line.split_once(['=', ':'])?;
        (name.trim() == "level").then(|| value.trim().to_ascii_uppercase())
    })
}

/// Everything that stops a run before it starts, as one list; warnings go to `warn`.
pub fn prepare(args: &RunArgs, table: &'static Table, warn: &mut dyn FnMut(&Warning)) -> Result<Plan, Vec<Error>> {
    let plan = Plan::prepare(args, table).map_err(|error| vec![error])?;
    plan.warnings().iter().chain(plan.unread_overrides()).for_each(&mut *warn);
    if plan.problems().is_empty() { Ok(plan) } else { Err(plan.problems().to_vec()) }
}

/// Initialize, run, finalize. Finalize does not run after a failure, as in MONAI.
pub fn run(plan: Plan, surroundings: Option<Surroundings>, warn: &mut dyn FnMut(&Warning)) -> Result<()> {
    let roots = plan.roots.clone();
    let run = surroundings.clone().and_then(|any| any.downcast::<Run>().ok());
    let session = Arc::new(Session::new(plan, surroundings));
    if let Some(run) = run {
        let session = Arc::downgrade(&session);
        run.know_config(move || {
            session.upgrade().map(|session| ConfigRecord { resolved: session.resolved(), fingerprint: session.fingerprint() })
        });
    }
    for section in [&roots.initialize, &roots.run, &roots.finalize] {
        let result = session.run_section(section);
        session.take_warnings().iter().for_each(&mut *warn);
        result?;
    }
    Ok(())
}
