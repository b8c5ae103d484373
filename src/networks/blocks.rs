//! Building blocks of MONAI's networks: convolutions with activation, dropout and normalization, and residual units.
//!
//! MONAI source: `monai.networks.blocks.{acti_norm,convolutions}` (1.6.1). Parameters are created in MONAI's order and
//! with its names (`conv.weight`, `adn.N.weight`, `adn.A.weight`, `conv.unit0…`, `residual.weight`).

use super::layers::{Act, Dropout, Norm};
use super::params::{Builder, Conv, Kernel};
use crate::component::Value;
use crate::err;
use crate::error::{Kind, Result};
use tch::Tensor;

/// Arguments shared by all blocks of a network.
#[derive(Debug, Clone)]
pub struct BlockArgs {
    /// Activation: a name or (name, {arguments}); None for no activation.
    pub act: Value,
    /// Normalization: a name or (name, {arguments}); None for no normalization.
    pub norm: Value,
    /// Dropout: a probability, a name or (name, {arguments}); None for no dropout.
    pub dropout: Value,
    /// Whether convolutions have a bias.
    pub bias: bool,
    /// Order of activation (A), dropout (D) and normalization (N); a layer whose letter is missing is omitted.
    pub adn_ordering: String,
}

/// MONAI's `ADN`: activation, dropout and normalization in a given order.
#[derive(Debug)]
pub struct Adn(Vec<Layer>);

#[derive(Debug)]
enum Layer {
    Act(Act),
    Norm(Norm),
    Dropout(Dropout),
}

impl Adn {
    /// Creates the layers for `channels` channels. Parameters are `{path}.A.*` and `{path}.N.*`.
    ///
    /// # Errors
    /// An unknown letter in `adn_ordering`; an unknown or invalid activation, normalization or dropout.
    pub fn new(args: &BlockArgs, channels: usize, b: &mut Builder, path: &str) -> Result<Adn> {
        let ordering = args.adn_ordering.to_uppercase();
        let mut layers = vec![];
        for (at, letter) in ordering.char_indices() {
            let (spec, known) = match letter {
                'A' => (&args.act, true),
                'D' => (&args.dropout, true),
                'N' => (&args.norm, true),
                _ => (&Value::None, false),
            };
            if !known {
                let expected = "expected an adn_ordering of the letters A, D and N";
                return Err(err!("{expected}, found '{}'", args.adn_ordering).kind(Kind::Config));
            }
            // As in PyTorch, adding a module under an existing name replaces the first one.
            if spec.is_none() || ordering[..at].contains(letter) {
                continue;
            }
            layers.push(match letter {
                'A' => Layer::Act(act(spec, channels, b, &format!("{path}.A"))?),
                'D' => Layer::Dropout(Dropout::new(spec)?),
                _ => Layer::Norm(Norm::new(spec, channels, b, &format!("{path}.N"))?),
            });
        }
        Ok(Adn(layers))
    }

    /// Maps `[N, C, …]` to the same shape.
    pub fn forward(&self, x: Tensor, parameters: &[Tensor], train: bool) -> Result<Tensor> {
        self.0.iter().try_fold(x, |x, layer| match layer {
            Layer::Act(act) => Ok(act.forward(x, parameters)),
            Layer::Dropout(dropout) => Ok(dropout.forward(x, train)),
            Layer::Norm(norm) => norm.forward(&x, parameters, train),
        })
    }
}

fn act(spec: &Value, channels: usize, b: &mut Builder, path: &str) -> Result<Act> {
    let act = Act::new(spec, b, path)?;
    if let Act::Prelu(slope) = act
        && ![1, channels].contains(&b.numel(slope))
    {
        let found = b.numel(slope);
        return Err(err!("PRELU: expected num_parameters 1 or {channels} (the number of channels), found {found}")
            .kind(Kind::Config));
    }
    Ok(act)
}

/// MONAI's `Convolution`: a convolution and, unless `conv_only`, an [`Adn`].
#[derive(Debug)]
pub struct Convolution {
    conv: Conv,
    adn: Option<Adn>,
}

impl Convolution {
    /// Creates a convolution from `inputs` to `outputs` channels. Parameters are `{path}.conv.*` and `{path}.adn.*`.
    pub fn new(
        args: &BlockArgs,
        [inputs, outputs]: [usize; 2],
        kernel: Kernel,
        conv_only: bool,
        b: &mut Builder,
        path: &str,
    ) -> Result<Convolution> {
        let conv = b.conv(&format!("{path}.conv"), inputs, outputs, kernel, args.bias)?;
        let adn = (!conv_only).then(|| Adn::new(args, outputs, b, &format!("{path}.adn"))).transpose()?;
        Ok(Convolution { conv, adn })
    }

    /// Maps `[N, C, …]` to `[N, outputs, …]`.
    pub fn forward(&self, x: &Tensor, parameters: &[Tensor], train: bool) -> Result<Tensor> {
        let y = self.conv.forward(x, parameters);
        match &self.adn {
            Some(adn) => adn.forward(y, parameters, train),
            None => Ok(y),
        }
    }
}

/// MONAI's `ResidualUnit`: a sequence of convolutions, the first one strided, whose input is added to the result.
#[derive(Debug)]
pub struct ResidualUnit {
    units: Vec<Convolution>,
    /// Convolution that maps the input to the shape of the result; `None` if the shapes are equal.
    residual: Option<Conv>,
}

impl ResidualUnit {
    /// Creates a unit of `subunits` convolutions (at least one) from `channels[0]` to `channels[1]` channels. With
    /// `last_conv_only` the last convolution has no [`Adn`]. Parameters are `{path}.conv.unit0.*`, … and
    /// `{path}.residual.*`.
    pub fn new(
        args: &BlockArgs,
        channels: [usize; 2],
        kernel: Kernel,
        subunits: usize,
        last_conv_only: bool,
        b: &mut Builder,
        path: &str,
    ) -> Result<ResidualUnit> {
        let [inputs, outputs] = channels;
        let ones = vec![1; kernel.stride.len()];
        let mut units = vec![];
        for unit in 0..subunits.max(1) {
            let (inputs, kernel) = match unit {
                0 => (inputs, kernel.clone()),
                _ => (outputs, kernel.clone().stride(&ones)),
            };
            let conv_only = last_conv_only && unit + 1 == subunits.max(1);
            let path = format!("{path}.conv.unit{unit}");
            units.push(Convolution::new(args, [inputs, outputs], kernel, conv_only, b, &path)?);
        }
        let strides = kernel.stride != ones;
        let residual = (strides || inputs != outputs).then(|| {
            // A 1×1×1 kernel if only the number of channels changes.
            let kernel = if strides { kernel } else { Kernel::same(&vec![1; ones.len()]) };
            b.conv(&format!("{path}.residual"), inputs, outputs, kernel, args.bias)
        });
        Ok(ResidualUnit { units, residual: residual.transpose()? })
    }

    /// Maps `[N, C, …]` to `[N, outputs, …]`, with spatial axes divided by the stride.
    pub fn forward(&self, x: &Tensor, parameters: &[Tensor], train: bool) -> Result<Tensor> {
        let residual = self.residual.as_ref().map(|conv| conv.forward(x, parameters));
        let y = self.units.iter().try_fold(x.shallow_clone(), |y, unit| unit.forward(&y, parameters, train))?;
        Ok(y + residual.as_ref().unwrap_or(x))
    }
}
