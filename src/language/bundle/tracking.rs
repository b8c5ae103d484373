//! `--tracking`: handlers and settings that MONAI adds to a config to record an experiment.
//!
//! MONAI source: `ConfigWorkflow.patch_bundle_tracking` and `monai/bundle/utils.py`. As in MONAI, the executed config
//! is written to `<output_dir>/config_<time>.json`, unless `save_execute_config` is false or the path of another file.
//! Deliberate differences: the file is written when the run starts, not when the config is read (`verify` does not
//! write it), its path may be an expression, and it is indented. MLFlowHandler is not supported: settings that add it
//! are an error.

use super::args::RunArgs;
use super::id;
use super::load::{self, Notes};
use super::node::{Content, Node, Origin};
use super::tree::Tree;
use crate::component::Value;
use crate::err;
use crate::error::{Error, Kind, Result};

const SETTINGS: &str =
    "`--tracking \"{'handlers_id': {}, 'configs': {}}\"` writes the config that is run, without MLflow";

/// Id of the item with the path of the executed config.
pub const EXECUTED: &str = "save_execute_config";

/// Add the handlers and settings of `settings` (`mlflow`, a file name, or a dict). Returns whether the executed config
/// is to be written to the path in `save_execute_config`.
pub fn patch(tree: &mut Tree, settings: &Node, args: &RunArgs) -> Result<bool> {
    let mut notes = Notes { fail_on_duplicate: args.rules.fail_on_duplicate, ..Notes::default() };
    let settings = match settings.as_str() {
        Some("mlflow") => {
            tree.errors.push(no_mlflow(&settings.origin.text()));
            return Ok(false);
        }
        Some(file) => load::read_file(file, &mut notes).map_err(|error| error.context("tracking").hint(SETTINGS))?,
        None => settings.clone(),
    };
    tree.warnings.append(&mut notes.warnings);
    let place = settings.origin.text();
    let part = |name: &str| {
        let error = || {
            let error =
                err!("tracking: expected a dict with the dicts `handlers_id` and `configs`, `{name}` is missing");
            error.kind(Kind::Config).file(&place).hint(SETTINGS)
        };
        settings.get(name).filter(|node| node.as_dict().is_some()).ok_or_else(error)
    };
    let (configs, engines) = (part("configs")?, part("handlers_id")?);
    for (name, node) in configs.children() {
        let Some(engine) = engines.get(&name) else {
            if tree.get(&id::normalize(&name)).is_none() {
                tree.set(&name, node.clone())?;
            }
            continue;
        };
        let text = |key: &str| engine.get(key).and_then(Node::as_str).map(id::normalize).unwrap_or_default();
        let (engine_id, handlers_id) = (text("id"), text("handlers"));
        if engine_id.is_empty() || tree.get_mut(&engine_id).is_none() {
            continue;
        }
        if node.get("_target_").and_then(Node::as_str).is_some_and(|target| target.ends_with("MLFlowHandler")) {
            tree.errors.push(no_mlflow(&place).at(Some(&place), &handlers_id));
            tree.broken.insert(handlers_id);
            continue;
        }
        match tree.get_mut(&handlers_id).filter(|handlers| !handlers.is_none()) {
            Some(Node { content: Content::List(handlers), .. }) => handlers.push(node.clone()),
            Some(_) => {
                let error = err!("`{handlers_id}`: expected a list to add tracking handlers to").kind(Kind::Config);
                return Err(error.at(Some(&place), &handlers_id));
            }
            None => {
                let key = if name == "trainer" { "train_handlers" } else { "val_handlers" };
                let list = Node::new(Content::List(vec![node.clone()]), Origin::new(&place, 0));
                tree.set(&id::join(&engine_id, key), list)?;
            }
        }
    }
    executed_config(tree, &place)
}

fn no_mlflow(place: &str) -> Error {
    let error = err!("`tracking` adds MLFlowHandler, which segbundle does not have: runs are not recorded with MLflow");
    error.kind(Kind::Unsupported).file(place).hint(SETTINGS)
}

/// Set `save_execute_config` to a path or None. Returns whether it is a path.
fn executed_config(tree: &mut Tree, place: &str) -> Result<bool> {
    let leaf = |value: Value| Node::leaf(value, Origin::new(place, 0));
    let wanted = tree.get(EXECUTED).map_or(Value::Bool(true), Node::to_value);
    match wanted {
        Value::Bool(true) => {}
        Value::Str(path) if !path.is_empty() => return Ok(true),
        wanted if !wanted.truthy() => {
            tree.set(EXECUTED, leaf(Value::None))?;
            return Ok(false);
        }
        other => {
            let error = err!("`{EXECUTED}`: expected bool or a file's path, found {other:?}").kind(Kind::Config);
            return Err(error.at(Some(&tree.place(EXECUTED)), EXECUTED));
        }
    }
    if tree.get("output_dir").is_none() {
        tree.set("output_dir", leaf("$@bundle_root + '/eval'".into()))?;
    }
    let name = chrono::Local::now().format("config_%Y%m%d_%H%M%S.json");
    tree.set(EXECUTED, leaf(format!("$f'{{@output_dir}}/{name}'").into()))?;
    Ok(true)
}
