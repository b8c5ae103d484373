//! Dropout: MONAI's `Dropout` factory.

use super::{split, unsupported};
use crate::component::{Declared, FromValue, Value};
use crate::error::{Kind, Result};
use crate::{args, err};
use tch::Tensor;

/// Zeroes elements at random in training; the identity in evaluation. Uses torch's generator as `torch.nn` does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Dropout {
    /// Passes its input through.
    Identity,
    /// Zeroes each element independently and scales the rest by 1/(1 − p) (`torch.nn.Dropout`).
    Plain {
        /// Probability of zeroing an element.
        p: f64,
    },
    /// Preserves mean and variance of its input (`torch.nn.AlphaDropout`).
    Alpha {
        /// Probability of masking an element.
        p: f64,
    },
}

args! { struct DropoutArgs { p: f64 = 0.5 } }

impl Dropout {
    /// Builds the dropout specified by `spec`: a probability, a name or (name, {arguments}).
    pub fn new(spec: &Value) -> Result<Dropout> {
        let dropout = match f64::from_value(spec) {
            Some(p) => Dropout::Plain { p },
            None => {
                let (name, args) = split("dropout", spec)?;
                let p = |args| DropoutArgs::parse(&name, args).map(|args| args.p);
                match name.as_str() {
                    "" => Dropout::Identity,
                    "DROPOUT" => Dropout::Plain { p: p(args)? },
                    "ALPHADROPOUT" => Dropout::Alpha { p: p(args)? },
                    other => return Err(unsupported("dropout", other, "DROPOUT, ALPHADROPOUT")),
                }
            }
        };
        match dropout {
            Dropout::Plain { p } | Dropout::Alpha { p } if !(0.0..=1.0).contains(&p) => {
                Err(err!("expected a dropout probability from 0 to 1, found {p}").kind(Kind::Config))
            }
            dropout => Ok(dropout),
        }
    }

    /// Maps x of any shape to the same shape.
    pub fn forward(&self, x: Tensor, train: bool) -> Tensor {
        match self {
            Dropout::Identity => x,
            Dropout::Plain { p } => x.dropout(*p, train),
            Dropout::Alpha { p } => x.alpha_dropout(*p, train),
        }
    }
}
