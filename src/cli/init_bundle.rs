//! `segbundle init-bundle`: create a new bundle.

use super::monai::CommandArgs;
use crate::bundle::load::Notes;
use crate::bundle::{Arguments, Node, Parameter, Rules, json};
use crate::err;
use crate::error::{Kind, Result};
use crate::tools::bundle::skeleton::{self, Skeleton};
use std::path::{Path, PathBuf};

pub const ARGS: CommandArgs = CommandArgs {
    command: "init-bundle",
    parameters: &[
        Parameter::new("bundle_dir", "DIR", "Folder to create; it must be empty or not exist"),
        Parameter::new("ckpt_file", "FILE", "Weights to copy to models/model.pt; safetensors are converted"),
        Parameter::new("network", "MODULE", "Not supported: give weights by --ckpt_file"),
        Parameter::new("dataset_license", "BOOL", "Add docs/data_license.txt [default: False]"),
        Parameter::new("metadata_str", "JSON", "Content of metadata.json [default: a template]"),
        Parameter::new("inference_str", "JSON", "Content of inference.json [default: one for a SegResNet]"),
    ],
    usage: "BUNDLE_DIR [CKPT_FILE] [ARGS]",
    overrides: false,
    examples: "\
Example:
  segbundle init-bundle liver_ct_segmentation --ckpt_file model.pt",
};

pub fn init_bundle(words: &[String], rules: Rules) -> Result<()> {
    let Some(mut arguments) = ARGS.parse(words, rules)? else { return Ok(()) };
    let folder = arguments.text("bundle_dir")?;
    let skeleton = Skeleton {
        weights: arguments.text("ckpt_file")?.map(PathBuf::from),
        dataset_license: arguments.boolean("dataset_license")?.unwrap_or(false),
        metadata: text(&mut arguments, "metadata_str")?,
        inference: text(&mut arguments, "inference_str")?,
    };
    if arguments.take("network").is_some() {
        let error = err!("`--network` is not supported").kind(Kind::Unsupported).file("command line");
        return Err(error.hint("give weights by --ckpt_file"));
    }
    arguments.finish(ARGS.parameters)?;
    let folder = folder.ok_or_else(|| {
        err!("no folder is given").kind(Kind::Config).hint("name it first: `segbundle init-bundle my_bundle`")
    })?;
    skeleton::create(Path::new(&folder), &skeleton)?;
    tracing::info!("created {folder}: edit configs/metadata.json and configs/inference.json");
    Ok(())
}

/// A JSON object given as text, or as a dict that was read from it.
fn text(arguments: &mut Arguments, name: &str) -> Result<Option<String>> {
    let text = |node: Node| {
        let parsed = node.as_str().map(|text| json::read(text, &format!("--{name}"), &mut Notes::default()));
        let object = parsed.transpose()?.unwrap_or_else(|| node.clone());
        match (object.as_dict(), node.as_str()) {
            (None, _) => {
                let error = err!("`--{name}`: expected a JSON object, found {:?}", object.to_value());
                Err(error.kind(Kind::Config).file(node.origin.text()).hint("write '{\"key\": \"value\"}'"))
            }
            (_, Some(text)) => Ok(text.to_owned()),
            (_, None) => json::write(&node.to_value()),
        }
    };
    arguments.take(name).map(text).transpose()
}
