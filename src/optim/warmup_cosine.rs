//! WarmupCosineSchedule (monai.optimizers.lr_scheduler, MONAI 1.6.1).

use super::parameters::number;
use super::schedule::{Rule, RuleSchedule, ScheduleStep};
use crate::checkpoint::StateDict;
use crate::contracts::{Optimizer, Shared};
use crate::err;
use crate::error::Result;
use std::f64::consts::PI;

component! {
    /// Linear warm-up of the learning rate, then cosine decay.
    pub static COMPONENT = schedule "WarmupCosineSchedule" in "monai.optimizers" / "lr_scheduler";

    pub struct WarmupCosineArgs {
        /// Optimizer whose learning rates are scheduled.
        optimizer: Shared<dyn Optimizer>,
        /// Number of warm-up steps, at most t_total.
        warmup_steps: i64,
        /// Total number of steps.
        t_total: i64,
        /// Minimum learning rate after the warm-up.
        end_lr: f64 = 0.0,
        /// Number of cosine cycles after the warm-up; 0.5 decays to 0.
        cycles: f64 = 0.5,
        /// Index of the last step; -1 starts from the beginning.
        last_epoch: i64 = -1,
        /// Factor of the learning rate in the first warm-up step, in [0, 1].
        warmup_multiplier: f64 = 0.0,
    }

    build: warmup_cosine,
}

fn warmup_cosine(a: WarmupCosineArgs) -> Result<RuleSchedule<WarmupCosine>> {
    if !(0.0..=1.0).contains(&a.warmup_multiplier) {
        return Err(err!("`warmup_multiplier` must be between 0 and 1"));
    }
    let warmup = a.warmup_steps.max(0).min(a.t_total);
    let groups = a.optimizer.lock().groups().len();
    let rule = WarmupCosine {
        groups,
        warmup,
        multiplier: a.warmup_multiplier,
        total: a.t_total,
        cycles: a.cycles,
        end_lr: a.end_lr,
    };
    RuleSchedule::new(COMPONENT.name, a.optimizer, a.last_epoch, rule)
}

struct WarmupCosine {
    groups: usize,
    warmup: i64,
    multiplier: f64,
    total: i64,
    cycles: f64,
    end_lr: f64,
}

impl Rule for WarmupCosine {
    fn lr(&self, at: &ScheduleStep) -> Result<f64> {
        if at.epoch < self.warmup {
            let part = at.epoch as f64 / (self.warmup as f64).max(1.0);
            return Ok(at.base * (self.multiplier + (1.0 - self.multiplier) * part));
        }
        let progress = (at.epoch - self.warmup) as f64 / (self.total - self.warmup).max(1) as f64;
        let factor = (0.5 * (1.0 + (PI * self.cycles * 2.0 * progress).cos())).max(0.0);
        Ok((at.base * factor).max(self.end_lr))
    }
    fn state(&self) -> Vec<(&'static str, StateDict)> {
        vec![
            ("warmup_steps", StateDict::Int(self.warmup)),
            ("warmup_multiplier", StateDict::Float(self.multiplier)),
            ("t_total", StateDict::Int(self.total)),
            ("cycles", StateDict::Float(self.cycles)),
            ("end_lr", StateDict::Float(self.end_lr)),
        ]
    }
    /// One empty dict per group, as torch saves MONAI's bound method without attributes.
    fn state_after(&self) -> Vec<(&'static str, StateDict)> {
        vec![("lr_lambdas", StateDict::List((0..self.groups).map(|_| StateDict::Dict(vec![])).collect()))]
    }
    fn load(&mut self, state: &StateDict) -> Result<()> {
        let number = |key| number("state", state, key);
        let warmup = number("warmup_steps")? as i64;
        let (multiplier, total) = (number("warmup_multiplier")?, number("t_total")? as i64);
        let (cycles, end_lr) = (number("cycles")?, number("end_lr")?);
        *self = WarmupCosine { groups: self.groups, warmup, multiplier, total, cycles, end_lr };
        Ok(())
    }
}
