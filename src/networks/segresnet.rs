//! SegResNet: an encoder-decoder of residual blocks (Myronenko, "3D MRI brain tumor segmentation using autoencoder
//! regularization", 2018, without the autoencoder).
//!
//! MONAI source: `monai.networks.nets.segresnet`, `monai.networks.blocks.segresnet_block` and
//! `monai.networks.blocks.upsample` (1.6.1). Parameters have MONAI's names, order and initial values.
//!
//! On a CPU the default configuration (group norm, ReLU, interpolating upsampling) has fused implementations:
//! [`Network::features`] in evaluation ([`fused`]), [`Network::forward`] in training ([`training`]). All other
//! configurations use torch operations.

mod fused;
mod training;

use super::layers::{Act, Norm};
use super::params::{Builder, Conv, Kernel, check_input, guards, load_strict, move_to};
use crate::component::{Dict, Key, Value};
use crate::contracts::{Linear, Mode, Network, NetworkState};
use crate::err;
use crate::error::{Kind, Result};
use crate::torch::Device;
use tch::Tensor;

component! {
    /// SegResNet: encoder-decoder of residual blocks for 3D segmentation (Myronenko 2018).
    pub static COMPONENT = network "SegResNet" in "monai.networks.nets" / "segresnet";

    pub struct SegResNetArgs {
        /// Number of spatial dimensions; only 3 is supported.
        spatial_dims: usize = 3,
        /// Number of output channels of the first convolution; doubled at every level.
        init_filters: usize = 8,
        /// Number of input channels.
        in_channels: usize = 1,
        /// Number of output channels.
        out_channels: usize = 2,
        /// Dropout probability of the channels after the first convolution, in training.
        dropout_prob: Option<f64> = (),
        /// Activation: name, or (name, {arguments}).
        act: Value = relu(),
        /// Normalization: name, or (name, {arguments}).
        norm: Value = group(8),
        /// Deprecated form of `norm`; only "GROUP" is supported.
        norm_name: String = "",
        /// Number of groups for `norm_name`.
        num_groups: usize = 8,
        /// End the network with norm, activation and a 1×1×1 convolution to `out_channels`.
        use_conv_final: bool = true,
        /// Number of residual blocks at each level of the encoder.
        blocks_down: Vec<usize> = [1, 2, 2, 4],
        /// Number of residual blocks at each level of the decoder.
        blocks_up: Vec<usize> = [1, 1, 1],
        /// Upsampling method: "nontrainable" (interpolation), "deconv" or "pixelshuffle".
        upsample_mode: String = "nontrainable",
    }

    differs: [
        "spatial_dims must be 3",
        "blocks_up must have one entry fewer than blocks_down (MONAI fails when it runs)",
    ],
    build: SegResNet::new,
}

fn relu() -> Value {
    Value::tuple([Value::str("RELU"), Value::Dict(Dict::new([(Key::str("inplace"), Value::Bool(true))]))])
}

fn group(groups: i64) -> Value {
    Value::tuple([Value::str("GROUP"), Value::Dict(Dict::new([(Key::str("num_groups"), Value::Int(groups))]))])
}

/// Residual block: norm, activation, convolution, twice, added to the input.
#[derive(Debug)]
struct Block {
    norms: [Norm; 2],
    act: Act,
    convs: [Conv; 2],
}

/// Level of the encoder: a convolution of stride 2 (except at the first level), then blocks.
#[derive(Debug)]
struct Down {
    halve: Option<Conv>,
    blocks: Vec<Block>,
}

/// Level of the decoder: a 1×1×1 convolution that halves the channels, upsampling by 2, addition of the skip
/// connection, then blocks.
#[derive(Debug)]
struct Up {
    narrow: Conv,
    double: Double,
    blocks: Vec<Block>,
}

#[derive(Debug)]
enum Double {
    Trilinear,
    Deconv(Conv),
    PixelShuffle(Conv),
}

/// The network; see the module documentation.
pub struct SegResNet {
    /// Tensors in order of creation, indexed by slot.
    tensors: Vec<Tensor>,
    state: NetworkState,
    in_channels: usize,
    out_channels: usize,
    filters: usize,
    dropout: Option<f64>,
    first: Conv,
    down: Vec<Down>,
    up: Vec<Up>,
    last_norm: Norm,
    last_act: Act,
    last: Conv,
    use_conv_final: bool,
    device: Device,
    fast: fused::Cache,
}

/// Attributes of MONAI's module, in the order in which it sets them.
const ATTRIBUTES: [&str; 6] = ["act_mod", "convInit", "down_layers", "up_layers", "up_samples", "conv_final"];

/// Maximum number of levels; the number of filters doubles at each.
const MAX_LEVELS: usize = 12;

impl SegResNet {
    /// Creates the network on the CPU, with initial values from torch's random number generator.
    ///
    /// # Errors
    /// Invalid or unsupported arguments.
    pub fn new(args: SegResNetArgs) -> Result<SegResNet> {
        check(&args)?;
        let norm = if args.norm_name.is_empty() { args.norm.clone() } else { group(args.num_groups as i64) };
        let mut b = Builder::default();
        let last_act = Act::new(&args.act, &mut b, "act_mod")?;
        let first = b.conv("convInit.conv", args.in_channels, args.init_filters, Kernel::cube(3), false)?;

        let width = |level: usize| args.init_filters.saturating_mul(1 << level);
        let mut down = vec![];
        for (i, &count) in args.blocks_down.iter().enumerate() {
            let path = format!("down_layers.{i}");
            let halve = if i > 0 {
                Some(b.conv(
                    &format!("{path}.0.conv"),
                    width(i - 1),
                    width(i),
                    Kernel::cube(3).stride(&[2; 3]),
                    false,
                )?)
            } else {
                None
            };
            let blocks = (1..=count)
                .map(|k| block(&mut b, &format!("{path}.{k}"), width(i), &norm, &args.act))
                .collect::<Result<_>>()?;
            down.push(Down { halve, blocks });
        }
        let mut up = vec![];
        for (i, &count) in args.blocks_up.iter().enumerate() {
            let channels = width(args.blocks_up.len() - i - 1);
            let path = format!("up_layers.{i}");
            let blocks = (0..count)
                .map(|k| block(&mut b, &format!("{path}.{k}"), channels, &norm, &args.act))
                .collect::<Result<_>>()?;
            let narrow = b.conv(&format!("up_samples.{i}.0.conv"), channels * 2, channels, Kernel::cube(1), false)?;
            let double = match args.upsample_mode.as_str() {
                "deconv" => {
                    let kernel = Kernel { padding: vec![0; 3], ..Kernel::cube(2) }.stride(&[2; 3]).transposed();
                    Double::Deconv(b.conv(&format!("up_samples.{i}.1.deconv"), channels, channels, kernel, true)?)
                }
                "pixelshuffle" => Double::PixelShuffle(
                    b.shuffle_conv(&format!("up_samples.{i}.1.pixelshuffle.conv_block"), channels)?,
                ),
                _ => Double::Trilinear,
            };
            up.push(Up { narrow, double, blocks });
        }
        let last_norm = Norm::new(&norm, args.init_filters, &mut b, "conv_final.0")?;
        if let Act::Prelu(slope) = last_act {
            b.alias("conv_final.1.weight", slope);
        }
        let last = b.conv("conv_final.2.conv", args.init_filters, args.out_channels, Kernel::cube(1), true)?;
        let (tensors, state) = b.finish(&ATTRIBUTES);
        Ok(SegResNet {
            tensors,
            state,
            in_channels: args.in_channels,
            out_channels: if args.use_conv_final { args.out_channels } else { args.init_filters },
            filters: args.init_filters,
            dropout: args.dropout_prob,
            first,
            down,
            up,
            last_norm,
            last_act,
            last,
            use_conv_final: args.use_conv_final,
            device: Device::Cpu,
            fast: fused::Cache::default(),
        })
    }

    /// All layers before the final norm: maps `[N, Cin, X, Y, Z]` to `[N, filters, X, Y, Z]`.
    fn body(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let p = &self.tensors;
        let mut x = self.first.forward(x, p);
        if let Some(chance) = self.dropout {
            x = x.feature_dropout(chance, train);
        }
        let mut skips = vec![];
        for level in &self.down {
            if let Some(halve) = &level.halve {
                x = halve.forward(&x, p);
            }
            x = level.blocks.iter().try_fold(x, |x, block| block.forward(&x, p, train))?;
            skips.push(x.shallow_clone());
        }
        skips.pop();
        for level in &self.up {
            let wide = level.double.forward(&level.narrow.forward(&x, p), p);
            x = match skips.pop() {
                Some(skip) => wide + skip,
                None => wide,
            };
            x = level.blocks.iter().try_fold(x, |x, block| block.forward(&x, p, train))?;
        }
        Ok(x)
    }

    fn plain_features(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let x = self.body(x, train)?;
        if !self.use_conv_final {
            return Ok(x);
        }
        Ok(self.last_act.forward(self.last_norm.forward(&x, &self.tensors, train)?, &self.tensors))
    }
}

impl Block {
    fn forward(&self, x: &Tensor, p: &[Tensor], train: bool) -> Result<Tensor> {
        let [norm1, norm2] = &self.norms;
        let [conv1, conv2] = &self.convs;
        let y = conv1.forward(&self.act.forward(norm1.forward(x, p, train)?, p), p);
        let mut y = conv2.forward(&self.act.forward(norm2.forward(&y, p, train)?, p), p);
        y += x;
        Ok(y)
    }
}

impl Double {
    /// Maps `[N, C, X, Y, Z]` to `[N, C, 2X, 2Y, 2Z]`.
    fn forward(&self, x: &Tensor, p: &[Tensor]) -> Tensor {
        match self {
            Double::Trilinear => x.upsample_trilinear3d_vec(None::<&[i64]>, false, &[2.0, 2.0, 2.0][..]),
            Double::Deconv(conv) => conv.forward(x, p),
            Double::PixelShuffle(conv) => {
                let y = conv.forward(x, p); // [N,8C,X,Y,Z]
                let c = y.size()[1];
                // By axes and not by sizes, so that a TorchScript export works for any size.
                let y = y.unflatten(1, [c / 8, 2, 2, 2]).permute([0, 1, 5, 2, 6, 3, 7, 4]);
                let y = y.flatten(6, 7).flatten(4, 5).flatten(2, 3);
                // Average pooling against checkerboard artifacts, with zero padding at the start of each axis.
                y.constant_pad_nd([1, 0, 1, 0, 1, 0]).avg_pool3d(
                    [2, 2, 2],
                    [1, 1, 1],
                    [0, 0, 0],
                    false,
                    true,
                    None::<i64>,
                )
            }
        }
    }
}

fn block(b: &mut Builder, path: &str, channels: usize, norm: &Value, act: &Value) -> Result<Block> {
    let norms = [
        Norm::new(norm, channels, b, &format!("{path}.norm1"))?,
        Norm::new(norm, channels, b, &format!("{path}.norm2"))?,
    ];
    let act = Act::new(act, b, &format!("{path}.act"))?;
    let mut conv = |name: &str| b.conv(&format!("{path}.{name}.conv"), channels, channels, Kernel::cube(3), false);
    Ok(Block { norms, act, convs: [conv("conv1")?, conv("conv2")?] })
}

fn check(args: &SegResNetArgs) -> Result<()> {
    let fail = |message: String| Err(err!("{message}").kind(Kind::Config));
    if args.spatial_dims != 3 {
        return Err(err!("expected spatial_dims 3, found {}", args.spatial_dims).kind(Kind::Unsupported));
    }
    for (name, value) in
        [("init_filters", args.init_filters), ("in_channels", args.in_channels), ("out_channels", args.out_channels)]
    {
        if value == 0 {
            return fail(format!("expected {name} of at least 1, found 0"));
        }
    }
    let (levels, up) = (args.blocks_down.len(), args.blocks_up.len());
    if levels == 0 || levels > MAX_LEVELS || up + 1 != levels {
        let error = err!(
            "expected 1 to {MAX_LEVELS} entries in blocks_down and one fewer in blocks_up, found {:?} and {:?}",
            args.blocks_down,
            args.blocks_up
        );
        return Err(error.kind(Kind::Config).arguments(&["blocks_down", "blocks_up"]));
    }
    if let Some(&count) = args.blocks_down.iter().chain(&args.blocks_up).find(|&&count| count > 1000) {
        return fail(format!("expected at most 1000 blocks per level, found {count}"));
    }
    if let Some(p) = args.dropout_prob.filter(|p| !(0.0..=1.0).contains(p)) {
        return fail(format!("expected dropout_prob from 0 to 1, found {p}"));
    }
    if !args.norm_name.is_empty() && !args.norm_name.eq_ignore_ascii_case("group") {
        return fail(format!("norm_name can only be 'group', found '{}'; use `norm`", args.norm_name));
    }
    if !["nontrainable", "deconv", "pixelshuffle"].contains(&args.upsample_mode.as_str()) {
        return fail(format!(
            "expected upsample_mode nontrainable, deconv or pixelshuffle, found '{}'",
            args.upsample_mode
        ));
    }
    Ok(())
}

impl Network for SegResNet {
    fn name(&self) -> &str {
        COMPONENT.name
    }
    fn multiples(&self) -> Vec<i64> {
        vec![1 << self.up.len(); 3]
    }
    fn in_channels(&self) -> usize {
        self.in_channels
    }
    fn out_channels(&self) -> usize {
        self.out_channels
    }
    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        check_input(self, x)?;
        if let Some(logits) = training::forward(self, x, mode)? {
            return Ok(logits);
        }
        let _guards = guards(self.device, mode)?;
        let x = self.plain_features(x, mode.train)?;
        Ok(if self.use_conv_final { self.last.forward(&x, &self.tensors) } else { x })
    }
    fn features(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        check_input(self, x)?;
        if let Some(features) = fused::features(self, x, mode)? {
            return Ok(features);
        }
        let _guards = guards(self.device, mode)?;
        self.plain_features(x, mode.train)
    }
    fn head(&self) -> Option<Linear> {
        let flat = |tensor: &Tensor| tensor.detach().view([self.out_channels as i64, -1]);
        self.use_conv_final.then(|| Linear {
            weight: flat(&self.tensors[self.last.weight.0]),
            bias: self.last.bias.map(|bias| self.tensors[bias.0].detach()),
        })
    }
    fn feature_channels(&self) -> usize {
        self.filters
    }
    fn state(&self) -> &NetworkState {
        &self.state
    }
    fn load(&mut self, tensors: &[(String, Tensor)]) -> Result<()> {
        load_strict(self, tensors)
    }
    fn to(&mut self, device: Device) -> Result<()> {
        move_to(&self.state, device)?;
        self.fast.clear();
        self.device = device;
        Ok(())
    }
    fn device(&self) -> Device {
        self.device
    }
}
