//! Scaling of gradients for fp16 (torch.amp.GradScaler with its defaults, torch 2.11; Micikevicius et al. 2018).
//!
//! The loss is multiplied by a factor so that small gradients do not vanish in fp16; before the step they are divided by
//! it. A step with an overflow is left out and halves the factor; 2000 good ones double it.

use crate::checkpoint::{self, StateDict};
use crate::contracts::Optimizer;
use crate::err;
use crate::error::Result;
use tch::Tensor;

const GROWTH: f64 = 2.0;
const BACKOFF: f64 = 0.5;
const GROWTH_INTERVAL: i64 = 2000;

pub struct GradScaler {
    enabled: bool,
    scale: f64,
    /// Good steps since the factor last changed.
    good: i64,
}

impl GradScaler {
    /// One that is not enabled changes nothing.
    pub fn new(enabled: bool) -> GradScaler {
        GradScaler { enabled, scale: 65536.0, good: 0 }
    }

    /// The loss to go backward from.
    pub fn scale(&self, loss: &Tensor) -> Result<Tensor> {
        Ok(if self.enabled { loss.f_mul_scalar(self.scale)? } else { loss.shallow_clone() })
    }

    /// The optimizer's step, unless a gradient has overflown.
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
                finite &= gradient.f_isfinite()?.f_all()?.f_int64_value(&[])? != 0; // waits for a GPU
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

    /// `(scale, growth_tracker)`.
    pub fn save(&self) -> Result<StateDict> {
        checkpoint::to_state(&(self.scale, self.good))
    }
    /// Restores what [`GradScaler::save`] gave.
    pub fn load(&mut self, saved: &StateDict) -> Result<()> {
        let pair = checkpoint::from_state(saved);
        (self.scale, self.good) =
            pair.map_err(|_| err!("invalid gradient scaler state: expected (scale, growth_tracker), found {saved:?}"))?;
        Ok(())
    }
}
