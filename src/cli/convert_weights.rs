//! `segbundle convert-weights`: write the weights of a checkpoint as safetensors or as a PyTorch file.

use crate::bail;
use crate::checkpoint::{self, safetensors};
use crate::error::Result;
use crate::formats::{atomic, paths};
use crate::text::{bytes, count};
use clap::ValueEnum;
use std::path::PathBuf;
use tch::Tensor;

#[derive(clap::Args)]
pub struct Args {
    /// File of weights: written by torch.save, or .safetensors
    weights: PathBuf,
    /// Output file, .safetensors or .pt
    output: PathBuf,
    /// Name of the state dict within the checkpoint, such as model [default: the checkpoint itself, or the usual names]
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// Type of the floating-point tensors [default: that of the input]
    #[arg(long, value_name = "TYPE")]
    dtype: Option<FloatType>,
}

#[derive(Clone, Copy, ValueEnum)]
enum FloatType {
    Float32,
    Float16,
    Bfloat16,
}

impl FloatType {
    fn kind(self) -> tch::Kind {
        match self {
            FloatType::Float32 => tch::Kind::Float,
            FloatType::Float16 => tch::Kind::Half,
            FloatType::Bfloat16 => tch::Kind::BFloat16,
        }
    }
    fn name(self) -> &'static str {
        match self {
            FloatType::Float32 => "float32",
            FloatType::Float16 => "float16",
            FloatType::Bfloat16 => "bfloat16",
        }
    }
}

pub fn convert_weights(args: &Args) -> Result<()> {
    super::check_extension(&args.output, &["safetensors", "pt"])?;
    paths::check_keeps(&args.output, &[&args.weights])?;
    let tensors = checkpoint::read_weights(&args.weights, args.key.as_deref())?;
    let tensors = tensors.into_iter().map(|(name, tensor)| {
        let tensor = convert(&name, &tensor, args.dtype).map_err(|error| error.file(&args.weights))?;
        Ok((name, tensor))
    });
    let tensors = tensors.collect::<Result<Vec<(String, Tensor)>>>()?;
    if safetensors::is_safetensors(&args.output) {
        atomic::write(&args.output, |path| Ok(Tensor::write_safetensors(&tensors, path)?))?;
    } else {
        checkpoint::save(&args.output, &tensors)?;
    }
    let size = std::fs::metadata(&args.output).map_or(0, |file| file.len());
    tracing::info!("wrote {}: {}, {}", args.output.display(), count(tensors.len(), "tensor"), bytes(size));
    Ok(())
}

/// Converts floating-point tensors. All become contiguous, which safetensors require.
///
/// # Errors
/// A finite value is beyond the range of the new type.
fn convert(name: &str, tensor: &Tensor, dtype: Option<FloatType>) -> Result<Tensor> {
    let Some(dtype) = dtype.filter(|_| tensor.is_floating_point()) else { return Ok(tensor.f_contiguous()?) };
    let converted = tensor.f_to_kind(dtype.kind())?.f_contiguous()?;
    let finite =
        |tensor: &Tensor| -> Result<i64> { Ok(tensor.f_isfinite()?.f_sum(tch::Kind::Int64)?.f_int64_value(&[])?) };
    let (before, after) = (finite(tensor)?, finite(&converted)?);
    if before != after {
        bail!(
            "tensor `{name}`: {} of {} values are beyond the range of {}",
            before - after,
            tensor.numel(),
            dtype.name()
        );
    }
    Ok(converted)
}
