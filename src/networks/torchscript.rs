//! TorchScript files as networks: `$torch.jit.load(path)` in a config (`torch.jit.load` of torch 2.11).
//!
//! A TorchScript file is a program. It cannot call Python or the operating system, but some torch operations access
//! files (`from_file` maps a file and can create it, `save` writes one), any operation can take much time or memory,
//! and libtorch's reader is not hardened against malicious files. Programs that use an operation on files are rejected;
//! otherwise treat a `.ts` file like an executable, unlike a checkpoint or a safetensors file.
//!
//! Deliberate difference: the numbers of input and output channels are determined by one pass over zeros when the file
//! is loaded, since the config does not contain them and predictions are planned before they are computed.

use super::params::{load_strict, move_to};
use crate::component::{BuildContext, Effect, FromValue, Function, Value};
use crate::contracts::{Mode, Network, NetworkHandle, NetworkState};
use crate::error::{Kind, Result};
use crate::formats::{self, digest};
use crate::torch::trial::first_accepted;
use crate::torch::{Device, DeviceExt, guard};
use crate::{bail, err};
use parking_lot::Mutex;
use segbundle_native as native;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tch::{CModule, IValue, Tensor};
use zip::ZipArchive;

/// Functions that a config can call.
pub const FUNCTIONS: &[Function] = &[Function { path: "torch.jit.load", effect: Effect::Reads, call: load }];

/// Limit for the code of one module in the archive, in bytes; typical networks have some hundred kB.
const MAX_CODE_BYTES: u64 = 64 << 20;
/// Operations that access files.
const FILE_OPERATIONS: [&str; 4] = ["from_file", "save", "load_library", "_load_from_file"];

fn load(mut args: crate::component::Args, _: &mut BuildContext) -> Result<Value> {
    // Weights are read into host memory; `.to()` and the engine move them.
    if let Some(place) = args.take("map_location")
        && !place.is_none()
        && Device::from_value(&place).is_none()
    {
        bail!("torch.jit.load: argument `map_location`: expected {}, found {place:?}", Device::expected());
    }
    if args.positional.len() == 2 {
        args.positional.pop();
    }
    let [file] = args.expect("torch.jit.load", ["f"])?;
    let path = PathBuf::from_value(&file).ok_or_else(|| err!("torch.jit.load: expected a path, found {file:?}"))?;
    let network = TorchScript::load(&path).map_err(|error| error.file(&path))?;
    Ok(Value::object(NetworkHandle(Arc::new(Mutex::new(network)))))
}

/// A network loaded from a TorchScript file; see the module documentation.
pub struct TorchScript {
    module: CModule,
    state: NetworkState,
    device: Device,
    in_channels: usize,
    out_channels: usize,
    /// SHA-256 of the whole file: buffers, constants and code affect the results.
    sha256: String,
}

impl TorchScript {
    /// Loads a file written by `torch.jit.save`, onto the CPU, in evaluation mode.
    pub fn load(path: &Path) -> Result<TorchScript> {
        check_code(path)?;
        let sha256 = digest::of_file(path)?.sha256;
        let mut module = CModule::load_on_device(path, tch::Device::Cpu)?;
        module.f_set_eval()?;
        let state = NetworkState { tensors: module.named_parameters()?.into_iter().collect() };
        let (in_channels, out_channels) = channels(&module, &state)?;
        Ok(TorchScript { module, state, device: Device::Cpu, in_channels, out_channels, sha256 })
    }
}

/// Rejects programs that use an operation on files. The archive stores the program's code as text.
fn check_code(path: &Path) -> Result<()> {
    let file = formats::open(path).map_err(|error| err!("cannot read the network: {error}"))?;
    let wrong = |error: zip::result::ZipError| err!("expected a TorchScript file: {error}");
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(wrong)?;
    let names: Vec<String> = archive.file_names().map(str::to_owned).collect();
    if !names.iter().any(|name| name.ends_with("/constants.pkl")) {
        return Err(err!("expected a TorchScript file, found a zip file without constants.pkl")
            .hint("load a checkpoint of torch.save with CheckpointLoader, into a network that the config builds"));
    }
    for name in names.iter().filter(|name| name.ends_with(".py")) {
        let mut code = String::new();
        let entry = archive.by_name(name).map_err(wrong)?;
        entry
            .take(MAX_CODE_BYTES + 1)
            .read_to_string(&mut code)
            .map_err(|error| err!("damaged TorchScript code in {name}: {error}"))?;
        if code.len() as u64 > MAX_CODE_BYTES {
            bail!("expected at most {MAX_CODE_BYTES} bytes of code in {name}");
        }
        let words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
        if let Some(word) = words.into_iter().find(|word| FILE_OPERATIONS.contains(word)) {
            return Err(err!("the network's program uses `{word}`, which reads or writes files")
                .hint("networks do not need this operation: do not use a file from an untrusted source"));
        }
    }
    Ok(())
}

/// The first tensor of the network's output: with deep supervision there are several.
fn first(output: IValue) -> Result<Tensor> {
    match output {
        IValue::Tensor(tensor) => Ok(tensor),
        IValue::TensorList(tensors) => {
            tensors.into_iter().next().ok_or_else(|| err!("expected a tensor from the network, found an empty list"))
        }
        IValue::Tuple(values) | IValue::GenericList(values) => match values.into_iter().next() {
            Some(value) => first(value),
            None => bail!("expected a tensor from the network, found an empty tuple or list"),
        },
        other => bail!(
            "expected a tensor from the network, found {}",
            format!("{other:?}").chars().take(60).collect::<String>()
        ),
    }
}

/// Determines the numbers of input and output channels by trial.
fn channels(module: &CModule, state: &NetworkState) -> Result<(usize, usize)> {
    let _no_grad = tch::no_grad_guard();
    // The weights' second axis is a likely number of channels; small numbers follow, for networks that start with
    // grouped convolutions or skip connections.
    let mut inputs: Vec<i64> =
        state.tensors.values().map(Tensor::size).filter(|size| size.len() == 5).map(|size| size[1]).take(1).collect();
    inputs.extend([1, 2, 3, 4].into_iter().filter(|n| !inputs.contains(n)).collect::<Vec<_>>());
    let forward = |x: &Tensor| first(module.forward_is(&[IValue::Tensor(x.shallow_clone())])?);
    let (shape, output) = first_accepted(&inputs, 3, tch::Device::Cpu, forward)?;
    match output.size()[..] {
        [_, out_channels, _, _, _] => Ok((shape[1] as usize, out_channels as usize)),
        _ => bail!("expected an output of shape [N, K, X, Y, Z] from the network, found {:?}", output.size()),
    }
}

impl Network for TorchScript {
    fn name(&self) -> &str {
        "TorchScript"
    }
    fn in_channels(&self) -> usize {
        self.in_channels
    }
    fn out_channels(&self) -> usize {
        self.out_channels
    }
    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        if mode.train {
            return Err(err!("a TorchScript network cannot be trained")
                .kind(Kind::Unsupported)
                .hint("build the network in the config"));
        }
        let _no_grad = tch::no_grad_guard();
        let _autocast = mode.autocast.map(|kind| native::Autocast::new(self.device.tch(), kind)).transpose()?;
        first(self.module.forward_is(&[IValue::Tensor(x.shallow_clone())])?)
    }
    fn state(&self) -> &NetworkState {
        &self.state
    }
    fn file_sha256(&self) -> Option<&str> {
        Some(&self.sha256)
    }
    fn load(&mut self, tensors: &[(String, Tensor)]) -> Result<()> {
        load_strict(self, tensors)
    }
    fn to(&mut self, device: Device) -> Result<()> {
        if device == self.device {
            return Ok(());
        }
        guard(|| {
            self.module.to(device.tch(), tch::Kind::Float, false);
            Ok(())
        })?;
        self.state = NetworkState { tensors: self.module.named_parameters()?.into_iter().collect() };
        move_to(&self.state, device)?;
        self.device = device;
        Ok(())
    }
    fn device(&self) -> Device {
        self.device
    }
}
