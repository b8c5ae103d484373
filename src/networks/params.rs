//! Parameters of a network: created in PyTorch's order, named as in MONAI, loaded strictly.
//!
//! Initial values are those of `torch.nn`'s `reset_parameters` (torch 2.11), drawn in the order in which MONAI creates
//! its layers: after `torch.manual_seed(s)` the weights are bit-equal to Python's. [`Builder`] creates the tensors and
//! layers keep a [`Slot`] for each; [`check_input`], [`guards`], [`load_strict`] and [`move_to`] are shared by all
//! networks.

use crate::contracts::{Mode, Network, NetworkState, check_fit, shapes};
use crate::err;
use crate::error::{Kind, Result};
use crate::torch::{Device, DeviceExt};
use segbundle_native as native;
use std::collections::HashMap;
use tch::Tensor;

/// Index of a tensor in the order of creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot(pub usize);

/// Largest network that is allocated, since configs are untrusted (8 GB of f32).
const MAX_PARAMETERS: usize = 2_000_000_000;

/// Creates a network's tensors, on the CPU.
#[derive(Default)]
pub struct Builder {
    tensors: Vec<(String, Tensor)>,
    /// Indices into `tensors`, in the order of PyTorch's `state_dict()`.
    registered: Vec<usize>,
    parameters: usize,
}

/// Kernel of a convolution, with one value per spatial axis (two or three).
#[derive(Debug, Clone, PartialEq)]
pub struct Kernel {
    /// Size in voxels.
    pub size: Vec<usize>,
    /// Stride in voxels.
    pub stride: Vec<i64>,
    /// Zero padding on both sides of each axis.
    pub padding: Vec<i64>,
    /// For a transposed convolution: voxels added at the end of each axis of the output.
    pub transposed: Option<Vec<i64>>,
}

impl Kernel {
    /// Kernel of stride 1 with padding that preserves the size of the input (MONAI's `same_padding`). Sizes must be
    /// odd.
    pub fn same(size: &[usize]) -> Kernel {
        let padding = size.iter().map(|&n| (n as i64 - 1) / 2).collect();
        Kernel { size: size.to_vec(), stride: vec![1; size.len()], padding, transposed: None }
    }
    /// [`Kernel::same`] with `size` along three axes.
    pub fn cube(size: usize) -> Kernel {
        Kernel::same(&[size; 3])
    }
    /// The same kernel with another stride.
    pub fn stride(self, stride: &[i64]) -> Kernel {
        Kernel { stride: stride.to_vec(), ..self }
    }
    /// Transposed convolution whose output is `stride` times as large as the input.
    pub fn transposed(self) -> Kernel {
        let rest = self.stride.iter().zip(&self.size).zip(&self.padding);
        // (n − 1)·stride − 2·padding + size + rest = n·stride
        let rest = rest.map(|((stride, size), padding)| stride - *size as i64 + 2 * padding).collect();
        Kernel { transposed: Some(rest), ..self }
    }
}

/// A convolution over two or three axes.
#[derive(Debug, Clone, PartialEq)]
pub struct Conv {
    /// Weight, f32 `[outputs, inputs, …size]` (transposed: `[inputs, outputs, …size]`).
    pub weight: Slot,
    /// Bias, f32 `[outputs]`.
    pub bias: Option<Slot>,
    /// Size, stride and padding.
    pub kernel: Kernel,
}

impl Conv {
    /// Applies the convolution to `[N, C, X, Y, Z]` or `[N, C, X, Y]`.
    pub fn forward(&self, x: &Tensor, parameters: &[Tensor]) -> Tensor {
        let (weight, bias) = (&parameters[self.weight.0], self.bias.map(|bias| &parameters[bias.0]));
        let (stride, padding) = (&*self.kernel.stride, &*self.kernel.padding);
        match (&self.kernel.transposed, stride.len()) {
            (None, 2) => x.conv2d(weight, bias, stride, padding, [1; 2], 1),
            (None, _) => x.conv3d(weight, bias, stride, padding, [1; 3], 1),
            (Some(rest), 2) => x.conv_transpose2d(weight, bias, stride, padding, &**rest, 1, [1; 2]),
            (Some(rest), _) => x.conv_transpose3d(weight, bias, stride, padding, &**rest, 1, [1; 3]),
        }
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
        self.registered.push(self.tensors.len());
        self.tensors.push((name.to_owned(), tensor));
        Slot(self.tensors.len() - 1)
    }
    /// Number of tensors created so far.
    pub fn created(&self) -> usize {
        self.tensors.len()
    }
    /// Number of elements of a tensor.
    pub fn numel(&self, slot: Slot) -> usize {
        self.tensors.get(slot.0).map_or(0, |(_, tensor)| tensor.numel())
    }
    /// Registers the tensors from `second` on before those from `first` to `second`: PyTorch lists modules in order of
    /// registration, which may differ from the order of creation.
    pub fn register_before(&mut self, first: usize, second: usize) {
        self.registered[first..].rotate_left(second - first);
    }
    /// A parameter filled with `value`; does not use the random number generator.
    pub fn full(&mut self, name: &str, shape: &[usize], value: f64) -> Result<Slot> {
        let slot = self.buffer(name, shape, value, tch::Kind::Float)?;
        self.tensors[slot.0].1 = self.tensors[slot.0].1.set_requires_grad(true);
        Ok(slot)
    }
    /// A buffer: a tensor that is saved but not trained.
    pub fn buffer(&mut self, name: &str, shape: &[usize], value: f64, kind: tch::Kind) -> Result<Slot> {
        let shape = self.shape(shape)?;
        let tensor = Tensor::f_full(shape, value, (kind, tch::Device::Cpu))?;
        Ok(self.push(name, tensor))
    }
    /// A parameter drawn uniformly from `[-bound, bound]`.
    fn uniform(&mut self, name: &str, shape: &[usize], bound: f64) -> Result<Slot> {
        let shape = self.shape(shape)?;
        let tensor = Tensor::f_empty(shape, (tch::Kind::Float, tch::Device::Cpu))?.f_uniform_(-bound, bound)?;
        Ok(self.push(name, tensor.set_requires_grad(true)))
    }
    /// Registers a tensor under a second name, for modules that MONAI registers twice.
    pub fn alias(&mut self, name: &str, slot: Slot) {
        let tensor = self.tensors[slot.0].1.shallow_clone();
        self.push(name, tensor);
    }
    /// `torch.nn.Conv3d(inputs, outputs, …)`, `Conv2d` or their transposed variants: `{path}.weight` of shape
    /// `[outputs, inputs, …kernel]` (transposed: `[inputs, outputs, …kernel]`), and `{path}.bias`.
    pub fn conv(&mut self, path: &str, inputs: usize, outputs: usize, kernel: Kernel, bias: bool) -> Result<Conv> {
        let (first, second) = if kernel.transposed.is_some() { (inputs, outputs) } else { (outputs, inputs) };
        let shape: Vec<usize> = [first, second].into_iter().chain(kernel.size.iter().copied()).collect();
        // PyTorch uses the second axis as the number of inputs for transposed convolutions, too.
        let fan_in = shape[1..].iter().fold(1usize, |product, &n| product.saturating_mul(n));
        let weight = self.uniform(&format!("{path}.weight"), &shape, kaiming_bound(fan_in))?;
        let bound = 1.0 / (fan_in as f64).sqrt();
        let bias = bias.then(|| self.uniform(&format!("{path}.bias"), &[outputs], bound)).transpose()?;
        Ok(Conv { weight, bias, kernel })
    }
    /// The convolution before a pixel shuffle by 2, from `channels` to `8·channels`, initialized so that the eight
    /// outputs of a channel are equal (`monai.networks.utils.icnr_init`; Aitken et al. 2017).
    pub fn shuffle_conv(&mut self, path: &str, channels: usize) -> Result<Conv> {
        let outputs = channels.saturating_mul(8);
        let conv = self.conv(path, channels, outputs, Kernel::cube(3), true)?;
        let c = channels as i64;
        let std = 2f64.sqrt() / ((channels * 27) as f64).sqrt();
        let kernel = Tensor::f_zeros([c, c, 3, 3, 3], (tch::Kind::Float, tch::Device::Cpu))?.f_normal_(0.0, std)?;
        let spread = kernel.f_transpose(0, 1)?.f_reshape([c, c, -1])?.f_repeat([1, 1, 8])?;
        let spread = spread.f_reshape([c, 8 * c, 3, 3, 3])?.f_transpose(0, 1)?;
        let _guard = tch::no_grad_guard();
        self.tensors[conv.weight.0].1.f_copy_(&spread)?;
        Ok(conv)
    }
    /// Returns the tensors in order of creation, and by name in the order of PyTorch's `state_dict()`: order of
    /// registration, grouped by the name before the first dot in the order of `attributes` (the order in which MONAI's
    /// module sets them).
    pub fn finish(self, attributes: &[&str]) -> (Vec<Tensor>, NetworkState) {
        let rank = |name: &str| {
            let first = name.split('.').next().unwrap_or(name);
            attributes.iter().position(|attribute| *attribute == first)
        };
        let tensors = self.tensors.iter().map(|(_, tensor)| tensor.shallow_clone()).collect();
        let of = |&at: &usize| self.tensors.get(at).map(|(name, tensor)| (name.clone(), tensor.shallow_clone()));
        let mut ordered: Vec<(String, Tensor)> = self.registered.iter().filter_map(of).collect();
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

/// Copies `tensors` into the network's tensors of the same names, converting their type.
///
/// # Errors
/// Names or shapes that differ, see [`check_fit`]; nothing is copied then.
pub fn load_strict(network: &dyn Network, tensors: &[(String, Tensor)]) -> Result<()> {
    check_fit(network, &shapes(tensors))?;
    let given: HashMap<&str, &Tensor> = tensors.iter().map(|(name, tensor)| (&**name, tensor)).collect();
    let state = network.state();
    let _guard = tch::no_grad_guard();
    for (name, own) in &state.tensors {
        if let Some(given) = given.get(&**name) {
            own.shallow_clone().f_copy_(given)?;
        }
    }
    warn_unless_finite(network.name(), state)
}

/// Warns about weights that are NaN or infinite, as after a diverged training.
fn warn_unless_finite(network: &str, state: &NetworkState) -> Result<()> {
    let odd = state.not_finite()?;
    if let Some(first) = odd.first() {
        let more = if odd.len() > 1 { format!(" and {} more tensors", odd.len() - 1) } else { String::new() };
        tracing::warn!(
            "the weights loaded into {network} are NaN or infinite in `{first}`{more}: its predictions are meaningless"
        );
    }
    Ok(())
}

/// Checks the shape of a network's input: `[N, channels]` followed by the spatial axes, see [`Network::check_size`].
pub fn check_input(network: &dyn Network, x: &Tensor) -> Result<()> {
    let (size, axes, channels) = (x.size(), network.spatial_dims(), network.in_channels());
    if size.len() != axes + 2 || size[1] != channels as i64 {
        let axes = if axes == 2 { "X,Y" } else { "X,Y,Z" };
        return Err(err!("{}: expected an input of [N,{channels},{axes}], found {size:?}", network.name()));
    }
    network.check_size(&size[2..])
}

/// Sets libtorch's modes for one pass: no gradients in evaluation, autocast if `mode` requests it. Restored on drop.
pub fn guards(device: Device, mode: Mode) -> Result<(Option<tch::NoGradGuard>, Option<native::Autocast>)> {
    let autocast = mode.autocast.map(|kind| native::Autocast::new(device.tch(), kind)).transpose()?;
    Ok(((!mode.train).then(tch::no_grad_guard), autocast))
}

/// Moves every tensor to a device in place, so that shallow clones refer to the moved tensor, too.
pub fn move_to(state: &NetworkState, device: Device) -> Result<()> {
    for tensor in state.tensors.values() {
        if tensor.device() != device.tch() {
            tensor.shallow_clone().f_set_data(&tensor.detach().f_to_device(device.tch())?)?;
        }
    }
    Ok(())
}
