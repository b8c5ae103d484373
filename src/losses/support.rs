//! Shared code of the losses: argument types, checks of shapes and labels, and cross-entropy from log-likelihoods.

use crate::component::{FromValue, OneOrMany, Value};
use crate::error::Result;
use crate::{bail, err};
use tch::{Kind, Tensor};

/// The argument `reduction`: how the values of items and channels are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduction {
    /// No reduction: one value per item and channel, or per voxel.
    None,
    /// Mean of all values.
    Mean,
    /// Sum of all values.
    Sum,
}

impl FromValue for Reduction {
    fn expected() -> String {
        "\"mean\", \"sum\" or \"none\"".into()
    }
    fn from_value(value: &Value) -> Option<Self> {
        match value.as_str()? {
            "none" => Some(Reduction::None),
            "mean" => Some(Reduction::Mean),
            "sum" => Some(Reduction::Sum),
            _ => None,
        }
    }
}

impl Reduction {
    /// Converts the argument to libtorch's reduction.
    pub fn tch(self) -> tch::Reduction {
        match self {
            Reduction::None => tch::Reduction::None,
            Reduction::Mean => tch::Reduction::Mean,
            Reduction::Sum => tch::Reduction::Sum,
        }
    }
}

/// Converts class weights to a tensor: [] for one value, [K] for several.
pub fn weights(weight: &OneOrMany<f64>) -> Tensor {
    match weight {
        OneOrMany::One(value) => Tensor::from(*value as f32),
        OneOrMany::Many(values) => Tensor::from_slice(&values.iter().map(|&w| w as f32).collect::<Vec<_>>()),
    }
}

/// Checks that a prediction [N,C,…] and a target [N,1,…] or [N,C,…] have the same batch size and grid.
pub fn check_shapes(name: &str, input: &Tensor, target: &Tensor) -> Result<()> {
    let (a, b) = (input.size(), target.size());
    if a.len() < 3 || a.len() != b.len() || a[0] != b[0] || a[2..] != b[2..] || (b[1] != 1 && b[1] != a[1]) {
        return Err(err!("{name}: the prediction of shape {a:?} does not match the target of shape {b:?}")
            .hint(format!("the target needs the batch size and grid of the prediction, and 1 or {} channels", a[1])));
    }
    if input.numel() == 0 {
        bail!("{name}: the prediction is empty ({a:?})");
    }
    Ok(())
}

/// Returns the target's labels as contiguous i32 [N,S]. Any numeric type is accepted; fractions are truncated as by
/// `.long()`.
///
/// # Errors
/// A label is outside 0..`classes`.
pub fn labels(name: &str, target: &Tensor, classes: i64) -> Result<Tensor> {
    let low = target.f_min()?.f_double_value(&[])?.trunc();
    let high = target.f_max()?.f_double_value(&[])?.trunc();
    if !(low >= 0.0 && high < classes as f64) {
        return Err(err!("{name}: the target contains labels from {low} to {high}, expected 0 to {}", classes - 1)
            .hint("the network's out_channels must be the number of classes, background included"));
    }
    let items = target.size()[0];
    Ok(target.f_to_kind(Kind::Int)?.f_contiguous()?.f_reshape([items, -1])?)
}

/// Converts labels [N,S] to one-hot f32 [N,C,…] on the grid of `shape` [N,1,…].
pub fn one_hot(labels: &Tensor, shape: &[i64], classes: i64) -> Result<Tensor> {
    let mut size = shape.to_vec();
    let index = labels.f_to_kind(Kind::Int64)?.f_reshape(shape)?;
    size[1] = classes;
    Ok(Tensor::f_zeros(&size, (Kind::Float, labels.device()))?.f_scatter_value_(1, &index, 1)?)
}

/// Returns −Σ x of [N,S], added in the order of libtorch's `nll_loss2d`.
fn negative_sum(x: &Tensor) -> Result<Tensor> {
    let [items, voxels] = [x.size()[0], x.size()[1]];
    let first = Tensor::f_zeros([1], (Kind::Int64, x.device()))?.f_expand([items, 1, voxels], false)?;
    Ok(x.f_reshape([items, 1, 1, voxels])?.f_nll_loss2d::<&Tensor>(&first, None, tch::Reduction::Sum, -100)?)
}

/// Computes the cross-entropy from log-likelihoods [N,S] of the labels [N,S], with class weights [C]. Bit-equal to
/// libtorch's `cross_entropy_loss`: values are added in the same order.
pub fn cross_entropy(
    log_likelihood: &Tensor,
    labels: &Tensor,
    weight: Option<&Tensor>,
    reduction: Reduction,
) -> Result<Tensor> {
    let weight = weight.map(|w| w.f_index_select(0, &labels.f_reshape([-1])?)?.f_reshape_as(labels)).transpose()?;
    let weighted = match &weight {
        Some(weight) => log_likelihood.f_mul(weight)?,
        None => log_likelihood.shallow_clone(),
    };
    Ok(match reduction {
        Reduction::None => weighted.f_neg()?,
        Reduction::Sum => negative_sum(&weighted)?,
        Reduction::Mean => {
            let sum = negative_sum(&weighted)?;
            match &weight {
                Some(weight) => sum.f_div(&negative_sum(weight)?.f_neg()?)?,
                None => sum.f_div_scalar(log_likelihood.numel() as f64)?,
            }
        }
    })
}

/// Whether both tensors are on the CPU, where the fused kernels run.
pub fn on_cpu(input: &Tensor, target: &Tensor) -> bool {
    input.device() == tch::Device::Cpu && target.device() == tch::Device::Cpu
}
