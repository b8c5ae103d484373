//! Activations: MONAI's `Act` factory.

use super::{split, unsupported};
use crate::component::{Declared, Value};
use crate::error::Result;
use crate::networks::params::{Builder, Slot};
use crate::{args, bail};
use tch::Tensor;

/// An activation function.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// Passes its input through.
    Identity,
    /// max(x, 0).
    Relu {
        /// Overwrite the input.
        inplace: bool,
    },
    /// x where positive, else slope·x.
    LeakyRelu {
        /// Slope below 0 (`negative_slope`).
        slope: f64,
        /// Overwrite the input.
        inplace: bool,
    },
    /// One learnable slope for all channels, or one per channel.
    Prelu(Slot),
    /// x where positive, else α·(exp(x) − 1).
    Elu {
        /// Negated limit of the value for x → −∞.
        alpha: f64,
        /// Overwrite the input.
        inplace: bool,
    },
    /// x where positive, else α·(exp(x/α) − 1).
    Celu {
        /// Negated limit of the value for x → −∞.
        alpha: f64,
        /// Overwrite the input.
        inplace: bool,
    },
    /// min(max(x, 0), 6).
    Relu6 {
        /// Overwrite the input.
        inplace: bool,
    },
    /// Scaled ELU with the constants of `torch.nn.SELU` (Klambauer et al. 2017).
    Selu {
        /// Overwrite the input.
        inplace: bool,
    },
    /// x·Φ(x), where Φ is the distribution function of the standard normal distribution.
    Gelu {
        /// "none" for the exact function, "tanh" for its approximation.
        approximate: String,
    },
    /// 1/(1 + exp(−x)).
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// Softmax over one axis.
    Softmax {
        /// Axis of the tensor; negative values count from the end.
        dim: i64,
    },
    /// Logarithm of the softmax over one axis.
    LogSoftmax {
        /// Axis of the tensor; negative values count from the end.
        dim: i64,
    },
    /// x·σ(α·x), MONAI's `Swish`.
    Swish {
        /// Factor inside the sigmoid.
        alpha: f64,
    },
    /// x·σ(x), MONAI's `MemoryEfficientSwish`.
    Silu {
        /// Overwrite the input.
        inplace: bool,
    },
    /// x·tanh(softplus(x)).
    Mish {
        /// Overwrite the input.
        inplace: bool,
    },
    /// `x₁ · GELU(x₂)`, where `x₁` and `x₂` are the halves of the last axis.
    Geglu,
}

args! { struct InplaceArgs { inplace: bool = false } }
args! { struct LeakyReluArgs { negative_slope: f64 = 0.01, inplace: bool = false } }
args! { struct PreluArgs { num_parameters: usize = 1, init: f64 = 0.25 } }
args! { struct AlphaInplaceArgs { alpha: f64 = 1.0, inplace: bool = false } }
args! { struct GeluArgs { approximate: String = "none" } }
args! { struct DimArgs { dim: i64 } }
args! { struct SwishArgs { alpha: f64 = 1.0 } }

impl Act {
    /// Builds the activation that `spec` names; its parameters are `{path}.weight`.
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
            "GEGLU" => args.expect(&name, []).map(|[]| Act::Geglu)?,
            "SWISH" => Act::Swish { alpha: SwishArgs::parse(&name, args)?.alpha },
            other => {
                let known = "RELU, LEAKYRELU, PRELU, ELU, CELU, RELU6, SELU, GELU, SIGMOID, TANH, SOFTMAX, LOGSOFTMAX, SWISH, MEMSWISH, MISH, GEGLU";
                return Err(unsupported("act", other, known));
            }
        })
    }

    /// Applies the activation to x of any shape; in place if the config sets `inplace`.
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
            Act::Geglu => {
                let halves = x.chunk(2, -1);
                &halves[0] * halves[1].gelu("none")
            }
        }
    }
}

/// `x` where it is positive, `below(x)` elsewhere.
fn negative_part(mut x: Tensor, inplace: bool, below: impl Fn(&Tensor) -> Tensor) -> Tensor {
    let y = x.where_self(&x.gt(0), &below(&x));
    if !inplace {
        return y;
    }
    x.copy_(&y);
    x
}
