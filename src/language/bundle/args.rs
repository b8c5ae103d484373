//! Arguments of `segbundle run`: those of MONAI, and config overrides.
//!
//! MONAI source: `monai/bundle/scripts.py` (`run`, `create_workflow`, `update_kwargs`) and `ConfigWorkflow.__init__`.
//! Deliberate difference: `config_file` may be a comma-separated string, which MONAI documents but does not support.

use super::fire::{self, Parameter, is_parameter};
use super::load::{self, Notes, Warning};
use super::merge::merge;
use super::node::{Content, Entries, Node, Origin, key_text};
use crate::component::{Key, Value};
use crate::err;
use crate::error::{Error, Kind, Result, did_you_mean};
use std::path::Path;

/// Strictness of reading configs, set by environment variables and by segbundle's options.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rules {
    /// MONAI_FAIL_ON_DUPLICATE_CONFIG=1
    pub fail_on_duplicate: bool,
    /// MONAI_ALLOW_MISSING_REFERENCE=1
    pub allow_missing_reference: bool,
    /// `--strict`: an unused override is an error.
    pub strict: bool,
}

impl Rules {
    /// Reads the two variables of MONAI from the environment.
    pub fn from_environment() -> Rules {
        Rules {
            fail_on_duplicate: std::env::var("MONAI_FAIL_ON_DUPLICATE_CONFIG").is_ok_and(|value| value == "1"),
            allow_missing_reference: std::env::var("MONAI_ALLOW_MISSING_REFERENCE").is_ok_and(|value| value != "0"),
            strict: false,
        }
    }
}

/// `--logging_file`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LoggingFile {
    /// logging.conf in the folder of the first config file, if it exists.
    #[default]
    Beside,
    /// `False`: do not configure logging.
    Off,
    /// Path of a file.
    File(String),
}

/// `--workflow_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WorkflowType {
    /// `train` or `training`.
    #[default]
    Train,
    /// `infer`, `inference`, `eval` or `evaluation`.
    Infer,
}

/// Parameters of `monai.bundle run`, in MONAI's order.
pub const PARAMETERS: &[Parameter] = &[
    Parameter::new("run_id", "ID", "Section to run [default: run]"),
    Parameter::new("init_id", "ID", "Section to run first [default: initialize]"),
    Parameter::new("final_id", "ID", "Section to run last [default: finalize]"),
    META_FILE,
    CONFIG_FILE,
    Parameter::new("logging_file", "FILE", "logging.conf, or False for none [default: beside the config]"),
    Parameter::new(
        "tracking",
        "SETTINGS",
        "Write the executed config to output_dir: \"{'handlers_id': {}, 'configs': {}}\"",
    ),
    ARGS_FILE,
];
/// `--config_file`.
pub const CONFIG_FILE: Parameter =
    Parameter::new("config_file", "FILE", "Config file, or several: \"['a.json','b.json']\"");
/// `--meta_file`.
pub const META_FILE: Parameter = Parameter::new("meta_file", "FILE", "metadata.json [default: beside the config]");
/// `--args_file`.
pub const ARGS_FILE: Parameter =
    Parameter::new("args_file", "FILE", "Read arguments from a file; arguments given here override them");

/// Arguments of a command by name: those of the command line, over those of `--args_file`.
#[derive(Default)]
pub struct Arguments {
    entries: Entries,
    /// The file with further arguments.
    pub args_file: Option<String>,
    /// Warnings about the arguments.
    pub warnings: Vec<Warning>,
}

impl Arguments {
    /// Parse the words after a command.
    ///
    /// # Errors
    /// Surplus words, or an `--args_file` that cannot be read.
    pub fn parse(argv: &[String], parameters: &[Parameter], rules: Rules) -> Result<Arguments> {
        let mut warnings = Vec::new();
        let mut given = fire::parse(argv, parameters, &mut warnings)?;
        let args_file = match given.shift_remove("args_file").filter(|node| !node.is_none()) {
            Some(node) => Some(text("args_file", &node)?),
            None => None,
        };
        let mut entries = match &args_file {
            None => Entries::new(),
            Some(path) => read_args_file(path, rules, &mut warnings)?,
        };
        let given = given.into_iter().map(|(key, node)| (Key::str(&key), node));
        update(&mut entries, given, parameters, &mut warnings)?;
        Ok(Arguments { entries, args_file, warnings })
    }

    /// Remove an argument. None counts as not given, as in MONAI.
    pub fn take(&mut self, name: &str) -> Option<Node> {
        self.entries.shift_remove(&Key::str(name)).filter(|node| !node.is_none())
    }
    /// Remove an argument that is a string.
    pub fn text(&mut self, name: &str) -> Result<Option<String>> {
        self.take(name).map(|node| text(name, &node)).transpose()
    }
    /// Remove an argument that is a file name or a list of file names.
    pub fn texts(&mut self, name: &str) -> Result<Option<Vec<String>>> {
        self.take(name).map(|node| texts(name, &node)).transpose()
    }
    /// Remove an argument that is a bool.
    pub fn boolean(&mut self, name: &str) -> Result<Option<bool>> {
        let value = |node: Node| match node.content {
            Content::Leaf(Value::Bool(value)) => Ok(value),
            _ => Err(wrong(name, "True or False", &node)),
        };
        self.take(name).map(value).transpose()
    }
    /// Remove an argument that is an integer of at least 1.
    pub fn positive(&mut self, name: &str) -> Result<Option<i64>> {
        let value = |node: Node| match node.content {
            Content::Leaf(Value::Int(value)) if value > 0 => Ok(value),
            _ => Err(wrong(name, "an integer of at least 1", &node)),
        };
        self.take(name).map(value).transpose()
    }
    /// The arguments as those of a run: what is left are overrides of the config.
    ///
    /// # Errors
    /// A value of the wrong type, or no config file.
    pub fn into_run(self, rules: Rules) -> Result<RunArgs> {
        let mut args = RunArgs {
            run_id: "run".into(),
            init_id: "initialize".into(),
            final_id: "finalize".into(),
            args_file: self.args_file,
            warnings: self.warnings,
            rules,
            ..RunArgs::default()
        };
        for (key, node) in self.entries {
            args.take(&key_text(&key), node)?;
        }
        if args.config_files.is_empty() {
            return Err(err!("no config file is given")
                .kind(Kind::Config)
                .hint("add `--config_file configs/inference.json`"));
        }
        Ok(args)
    }
    /// Check that no argument is left, for commands without overrides.
    ///
    /// # Errors
    /// An argument is not one of the `parameters`.
    pub fn finish(self, parameters: &[Parameter]) -> Result<()> {
        match self.entries.first() {
            None => Ok(()),
            Some((key, node)) => {
                let name = key_text(key);
                let near = did_you_mean(&name, parameters.iter().map(|parameter| parameter.name));
                let error = err!("unknown argument `--{name}`").kind(Kind::Config).file(node.origin.text());
                Err(error.suggest(near.map(|near| format!("--{near}"))))
            }
        }
    }
}

/// Arguments from the command line and `--args_file`.
#[derive(Debug, Clone, Default)]
pub struct RunArgs {
    /// Config files in the order in which they are merged.
    pub config_files: Vec<String>,
    /// Id of the section to run; `run` by default.
    pub run_id: String,
    /// Id of the section that runs first; `initialize` by default.
    pub init_id: String,
    /// Id of the section that runs last; `finalize` by default.
    pub final_id: String,
    /// Metadata files; `None` for metadata.json in the folder of the first config file.
    pub meta_files: Option<Vec<String>>,
    /// Logging configuration.
    pub logging_file: LoggingFile,
    /// Kind of workflow.
    pub workflow_type: WorkflowType,
    /// Value of `--tracking`: `mlflow`, a file, or a dict of settings.
    pub tracking: Option<Node>,
    /// File with further arguments; those on the command line take precedence.
    pub args_file: Option<String>,
    /// Ids as spelled by the user, and their new values, in order.
    pub overrides: Vec<(String, Node)>,
    /// Warnings about the arguments.
    pub warnings: Vec<Warning>,
    /// Strictness of reading configs.
    pub rules: Rules,
}

impl RunArgs {
    /// Parse the arguments after `run`.
    ///
    /// # Errors
    /// A value of the wrong type, a file that cannot be read, or no config file.
    pub fn parse(argv: &[String], rules: Rules) -> Result<RunArgs> {
        Arguments::parse(argv, PARAMETERS, rules)?.into_run(rules)
    }

    /// Set an argument by name; None keeps the default.
    fn take(&mut self, key: &str, node: Node) -> Result<()> {
        match key {
            "workflow_name" => {
                let name = if node.is_none() { "ConfigWorkflow".to_owned() } else { text(key, &node)? };
                if !matches!(name.as_str(), "ConfigWorkflow" | "monai.bundle.ConfigWorkflow") {
                    return Err(err!("the workflow class `{name}` is not supported")
                        .kind(Kind::Unsupported)
                        .file(node.origin.text()));
                }
            }
            "properties_path" if !node.is_none() => {
                let error = err!("`properties_path` is not supported: segbundle does not check workflow properties");
                return Err(error.kind(Kind::Unsupported).file(node.origin.text()));
            }
            "properties_path" => {}
            _ if node.is_none() && PARAMETERS_WITH_DEFAULTS.contains(&key) => {}
            "config_file" => self.config_files = config_files(&node)?,
            "run_id" => self.run_id = text(key, &node)?,
            "init_id" => {
                self.init_id = text(key, &node).map_err(|error| match &*self.run_id {
                    "run" => error,
                    // Both were given as words: `highres False` instead of `--highres False`.
                    id => error.hint(format!("an override is written `--{id} {}`", node.to_value())),
                })?
            }
            "final_id" => self.final_id = text(key, &node)?,
            "meta_file" => self.meta_files = Some(texts(key, &node)?),
            "tracking" => self.tracking = Some(node),
            "workflow_type" => self.workflow_type = workflow_type(&node)?,
            "logging_file" => {
                self.logging_file = match &node.content {
                    Content::Leaf(Value::Bool(false)) => LoggingFile::Off,
                    _ => LoggingFile::File(text(key, &node)?),
                }
            }
            _ => self.overrides.push((key.to_owned(), node)),
        }
        Ok(())
    }

    /// Folder of the first config file, which is searched for metadata.json and logging.conf.
    pub fn config_root(&self) -> &Path {
        self.config_files.first().and_then(|file| Path::new(file).parent()).unwrap_or(Path::new(""))
    }
}

const PARAMETERS_WITH_DEFAULTS: [&str; 8] =
    ["config_file", "run_id", "init_id", "final_id", "meta_file", "tracking", "workflow_type", "logging_file"];

fn read_args_file(path: &str, rules: Rules, warnings: &mut Vec<Warning>) -> Result<Entries> {
    let mut notes = Notes { fail_on_duplicate: rules.fail_on_duplicate, ..Notes::default() };
    let node = load::read_file(path, &mut notes)?;
    warnings.append(&mut notes.warnings);
    match node.content {
        Content::Dict(entries) => Ok(entries),
        _ => Err(err!("expected a dict of arguments, found {}", node.type_name()).kind(Kind::Config).file(path)),
    }
}

/// Merge arguments of the command line into those of a file, with precedence; dicts are merged, None is ignored.
fn update(
    args: &mut Entries,
    given: impl IntoIterator<Item = (Key, Node)>,
    parameters: &[Parameter],
    warnings: &mut Vec<Warning>,
) -> Result<()> {
    for (key, node) in given {
        let name = key_text(&key);
        if node.is_none() {
            if !is_parameter(parameters, &name) {
                let note = err!("`--{name} None` is ignored, as in MONAI").kind(Kind::Config).file(node.origin.text());
                warnings.push(note.hint(format!("`--{name} \"$None\"` sets it to None")));
            }
            continue;
        }
        match (args.get_mut(&key), &node.content) {
            (Some(Node { content: Content::Dict(old), .. }), Content::Dict(new)) => {
                update(old, new.clone(), parameters, warnings)?
            }
            _ => merge(args, &key, node, warnings)?,
        }
    }
    Ok(())
}

fn wrong(key: &str, expected: &str, node: &Node) -> Error {
    err!("`{key}`: expected {expected}, found {:?}", node.to_value()).kind(Kind::Config).file(node.origin.text())
}

/// A string, or the text of a number, since fire reads `--run_id 5` as a number.
fn text(key: &str, node: &Node) -> Result<String> {
    match &node.content {
        Content::Leaf(value @ (Value::Str(_) | Value::Int(_))) => Ok(value.to_string()),
        _ => Err(wrong(key, "a string", node)),
    }
}

fn texts(key: &str, node: &Node) -> Result<Vec<String>> {
    let strings =
        |values: Vec<Value>| values.iter().map(|value| value.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
    match node.to_value() {
        Value::Str(text) => Ok(vec![text.to_string()]),
        value => value
            .as_sequence()
            .and_then(strings)
            .filter(|files| !files.is_empty())
            .ok_or_else(|| wrong(key, "a file name or a list of file names", node)),
    }
}

fn config_files(node: &Node) -> Result<Vec<String>> {
    let files = texts("config_file", node)?;
    let [single] = &files[..] else { return Ok(files) };
    if Path::new(single).is_file() || !single.contains(',') {
        return Ok(files);
    }
    if let Some(inner) = single.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        let quoted: Vec<String> =
            inner.split(',').map(|name| format!("'{}'", name.trim().trim_matches(['\'', '"']))).collect();
        let error = err!("`config_file`: `{single}` is not a Python list: quote its names");
        return Err(error
            .kind(Kind::Config)
            .file("command line")
            .hint(format!("write --config_file \"[{}]\"", quoted.join(","))));
    }
    Ok(single.split(',').map(str::to_owned).collect())
}

fn workflow_type(node: &Node) -> Result<WorkflowType> {
    const NAMES: [&str; 6] = ["train", "training", "infer", "inference", "eval", "evaluation"];
    let name = text("workflow_type", node)?.to_lowercase();
    match NAMES.iter().position(|known| *known == name) {
        Some(0 | 1) => Ok(WorkflowType::Train),
        Some(_) => Ok(WorkflowType::Infer),
        None => {
            let error = wrong("workflow_type", &format!("one of {}", NAMES.join(", ")), node);
            Err(error.suggest(did_you_mean(&name, NAMES)))
        }
    }
}

/// Node for a value that does not come from a file.
pub fn given(value: impl Into<Value>) -> Node {
    Node::leaf(value.into(), Origin::command_line())
}
