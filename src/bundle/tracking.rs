//! `--tracking`: handlers and settings that MONAI patches into a config to record an experiment.
//!
//! MONAI source: `ConfigWorkflow.patch_bundle_tracking` and `monai/bundle/utils.py`. MONAI also writes the config that
//! it runs to `output_dir`; that file is left out here.

use super::args::RunArgs;
use super::id;
use super::json;
use super::load::{self, Notes};
use super::node::{Content, Node, Origin};
use super::tree::Tree;
use crate::component::Value;
use crate::err;
use crate::error::{Kind, Result};

/// The settings behind `--tracking mlflow`.
const MLFLOW: &str = r#"{
    "handlers_id": {
        "trainer": {"id": "train::trainer", "handlers": "train::handlers"},
        "validator": {"id": "validate::evaluator", "handlers": "validate::handlers"},
        "evaluator": {"id": "evaluator", "handlers": "handlers"}
    },
    "configs": {
        "output_dir": "$@bundle_root + '/eval'",
        "tracking_uri": "$monai.utils.path_to_sqlite_uri(@output_dir + '/mlruns.db')",
        "experiment_name": "monai_experiment",
        "run_name": null,
        "save_execute_config": null,
        "is_not_rank0": "$torch.distributed.is_available() and torch.distributed.is_initialized() and torch.distributed.get_rank() > 0",
        "trainer": {
            "_target_": "MLFlowHandler", "_disabled_": "@is_not_rank0", "tracking_uri": "@tracking_uri",
            "experiment_name": "@experiment_name", "run_name": "@run_name", "artifacts": "@save_execute_config",
            "iteration_log": true, "epoch_log": true, "tag_name": "train_loss",
            "output_transform": "$monai.handlers.from_engine(['loss'], first=True)", "close_on_complete": true
        },
        "validator": {
            "_target_": "MLFlowHandler", "_disabled_": "@is_not_rank0", "tracking_uri": "@tracking_uri",
            "experiment_name": "@experiment_name", "run_name": "@run_name", "iteration_log": false
        },
        "evaluator": {
            "_target_": "MLFlowHandler", "_disabled_": "@is_not_rank0", "tracking_uri": "@tracking_uri",
            "experiment_name": "@experiment_name", "run_name": "@run_name", "artifacts": "@save_execute_config",
            "iteration_log": false, "close_on_complete": true
        }
    }
}"#;

/// Add what `settings` (`mlflow`, a file's name, or a dict) asks for.
pub fn patch(tree: &mut Tree, settings: &Node, args: &RunArgs) -> Result<()> {
    let mut notes = Notes { fail_on_duplicate: args.rules.fail_on_duplicate, ..Notes::default() };
    let settings = match settings.as_str() {
        Some("mlflow") => json::read(MLFLOW, "--tracking mlflow", &mut notes)?,
        Some(file) => load::read_file(file, &mut notes)?,
        None => settings.clone(),
    };
    tree.warnings.append(&mut notes.warnings);
    let place = settings.origin.text();
    let part = |name: &str| {
        let error = || err!("tracking settings need a dict `{name}`").kind(Kind::Config).file(&place);
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
        match tree.get_mut(&handlers_id).filter(|handlers| !handlers.is_none()) {
            Some(Node { content: Content::List(handlers), .. }) => handlers.push(node.clone()),
            Some(_) => {
                let error = err!("`{handlers_id}` is no list, so no tracking handler can be added").kind(Kind::Config);
                return Err(error.at(Some(&place), &handlers_id));
            }
            None => {
                let key = if name == "trainer" { "train_handlers" } else { "val_handlers" };
                let list = Node::new(Content::List(vec![node.clone()]), Origin::new(&place, 0));
                tree.set(&id::join(&engine_id, key), list)?;
            }
        }
    }
    if tree.get("save_execute_config").is_none() {
        tree.set("save_execute_config", Node::leaf(Value::None, Origin::new(&place, 0)))?;
    }
    Ok(())
}
