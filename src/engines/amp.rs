//! Automatic mixed precision: the autocast dtype of an engine.

use crate::bail;
use crate::component::{Dict, FromValue};
use crate::contracts::Network;
use crate::error::Result;
use crate::python::array::Type;
use crate::run::{Precision, RunOptions};
use crate::torch::Device;
use crate::torch::kind_of;
use segbundle_native as native;
use tch::Kind;

/// The `amp` arguments of an engine.
pub struct Amp {
    on: bool,
    device: Device,
    /// `dtype` of `amp_kwargs`.
    dtype: Option<Kind>,
}

impl Amp {
    /// Checks the arguments.
    ///
    /// # Errors
    /// The dtype of `amp_kwargs` is not float16 or bfloat16, or float16 on a CPU.
    pub fn new(on: bool, amp_kwargs: Option<&Dict>, device: Device) -> Result<Amp> {
        let dtype = match amp_kwargs.and_then(|kwargs| kwargs.get("dtype")).filter(|_| on) {
            None => None,
            Some(value) => match Type::from_value(&value).and_then(kind_of) {
                Some(Kind::Half) if device == Device::Cpu => {
                    bail!("float16 is not supported on a CPU, expected bfloat16")
                }
                Some(kind @ (Kind::Half | Kind::BFloat16)) => Some(kind),
                _ => bail!("argument `amp_kwargs`: expected dtype torch.float16 or torch.bfloat16, found {value:?}"),
            },
        };
        Ok(Amp { on, device, dtype })
    }

    /// Why `--amp-dtype` has no effect, if it is given and has none.
    pub fn ignores(&self, options: &RunOptions) -> Option<&'static str> {
        let given = options.amp_precision?;
        match (self.on, self.dtype, self.device) {
            (false, ..) => Some("`amp` is not true"),
            (true, Some(_), _) => Some("`amp_kwargs` sets the type"),
            (true, None, Device::Cuda(_)) if given == Precision::Float32 => {
                Some("on a GPU, `amp` computes in float16 or bfloat16")
            }
            _ => None,
        }
    }

    /// Logs where and in which precision a network runs.
    pub fn log(&self, network: &dyn Network, autocast: Option<Kind>) {
        let precision = match autocast {
            Some(Kind::BFloat16) => "bfloat16",
            Some(_) => "float16",
            None => "float32",
        };
        tracing::debug!("{} runs on {} in {precision}", network.name(), self.device);
    }

    /// The autocast dtype; `None` is float32. A CPU computes in float32, as in MONAI, unless `amp_kwargs` or
    /// `--amp-dtype` sets bfloat16.
    pub fn autocast(&self, options: &RunOptions) -> Option<Kind> {
        if !self.on {
            return None;
        }
        let requested = self.dtype.or((options.amp_precision == Some(Precision::Bfloat16)).then_some(Kind::BFloat16));
        match self.device {
            Device::Cpu => {
                if requested.is_some() && !native::cpu().avx512_bf16 {
                    tracing::warn!(
                        "this processor has no bfloat16 instructions: bfloat16 will be much slower than float32"
                    );
                }
                requested
            }
            Device::Cuda(_) => Some(requested.unwrap_or(Kind::Half)),
        }
    }
}
