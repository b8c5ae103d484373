//! What a bundle is: its metadata, networks, and the files that it needs.

use super::large_files;
use super::tensor_format::TensorFormat;
use crate::bundle::args::given;
use crate::bundle::tree::walk;
use crate::bundle::{Node, Plan, Rules, RunArgs, Tree, Warning, channel_definition, load, load_metadata};
use crate::component::{Table, Value};
use crate::err;
use crate::error::{Kind, Result};
use crate::formats::paths;
use crate::tools::structures::Structures;
use indexmap::IndexMap;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// A bundle, or one of its configs.
#[derive(Debug, Default, Serialize)]
pub struct Info {
    /// Folder of the bundle.
    pub folder: PathBuf,
    /// Entries of the metadata with text, in their order.
    pub metadata: IndexMap<String, String>,
    /// Inputs of the network.
    pub inputs: Vec<Tensor>,
    /// Outputs of the network.
    pub outputs: Vec<Tensor>,
    /// Names of the structures, in the order of the prediction's channels.
    pub structures: Vec<String>,
    /// The config files.
    pub configs: Vec<Config>,
    /// Files that the bundle needs or should have.
    pub files: Vec<File>,
}

/// An input or output of the network.
#[derive(Debug, Serialize)]
pub struct Tensor {
    /// Name.
    pub name: String,
    /// Kind of data, such as `CT` or `segmentation`.
    pub kind: String,
    /// Number of channels.
    pub channels: i64,
    /// Sizes along the spatial axes, integers or expressions.
    pub spatial_shape: Vec<String>,
    /// Type of the values.
    pub dtype: String,
}

/// A config file.
#[derive(Debug, Serialize)]
pub struct Config {
    /// Name of the file.
    pub file: String,
    /// Networks that it defines.
    pub networks: Vec<Network>,
}

/// A network in a config.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Network {
    /// Id in the config.
    pub id: String,
    /// Class.
    pub class: String,
    /// Arguments, as in the config.
    pub arguments: IndexMap<String, String>,
    /// Whether segbundle has this network.
    pub supported: bool,
}

/// A file of the bundle.
#[derive(Debug, Serialize)]
pub struct File {
    /// Path, relative to the folder of the bundle if it is there.
    pub path: PathBuf,
    /// Size in bytes; `None` if the file does not exist.
    pub bytes: Option<u64>,
    /// What needs the file.
    pub needed_by: String,
}

/// Files that MONAI's bundle specification names.
const STANDARD: [&str; 3] = ["configs/metadata.json", "LICENSE", "docs/README.md"];

/// Describes a bundle, given as its folder or as one of its configs. Nothing is built or written.
///
/// # Errors
/// The path is neither, or the config or the metadata cannot be read.
pub fn info(path: &Path, table: &'static Table, warn: &mut dyn FnMut(&Warning)) -> Result<Info> {
    let (folder, files) = match path.is_dir() {
        true => (path.to_owned(), configs_in(&path.join("configs"))),
        false => {
            let configs = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            (configs.join("..").canonicalize().unwrap_or_else(|_| configs.to_owned()), vec![path.to_owned()])
        }
    };
    if files.is_empty() {
        return Err(err!("expected a config file or the folder of a bundle, found no config in `configs`")
            .kind(Kind::Config)
            .file(path));
    }
    let mut info = Info { folder: folder.clone(), ..Info::default() };
    let metadata = files[0].with_file_name("metadata.json");
    if metadata.is_file() {
        add_metadata(&load_metadata(&[metadata.display().to_string()], Rules::default())?, &mut info, warn);
    }
    for name in STANDARD {
        info.add_file(Path::new(name), "every bundle");
    }
    for file in files {
        match add_config(&file, table, &mut info) {
            Err(error) if path.is_dir() => warn(&error),
            result => result?,
        }
    }
    if let Some(list) = large_files::find(&folder) {
        let name = list.file_name().unwrap_or_default().display().to_string();
        for file in large_files::read(&list, &folder, warn)? {
            info.add_file(&file.path, &name);
        }
    }
    Ok(info)
}

/// The configs in a folder, by name.
fn configs_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_config = |path: &PathBuf| {
        load::is_config_name(&path.display().to_string())
            && path.file_name().is_some_and(|name| name != "metadata.json")
    };
    let mut files: Vec<PathBuf> = entries.filter(is_config).collect();
    files.sort();
    files
}

fn add_metadata(metadata: &Tree, info: &mut Info, warn: &mut dyn FnMut(&Warning)) {
    metadata.warnings.iter().chain(&metadata.errors).for_each(&mut *warn);
    let text = |(key, node): (String, &Node)| Some((key, node.as_str()?.to_owned()));
    info.metadata = metadata.root.children().into_iter().filter_map(text).collect();
    let sides = [("inputs", &mut info.inputs), ("outputs", &mut info.outputs)];
    for (side, tensors) in sides {
        let Some(all) = metadata.get(&format!("network_data_format::{side}")) else { continue };
        for (name, node) in all.children() {
            match tensor(&name, node) {
                Ok(tensor) => tensors.push(tensor),
                Err(error) => warn(&error),
            }
        }
        if side == "outputs"
            && let Some((_, names)) = channel_definition(all)
        {
            match Structures::channels(&names.to_value()) {
                Ok(names) => info.structures = names.iter().map(|structure| structure.name.clone()).collect(),
                Err(error) => warn(&error),
            }
        }
    }
}

fn tensor(name: &str, node: &Node) -> Result<Tensor> {
    let format = TensorFormat::new(node, name)?;
    let text = |key: &str| node.child(key).and_then(Node::as_str).filter(|text| !matches!(*text, "n/a" | "none"));
    let sizes = node.child("spatial_shape").map(Node::children).unwrap_or_default();
    Ok(Tensor {
        name: name.to_owned(),
        kind: text("modality").or_else(|| text("format")).unwrap_or_default().to_owned(),
        channels: format.channels,
        spatial_shape: sizes.into_iter().map(|(_, size)| size.to_value().to_string()).collect(),
        dtype: format.dtype.name().to_owned(),
    })
}

fn add_config(file: &Path, table: &'static Table, info: &mut Info) -> Result<()> {
    let root = ("bundle_root".to_owned(), given(info.folder.display().to_string()));
    let args = RunArgs { config_files: vec![file.display().to_string()], overrides: vec![root], ..RunArgs::default() };
    let plan = Plan::prepare(&args, table)?;
    let label = file.file_name().unwrap_or_default().display().to_string();
    let mut config = Config { file: label.clone(), networks: vec![] };
    let mut loaded = vec![];
    walk(&plan.tree.root, "", &mut |id, node| {
        let Some(class) = node.get("_target_").and_then(Node::as_str) else { return };
        let component = table.component(class);
        let is_network = component.is_some_and(|component| component.path.starts_with("monai.networks."));
        if is_network || class.contains("networks.nets.") || component.is_none() && id == "network_def" {
            let arguments = node.children().into_iter().filter(|(key, _)| !key.starts_with('_'));
            config.networks.push(Network {
                id: id.to_owned(),
                class: component.map_or(class, |component| component.name).to_owned(),
                arguments: arguments.map(|(key, node)| (key, format!("{:?}", node.to_value()))).collect(),
                supported: is_network,
            });
        }
        if component.is_some_and(|component| component.name == "CheckpointLoader") {
            loaded.push(format!("{id}::load_path"));
        }
    });
    for value in plan.values(&loaded).into_iter().flatten() {
        if let Value::Str(path) = &value {
            info.add_file(Path::new(&**path), &label);
        }
    }
    info.configs.push(config);
    Ok(())
}

impl Info {
    fn add_file(&mut self, path: &Path, needed_by: &str) {
        let whole = self.folder.join(path);
        let path = paths::normal(path.strip_prefix(&self.folder).unwrap_or(path));
        match self.files.iter_mut().find(|file| file.path == path) {
            Some(file) if !file.needed_by.split(", ").any(|other| other == needed_by) => {
                file.needed_by += &format!(", {needed_by}");
            }
            Some(_) => {}
            None => {
                let bytes = std::fs::metadata(whole).ok().filter(std::fs::Metadata::is_file).map(|file| file.len());
                self.files.push(File { path, bytes, needed_by: needed_by.to_owned() });
            }
        }
    }
}
