//! SegResNet in training on a CPU in f32: convolutions of libtorch between the fused operations of
//! [`segbundle_native::training`], which store half of the activations and compute a third of the products.

use super::{Block, Norm, SegResNet, fused};
use crate::contracts::Mode;
use crate::error::Result;
use crate::networks::params::Conv;
use crate::torch::Device;
use segbundle_native as native;
use segbundle_native::training::{NormRelu, norm_head, residual_block, to_channels_last, upsample_sum};
use tch::{Kind, Tensor};

/// Maps `[N, Cin, X, Y, Z]` (f32) to `[N, Cout, X, Y, Z]`, contiguous; `None` if this implementation does not support
/// the network or the mode.
pub fn forward(net: &SegResNet, x: &Tensor, mode: Mode) -> Result<Option<Tensor>> {
    let on_cpu = net.device == Device::Cpu && x.device() == tch::Device::Cpu;
    let f32 = mode.autocast.is_none() && net.tensors.iter().chain([x]).all(|tensor| tensor.kind() == Kind::Float);
    let whole = net.tensors.iter().all(Tensor::is_contiguous);
    let Some(bias) = net.last.bias else { return Ok(None) };
    if !mode.train || !on_cpu || !f32 || !whole || !fused::usual(net) || !native::fills_vectors(net.filters as i64) {
        return Ok(None);
    }
    let p = &net.tensors;
    let mut x = conv(&net.first, &native::channels_last(x)?, p)?;
    if let Some(chance) = net.dropout {
        x = x.f_feature_dropout(chance, true)?;
    }
    let mut skips = vec![];
    for level in &net.down {
        if let Some(halve) = &level.halve {
            x = conv(halve, &x, p)?;
        }
        x = blocks(&level.blocks, x, p)?;
        skips.push(x.shallow_clone());
    }
    skips.pop();
    for level in &net.up {
        let narrow = conv(&level.narrow, &x, p)?;
        let Some(skip) = skips.pop() else { break };
        x = blocks(&level.blocks, upsample_sum(&narrow, &skip)?, p)?;
    }
    Ok(Some(norm_head(&x, norm(&net.last_norm, p)?, &p[net.last.weight.0], &p[bias.0])?))
}

fn conv(conv: &Conv, x: &Tensor, p: &[Tensor]) -> Result<Tensor> {
    let y =
        x.f_conv3d(&p[conv.weight.0], None::<&Tensor>, &*conv.kernel.stride, &*conv.kernel.padding, [1, 1, 1], 1)?;
    Ok(to_channels_last(&y)?)
}

fn blocks(blocks: &[Block], x: Tensor, p: &[Tensor]) -> Result<Tensor> {
    blocks.iter().try_fold(x, |x, block| {
        let norms = [norm(&block.norms[0], p)?, norm(&block.norms[1], p)?];
        Ok(residual_block(&x, norms, block.convs.each_ref().map(|conv| &p[conv.weight.0]))?)
    })
}

fn norm<'a>(norm: &Norm, p: &'a [Tensor]) -> Result<NormRelu<'a>> {
    match norm {
        Norm::Group { groups, affine: Some((weight, bias)), eps } => {
            Ok(NormRelu { weight: &p[weight.0], bias: &p[bias.0], groups: *groups, eps: *eps })
        }
        _ => crate::bail!("SegResNet: expected a group norm"),
    }
}
