//! torch.optim.SGD (torch 2.11).

use super::parameters::{self, Params, flag, number, tensor_like};
use crate::checkpoint::StateDict;
use crate::component::{Accepted, FromValue, NotSupported};
use crate::contracts::{Optimizer, ParamGroup};
use crate::err;
use crate::error::{Kind, Result};
use segbundle_native::{Sgd as Options, SgdSlot};
use tch::Tensor;

component! {
    /// Stochastic gradient descent, optionally with momentum.
    pub static COMPONENT = optimizer "SGD" in "torch.optim" / "sgd";

    pub struct SgdArgs {
        /// Parameters to optimize: `$@network.parameters()`, or a list of dicts that define parameter groups.
        params: Params,
        /// Learning rate.
        lr: f64 = 1e-3,
        /// Momentum factor.
        momentum: f64 = 0.0,
        /// Dampening of the momentum.
        dampening: f64 = 0.0,
        /// Weight decay (L2 penalty), added to the gradient.
        weight_decay: f64 = 0.0,
        /// Use Nesterov momentum; requires a momentum and no dampening.
        nesterov: bool = false,
        /// Maximize the objective instead of minimizing it.
        maximize: bool = false,
        /// No effect: the implementation is chosen automatically, with the same result.
        foreach: Accepted = (),
        /// Differentiate through the optimizer step; not supported.
        differentiable: NotSupported = false,
        /// No effect: steps are those of the default implementation; fused ones differ by rounding.
        fused: Accepted = (),
    }

    build: Sgd::new,
}

fn check(o: &Options) -> Result<()> {
    let message = if !(o.lr >= 0.0 && o.momentum >= 0.0 && o.weight_decay >= 0.0) {
        "`lr`, `momentum` and `weight_decay` must be at least 0"
    } else if o.nesterov && (o.momentum == 0.0 || o.dampening != 0.0) {
        "`nesterov` needs a momentum and no dampening"
    } else {
        return Ok(());
    };
    Err(err!("{message}").kind(Kind::Config))
}

struct Sgd {
    groups: Vec<ParamGroup>,
    /// Options of each parameter group; the learning rate is stored in the group.
    options: Vec<Options>,
    /// Momentum buffers by group and parameter; `None` before the first step of a parameter with momentum.
    buffers: Vec<Vec<Option<Tensor>>>,
}

impl Sgd {
    fn new(a: SgdArgs) -> Result<Sgd> {
        let defaults = Options {
            lr: a.lr,
            momentum: a.momentum,
            dampening: a.dampening,
            weight_decay: a.weight_decay,
            nesterov: a.nesterov,
            maximize: a.maximize,
        };
        check(&defaults)?;
        let (groups, options) = a.params.groups(a.lr, &defaults, |o, key, value| {
            match (key, f64::from_value(value), bool::from_value(value)) {
                ("momentum", Some(x), _) => o.momentum = x,
                ("dampening", Some(x), _) => o.dampening = x,
                ("weight_decay", Some(x), _) => o.weight_decay = x,
                ("nesterov", _, Some(on)) => o.nesterov = on,
                ("maximize", _, Some(on)) => o.maximize = on,
                ("foreach" | "fused", ..) => {}
                _ => return false,
            }
            true
        })?;
        options.iter().try_for_each(check)?;
        let buffers = groups.iter().map(|group| group.parameters.iter().map(|_| None).collect()).collect();
        Ok(Sgd { groups, options, buffers })
    }
}

impl Optimizer for Sgd {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn groups(&self) -> &[ParamGroup] {
        &self.groups
    }
    fn groups_mut(&mut self) -> &mut [ParamGroup] {
        &mut self.groups
    }
    fn step(&mut self) -> Result<()> {
        for ((group, options), buffers) in self.groups.iter().zip(&self.options).zip(&mut self.buffers) {
            let mut fresh = vec![];
            for (parameter, buffer) in group.parameters.iter().zip(buffers.iter_mut()) {
                fresh.push(buffer.is_none());
                if options.momentum != 0.0 && buffer.is_none() && parameter.grad().defined() {
                    *buffer = Some(parameter.detach().f_zeros_like()?);
                }
            }
            let all = group.parameters.iter().zip(buffers.iter()).zip(fresh);
            let work: Vec<SgdSlot> = all
                .filter(|((parameter, _), _)| parameter.grad().defined())
                .map(|((parameter, buffer), fresh)| SgdSlot { parameter, buffer: buffer.as_ref(), fresh })
                .collect();
            segbundle_native::sgd(&work, &Options { lr: group.lr, ..*options })?;
        }
        Ok(())
    }
    fn state(&self) -> Result<StateDict> {
        let entry = |(number, buffer): (usize, &Option<Tensor>)| {
            let buffer = buffer.as_ref()?.shallow_clone();
            Some((number, StateDict::dict([("momentum_buffer", StateDict::Tensor(buffer))])))
        };
        let entries = self.buffers.iter().flatten().enumerate().filter_map(entry).collect();
        Ok(parameters::save(entries, &self.groups, |at| {
            let o = &self.options[at];
            vec![
                ("momentum", StateDict::Float(o.momentum)),
                ("dampening", StateDict::Float(o.dampening)),
                ("weight_decay", StateDict::Float(o.weight_decay)),
                ("nesterov", StateDict::Bool(o.nesterov)),
                ("maximize", StateDict::Bool(o.maximize)),
                ("foreach", StateDict::None),
                ("differentiable", StateDict::Bool(false)),
                ("fused", StateDict::None),
            ]
        }))
    }
    fn load_state(&mut self, state: &StateDict) -> Result<()> {
        let loaded = parameters::load(COMPONENT.name, state, &self.groups)?;
        let mut options = vec![];
        for saved in &loaded.groups {
            let number = |key| number(COMPONENT.name, saved, key);
            let read = Options {
                lr: number("lr")?,
                momentum: number("momentum")?,
                dampening: number("dampening")?,
                weight_decay: number("weight_decay")?,
                nesterov: flag(COMPONENT.name, saved, "nesterov")?,
                maximize: flag(COMPONENT.name, saved, "maximize")?,
            };
            // Like torch, accept any rate that a schedule has set.
            check(&Options { lr: 0.0, ..read }).map_err(|error| error.context(COMPONENT.name))?;
            options.push(read);
        }
        let (mut buffers, mut entries) = (vec![], loaded.entries.iter());
        for group in &self.groups {
            let buffer = |(parameter, entry): (&Tensor, &Option<&StateDict>)| match entry {
                // torch saves None for a parameter without a momentum buffer yet.
                Some(entry) if matches!(entry.get("momentum_buffer"), Some(StateDict::Tensor(_))) => {
                    tensor_like(COMPONENT.name, entry, "momentum_buffer", parameter).map(Some)
                }
                _ => Ok(None),
            };
            buffers.push(group.parameters.iter().zip(entries.by_ref()).map(buffer).collect::<Result<Vec<_>>>()?);
        }
        loaded.rates(COMPONENT.name, &mut self.groups)?;
        (self.options, self.buffers) = (options, buffers);
        Ok(())
    }
}
