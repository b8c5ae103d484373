//! Layers that configs name: activations and normalisations, by name or `(name, {arguments})`.
//!
//! MONAI source: `monai.networks.layers.factories` and `monai.networks.layers.utils` (1.6.1), which hand the arguments
//! to `torch.nn`. Only what changes values has an effect; `inplace` decides, as there, whether the input is overwritten.

use super::params::{Builder, Slot};
use crate::component::{Args, Declared, Key, Value};
use crate::error::{Kind, Result};
use crate::{args, bail, err};
use tch::Tensor;

/// Split `"name"` or `("name", {…})` into the upper-case name and the arguments.
fn split(what: &str, value: &Value) -> Result<(String, Args)> {
    let wrong = || err!("{what}: expected a name or (name, {{arguments}}), found {value:?}").kind(Kind::Config);
    if let Some(name) = value.as_str() {
        return Ok((name.to_uppercase(), Args::default()));
    }
    let parts = value.as_sequence().ok_or_else(wrong)?;
    let [name, Value::Dict(dict)] = &parts[..] else { return Err(wrong()) };
    let name = name.as_str().ok_or_else(wrong)?.to_uppercase();
    let named = dict.items().into_iter().map(|(key, value)| match key {
        Key::Str(key) => Ok((key, value)),
        _ => Err(wrong()),
    });
    Ok((name, Args::named(named.collect::<Result<Vec<_>>>()?)))
}

fn unsupported(what: &str, name: &str, known: &str) -> crate::error::Error {
    err!("{what} `{name}` is not supported").hint(format!("supported are {known}")).kind(Kind::Unsupported)
}

// ---------------------------------------------------------------- activations

/// An element-wise function between two layers.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    Identity,
    Relu {
        inplace: bool,
    },
    LeakyRelu {
        slope: f64,
        inplace: bool,
    },
    /// One learnt slope for all channels or one for each.
    Prelu(Slot),
    Elu {
        alpha: f64,
        inplace: bool,
    },
    Celu {
        alpha: f64,
        inplace: bool,
    },
    Relu6 {
        inplace: bool,
    },
    Selu {
        inplace: bool,
    },
    Gelu {
        approximate: String,
    },
    Sigmoid,
    Tanh,
    Softmax {
        dim: i64,
    },
    LogSoftmax {
        dim: i64,
    },
    Swish {
        alpha: f64,
    },
    Silu {
        inplace: bool,
    },
    Mish {
        inplace: bool,
    },
}

args! { struct InplaceArgs { inplace: bool = false } }
args! { struct LeakyReluArgs { negative_slope: f64 = 0.01, inplace: bool = false } }
args! { struct PreluArgs { num_parameters: usize = 1, init: f64 = 0.25 } }
args! { struct AlphaInplaceArgs { alpha: f64 = 1.0, inplace: bool = false } }
args! { struct GeluArgs { approximate: String = "none" } }
args! { struct DimArgs { dim: i64 } }
args! { struct SwishArgs { alpha: f64 = 1.0 } }

impl Act {
    /// Build the activation that `spec` names; its parameters are `{path}.weight`.
    pub fn new(spec: &Value, builder: &mut Builder, path: &str) -> Result<Act> {
        let (name, args) = split("act", spec)?;
        let inplace = |args| InplaceArgs::parse(&name, args).map(|args| args.inplace);
        let alpha = |args| AlphaInplaceArgs::parse(&name, args).map(|args| (args.alpha, args.inplace));
        Ok(match name.as_str() {
            "" => Act::Identity,
            "RELU" => Act::Relu { inplace: inplace(args)? },
            "RELU6" => Act::Relu6 { inplace: inplace(args)? },
            "SELU" => Act::Selu { inplace: inplace(args)? },
            "MEMSWISH" => Act::Silu { inplace: inplace(args)? },
            "MISH" => Act::Mish { inplace: inplace(args)? },
            "LEAKYRELU" => {
                let args = LeakyReluArgs::parse(&name, args)?;
                Act::LeakyRelu { slope: args.negative_slope, inplace: args.inplace }
            }
            "PRELU" => {
                let args = PreluArgs::parse(&name, args)?;
                Act::Prelu(builder.full(&format!("{path}.weight"), &[args.num_parameters], args.init)?)
            }
            "ELU" => {
                let (alpha, inplace) = alpha(args)?;
                Act::Elu { alpha, inplace }
            }
            "CELU" => {
                let (alpha, inplace) = alpha(args)?;
                Act::Celu { alpha, inplace }
            }
            "GELU" => {
                let approximate = GeluArgs::parse(&name, args)?.approximate;
                if !matches!(approximate.as_str(), "none" | "tanh") {
                    bail!("GELU: expected approximate 'none' or 'tanh', found '{approximate}'");
                }
                Act::Gelu { approximate }
            }
            "SIGMOID" => args.expect(&name, []).map(|[]| Act::Sigmoid)?,
            "TANH" => args.expect(&name, []).map(|[]| Act::Tanh)?,
            "SOFTMAX" => Act::Softmax { dim: DimArgs::parse(&name, args)?.dim },
            "LOGSOFTMAX" => Act::LogSoftmax { dim: DimArgs::parse(&name, args)?.dim },
            "SWISH" => Act::Swish { alpha: SwishArgs::parse(&name, args)?.alpha },
            other => {
                let known = "RELU, LEAKYRELU, PRELU, ELU, CELU, RELU6, SELU, GELU, SIGMOID, TANH, SOFTMAX, LOGSOFTMAX, SWISH, MEMSWISH, MISH";
                return Err(unsupported("act", other, known));
            }
        })
    }

    /// Apply to x of any shape; in place where the config asks for it.
    pub fn forward(&self, mut x: Tensor, parameters: &[Tensor]) -> Tensor {
        match self {
            Act::Identity => x,
            Act::Relu { inplace: true } => x.relu_(),
            Act::Relu { .. } => x.relu(),
            Act::Elu { alpha, inplace } => negative_part(x, *inplace, |x| x.expm1() * *alpha),
            Act::Celu { alpha, inplace } => negative_part(x, *inplace, |x| (x * (1.0 / *alpha)).expm1() * *alpha),
            Act::LeakyRelu { slope, inplace } => negative_part(x, *inplace, |x| x * *slope),
            Act::Prelu(slope) => x.prelu(&parameters[slope.0]),
            Act::Relu6 { inplace: true } => x.relu6_(),
            Act::Relu6 { .. } => x.relu6(),
            Act::Selu { inplace: true } => x.selu_(),
            Act::Selu { .. } => x.selu(),
            Act::Gelu { approximate } => x.gelu(approximate),
            Act::Sigmoid => x.sigmoid(),
            Act::Tanh => x.tanh(),
            Act::Softmax { dim } => x.softmax(*dim, None::<tch::Kind>),
            Act::LogSoftmax { dim } => x.log_softmax(*dim, None::<tch::Kind>),
            Act::Swish { alpha } => &x * (&x * *alpha).sigmoid(),
            Act::Silu { inplace: true } => x.silu_(),
            Act::Silu { .. } => x.silu(),
            Act::Mish { inplace: true } => x.mish_(),
            Act::Mish { .. } => x.mish(),
        }
    }
}

/// x where it is positive, `below(x)` elsewhere.
fn negative_part(mut x: Tensor, inplace: bool, below: impl Fn(&Tensor) -> Tensor) -> Tensor {
    let y = x.where_self(&x.gt(0), &below(&x));
    if !inplace {
        return y;
    }
    x.copy_(&y);
    x
}

// ---------------------------------------------------------------- normalisations

/// A normalisation over [N,C,X,Y,Z].
#[derive(Debug, Clone, PartialEq)]
pub enum Norm {
    Identity,
    Group { groups: usize, affine: Option<(Slot, Slot)>, eps: f64 },
    Instance { affine: Option<(Slot, Slot)>, running: Option<Running>, momentum: Option<f64>, eps: f64 },
    Batch { affine: Option<(Slot, Slot)>, running: Option<Running>, momentum: Option<f64>, eps: f64 },
}

/// Buffers of a normalisation that follows its training data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    pub mean: Slot,
    pub var: Slot,
    /// Batches seen, i64.
    pub batches: Slot,
}

args! { struct GroupArgs { num_groups: usize, num_channels: Option<usize> = (), eps: f64 = 1e-5, affine: bool = true } }
args! { struct InstanceArgs {
    num_features: Option<usize> = (), eps: f64 = 1e-5, momentum: Option<f64> = 0.1, affine: bool = false, track_running_stats: bool = false,
} }
args! { struct BatchArgs {
    num_features: Option<usize> = (), eps: f64 = 1e-5, momentum: Option<f64> = 0.1, affine: bool = true, track_running_stats: bool = true,
} }

impl Norm {
    /// Build the normalisation of `channels` channels that `spec` names; its tensors are `{path}.weight` and so on.
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
            "BATCH" => {
                let args = BatchArgs::parse(&name, args)?;
                fits(args.num_features)?;
                let affine = affine(builder, path, channels, args.affine)?;
                let running = running(builder, path, channels, args.track_running_stats)?;
                Ok(Norm::Batch { affine, running, momentum: args.momentum, eps: args.eps })
            }
            other => Err(unsupported("norm", other, "GROUP, INSTANCE, BATCH")),
        }
    }

    /// x [N,C,X,Y,Z] → the same shape.
    pub fn forward(&self, x: &Tensor, parameters: &[Tensor], train: bool) -> Tensor {
        let get = |slot: Option<Slot>| slot.map(|slot| &parameters[slot.0]);
        match self {
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
                    // No momentum: the plain mean of all batches so far.
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
        }
    }
}

fn affine(builder: &mut Builder, path: &str, channels: usize, wanted: bool) -> Result<Option<(Slot, Slot)>> {
    if !wanted {
        return Ok(None);
    }
    Ok(Some((
        builder.full(&format!("{path}.weight"), &[channels], 1.0)?,
        builder.full(&format!("{path}.bias"), &[channels], 0.0)?,
    )))
}

fn running(builder: &mut Builder, path: &str, channels: usize, wanted: bool) -> Result<Option<Running>> {
    if !wanted {
        return Ok(None);
    }
    Ok(Some(Running {
        mean: builder.buffer(&format!("{path}.running_mean"), &[channels], 0.0, tch::Kind::Float)?,
        var: builder.buffer(&format!("{path}.running_var"), &[channels], 1.0, tch::Kind::Float)?,
        batches: builder.buffer(&format!("{path}.num_batches_tracked"), &[], 0.0, tch::Kind::Int64)?,
    }))
}
