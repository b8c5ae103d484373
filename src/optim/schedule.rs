//! Shared code of the learning-rate schedules: step counting, base rates and torch's state dict
//! (torch.optim.lr_scheduler, torch 2.11).

use super::parameters::number;
use crate::checkpoint::StateDict;
use crate::component::{Args, FromValue, Value};
use crate::contracts::{Optimizer, Schedule, Shared};
use crate::error::Result;
use crate::{bail, err};

/// The state of one parameter group from which a schedule computes the next learning rate.
pub struct ScheduleStep {
    /// Index of the current epoch; 0 in the first.
    pub epoch: i64,
    /// Index of the parameter group.
    pub group: usize,
    /// Current learning rate.
    pub lr: f64,
    /// Initial learning rate.
    pub base: f64,
    /// Whether this is the initial step, made by the constructor.
    pub initial: bool,
    /// Number of steps since construction, including this one.
    pub steps: i64,
}

/// The formula of a schedule.
pub trait Rule: Send {
    /// Computes the next learning rate of a parameter group.
    fn lr(&self, at: &ScheduleStep) -> Result<f64>;
    /// Entries of torch's state dict that belong to this schedule, placed before the common entries.
    fn state(&self) -> Vec<(&'static str, StateDict)>;
    /// Entries placed after the common ones.
    fn state_after(&self) -> Vec<(&'static str, StateDict)> {
        vec![]
    }
    /// Restores the entries of [`Rule::state`] and [`Rule::state_after`].
    fn load(&mut self, state: &StateDict) -> Result<()>;
}

/// A schedule: a rule and its progress.
pub struct RuleSchedule<R> {
    name: &'static str,
    rule: R,
    optimizer: Shared<dyn Optimizer>,
    base_lrs: Vec<f64>,
    epoch: i64,
    steps: i64,
    last_lr: Vec<f64>,
}

impl<R: Rule> RuleSchedule<R> {
    /// Creates a schedule at `last_epoch` (−1: new) and makes the initial step, as torch's constructors do.
    pub fn new(
        name: &'static str,
        optimizer: Shared<dyn Optimizer>,
        last_epoch: i64,
        rule: R,
    ) -> Result<RuleSchedule<R>> {
        let mut base_lrs = vec![];
        for (at, group) in optimizer.lock().groups_mut().iter_mut().enumerate() {
            match group.initial_lr {
                None if last_epoch != -1 => {
                    return Err(err!("last_epoch is {last_epoch}, but group {at} of the optimizer has no initial_lr")
                        .hint("load the optimizer's state first, or leave last_epoch out"));
                }
                initial => base_lrs.push(*group.initial_lr.insert(initial.unwrap_or(group.lr))),
            }
        }
        let mut schedule =
            RuleSchedule { name, rule, optimizer, base_lrs, epoch: last_epoch, steps: 0, last_lr: vec![] };
        schedule.advance(true)?;
        Ok(schedule)
    }
    fn advance(&mut self, initial: bool) -> Result<()> {
        let (epoch, steps) = (self.epoch + 1, self.steps + 1);
        // The rule may call a function from the config: hold no lock meanwhile.
        let now: Vec<f64> = self.optimizer.lock().groups().iter().map(|group| group.lr).collect();
        if now.len() != self.base_lrs.len() {
            bail!(
                "{}: the optimizer has {} parameter groups, the schedule has {}",
                self.name,
                now.len(),
                self.base_lrs.len()
            );
        }
        let places = now.iter().zip(&self.base_lrs).enumerate();
        let next =
            places.map(|(group, (&lr, &base))| self.rule.lr(&ScheduleStep { epoch, group, lr, base, initial, steps }));
        let next = next.collect::<Result<Vec<f64>>>().map_err(|e| e.context(self.name))?;
        for (group, lr) in self.optimizer.lock().groups_mut().iter_mut().zip(&next) {
            group.lr = *lr;
        }
        (self.epoch, self.steps, self.last_lr) = (epoch, steps, next);
        Ok(())
    }
}

fn floats(values: &[f64]) -> StateDict {
    StateDict::List(values.iter().map(|&x| StateDict::Float(x)).collect())
}

fn read_floats(name: &str, state: &StateDict, key: &str) -> Result<Vec<f64>> {
    let Some(StateDict::List(items)) = state.get(key) else { bail!("{name}: the saved state has no list `{key}`") };
    items.iter().map(|item| number(name, &StateDict::dict([(key, copy(item))]), key)).collect()
}

fn copy(item: &StateDict) -> StateDict {
    match item {
        StateDict::Float(x) => StateDict::Float(*x),
        StateDict::Int(i) => StateDict::Int(*i),
        _ => StateDict::None,
    }
}

impl<R: Rule> Schedule for RuleSchedule<R> {
    fn name(&self) -> &'static str {
        self.name
    }
    fn step(&mut self) -> Result<()> {
        self.advance(false)
    }
    fn last_lr(&self) -> &[f64] {
        &self.last_lr
    }
    fn state(&self) -> StateDict {
        let mut items = self.rule.state();
        items.extend([
            ("base_lrs", floats(&self.base_lrs)),
            ("last_epoch", StateDict::Int(self.epoch)),
            ("_step_count", StateDict::Int(self.steps)),
            ("_is_initial", StateDict::Bool(false)),
            ("_get_lr_called_within_step", StateDict::Bool(false)),
            ("_last_lr", floats(&self.last_lr)),
        ]);
        items.extend(self.rule.state_after());
        StateDict::dict(items)
    }
    fn load_state(&mut self, state: &StateDict) -> Result<()> {
        let (base_lrs, last_lr) =
            (read_floats(self.name, state, "base_lrs")?, read_floats(self.name, state, "_last_lr")?);
        if base_lrs.len() != self.base_lrs.len() || last_lr.len() != base_lrs.len() {
            bail!(
                "{}: the saved state has {} parameter groups, the optimizer has {}",
                self.name,
                base_lrs.len(),
                self.base_lrs.len()
            );
        }
        let (epoch, steps) =
            (number(self.name, state, "last_epoch")? as i64, number(self.name, state, "_step_count")? as i64);
        self.rule.load(state).map_err(|e| e.context(self.name))?;
        (self.base_lrs, self.last_lr, self.epoch, self.steps) = (base_lrs, last_lr, epoch, steps);
        Ok(())
    }
}

/// Calls a function of the epoch that the config defines.
pub fn factor(function: &Value, epoch: i64) -> Result<f64> {
    let value = function.call(Args::positional([Value::Int(epoch)]), &mut crate::component::BuildContext::default())?;
    f64::from_value(&value).ok_or_else(|| err!("expected a number from the function of the epoch, found {value:?}"))
}
