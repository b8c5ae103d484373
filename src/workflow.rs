//! A whole run: the sections initialize, run and finalize of a config, as in MONAI's `ConfigWorkflow`.

use crate::bundle::args::{LoggingFile, RunArgs};
use crate::bundle::json;
use crate::bundle::load::Warning;
use crate::bundle::logging_conf::LoggingConf;
use crate::bundle::plan::Plan;
use crate::bundle::session::Session;
use crate::component::{ConfigSource, FromValue, Table, Value};
use crate::contracts::{Engine, EngineHandle, check_options};
use crate::err;
use crate::error::{Error, Kind, Result};
use crate::formats::atomic;
use crate::run::{EngineStart, RunContext};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

/// Reads the logging file to apply, if any: that of `--logging_file`, or logging.conf beside the config. Ignored options
/// are added to `warnings`.
///
/// # Errors
/// The file given with `--logging_file` does not exist; the file is invalid.
pub fn logging(args: &RunArgs, warnings: &mut Vec<Warning>) -> Result<Option<LoggingConf>> {
    let path = match &args.logging_file {
        LoggingFile::Off => return Ok(None),
        LoggingFile::Beside => args.config_root().join("logging.conf"),
        LoggingFile::File(file) => PathBuf::from(file),
    };
    match (&args.logging_file, path.is_file()) {
        (_, true) => LoggingConf::read(&path, warnings).map(Some),
        (LoggingFile::File(file), false) => Err(err!("cannot find the logging file `{file}`")
            .kind(Kind::Config)
            .file(file)
            .hint("`--logging_file False` ignores logging.conf")),
        _ => Ok(None),
    }
}

/// Prepares the plan of a run; warnings are passed to `warn`.
///
/// # Errors
/// All problems of the config that prevent the run, in one list.
pub fn prepare(args: &RunArgs, table: &'static Table, warn: &mut dyn FnMut(&Warning)) -> Result<Plan, Vec<Error>> {
    let plan = Plan::prepare(args, table).map_err(|error| vec![error])?;
    plan.warnings().iter().for_each(&mut *warn);
    if plan.problems().is_empty() { Ok(plan) } else { Err(plan.problems().to_vec()) }
}

/// Writes the executed config to the file that the tracking settings name.
fn record(session: &Session) -> Result<()> {
    let plan = session.plan();
    let (Some(id), Some(config)) = (&plan.roots.executed, &plan.executed) else { return Ok(()) };
    let path = session.get(id)?;
    let path = PathBuf::from_value(&path).ok_or_else(|| {
        err!("`{id}`: expected a file's path, found {path:?}").kind(Kind::Config).at(Some(&plan.tree.place(id)), id)
    })?;
    let text = json::write(&config.to_value())?;
    atomic::write_file(&path, |file, _| Ok(file.write_all(text.as_bytes())?))?;
    tracing::info!("saved the config of this run in {}", path.display());
    Ok(())
}

/// Runs initialize, run and finalize. After a failure the later sections are not run, as in MONAI.
pub fn run(plan: Plan, run: Option<Arc<RunContext>>, warn: &mut dyn FnMut(&Warning)) -> Result<()> {
    let roots = plan.roots.clone();
    let session = Session::new(plan, run);
    record(&session)?;
    for section in [&roots.initialize, &roots.run, &roots.finalize] {
        let result = session.run_section(section);
        session.take_warnings().iter().for_each(&mut *warn);
        result.map_err(|error| session.plan().advise(error, &|id| session.known(id)))?;
    }
    Ok(())
}

/// Receives an engine and what it would start with.
pub type VisitEngine<'a> = dyn FnMut(&dyn Engine, &Arc<EngineStart>) -> Result<()> + 'a;

/// Like [`run`], but passes each engine that the run section refers to to `visit` instead of starting it.
pub fn with_engines(
    plan: Plan,
    run: &Arc<RunContext>,
    visit: &mut VisitEngine<'_>,
    warn: &mut dyn FnMut(&Warning),
) -> Result<()> {
    let roots = plan.roots.clone();
    let session = Session::new(plan, Some(run.clone()));
    let mut visit_all = || -> Result<()> {
        session.run_section(&roots.initialize)?;
        for item in session.plan().section(&roots.run) {
            let mut engines = vec![];
            session.referenced(&item)?.iter().for_each(|value| engines_in(value, &mut engines));
            if engines.is_empty() {
                session.run_item(&item)?;
            }
            for engine in engines {
                check_options(&*engine, &run.options)?;
                let start = EngineStart { run: run.clone(), config: session.record() };
                visit(&*engine, &Arc::new(start))?;
            }
        }
        session.run_section(&roots.finalize).map(drop)
    };
    let result = visit_all();
    session.take_warnings().iter().for_each(&mut *warn);
    result
}

/// Collects the engines in a value: the value itself, or items of a sequence.
fn engines_in(value: &Value, out: &mut Vec<Arc<dyn Engine>>) {
    match value.downcast::<EngineHandle>() {
        Some(engine) => out.push(engine.0.clone()),
        None => value.as_sequence().unwrap_or_default().iter().for_each(|value| engines_in(value, out)),
    }
}
