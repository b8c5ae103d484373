//! Mixed precision: which type `amp` computes in.

use crate::bail;
use crate::component::{Dict, FromValue};
use crate::contracts::Run;
use crate::error::Result;
use crate::python::array::Type;
use crate::torch::Device;
use crate::torch::kind_of;
use segbundle_native as native;

/// The type of autocast for an engine with these arguments; `None` is f32. On a CPU that is so, as in MONAI, unless the
/// config's `amp_kwargs` or the user ask for bfloat16.
pub fn autocast(
    engine: &str,
    amp: bool,
    amp_kwargs: Option<&Dict>,
    device: Device,
    run: &Run,
) -> Result<Option<tch::Kind>> {
    if !amp {
        return Ok(None);
    }
    let asked = match amp_kwargs.and_then(|kwargs| kwargs.get("dtype")) {
        Some(value) => match Type::from_value(&value).and_then(kind_of) {
            Some(kind @ (tch::Kind::Half | tch::Kind::BFloat16)) => Some(kind),
            _ => bail!("argument `amp_kwargs`: expected dtype torch.float16 or torch.bfloat16, found {value:?}"),
        },
        None => run.amp_dtype,
    };
    match (device, asked) {
        (Device::Cpu, Some(tch::Kind::Half)) => bail!("float16 is not supported on a CPU; bfloat16 is"),
        (Device::Cpu, asked) => {
            if asked.is_some() && !native::cpu().avx512_bf16 {
                tracing::warn!(
                    "{engine}: this processor has no bfloat16 arithmetic: bfloat16 will be far slower than float32"
                );
            }
            Ok(asked)
        }
        (Device::Cuda(_), asked) => Ok(Some(asked.unwrap_or(tch::Kind::Half))),
    }
}
