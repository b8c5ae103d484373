//! torch.optim.Adam and AdamW (torch 2.11; Kingma and Ba 2015, Loshchilov and Hutter 2019).

use super::parameters::{self, Params, flag, number, tensor_like};
use crate::checkpoint::StateDict;
use crate::component::{Accepted, FromValue, NotSupported};
use crate::contracts::{Optimizer, ParamGroup};
use crate::error::{Kind, Result};
use crate::{bail, err};
use segbundle_native::{Adam as Options, AdamSlot};
use tch::Tensor;

component! {
    /// Adam optimizer (Kingma and Ba 2015).
    pub static ADAM = optimizer "Adam" in "torch.optim" / "adam";

    pub struct AdamArgs {
        /// Parameters to optimize: `$@network.parameters()`, or a list of dicts that define parameter groups.
        params: Params,
        /// Learning rate.
        lr: f64 = 1e-3,
        /// Decay rates of the running averages of the gradient and its square.
        betas: Vec<f64> = [0.9, 0.999],
        /// Constant added to the denominator for numerical stability.
        eps: f64 = 1e-8,
        /// Weight decay (L2 penalty), added to the gradient.
        weight_decay: f64 = 0.0,
        /// Use the AMSGrad variant: divide by the maximum of the averages of squared gradients.
        amsgrad: bool = false,
        /// No effect: the implementation is chosen automatically, with the same result.
        foreach: Accepted = (),
        /// Maximize the objective instead of minimizing it.
        maximize: bool = false,
        /// No effect: CUDA graphs are not used.
        capturable: Accepted = false,
        /// Differentiate through the optimizer step; not supported.
        differentiable: NotSupported = false,
        /// No effect: steps are those of the default implementation; fused ones differ by rounding.
        fused: Accepted = (),
        /// Decouple the weight decay from the gradient, as AdamW does.
        decoupled_weight_decay: bool = false,
    }

    build: |a| {
        let flags = [a.amsgrad, a.maximize, a.decoupled_weight_decay];
        build("Adam", a.params, options(a.lr, &a.betas, a.eps, a.weight_decay, flags))
    },
}

component! {
    /// AdamW optimizer: Adam with decoupled weight decay (Loshchilov and Hutter 2019).
    pub static ADAMW = optimizer "AdamW" in "torch.optim" / "adamw";

    pub struct AdamWArgs {
        /// Parameters to optimize: `$@network.parameters()`, or a list of dicts that define parameter groups.
        params: Params,
        /// Learning rate.
        lr: f64 = 1e-3,
        /// Decay rates of the running averages of the gradient and its square.
        betas: Vec<f64> = [0.9, 0.999],
        /// Constant added to the denominator for numerical stability.
        eps: f64 = 1e-8,
        /// Decoupled weight decay: each step multiplies the weights by 1 − lr·weight_decay.
        weight_decay: f64 = 1e-2,
        /// Use the AMSGrad variant: divide by the maximum of the averages of squared gradients.
        amsgrad: bool = false,
        /// Maximize the objective instead of minimizing it.
        maximize: bool = false,
        /// No effect: the implementation is chosen automatically, with the same result.
        foreach: Accepted = (),
        /// No effect: CUDA graphs are not used.
        capturable: Accepted = false,
        /// Differentiate through the optimizer step; not supported.
        differentiable: NotSupported = false,
        /// No effect: steps are those of the default implementation; fused ones differ by rounding.
        fused: Accepted = (),
    }

    build: |a| {
        let flags = [a.amsgrad, a.maximize, true];
        build("AdamW", a.params, options(a.lr, &a.betas, a.eps, a.weight_decay, flags))
    },
}

fn options(lr: f64, betas: &[f64], eps: f64, weight_decay: f64, [amsgrad, maximize, decoupled]: [bool; 3]) -> Options {
    // A wrong number of betas becomes NaN, which `check` rejects.
    let betas = <[f64; 2]>::try_from(betas).unwrap_or([f64::NAN; 2]);
    Options { lr, betas, eps, weight_decay, amsgrad, maximize, decoupled }
}

fn check(o: &Options) -> Result<()> {
    let message = if !(0.0..).contains(&o.lr) {
        format!("`lr` is {}, expected at least 0", o.lr)
    } else if !(0.0..).contains(&o.eps) {
        format!("`eps` is {}, expected at least 0", o.eps)
    } else if !(0.0..).contains(&o.weight_decay) {
        format!("`weight_decay` is {}, expected at least 0", o.weight_decay)
    } else if !o.betas.iter().all(|beta| (0.0..1.0).contains(beta)) {
        "`betas`: expected two values in [0, 1)".to_owned()
    } else {
        return Ok(());
    };
    Err(err!("{message}").kind(Kind::Config))
}

fn build(name: &'static str, params: Params, defaults: Options) -> Result<Adam> {
    check(&defaults)?;
    let (groups, options) = params.groups(defaults.lr, &defaults, |o, key, value| {
        let (float, flag) = (f64::from_value(value), bool::from_value(value));
        match (key, float, flag) {
            ("eps", Some(x), _) => o.eps = x,
            ("weight_decay", Some(x), _) => o.weight_decay = x,
            ("amsgrad", _, Some(on)) => o.amsgrad = on,
            ("maximize", _, Some(on)) => o.maximize = on,
            ("betas", ..) => match Vec::from_value(value).and_then(|betas: Vec<f64>| betas.try_into().ok()) {
                Some(betas) => o.betas = betas,
                None => return false,
            },
            ("foreach" | "capturable" | "fused", ..) => {}
            _ => return false,
        }
        true
    })?;
    for options in &options {
        check(options)?;
    }
    let slots = groups.iter().map(|group| group.parameters.iter().map(|_| None).collect()).collect();
    Ok(Adam { name, groups, options, slots })
}

struct Slot {
    step: f64,
    average: Tensor,
    square: Tensor,
    maximum: Option<Tensor>,
}

struct Adam {
    name: &'static str,
    groups: Vec<ParamGroup>,
    /// Options of each parameter group; the learning rate is stored in the group.
    options: Vec<Options>,
    /// State by group and parameter; `None` before the first step of a parameter.
    slots: Vec<Vec<Option<Slot>>>,
}

impl Optimizer for Adam {
    fn name(&self) -> &'static str {
        self.name
    }
    fn groups(&self) -> &[ParamGroup] {
        &self.groups
    }
    fn groups_mut(&mut self) -> &mut [ParamGroup] {
        &mut self.groups
    }
    fn step(&mut self) -> Result<()> {
        for ((group, options), slots) in self.groups.iter().zip(&self.options).zip(&mut self.slots) {
            for (parameter, slot) in group.parameters.iter().zip(slots.iter_mut()) {
                if parameter.grad().defined() && slot.is_none() {
                    let zeros = || parameter.detach().f_zeros_like();
                    let maximum = if options.amsgrad { Some(zeros()?) } else { None };
                    *slot = Some(Slot { step: 0.0, average: zeros()?, square: zeros()?, maximum });
                }
            }
            let mut work = vec![];
            for (parameter, slot) in group.parameters.iter().zip(slots.iter_mut()) {
                if let Some(slot) = slot.as_mut().filter(|_| parameter.grad().defined()) {
                    slot.step += 1.0;
                    work.push(AdamSlot {
                        parameter,
                        average: &slot.average,
                        square: &slot.square,
                        maximum: slot.maximum.as_ref(),
                        step: slot.step,
                    });
                }
            }
            segbundle_native::adam(&work, &Options { lr: group.lr, ..*options })?;
        }
        Ok(())
    }
    fn state(&self) -> Result<StateDict> {
        let mut entries = vec![];
        for (number, slot) in self.slots.iter().flatten().enumerate() {
            let Some(slot) = slot else { continue };
            let mut items = vec![
                ("step", StateDict::Tensor(Tensor::from(slot.step as f32))),
                ("exp_avg", StateDict::Tensor(slot.average.shallow_clone())),
                ("exp_avg_sq", StateDict::Tensor(slot.square.shallow_clone())),
            ];
            items.extend(
                slot.maximum.as_ref().map(|maximum| ("max_exp_avg_sq", StateDict::Tensor(maximum.shallow_clone()))),
            );
            entries.push((number, StateDict::dict(items)));
        }
        Ok(parameters::save(entries, &self.groups, |at| {
            let o = &self.options[at];
            vec![
                ("betas", StateDict::Tuple(o.betas.map(StateDict::Float).into())),
                ("eps", StateDict::Float(o.eps)),
                ("weight_decay", StateDict::Float(o.weight_decay)),
                ("amsgrad", StateDict::Bool(o.amsgrad)),
                ("maximize", StateDict::Bool(o.maximize)),
                ("foreach", StateDict::None),
                ("capturable", StateDict::Bool(false)),
                ("differentiable", StateDict::Bool(false)),
                ("fused", StateDict::None),
                ("decoupled_weight_decay", StateDict::Bool(o.decoupled)),
            ]
        }))
    }
    fn load_state(&mut self, state: &StateDict) -> Result<()> {
        let name = self.name;
        let loaded = parameters::load(name, state, &self.groups)?;
        let mut options = vec![];
        for (saved, own) in loaded.groups.iter().zip(&self.options) {
            let betas = match saved.get("betas") {
                Some(StateDict::Tuple(betas) | StateDict::List(betas)) => match betas.as_slice() {
                    [StateDict::Float(a), StateDict::Float(b)] => [*a, *b],
                    _ => bail!("{name}: expected two floats in the saved state's `betas`"),
                },
                _ => bail!("{name}: the saved state has no `betas`"),
            };
            let read = Options {
                lr: number(name, saved, "lr")?,
                betas,
                eps: number(name, saved, "eps")?,
                weight_decay: number(name, saved, "weight_decay")?,
                amsgrad: flag(name, saved, "amsgrad")?,
                maximize: flag(name, saved, "maximize")?,
                decoupled: own.decoupled,
            };
            // Like torch, accept any rate that a schedule has set.
            check(&Options { lr: 0.0, ..read }).map_err(|error| error.context(name))?;
            options.push(read);
        }
        let mut slots = vec![];
        let mut entries = loaded.entries.iter();
        for (group, options) in self.groups.iter().zip(&options) {
            let slot = |(parameter, entry): (&Tensor, &Option<&StateDict>)| {
                let Some(entry) = entry else { return Ok(None) };
                let tensor = |key| tensor_like(name, entry, key, parameter);
                let maximum = if options.amsgrad { Some(tensor("max_exp_avg_sq")?) } else { None };
                Ok(Some(Slot {
                    step: number(name, entry, "step")?,
                    average: tensor("exp_avg")?,
                    square: tensor("exp_avg_sq")?,
                    maximum,
                }))
            };
            slots.push(group.parameters.iter().zip(entries.by_ref()).map(slot).collect::<Result<Vec<_>>>()?);
        }
        loaded.rates(name, &mut self.groups)?;
        (self.options, self.slots) = (options, slots);
        Ok(())
    }
}
