//! SegResNet in evaluation on a CPU: channels-last convolutions of libtorch between fused element-wise passes.
//!
//! Norm, ReLU and the moments for the next norm are memory-bound, so the number of passes over each tensor is
//! minimized: the residual addition and the addition of the upsampled skip connection accumulate the moments for the
//! following norm, and norms work in place. Moments are accumulated in f64, since libtorch's channels-last group norm
//! loses too many digits. With autocast to bf16, activations and weights are bf16, and every norm computes in f32.

use super::{Act, Block, Double, Norm, SegResNet};
use crate::contracts::Mode;
use crate::error::Result;
use crate::networks::params::Conv;
use crate::torch::Device;
use parking_lot::Mutex;
use segbundle_native as native;
use segbundle_native::{Affine, Conv3, GroupNorm, Moments};
use tch::{Kind, Tensor};

/// Weights in the layouts of this implementation, prepared in the first pass after they changed.
#[derive(Default)]
pub struct Cache(Mutex<Option<Weights>>);

impl Cache {
    /// Discards the prepared weights, after the parameters were moved or replaced.
    pub fn clear(&self) {
        *self.0.lock() = None;
    }
}

struct Weights {
    kind: Kind,
    /// Version counter of the parameters, which increases with every in-place change (loading, an optimizer step).
    version: i64,
    /// Convolution weights in channels-last layout and `kind`, by slot.
    convs: Vec<Option<Tensor>>,
    /// Weights of the blocks' convolutions for our own kernel, which does not support bf16, by slot.
    conv3s: Vec<Option<Conv3>>,
    /// Scales and shifts of the norms, by slot of the norm's weight.
    affines: Vec<Option<Affine>>,
}

/// A tensor, and its moments if a norm follows.
type Walked = (Tensor, Option<Moments>);

/// Maps `[N, Cin, X, Y, Z]` (f32) to features `[N, F, X, Y, Z]` in channels-last layout (f32 or bf16); `None` if this
/// implementation does not support the network or the mode.
pub fn features(net: &SegResNet, x: &Tensor, mode: Mode) -> Result<Option<Tensor>> {
    let kind = mode.autocast.unwrap_or(Kind::Float);
    if mode.train
        || net.device != Device::Cpu
        || x.device() != tch::Device::Cpu
        || x.kind() != Kind::Float
        || !usual(net)
    {
        return Ok(None);
    }
    if !matches!(kind, Kind::Float | Kind::BFloat16)
        || net.tensors.iter().any(|tensor| tensor.is_floating_point() && tensor.kind() != Kind::Float)
    {
        return Ok(None);
    }
    let _no_grad = tch::no_grad_guard();
    let mut cache = net.fast.0.lock();
    let version = net.tensors.iter().map(Tensor::internal_version).sum();
    let weights = match cache.take() {
        Some(weights) if weights.kind == kind && weights.version == version => weights,
        _ => Weights::new(net, kind, version)?,
    };
    let weights = cache.insert(weights);
    weights.run(net, x).map(Some)
}

/// Whether the network has group norms with weights, ReLU, interpolating upsampling and a head.
pub fn usual(net: &SegResNet) -> bool {
    let norm = |norm: &Norm| matches!(norm, Norm::Group { affine: Some(_), .. });
    let blocks = |blocks: &[Block]| {
        blocks.iter().all(|block| matches!(block.act, Act::Relu { .. }) && block.norms.iter().all(norm))
    };
    net.use_conv_final
        && matches!(net.last_act, Act::Relu { .. })
        && norm(&net.last_norm)
        && net.down.iter().all(|level| blocks(&level.blocks))
        && net.up.iter().all(|level| blocks(&level.blocks) && matches!(level.double, Double::Trilinear))
}

impl Weights {
    fn new(net: &SegResNet, kind: Kind, version: i64) -> Result<Weights> {
        let count = net.tensors.len();
        let empty = || (0..count).map(|_| None).collect();
        let mut weights = Weights {
            kind,
            version,
            convs: empty(),
            conv3s: (0..count).map(|_| None).collect(),
            affines: vec![None; count],
        };
        let blocks =
            || net.down.iter().flat_map(|level| &level.blocks).chain(net.up.iter().flat_map(|level| &level.blocks));
        let inner = blocks().flat_map(|block| &block.convs);
        let outer =
            net.down.iter().filter_map(|level| level.halve.as_ref()).chain(net.up.iter().map(|level| &level.narrow));
        if kind == Kind::Float {
            for conv in inner.clone() {
                weights.conv3s[conv.weight.0] = Conv3::new(&net.tensors[conv.weight.0].detach())?;
            }
        }
        for conv in inner.chain(outer).chain([&net.first]) {
            if weights.conv3s[conv.weight.0].is_none() {
                let weight = net.tensors[conv.weight.0].detach().f_to_kind(kind)?;
                weights.convs[conv.weight.0] = Some(native::channels_last(&weight)?);
            }
        }
        for norm in blocks().flat_map(|block| &block.norms).chain([&net.last_norm]) {
            if let Norm::Group { affine: Some((weight, bias)), .. } = norm {
                let values = |tensor: &Tensor| Vec::<f32>::try_from(tensor.detach());
                weights.affines[weight.0] =
                    Some(Affine { weight: values(&net.tensors[weight.0])?, bias: values(&net.tensors[bias.0])? });
            }
        }
        let (winograd, direct) = (weights.conv3s.iter().flatten().count(), weights.convs.iter().flatten().count());
        tracing::debug!("SegResNet: {winograd} Winograd and {direct} other convolutions, fused with norms and ReLU");
        Ok(weights)
    }

    fn run(&self, net: &SegResNet, x: &Tensor) -> Result<Tensor> {
        let x = native::channels_last(&x.f_to_kind(self.kind)?)?;
        let mut walked = (self.conv(&net.first, &x)?, None);
        drop(x);
        let mut skips = vec![];
        for (i, level) in net.down.iter().enumerate() {
            if let Some(halve) = &level.halve {
                walked = (self.conv(halve, &walked.0)?, None);
            }
            walked = self.blocks(&level.blocks, walked)?;
            if i + 1 < net.down.len() {
                skips.push(walked.0.shallow_clone());
            }
        }
        for level in &net.up {
            let Some(mut skip) = skips.pop() else { break };
            let narrow = self.conv(&level.narrow, &walked.0)?;
            // This is the last use of the skip connection, which is overwritten; `walked` was the only other reference
            // to it.
            drop(walked);
            let moments = native::upsample_add(&narrow, &mut skip)?;
            drop(narrow);
            walked = self.blocks(&level.blocks, (skip, Some(moments)))?;
        }
        self.norm_relu_(&net.last_norm, walked)
    }

    fn conv(&self, conv: &Conv, x: &Tensor) -> Result<Tensor> {
        let weight =
            self.convs[conv.weight.0].as_ref().ok_or_else(|| crate::err!("SegResNet: a weight is not prepared"))?;
        let y = x.f_conv3d(weight, None::<&Tensor>, &*conv.kernel.stride, &*conv.kernel.padding, [1, 1, 1], 1)?;
        Ok(native::channels_last(&y)?)
    }

    /// Applies residual blocks. The input must not be referenced elsewhere: it is overwritten.
    fn blocks(&self, blocks: &[Block], walked: Walked) -> Result<Walked> {
        blocks.iter().try_fold(walked, |(mut x, moments), block| {
            let moments = moments.map_or_else(|| native::moments(&x), Ok)?;
            let norm = self.norm(&block.norms[0], &moments)?;
            let moments = match block.convs.each_ref().map(|conv| self.conv3s[conv.weight.0].as_ref()) {
                [Some(first), Some(second)] => {
                    let (y, moments) = first.forward(&x, &norm)?;
                    second.forward_add(&y, &self.norm(&block.norms[1], &moments)?, &mut x)?
                }
                _ => {
                    // Assigned instead of shadowed, so that each tensor is freed as soon as the next one exists.
                    let mut y = norm.apply(&x, true)?;
                    y = self.conv(&block.convs[0], &y)?;
                    y = self.norm_relu_(&block.norms[1], (y, None))?;
                    y = self.conv(&block.convs[1], &y)?;
                    native::add_moments(&mut x, &y)?
                }
            };
            Ok((x, Some(moments)))
        })
    }

    /// Norm and ReLU, in place.
    fn norm_relu_(&self, norm: &Norm, (mut x, moments): Walked) -> Result<Tensor> {
        let moments = moments.map_or_else(|| native::moments(&x), Ok)?;
        self.norm(norm, &moments)?.apply_(&mut x, true)?;
        Ok(x)
    }

    fn norm<'a>(&'a self, norm: &Norm, moments: &'a Moments) -> Result<GroupNorm<'a>> {
        match norm {
            Norm::Group { groups, affine: Some((weight, _)), eps } => {
                let affine =
                    self.affines[weight.0].as_ref().ok_or_else(|| crate::err!("SegResNet: a norm is not prepared"))?;
                Ok(GroupNorm { moments, groups: *groups, affine, eps: *eps })
            }
            _ => crate::bail!("SegResNet: expected a group norm"),
        }
    }
}
