//! Parameters of a network: made in PyTorch's order, named as MONAI names them, loaded strictly.
//!
//! Initial values are those of `torch.nn`'s `reset_parameters` (torch 2.11), drawn in the order in which MONAI builds
//! its layers: after `torch.manual_seed(s)` the weights are Python's.

use crate::contracts::NetworkState;
use crate::error::{Kind, Result};
use crate::torch::{Device, DeviceExt};
use crate::{bail, err};
use std::fmt::Write;
use tch::Tensor;

/// Where a tensor stands in the order of creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot(pub usize);

/// A config is untrusted: no network beyond this is allocated (8 GB of f32).
const MAX_PARAMETERS: usize = 2_000_000_000;

/// Makes a network's tensors, on the CPU.
#[derive(Default)]
pub struct Builder {
    tensors: Vec<(String, Tensor)>,
    parameters: usize,
}

/// A convolution over three axes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conv {
    pub weight: Slot,
    pub bias: Option<Slot>,
    pub stride: i64,
    pub padding: i64,
}

impl Conv {
    pub fn forward(&self, x: &Tensor, parameters: &[Tensor]) -> Tensor {
        let bias = self.bias.map(|bias| &parameters[bias.0]);
        x.conv3d(&parameters[self.weight.0], bias, [self.stride; 3], [self.padding; 3], [1, 1, 1], 1)
    }
}

impl Builder {
    fn shape(&mut self, shape: &[usize]) -> Result<Vec<i64>> {
        let size = shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
        let total = size.and_then(|size| size.checked_add(self.parameters)).filter(|&total| total <= MAX_PARAMETERS);
        self.parameters = total.ok_or_else(|| {
            err!("the network would have more than {MAX_PARAMETERS} parameters (a tensor of {shape:?})")
                .kind(Kind::Config)
        })?;
        Ok(shape.iter().map(|&n| n as i64).collect())
    }
    fn push(&mut self, name: &str, tensor: Tensor) -> Slot {
        self.tensors.push((name.to_owned(), tensor));
        Slot(self.tensors.len() - 1)
    }
    /// A parameter with one value everywhere; draws nothing.
    pub fn full(&mut self, name: &str, shape: &[usize], value: f64) -> Result<Slot> {
        let slot = self.buffer(name, shape, value, tch::Kind::Float)?;
        self.tensors[slot.0].1 = self.tensors[slot.0].1.set_requires_grad(true);
        Ok(slot)
    }
    /// A tensor that is saved and not trained.
    pub fn buffer(&mut self, name: &str, shape: &[usize], value: f64, kind: tch::Kind) -> Result<Slot> {
        let shape = self.shape(shape)?;
        let tensor = Tensor::f_full(shape, value, (kind, tch::Device::Cpu))?;
        Ok(self.push(name, tensor))
    }
    /// Uniform in ±bound.
    fn uniform(&mut self, name: &str, shape: &[usize], bound: f64) -> Result<Slot> {
        let shape = self.shape(shape)?;
        let tensor = Tensor::f_empty(shape, (tch::Kind::Float, tch::Device::Cpu))?.f_uniform_(-bound, bound)?;
        Ok(self.push(name, tensor.set_requires_grad(true)))
    }
    /// A second name for a tensor, where MONAI registers one module twice.
    pub fn alias(&mut self, name: &str, slot: Slot) {
        let tensor = self.tensors[slot.0].1.shallow_clone();
        self.push(name, tensor);
    }
    /// `torch.nn.Conv3d(inputs, outputs, kernel)`: `{path}.weight` [outputs, inputs, k, k, k], `{path}.bias`.
    pub fn conv(
        &mut self,
        path: &str,
        inputs: usize,
        outputs: usize,
        kernel: usize,
        stride: i64,
        bias: bool,
    ) -> Result<Conv> {
        let fan_in = inputs.saturating_mul(kernel.pow(3));
        let weight =
            self.uniform(&format!("{path}.weight"), &[outputs, inputs, kernel, kernel, kernel], kaiming_bound(fan_in))?;
        let bias = if bias {
            Some(self.uniform(&format!("{path}.bias"), &[outputs], 1.0 / (fan_in as f64).sqrt())?)
        } else {
            None
        };
        Ok(Conv { weight, bias, stride, padding: (kernel as i64 - 1) / 2 })
    }
    /// `torch.nn.ConvTranspose3d(channels, channels, 2, stride=2)`: weight [channels, channels, 2, 2, 2] and bias.
    pub fn deconv(&mut self, path: &str, channels: usize) -> Result<Conv> {
        let fan_in = channels.saturating_mul(8);
        let weight = self.uniform(&format!("{path}.weight"), &[channels, channels, 2, 2, 2], kaiming_bound(fan_in))?;
        let bias = Some(self.uniform(&format!("{path}.bias"), &[channels], 1.0 / (fan_in as f64).sqrt())?);
        Ok(Conv { weight, bias, stride: 2, padding: 0 })
    }
    /// The convolution before a pixel shuffle by 2, channels → 8·channels, initialised so that its eight outputs
    /// start equal (`monai.networks.utils.icnr_init`; Aitken et al. 2017).
    pub fn shuffle_conv(&mut self, path: &str, channels: usize) -> Result<Conv> {
        let outputs = channels.saturating_mul(8);
        let conv = self.conv(path, channels, outputs, 3, 1, true)?;
        let c = channels as i64;
        let std = 2f64.sqrt() / ((channels * 27) as f64).sqrt();
        let kernel = Tensor::f_zeros([c, c, 3, 3, 3], (tch::Kind::Float, tch::Device::Cpu))?.f_normal_(0.0, std)?;
        let spread = kernel.f_transpose(0, 1)?.f_reshape([c, c, -1])?.f_repeat([1, 1, 8])?;
        let spread = spread.f_reshape([c, 8 * c, 3, 3, 3])?.f_transpose(0, 1)?;
        let _guard = tch::no_grad_guard();
        self.tensors[conv.weight.0].1.f_copy_(&spread)?;
        Ok(conv)
    }
    /// The tensors in order of creation, and by name in the order of PyTorch's `state_dict()`: grouped by the part
    /// before the first dot, in the order in which the module's attributes were set.
    pub fn finish(self, attributes: &[&str]) -> (Vec<Tensor>, NetworkState) {
        let rank = |name: &str| {
            let first = name.split('.').next().unwrap_or(name);
            attributes.iter().position(|attribute| *attribute == first)
        };
        let tensors = self.tensors.iter().map(|(_, tensor)| tensor.shallow_clone()).collect();
        let mut ordered = self.tensors;
        ordered.sort_by_key(|(name, _)| rank(name));
        (tensors, NetworkState { tensors: ordered.into_iter().collect() })
    }
}

/// `kaiming_uniform_(a=√5)`: √3 · (√(2/(1+a²)) / √fan_in), in Python's order of operations.
fn kaiming_bound(fan_in: usize) -> f64 {
    let a = 5f64.sqrt();
    let gain = (2.0 / (1.0 + a.powi(2))).sqrt();
    3f64.sqrt() * (gain / (fan_in as f64).sqrt())
}

/// Copy `tensors` into those of the same names, converting their type. Nothing is copied unless all names and shapes
/// fit; else one error lists what is missing, unexpected and of another shape.
pub fn load_strict(network: &str, state: &NetworkState, tensors: &[(String, Tensor)]) -> Result<()> {
    let find = |name: &str| tensors.iter().rev().find(|(given, _)| given == name).map(|(_, tensor)| tensor);
    let missing = state.tensors.keys().filter(|name| find(name).is_none()).cloned();
    let unexpected = tensors.iter().map(|(name, _)| name).filter(|name| !state.tensors.contains_key(*name)).cloned();
    let misshapen = state.tensors.iter().filter_map(|(name, own)| {
        let given = find(name)?;
        (given.size() != own.size()).then(|| format!("{name}: expected {:?}, found {:?}", own.size(), given.size()))
    });
    let mut problems = String::new();
    for (what, names) in [
        ("missing", missing.collect::<Vec<_>>()),
        ("unexpected", unexpected.collect()),
        ("wrong shape", misshapen.collect()),
    ] {
        if names.is_empty() {
            continue;
        }
        let more = if names.len() > 12 { format!(" and {} more", names.len() - 12) } else { String::new() };
        let shown = names[..names.len().min(12)].join(", ");
        let _ = write!(problems, "{}{what}: {shown}{more}", if problems.is_empty() { "" } else { "; " });
    }
    if !problems.is_empty() {
        bail!("the weights do not fit {network}: {problems}");
    }
    let _guard = tch::no_grad_guard();
    for (name, own) in &state.tensors {
        if let Some(given) = find(name) {
            own.shallow_clone().f_copy_(given)?;
        }
    }
    warn_unless_finite(network, state)
}

/// Weights of a training that diverged load like any others, and their labels mean nothing.
fn warn_unless_finite(network: &str, state: &NetworkState) -> Result<()> {
    let odd = state.not_finite()?;
    if let Some(first) = odd.first() {
        let more = if odd.len() > 1 { format!(" and {} more tensors", odd.len() - 1) } else { String::new() };
        tracing::warn!(
            "the weights loaded into {network} are NaN or infinite in `{first}`{more}: what it computes means nothing"
        );
    }
    Ok(())
}

/// Move every tensor to a device; shallow clones elsewhere see it.
pub fn move_to(state: &NetworkState, device: Device) -> Result<()> {
    for tensor in state.tensors.values() {
        if tensor.device() != device.tch() {
            tensor.shallow_clone().f_set_data(&tensor.detach().f_to_device(device.tch())?)?;
        }
    }
    Ok(())
}
