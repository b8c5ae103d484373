//! torch.optim.lr_scheduler's StepLR, MultiStepLR, ExponentialLR, CosineAnnealingLR, LinearLR, PolynomialLR and
//! LambdaLR (torch 2.11). As in torch, most compute the next rate from the last one, so that schedules can be chained
//! and round identically.

#![allow(non_snake_case)] // T_max is torch's argument name

use super::parameters::number;
use super::schedule::{Rule, RuleSchedule, ScheduleStep, factor};
use crate::checkpoint::StateDict;
use crate::component::{FromValue, Value};
use crate::contracts::{Optimizer, Shared};
use crate::err;
use crate::error::Result;
use std::collections::BTreeMap;
use std::f64::consts::PI;

/// Declares a schedule: its own arguments, between `optimizer` and `last_epoch`, and a function that checks them and
/// returns the rule.
macro_rules! schedule {
    (
        $(#[doc = $doc:literal])*
        $vis:vis static $static:ident = $name:literal;
        struct $args:ident { $($own:tt)* }
        rule: $rule:ty = $make:expr,
    ) => {
        component! {
            $(#[doc = $doc])*
            $vis static $static = schedule $name in "torch.optim.lr_scheduler";

            pub struct $args {
                /// Optimizer whose learning rates are scheduled.
                optimizer: Shared<dyn Optimizer>,
                $($own)*
                /// Index of the last epoch; -1 starts from the initial learning rate.
                last_epoch: i64 = -1,
            }

            build: |args| {
                let (optimizer, last_epoch) = (args.optimizer.clone(), args.last_epoch);
                let make: fn($args) -> Result<$rule> = $make;
                RuleSchedule::new($name, optimizer, last_epoch, make(args)?)
            },
        }
    };
}

/// Implements saving and restoring for schedules whose state consists of plain numbers, under torch's names.
macro_rules! numbers {
    ($($key:literal => $field:ident: $kind:ident),*) => {
        fn state(&self) -> Vec<(&'static str, StateDict)> {
            vec![$(($key, StateDict::$kind(self.$field))),*]
        }
        fn load(&mut self, state: &StateDict) -> Result<()> {
            $(let $field = number("state", state, $key)?;)*
            $(self.$field = $field as _;)*
            Ok(())
        }
    };
}

fn positive(name: &str, value: i64) -> Result<i64> {
    if value > 0 { Ok(value) } else { Err(err!("`{name}` is {value}, expected at least 1")) }
}

schedule! {
    /// Multiply the learning rate by gamma every step_size epochs.
    pub static STEP = "StepLR";
    struct StepArgs {
        /// Number of epochs between two decays.
        step_size: i64,
        /// Factor of each decay.
        gamma: f64 = 0.1,
    }
    rule: Step = |a| Ok(Step {
    size: positive("step_size", a.step_size)?,
    gamma: a.gamma
}),
}
struct Step {
    size: i64,
    gamma: f64,
}
impl Rule for Step {
    fn lr(&self, at: &ScheduleStep) -> Result<f64> {
        Ok(if at.epoch == 0 || at.epoch % self.size.max(1) != 0 { at.lr } else { at.lr * self.gamma })
    }
    numbers!("step_size" => size: Int, "gamma" => gamma: Float);
}

schedule! {
    /// Multiply the learning rate by gamma at each milestone epoch.
    pub static MULTI_STEP = "MultiStepLR";
    struct MultiStepArgs {
        /// Epochs of the decays; one that is listed twice decays twice.
        milestones: Vec<i64>,
        /// Factor of each decay.
        gamma: f64 = 0.1,
    }
    rule: MultiStep = |a| {
    let mut milestones = BTreeMap::new();
    a.milestones.iter().for_each(|epoch| *milestones.entry(*epoch).or_insert(0) += 1);
    Ok(MultiStep { milestones, gamma: a.gamma })
},
}
struct MultiStep {
    milestones: BTreeMap<i64, i32>,
    gamma: f64,
}
impl Rule for MultiStep {
    fn lr(&self, at: &ScheduleStep) -> Result<f64> {
        Ok(self.milestones.get(&at.epoch).map_or(at.lr, |times| at.lr * self.gamma.powf(f64::from(*times))))
    }
    /// torch saves a `collections.Counter`; a plain dict loads the same way.
    fn state(&self) -> Vec<(&'static str, StateDict)> {
        let milestones = self
            .milestones
            .iter()
            .map(|(epoch, times)| (StateDict::Int(*epoch), StateDict::Int(i64::from(*times))))
            .collect();
        vec![("milestones", StateDict::Dict(milestones)), ("gamma", StateDict::Float(self.gamma))]
    }
    fn load(&mut self, state: &StateDict) -> Result<()> {
        let gamma = number("state", state, "gamma")?;
        if let Some(StateDict::Dict(items)) = state.get("milestones") {
            let pair = |(epoch, times): &(StateDict, StateDict)| match (epoch, times) {
                (StateDict::Int(epoch), StateDict::Int(times)) => Some((*epoch, i32::try_from(*times).ok()?)),
                _ => None,
            };
            self.milestones = items
                .iter()
                .map(pair)
                .collect::<Option<_>>()
                .ok_or_else(|| err!("expected numbers in `milestones`"))?;
        }
        self.gamma = gamma;
        Ok(())
    }
}

schedule! {
    /// Multiply the learning rate by gamma every epoch.
    pub static EXPONENTIAL = "ExponentialLR";
    struct ExponentialArgs {
        /// Factor per epoch.
        gamma: f64,
    }
    rule: Exponential = |a| Ok(
    Exponential { gamma: a.gamma }
),
}
struct Exponential {
    gamma: f64,
}
impl Rule for Exponential {
    fn lr(&self, at: &ScheduleStep) -> Result<f64> {
        Ok(if at.initial { at.lr } else { at.lr * self.gamma })
    }
    numbers!("gamma" => gamma: Float);
}

schedule! {
    /// Anneal the learning rate along a cosine, from the initial value to eta_min and back.
    pub static COSINE = "CosineAnnealingLR";
    struct CosineArgs {
        /// Number of epochs until eta_min is reached.
        T_max: i64,
        /// Minimum learning rate.
        eta_min: f64 = 0.0,
    }
    rule: Cosine = |a| Ok(Cosine { t_max: positive("T_max", a.T_max)?, eta_min: a.eta_min }),
}
struct Cosine {
    t_max: i64,
    eta_min: f64,
}
impl Rule for Cosine {
    fn lr(&self, at: &ScheduleStep) -> Result<f64> {
        let (t, epoch, low) = (self.t_max as f64, at.epoch as f64, self.eta_min);
        Ok(if at.initial {
            at.lr
        } else if at.steps == 1 && at.epoch > 0 {
            low + (at.base - low) * (1.0 + (epoch * PI / t).cos()) / 2.0
        } else if (at.epoch - 1 - self.t_max).rem_euclid(2 * self.t_max.max(1)) == 0 {
            at.lr + (at.base - low) * (1.0 - (PI / t).cos()) / 2.0
        } else {
            (1.0 + (PI * epoch / t).cos()) / (1.0 + (PI * (epoch - 1.0) / t).cos()) * (at.lr - low) + low
        })
    }
    numbers!("T_max" => t_max: Int, "eta_min" => eta_min: Float);
}

schedule! {
    /// Change the learning rate linearly between two factors, as for a warm-up.
    pub static LINEAR = "LinearLR";
    struct LinearArgs {
        /// Factor in the first epoch, in (0, 1].
        start_factor: f64 = 1.0 / 3.0,
        /// Factor after the last epoch, in [0, 1].
        end_factor: f64 = 1.0,
        /// Number of epochs between the two factors.
        total_iters: i64 = 5,
    }
    rule: Linear = |a| {
    if !(a.start_factor > 0.0 && a.start_factor <= 1.0 && (0.0..=1.0).contains(&a.end_factor)) {
        return Err(err!("expected `start_factor` in (0, 1] and `end_factor` in [0, 1]"));
    }
    Ok(Linear { start: a.start_factor, end: a.end_factor, total: a.total_iters })
},
}
struct Linear {
    start: f64,
    end: f64,
    total: i64,
}
impl Rule for Linear {
    fn lr(&self, at: &ScheduleStep) -> Result<f64> {
        let rise = self.end - self.start;
        Ok(if at.epoch == 0 {
            at.lr * self.start
        } else if at.initial || at.epoch > self.total {
            at.lr
        } else {
            at.lr * (1.0 + rise / (self.total as f64 * self.start + (at.epoch - 1) as f64 * rise))
        })
    }
    numbers!("start_factor" => start: Float, "end_factor" => end: Float, "total_iters" => total: Int);
}

schedule! {
    /// Decay the learning rate to 0 with a polynomial of the remaining epochs.
    pub static POLYNOMIAL = "PolynomialLR";
    struct PolynomialArgs {
        /// Number of epochs until the learning rate is 0.
        total_iters: i64 = 5,
        /// Exponent of the polynomial.
        power: f64 = 1.0,
    }
    rule: Polynomial = |a| Ok(Polynomial { total: positive("total_iters", a.total_iters)?, power: a.power }),
}
struct Polynomial {
    total: i64,
    power: f64,
}
impl Rule for Polynomial {
    fn lr(&self, at: &ScheduleStep) -> Result<f64> {
        if at.initial || at.epoch > self.total {
            return Ok(at.lr);
        }
        let left = |epoch: i64| 1.0 - epoch as f64 / self.total as f64;
        Ok(at.lr * (left(at.epoch) / left(at.epoch - 1)).powf(self.power))
    }
    numbers!("total_iters" => total: Int, "power" => power: Float);
}

schedule! {
    /// Multiply the initial learning rate by a function of the epoch.
    pub static LAMBDA = "LambdaLR";
    struct LambdaArgs {
        /// Function of the epoch that returns the factor (`$lambda epoch: 0.95 ** epoch`), or a list with one per
        /// parameter group.
        lr_lambda: Value,
    }
    rule: Lambda = |a| {
    let groups = a.optimizer.lock().groups().len();
    let functions = if a.lr_lambda.callable() {
        vec![a.lr_lambda.clone(); groups]
    } else {
        Vec::from_value(&a.lr_lambda).unwrap_or_default()
    };
    if functions.len() != groups || !functions.iter().all(Value::callable) {
        return Err(err!("argument `lr_lambda`: expected a function, or one for each of the {groups} groups"));
    }
    Ok(Lambda { functions })
},
}
struct Lambda {
    functions: Vec<Value>,
}
impl Rule for Lambda {
    fn lr(&self, at: &ScheduleStep) -> Result<f64> {
        Ok(at.base * factor(&self.functions[at.group], at.epoch)?)
    }
    /// Functions are not saved, as in torch.
    fn state(&self) -> Vec<(&'static str, StateDict)> {
        vec![]
    }
    fn state_after(&self) -> Vec<(&'static str, StateDict)> {
        vec![("lr_lambdas", StateDict::List(self.functions.iter().map(|_| StateDict::None).collect()))]
    }
    fn load(&mut self, _state: &StateDict) -> Result<()> {
        Ok(())
    }
}
