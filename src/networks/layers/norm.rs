//! Normalizations: MONAI's `Norm` factory.

use super::{split, unsupported};
use crate::component::{Declared, OneOrMany, Value};
use crate::error::{Kind, Result};
use crate::networks::params::{Builder, Slot};
use crate::{args, err};
use tch::Tensor;

/// A normalization over `[N, C, X, Y, Z]` or `[N, C, X, Y]`.
#[derive(Debug, Clone, PartialEq)]
pub enum Norm {
    /// Passes its input through.
    Identity,
    /// Normalizes over the voxels and channels of each group (`torch.nn.GroupNorm`).
    Group {
        /// Number of groups; divides the number of channels.
        groups: usize,
        /// Weight and bias per channel, f32 `[C]`.
        affine: Option<(Slot, Slot)>,
        /// Constant added to the variance.
        eps: f64,
    },
    /// Normalizes over the voxels of each item and channel (`torch.nn.InstanceNorm3d` or `2d`).
    Instance {
        /// Weight and bias per channel, f32 `[C]`.
        affine: Option<(Slot, Slot)>,
        /// Running statistics, used in evaluation; `None` to always use those of the input.
        running: Option<Running>,
        /// Weight of a new batch in the running statistics; `None` freezes them.
        momentum: Option<f64>,
        /// Constant added to the variance.
        eps: f64,
    },
    /// Normalizes over the items and voxels of each channel (`torch.nn.BatchNorm3d` or `2d`).
    Batch {
        /// Weight and bias per channel, f32 `[C]`.
        affine: Option<(Slot, Slot)>,
        /// Running statistics, used in evaluation; `None` to always use those of the batch.
        running: Option<Running>,
        /// Weight of a new batch in the running statistics; `None` for the mean of all batches.
        momentum: Option<f64>,
        /// Constant added to the variance.
        eps: f64,
    },
    /// Normalizes over the last axes, which must have this `shape`.
    Layer {
        /// Sizes of the last axes of the input.
        shape: Vec<i64>,
        /// Factor per element, f32 of `shape`.
        weight: Option<Slot>,
        /// Offset per element, f32 of `shape`.
        bias: Option<Slot>,
        /// Constant added to the variance.
        eps: f64,
    },
    /// Divides by `(k + alpha · m)^beta`, where `m` is the mean of the squares over `size` neighboring channels.
    LocalResponse {
        /// Number of neighboring channels.
        size: i64,
        /// Factor of the mean square.
        alpha: f64,
        /// Exponent of the divisor.
        beta: f64,
        /// Constant added to the mean square.
        k: f64,
    },
}

/// Buffers of running statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    /// Running mean, f32 `[C]`.
    pub mean: Slot,
    /// Running variance, f32 `[C]`.
    pub var: Slot,
    /// Number of batches tracked, int64.
    pub batches: Slot,
}

args! { struct GroupArgs { num_groups: usize, num_channels: Option<usize> = (), eps: f64 = 1e-5, affine: bool = true } }
args! { struct InstanceArgs {
    num_features: Option<usize> = (), eps: f64 = 1e-5, momentum: Option<f64> = 0.1, affine: bool = false, track_running_stats: bool = false,
} }
args! { struct BatchArgs {
    num_features: Option<usize> = (), eps: f64 = 1e-5, momentum: Option<f64> = 0.1, affine: bool = true, track_running_stats: bool = true,
} }

args! { struct LayerArgs {
    normalized_shape: OneOrMany<usize>, eps: f64 = 1e-5, elementwise_affine: bool = true, bias: bool = true,
} }
args! { struct LocalResponseArgs { size: usize, alpha: f64 = 1e-4, beta: f64 = 0.75, k: f64 = 1.0 } }

impl Norm {
    /// Builds the normalization of `channels` channels that `spec` names; its tensors are `{path}.weight` and so on.
    pub fn new(spec: &Value, channels: usize, builder: &mut Builder, path: &str) -> Result<Norm> {
        let (name, args) = split("norm", spec)?;
        let fits = |given: Option<usize>| match given {
            Some(n) if n != channels => {
                Err(err!("norm {name} is for {n} channels, expected {channels}").kind(Kind::Config))
            }
            _ => Ok(()),
        };
        match name.as_str() {
            "" => Ok(Norm::Identity),
            "GROUP" => {
                let args = GroupArgs::parse(&name, args)?;
                fits(args.num_channels)?;
                if args.num_groups == 0 || !channels.is_multiple_of(args.num_groups) {
                    return Err(err!(
                        "norm GROUP: {channels} channels cannot be split into {} groups",
                        args.num_groups
                    )
                    .kind(Kind::Config));
                }
                Ok(Norm::Group {
                    groups: args.num_groups,
                    affine: affine(builder, path, channels, args.affine)?,
                    eps: args.eps,
                })
            }
            // Without apex MONAI builds the plain instance norm under the second name, too.
            "INSTANCE" | "INSTANCE_NVFUSER" => {
                let args = InstanceArgs::parse(&name, args)?;
                fits(args.num_features)?;
                let affine = affine(builder, path, channels, args.affine)?;
                let running = running(builder, path, channels, args.track_running_stats)?;
                Ok(Norm::Instance { affine, running, momentum: args.momentum, eps: args.eps })
            }
            // With one process SyncBatchNorm computes what BatchNorm does.
            "BATCH" | "SYNCBATCH" => {
                let args = BatchArgs::parse(&name, args)?;
                fits(args.num_features)?;
                let affine = affine(builder, path, channels, args.affine)?;
                let running = running(builder, path, channels, args.track_running_stats)?;
                Ok(Norm::Batch { affine, running, momentum: args.momentum, eps: args.eps })
            }
            "LAYER" => {
                let args = LayerArgs::parse(&name, args)?;
                let shape = match args.normalized_shape {
                    OneOrMany::One(size) => vec![size],
                    OneOrMany::Many(sizes) => sizes,
                };
                let mut full = |what: &str, present: bool, value: f64| {
                    present.then(|| builder.full(&format!("{path}.{what}"), &shape, value)).transpose()
                };
                let weight = full("weight", args.elementwise_affine, 1.0)?;
                let bias = full("bias", args.elementwise_affine && args.bias, 0.0)?;
                Ok(Norm::Layer { shape: shape.iter().map(|&n| n as i64).collect(), weight, bias, eps: args.eps })
            }
            "LOCALRESPONSE" => {
                let args = LocalResponseArgs::parse(&name, args)?;
                if args.size == 0 {
                    return Err(err!("norm LOCALRESPONSE: expected a size of at least 1, found 0").kind(Kind::Config));
                }
                Ok(Norm::LocalResponse { size: args.size as i64, alpha: args.alpha, beta: args.beta, k: args.k })
            }
            other => Err(unsupported(
                "norm",
                other,
                "GROUP, INSTANCE, BATCH, INSTANCE_NVFUSER, SYNCBATCH, LAYER, LOCALRESPONSE",
            )),
        }
    }

    /// Checks the shape of an input, as torch.nn does.
    ///
    /// # Errors
    /// Statistics would be computed over a single value, which has no variance.
    fn check(&self, x: &Tensor, train: bool) -> Result<()> {
        let size = x.size();
        let voxels: i64 = size.iter().skip(2).product();
        let (name, values) = match self {
            Norm::Instance { running, .. } if train || running.is_none() => ("instance", voxels),
            Norm::Batch { running, .. } if train || running.is_none() => ("batch", voxels * size[0]),
            _ => return Ok(()),
        };
        if values > 1 {
            return Ok(());
        }
        let error = err!("{name} norm: expected more than one value per channel, found an input of {size:?}");
        Err(error.hint(match self {
            Norm::Batch { .. } => {
                "set `drop_last` of the DataLoader to true if its last batch has one case; otherwise increase \
                 `batch_size` or `roi_size`, or reduce the number of levels of the network"
            }
            _ => "increase `roi_size`, or reduce the number of levels of the network",
        }))
    }

    /// Maps `[N, C, X, Y, Z]` or `[N, C, X, Y]` to the same shape.
    ///
    /// # Errors
    /// Statistics would be computed over a single value.
    pub fn forward(&self, x: &Tensor, parameters: &[Tensor], train: bool) -> Result<Tensor> {
        self.check(x, train)?;
        let get = |slot: Option<Slot>| slot.map(|slot| &parameters[slot.0]);
        Ok(match self {
            Norm::Identity => x.shallow_clone(),
            Norm::Group { groups, affine, eps } => {
                x.group_norm(*groups as i64, get(affine.map(|a| a.0)), get(affine.map(|a| a.1)), *eps, true)
            }
            Norm::Instance { affine, running, momentum, eps } => x.instance_norm(
                get(affine.map(|a| a.0)),
                get(affine.map(|a| a.1)),
                get(running.map(|r| r.mean)),
                get(running.map(|r| r.var)),
                train || running.is_none(),
                momentum.unwrap_or(0.0),
                *eps,
                true,
            ),
            Norm::Batch { affine, running, momentum, eps } => {
                let mut factor = momentum.unwrap_or(0.0);
                if let (true, Some(running)) = (train, running) {
                    let mut batches = parameters[running.batches.0].shallow_clone();
                    let seen = batches.g_add_scalar_(1);
                    // Without momentum, the mean of all batches so far.
                    if momentum.is_none() {
                        factor = 1.0 / seen.double_value(&[]);
                    }
                }
                x.batch_norm(
                    get(affine.map(|a| a.0)),
                    get(affine.map(|a| a.1)),
                    get(running.map(|r| r.mean)),
                    get(running.map(|r| r.var)),
                    train || running.is_none(),
                    factor,
                    *eps,
                    true,
                )
            }
            Norm::Layer { shape, weight, bias, eps } => x.layer_norm(&**shape, get(*weight), get(*bias), *eps, true),
            Norm::LocalResponse { size, alpha, beta, k } => {
                // As torch.nn.functional: neighboring channels are the first of three axes.
                let squares = (x * x).unsqueeze(1).flatten(4, -1);
                let padded = squares.constant_pad_nd([0, 0, 0, 0, size / 2, (size - 1) / 2]);
                let mean = padded.avg_pool3d([*size, 1, 1], [1, 1, 1], [0, 0, 0], false, true, None::<i64>);
                x / (mean.squeeze_dim(1).view_as(x) * *alpha + *k).pow_tensor_scalar(*beta)
            }
        })
    }
}

fn affine(builder: &mut Builder, path: &str, channels: usize, present: bool) -> Result<Option<(Slot, Slot)>> {
    if !present {
        return Ok(None);
    }
    Ok(Some((
        builder.full(&format!("{path}.weight"), &[channels], 1.0)?,
        builder.full(&format!("{path}.bias"), &[channels], 0.0)?,
    )))
}

fn running(builder: &mut Builder, path: &str, channels: usize, present: bool) -> Result<Option<Running>> {
    if !present {
        return Ok(None);
    }
    Ok(Some(Running {
        mean: builder.buffer(&format!("{path}.running_mean"), &[channels], 0.0, tch::Kind::Float)?,
        var: builder.buffer(&format!("{path}.running_var"), &[channels], 1.0, tch::Kind::Float)?,
        batches: builder.buffer(&format!("{path}.num_batches_tracked"), &[], 0.0, tch::Kind::Int64)?,
    }))
}
