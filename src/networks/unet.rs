//! UNet (monai.networks.nets.unet, MONAI 1.6.1): an encoder of strided convolutions, a decoder of transposed ones, with
//! skip connections between them; optionally of residual units (Kerfoot et al. 2018).
//!
//! Differences from MONAI: `spatial_dims` is 2 or 3; an input whose axes are not multiples of the product of the
//! strides is rejected at the input (MONAI fails at a skip connection, or returns a larger output).

use super::blocks::{BlockArgs, Convolution, ResidualUnit};
use super::params::{Builder, Kernel, check_input, guards, load_strict, move_to};
use crate::component::{OneOrMany, Value};
use crate::contracts::{Mode, Network, NetworkState};
use crate::error::{Kind, Result};
use crate::torch::Device;
use crate::{bail, err};
use tch::Tensor;

component! {
    /// U-Net of strided and transposed convolutions, with optional residual units, in 2D or 3D.
    pub static COMPONENT = network "UNet" in "monai.networks.nets" / "unet" also "Unet";

    pub struct UNetArgs {
        /// Number of spatial axes, 2 or 3.
        spatial_dims: usize,
        /// Number of input channels.
        in_channels: usize,
        /// Number of output channels.
        out_channels: usize,
        /// Channels of each level, from the top; at least two levels.
        channels: Vec<usize>,
        /// Stride of each level but the lowest, for all axes or each.
        strides: Vec<OneOrMany<usize>>,
        /// Size of the convolutions' kernels, odd, for all axes or each.
        kernel_size: OneOrMany<usize> = 3,
        /// Size of the transposed convolutions' kernels, odd, for all axes or each.
        up_kernel_size: OneOrMany<usize> = 3,
        /// Convolutions of a residual unit; 0 builds the network without residual units.
        num_res_units: usize = 0,
        /// Activation: a name or (name, {arguments}).
        act: Value = "PRELU",
        /// Normalization: a name or (name, {arguments}).
        norm: Value = "INSTANCE",
        /// Dropout probability in training.
        dropout: Value = 0.0,
        /// Whether convolutions have a bias.
        bias: bool = true,
        /// Order of activation (A), normalization (N) and dropout (D) after a convolution.
        adn_ordering: String = "NDA",
    }

    differs: [
        "spatial_dims must be 2 or 3",
        "the input's axes must be multiples of the product of the strides",
    ],
    build: UNet::new,
}

/// Encoder of a level, or the lowest level.
#[derive(Debug)]
enum Down {
    Convolution(Convolution),
    Residual(ResidualUnit),
}

/// A level above the lowest one.
#[derive(Debug)]
struct Level {
    down: Down,
    /// Decoder: its input is the output of `down` concatenated with that of the level below.
    up: Convolution,
    refine: Option<ResidualUnit>,
}

/// The network; see the module documentation.
pub struct UNet {
    /// Tensors in order of creation, indexed by slot.
    tensors: Vec<Tensor>,
    state: NetworkState,
    in_channels: usize,
    out_channels: usize,
    /// Levels from the highest resolution down.
    levels: Vec<Level>,
    bottom: Down,
    /// Divisors that the input's size must have, per axis.
    multiples: Vec<i64>,
    device: Device,
}

/// Maximum number of levels, since configs are untrusted.
const MAX_LEVELS: usize = 32;
const MAX_UNITS: usize = 1000;
/// Maximum product of the strides of an axis: no image has more voxels along an axis.
const MAX_PRODUCT: i64 = 1 << 16;

impl UNet {
    /// Creates the network on the CPU, with initial values from torch's random number generator.
    ///
    /// # Errors
    /// Invalid or unsupported arguments.
    pub fn new(args: UNetArgs) -> Result<UNet> {
        check(&args).map_err(|error| error.kind(Kind::Config))?;
        let axes = args.spatial_dims;
        let depth = args.channels.len() - 1;
        if args.strides.len() > depth {
            tracing::warn!("UNet: the last {} of the `strides` are not used", args.strides.len() - depth);
        }
        let stride = |stride: &OneOrMany<usize>| -> Result<Vec<i64>> {
            Ok(stride.repeat(axes, "strides")?.into_iter().map(|n| n as i64).collect())
        };
        let strides = args.strides[..depth].iter().map(stride).collect::<Result<Vec<_>>>()?;
        let multiples = (0..axes).map(|axis| product(&strides, axis)).collect::<Result<Vec<i64>>>()?;
        let kernel = Kernel::same(&args.kernel_size.repeat(axes, "kernel_size")?);
        let up_kernel = Kernel::same(&args.up_kernel_size.repeat(axes, "up_kernel_size")?);
        let block = BlockArgs {
            act: args.act.clone(),
            norm: args.norm.clone(),
            dropout: args.dropout.clone(),
            bias: args.bias,
            adn_ordering: args.adn_ordering.clone(),
        };
        let units = args.num_res_units;
        let down = |channels: [usize; 2], kernel: Kernel, b: &mut Builder, path: &str| -> Result<Down> {
            Ok(match units {
                0 => Down::Convolution(Convolution::new(&block, channels, kernel, false, b, path)?),
                _ => Down::Residual(ResidualUnit::new(&block, channels, kernel, units, false, b, path)?),
            })
        };
        // MONAI creates the lowest level first, then each level's encoder and decoder from there upwards, and lists a
        // level's encoder before the levels below it.
        let path = |level: usize| format!("model{}", ".1.submodule".repeat(level));
        let mut b = Builder::default();
        let bottom = down([args.channels[depth - 1], args.channels[depth]], kernel.clone(), &mut b, &path(depth))?;
        let mut levels = vec![];
        for (at, stride) in strides.iter().enumerate().rev() {
            let channels = args.channels[at];
            let (inputs, outputs) = match at {
                0 => (args.in_channels, args.out_channels),
                _ => (args.channels[at - 1], args.channels[at - 1]),
            };
            let joined = channels + if at + 1 == depth { args.channels[depth] } else { channels };
            let (path, below) = (path(at), b.created());
            let down = down([inputs, channels], kernel.clone().stride(stride), &mut b, &format!("{path}.0"))?;
            b.register_before(0, below);
            let up_kernel = up_kernel.clone().stride(stride).transposed();
            let (up, refine) = match units {
                0 => {
                    let path = format!("{path}.2");
                    (Convolution::new(&block, [joined, outputs], up_kernel, at == 0, &mut b, &path)?, None)
                }
                _ => {
                    let paths = [0, 1].map(|part| format!("{path}.2.{part}"));
                    let up = Convolution::new(&block, [joined, outputs], up_kernel, false, &mut b, &paths[0])?;
                    let (channels, kernel) = ([outputs, outputs], kernel.clone());
                    (up, Some(ResidualUnit::new(&block, channels, kernel, 1, at == 0, &mut b, &paths[1])?))
                }
            };
            levels.insert(0, Level { down, up, refine });
        }
        let (tensors, state) = b.finish(&[]);
        Ok(UNet {
            tensors,
            state,
            in_channels: args.in_channels,
            out_channels: args.out_channels,
            levels,
            bottom,
            multiples,
            device: Device::Cpu,
        })
    }
}

fn check(args: &UNetArgs) -> Result<()> {
    if !matches!(args.spatial_dims, 2 | 3) {
        bail!("expected spatial_dims 2 or 3, found {}", args.spatial_dims);
    }
    let levels = args.channels.len();
    if !(2..=MAX_LEVELS).contains(&levels) {
        bail!("expected 2 to {MAX_LEVELS} entries in `channels`, found {levels}");
    }
    if args.strides.len() + 1 < levels {
        return Err(err!(
            "expected {} entries in `strides`, one fewer than in `channels`, found {}",
            levels - 1,
            args.strides.len()
        ));
    }
    if args.num_res_units > MAX_UNITS {
        bail!("expected `num_res_units` of at most {MAX_UNITS}, found {}", args.num_res_units);
    }
    let numbers = [("in_channels", args.in_channels), ("out_channels", args.out_channels)];
    let channels = args.channels.iter().map(|&n| ("channels", n));
    let strides = args.strides.iter().flat_map(each).map(|&n| ("strides", n));
    if let Some((name, _)) = numbers.into_iter().chain(channels).chain(strides).find(|(_, n)| *n == 0) {
        bail!("expected `{name}` of at least 1, found 0");
    }
    for (name, size) in [("kernel_size", &args.kernel_size), ("up_kernel_size", &args.up_kernel_size)] {
        if let Some(even) = each(size).iter().find(|&n| n % 2 == 0) {
            bail!("expected an odd `{name}`, found {even}");
        }
    }
    Ok(())
}

/// Product of the strides of an axis, which divides the size of the input.
fn product(strides: &[Vec<i64>], axis: usize) -> Result<i64> {
    let product = strides.iter().try_fold(1i64, |product, stride| product.checked_mul(stride[axis]));
    product.filter(|product| *product <= MAX_PRODUCT).ok_or_else(|| {
        err!("expected `strides` with a product of at most {MAX_PRODUCT} for each axis, found larger ones")
            .kind(Kind::Config)
    })
}

fn each<T>(values: &OneOrMany<T>) -> &[T] {
    match values {
        OneOrMany::One(value) => std::slice::from_ref(value),
        OneOrMany::Many(values) => values,
    }
}

impl Down {
    fn forward(&self, x: &Tensor, parameters: &[Tensor], train: bool) -> Result<Tensor> {
        match self {
            Down::Convolution(convolution) => convolution.forward(x, parameters, train),
            Down::Residual(unit) => unit.forward(x, parameters, train),
        }
    }
}

impl Network for UNet {
    fn name(&self) -> &str {
        COMPONENT.name
    }
    fn spatial_dims(&self) -> usize {
        self.multiples.len()
    }
    fn multiples(&self) -> Vec<i64> {
        self.multiples.clone()
    }
    fn in_channels(&self) -> usize {
        self.in_channels
    }
    fn out_channels(&self) -> usize {
        self.out_channels
    }
    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        check_input(self, x)?;
        let _guards = guards(self.device, mode)?;
        let (p, train) = (&self.tensors, mode.train);
        let mut x = x.shallow_clone();
        let mut skips = vec![];
        for level in &self.levels {
            x = level.down.forward(&x, p, train)?;
            skips.push(x.shallow_clone());
        }
        x = self.bottom.forward(&x, p, train)?;
        for (level, skip) in self.levels.iter().zip(skips).rev() {
            x = level.up.forward(&Tensor::f_cat(&[skip, x], 1)?, p, train)?;
            if let Some(unit) = &level.refine {
                x = unit.forward(&x, p, train)?;
            }
        }
        Ok(x)
    }
    fn state(&self) -> &NetworkState {
        &self.state
    }
    fn load(&mut self, tensors: &[(String, Tensor)]) -> Result<()> {
        load_strict(self, tensors)
    }
    fn to(&mut self, device: Device) -> Result<()> {
        move_to(&self.state, device)?;
        self.device = device;
        Ok(())
    }
    fn device(&self) -> Device {
        self.device
    }
}
