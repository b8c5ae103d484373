//! Gradient scaling for fp16 training (torch.amp.GradScaler with its defaults, torch 2.11; Micikevicius et al. 2018).
//!
//! The loss is multiplied by a scale so that small gradients do not underflow in fp16; gradients are divided by it
//! before the optimizer step. A step with an infinite or NaN gradient is skipped and halves the scale; 2000 consecutive
//! finite steps double it.

use crate::checkpoint::{self, StateDict};
use crate::contracts::Optimizer;
use crate::err;
use crate::error::Result;
use tch::Tensor;

const GROWTH: f64 = 2.0;
const BACKOFF: f64 = 0.5;
const GROWTH_INTERVAL: i64 = 2000;

/// Scales losses and skips steps with non-finite gradients, as `torch.amp.GradScaler`.
pub struct GradScaler {
    enabled: bool,
    scale: f64,
    /// Consecutive finite steps since the scale last changed (torch's `_growth_tracker`).
    good: i64,
}

impl GradScaler {
    /// Creates a scaler; one that is not enabled leaves losses and gradients unchanged.
    pub fn new(enabled: bool) -> GradScaler {
        GradScaler { enabled, scale: 65536.0, good: 0 }
    }

    /// Returns the scaled loss, from which to call `backward`.
    pub fn scale(&self, loss: &Tensor) -> Result<Tensor> {
        Ok(if self.enabled { loss.f_mul_scalar(self.scale)? } else { loss.shallow_clone() })
    }

    /// Unscales the gradients and runs the optimizer's step, unless a gradient is infinite or NaN.
    pub fn step(&mut self, optimizer: &mut dyn Optimizer) -> Result<()> {
        if !self.enabled {
            return optimizer.step();
        }
        let _no_grad = tch::no_grad_guard();
        let inverse = 1.0 / self.scale;
        let mut finite = true;
        for parameter in optimizer.groups().iter().flat_map(|group| &group.parameters) {
            let mut gradient = parameter.grad();
            if gradient.defined() {
                let _ = gradient.f_mul_scalar_(inverse)?;
                finite &= gradient.f_isfinite()?.f_all()?.f_int64_value(&[])? != 0; // synchronizes with the GPU
            }
        }
        if finite {
            optimizer.step()?;
            self.good += 1;
            if self.good == GROWTH_INTERVAL {
                (self.scale, self.good) = (self.scale * GROWTH, 0);
            }
        } else {
            (self.scale, self.good) = (self.scale * BACKOFF, 0);
        }
        Ok(())
    }

    /// Returns the state: `(scale, growth_tracker)`.
    pub fn save(&self) -> Result<StateDict> {
        checkpoint::to_state(&(self.scale, self.good))
    }
    /// Restores a state returned by [`GradScaler::save`].
    pub fn load(&mut self, saved: &StateDict) -> Result<()> {
        let pair = checkpoint::from_state(saved);
        (self.scale, self.good) =
            pair.map_err(|_| err!("invalid gradient scaler state: expected (scale, growth_tracker), found {saved:?}"))?;
        Ok(())
    }
}
