//! `segbundle ckpt-export`: write a network of a config with its weights as a TorchScript file.

use super::console::Console;
use super::monai::{CommandArgs, printed};
use crate::bundle::args::{ARGS_FILE, CONFIG_FILE, META_FILE};
use crate::bundle::load::{self, Notes};
use crate::bundle::{Arguments, METADATA_ID, Node, Parameter, Rules, json};
use crate::component::Value;
use crate::contracts::{Strictness, restore};
use crate::error::{Kind, Result};
use crate::formats::{atomic, paths};
use crate::registry;
use crate::run::RunOptions;
use crate::text::{bytes, count};
use crate::tools::bundle::network::{self, Tolerance};
use crate::torch::limit_tensors;
use crate::{bail, checkpoint, err};
use std::path::{Path, PathBuf};

pub const ARGS: CommandArgs = CommandArgs {
    command: "ckpt-export",
    parameters: &[
        Parameter::new("net_id", "ID", "Network in the config [default: network_def]"),
        Parameter::new("filepath", "FILE", "TorchScript file to write [default: models/model.ts]"),
        Parameter::new("ckpt_file", "FILE", "Weights, .pt or .safetensors [default: models/model.pt]"),
        META_FILE,
        CONFIG_FILE,
        Parameter::new("key_in_ckpt", "NAME", "Name of the state dict within the weights [default: the usual names]"),
        Parameter::new("use_trace", "BOOL", "No effect: networks are always traced, and work for other sizes"),
        Parameter::new(
            "input_shape",
            "SHAPE",
            "Shape to trace: \"[1,1,96,96,96]\" [default: the smallest cube that works]",
        ),
        ARGS_FILE,
        Parameter::new("converter_kwargs", "DICT", "rtol and atol of the comparison [default: 1e-4 and 1e-6]"),
    ],
    usage: "[NET_ID] --config_file FILE [ARGS] [--KEY VALUE ...]",
    overrides: true,
    examples: "\
Writes a file for torch.jit.load and monai.data.load_net_with_metadata, with the metadata and the configs. \
It computes predictions; it cannot be trained further.

Example:
  segbundle ckpt-export network_def --config_file configs/inference.json --ckpt_file models/model.pt",
};

pub fn ckpt_export(words: &[String], rules: Rules, options: RunOptions, console: &Console) -> Result<()> {
    let Some(mut arguments) = ARGS.parse(words, rules)? else { return Ok(()) };
    let net_id = arguments.text("net_id")?.unwrap_or_else(|| "network_def".into());
    let [output, weights] = ["filepath", "ckpt_file"].map(|name| arguments.text(name));
    let (output, weights) = (output?.map(PathBuf::from), weights?.map(PathBuf::from));
    let key = arguments.text("key_in_ckpt")?.filter(|key| !key.is_empty());
    arguments.boolean("use_trace")?;
    let shape = arguments.take("input_shape").map(|node| shape(&node)).transpose()?;
    let tolerance = tolerance(&mut arguments)?;
    let args = arguments.into_run(rules)?;
    let root = args.overrides.iter().find(|(name, _)| name == "bundle_root").and_then(|(_, node)| node.as_str());
    let models = Path::new(root.unwrap_or_default()).join("models");
    let mut output = output.unwrap_or_else(|| models.join("model.ts"));
    if output.extension().is_none() && !output.is_dir() {
        output.set_extension("ts");
    }
    let weights = weights.unwrap_or_else(|| models.join("model.pt"));
    if !weights.is_file() {
        return Err(err!("cannot find the weights").file(&weights).hint("name the file: `--ckpt_file FILE`"));
    }
    paths::check_keeps(&output, &[&weights])?;
    atomic::check_writable(&output)?;
    let mut extra = config_files(&args.config_files)?;

    limit_tensors(&options)?;
    let warn = &mut super::console::warn;
    let built = network::build(args, &net_id, registry::table(), warn).map_err(|errors| printed(errors, console))?;
    let metadata = built.tree.get(METADATA_ID).map_or(Value::None, Node::to_value);
    extra.push(("metadata.json".into(), json::write(&metadata)?));
    let mut network = built.network.lock();
    let tensors = checkpoint::read_weights(&weights, key.as_deref())?;
    let strict = Strictness { names: true, shapes: true };
    restore(&mut *network, tensors, strict).map_err(|error| error.file(&weights))?.report("the weights");
    let shape = match shape {
        Some(shape) => shape,
        None => network::smallest_input(&*network)?,
    };
    let worst = network::export(&*network, &shape, &extra, tolerance, &output)?;
    let size = std::fs::metadata(&output).map_or(0, |file| file.len());
    tracing::info!(
        "wrote {}: {}, {}, {}; its outputs for two sizes of input differ by at most {worst:.1e}",
        output.display(),
        network.name(),
        count(network.state().tensors.len(), "tensor"),
        bytes(size),
    );
    Ok(())
}

fn shape(node: &Node) -> Result<Vec<i64>> {
    let value = node.to_value();
    let sizes = value.as_sequence().unwrap_or_default();
    let sizes = sizes.iter().map(|size| match size {
        Value::Int(size @ 1..) => Some(*size),
        _ => None,
    });
    sizes.collect::<Option<Vec<i64>>>().filter(|sizes| sizes.len() > 2).ok_or_else(|| {
        err!("`input_shape`: expected a list such as [1,1,96,96,96], found {value:?}")
            .kind(Kind::Config)
            .file(node.origin.text())
    })
}

/// Tolerances in `converter_kwargs`. Others of its entries are about how MONAI converts.
fn tolerance(arguments: &mut Arguments) -> Result<Tolerance> {
    let mut tolerance = Tolerance { relative: 1e-4, absolute: 1e-6 };
    let Some(node) = arguments.take("converter_kwargs") else { return Ok(tolerance) };
    for (key, entry) in node.children() {
        let target = match key.as_str() {
            "rtol" => &mut tolerance.relative,
            "atol" => &mut tolerance.absolute,
            other => {
                tracing::warn!("`{other}` of --converter_kwargs has no effect");
                continue;
            }
        };
        *target = match entry.to_value() {
            Value::Float(value) if value >= 0.0 => value,
            Value::Int(value @ 0..) => value as f64,
            other => return Err(err!("`{key}`: expected a number from 0, found {other:?}").kind(Kind::Config)),
        };
    }
    Ok(tolerance)
}

/// The configs as JSON, under their names with the extension .json.
fn config_files(files: &[String]) -> Result<Vec<(String, String)>> {
    let mut all: Vec<(String, String)> = vec![];
    for file in files {
        let name = Path::new(file).with_extension("json").file_name().unwrap_or_default().display().to_string();
        if all.iter().any(|(known, _)| *known == name) || name == "metadata.json" {
            bail!("expected config files with different names, found `{name}` again");
        }
        let content = load::read_file(file, &mut Notes::default())?;
        all.push((name, json::write(&content.to_value())?));
    }
    Ok(all)
}
