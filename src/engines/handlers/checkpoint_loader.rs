//! CheckpointLoader (monai.handlers.checkpoint_loader, MONAI 1.6.1): load networks, optimizers and schedules from a
//! checkpoint.
//!
//! `strict` applies to networks only, as in MONAI; without `strict_shape` only networks are loaded. Differences from
//! MONAI:
//! - Parameters that a load without `strict` or `strict_shape` leaves unchanged are logged, and a file that matches no
//!   parameter is an error.
//! - A common prefix of all names (`module.`) is removed if the load is complete without it.

use super::parts::{Part, parts_of};
use crate::bundle::Node;
use crate::bundle::load;
use crate::bundle::node::Content;
use crate::checkpoint::safetensors;
use crate::checkpoint::{self, Checkpoint, StateDict};
use crate::component::{Accepted, Dict, Key};
use crate::contracts::{EngineStart, EngineState, Event, Handler, Network, Shared, Strictness, compare, restore};
use crate::error::{Error, Result};
use crate::{bail, err};
use std::path::{Path, PathBuf};
use tch::Tensor;

component! {
    /// Load a checkpoint into networks, optimizers and learning-rate schedules when the engine starts.
    pub static COMPONENT = handler "CheckpointLoader" in "monai.handlers" / "checkpoint_loader";

    pub struct CheckpointLoaderArgs {
        /// Checkpoint file, written by `torch.save` or as `.safetensors`.
        load_path: PathBuf,
        /// Objects to load, by their key in the file: `{'model': network, 'optimizer': optimizer}`.
        load_dict: Dict,
        /// No effect: messages go to the engine's logger.
        name: Accepted = (),
        /// No effect: tensors are read into host memory and copied to the network's device.
        map_location: Accepted = (),
        /// Require that the parameter names of file and network are the same.
        strict: bool = true,
        /// Require that the tensors' shapes match; False skips tensors of another shape and loads networks only.
        strict_shape: bool = true,
    }

    effect: Reads,
    differs: [
        "engines cannot be loaded into; `--resume` resumes a training",
        "a common prefix of all names in the file (`module.`) is removed if the load is complete without it",
        "a file that matches no parameter is an error also without `strict`",
    ],
    build: CheckpointLoader::new,
}

struct CheckpointLoader {
    path: PathBuf,
    targets: Vec<(String, Part)>,
    strictness: Strictness,
}

impl CheckpointLoader {
    fn new(args: CheckpointLoaderArgs) -> Result<CheckpointLoader> {
        let targets = parts_of("load_dict", &args.load_dict)?;
        let strictness = Strictness { names: args.strict && args.strict_shape, shapes: args.strict_shape };
        Ok(CheckpointLoader { path: args.load_path, targets, strictness })
    }
}

impl Handler for CheckpointLoader {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn check(&self, _start: &EngineStart) -> Vec<Error> {
        self.open().err().into_iter().collect()
    }
    fn on(&self, event: Event, _engine: &EngineState) -> Result<()> {
        if event != Event::Started {
            return Ok(());
        }
        let source = self.open()?;
        if self.load_all(&source).map_err(|error| error.file(&self.path))? {
            tracing::info!("Restored all variables from {}", self.path.display());
        }
        Ok(())
    }
}

/// An opened file.
enum Source {
    Safetensors,
    Checkpoint(Box<Checkpoint>),
}

impl CheckpointLoader {
    /// Opens the file, and compares names and shapes with those of all networks. No tensor is read.
    fn open(&self) -> Result<Source> {
        if !self.path.exists() {
            return Err(missing(&self.path));
        }
        let open = || {
            let networks = self.targets.iter().filter_map(|(name, target)| match target {
                Part::Network(network) => Some((name, network)),
                _ => None,
            });
            if safetensors::is_safetensors(&self.path) {
                let (1, Some((_, network))) = (self.targets.len(), networks.clone().next()) else {
                    bail!(
                        "expected one network to load, found {} objects: a safetensors file holds one network",
                        self.targets.len()
                    );
                };
                compare(&*network.lock(), &safetensors::read_shapes(&self.path)?, self.strictness)?;
                return Ok(Source::Safetensors);
            }
            let file = checkpoint::load(&self.path)?;
            for (name, network) in networks {
                let shapes = self.entry(&file, name, Checkpoint::shapes)?;
                compare(&*network.lock(), &shapes, self.strictness)?;
            }
            Ok(Source::Checkpoint(Box::new(file)))
        };
        open().map_err(|error| error.file(&self.path))
    }

    /// Loads all targets. Returns whether every entry of the file and of the targets was used.
    fn load_all(&self, source: &Source) -> Result<bool> {
        let mut complete = true;
        for (name, target) in &self.targets {
            match (target, source) {
                (Part::Network(network), Source::Safetensors) => {
                    complete &= self.load_network(network, safetensors::read(&self.path)?)?
                }
                (Part::Network(network), Source::Checkpoint(file)) => {
                    complete &= self.load_network(network, self.entry(file, name, Checkpoint::state_dict)?)?
                }
                _ if !self.strictness.shapes => {
                    tracing::warn!("`{name}` was not loaded: `strict_shape: false` loads networks only");
                    complete = false;
                }
                // Refused when the file is opened.
                (_, Source::Safetensors) => {}
                (Part::Optimizer(optimizer), Source::Checkpoint(file)) => {
                    optimizer.lock().load_state(&self.state(file, name)?)?
                }
                (Part::Schedule(schedule), Source::Checkpoint(file)) => {
                    schedule.lock().load_state(&self.state(file, name)?)?
                }
            }
        }
        Ok(complete)
    }

    /// Loads a network and logs what does not match. Returns whether all tensors of the file and of the network were
    /// used.
    fn load_network(&self, network: &Shared<dyn Network>, tensors: Vec<(String, Tensor)>) -> Result<bool> {
        let restored = restore(&mut *network.lock(), tensors, self.strictness)?;
        restored.report(&self.path.display().to_string());
        Ok(restored.is_complete())
    }

    /// Reads the entry of the network `name`.
    fn entry<T>(
        &self,
        file: &Checkpoint,
        name: &str,
        read: impl Fn(&Checkpoint, Option<&str>) -> Result<T>,
    ) -> Result<T> {
        let named = read(file, Some(name));
        // A single network without an entry of its name: the file is the network's state dict itself.
        if self.targets.len() == 1 { named.or_else(|_| read(file, None)) } else { named }
    }

    /// The state of the optimizer or schedule called `name` in the file, or the file itself if it is the only one.
    fn state(&self, file: &Checkpoint, name: &str) -> Result<StateDict> {
        let whole = self.targets.len() == 1 && !file.keys().iter().any(|key| key == name);
        if whole { file.state() } else { file.state_of(name) }
    }
}

/// Error for a missing checkpoint, with the download address if the bundle lists it.
fn missing(path: &Path) -> Error {
    let error = err!("the checkpoint {} does not exist", path.display()).file(path).of_working_folder();
    // For models/model.pt the bundle's list is next to models/.
    let bundle = path.parent().and_then(Path::parent);
    match bundle.and_then(|bundle| large_file(bundle, path)) {
        Some(listed) => error.hint(format!("download it from the address in the bundle's large_files.yml: {listed}")),
        None => error,
    }
}

/// Address and hash of `path` in a bundle's `large_files.yml`, `.yaml` or `.json`.
fn large_file(bundle: &Path, path: &Path) -> Option<String> {
    let list = ["large_files.yml", "large_files.yaml", "large_files.json"]
        .iter()
        .map(|name| bundle.join(name))
        .find(|file| file.is_file())?;
    let node = load::read_file(list.to_str()?, &mut load::Notes::default()).ok()?;
    let Content::List(files) = &node.as_dict()?.get(&Key::str("large_files"))?.content else { return None };
    let text = |file: &Node, key: &str| file.as_dict()?.get(&Key::str(key))?.as_str().map(str::to_owned);
    let name = path.file_name()?.to_str()?;
    let file = files.iter().find(|file| {
        text(file, "path").is_some_and(|listed| Path::new(&listed).file_name().is_some_and(|last| last == name))
    })?;
    let hash = text(file, "hash_val").map_or(String::new(), |hash| {
        format!(" ({} {hash})", text(file, "hash_type").unwrap_or_else(|| "hash".into()))
    });
    Some(format!("{}{hash}", text(file, "url")?))
}
