//! Steps of torch.optim's optimizers, bit-equal to Python's. See cpp/optimizers.cpp.

use crate::Result;
use crate::kernels::wrong;
use crate::label_sums::checked;
use std::ffi::c_char;
use tch::Tensor;
use torch_sys::C_tensor;

/// Hyperparameters of one Adam step.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct AdamStep {
    lr: f64,
    beta1: f64,
    beta2: f64,
    eps: f64,
    weight_decay: f64,
    amsgrad: i32,
    maximize: i32,
    decoupled: i32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct SgdStep {
    lr: f64,
    momentum: f64,
    dampening: f64,
    weight_decay: f64,
    nesterov: i32,
    maximize: i32,
}

unsafe extern "C" {
    fn sb_adam(
        n: i64,
        params: *const *const C_tensor,
        averages: *const *const C_tensor,
        squares: *const *const C_tensor,
        maxima: *const *const C_tensor,
        steps: *const f64,
        options: *const AdamStep,
    ) -> *mut c_char;
    fn sb_sgd(
        n: i64,
        params: *const *const C_tensor,
        buffers: *const *const C_tensor,
        fresh: *const i32,
        options: *const SgdStep,
    ) -> *mut c_char;
    fn sb_clear_gradients(n: i64, params: *const *const C_tensor) -> *mut c_char;
}

/// Options of Adam and AdamW.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adam {
    /// Learning rate.
    pub lr: f64,
    /// Decay rates of the averages of gradients and of squared gradients.
    pub betas: [f64; 2],
    /// Added to the denominator.
    pub eps: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Divide by the running maximum of the averaged squares (AMSGrad).
    pub amsgrad: bool,
    /// Step along the gradient instead of against it.
    pub maximize: bool,
    /// Decoupled weight decay (AdamW); otherwise it is added to the gradient.
    pub decoupled: bool,
}

/// Options of SGD.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sgd {
    /// Learning rate.
    pub lr: f64,
    /// Factor of the previous update; 0 for none.
    pub momentum: f64,
    /// Dampening of the gradient in the momentum buffer.
    pub dampening: f64,
    /// L2 penalty, added to the gradient.
    pub weight_decay: f64,
    /// Nesterov momentum.
    pub nesterov: bool,
    /// Step along the gradient instead of against it.
    pub maximize: bool,
}

/// A parameter with a gradient and its Adam state, all of the same shape.
pub struct AdamSlot<'a> {
    /// The parameter, updated in place.
    pub parameter: &'a Tensor,
    /// `exp_avg`, updated in place.
    pub average: &'a Tensor,
    /// `exp_avg_sq`, updated in place.
    pub square: &'a Tensor,
    /// Running maximum of `square`, with amsgrad only.
    pub maximum: Option<&'a Tensor>,
    /// Number of this step, from 1.
    pub step: f64,
}

/// A parameter with a gradient; `buffer` (same shape) is given with momentum, `fresh` is true in its first step.
pub struct SgdSlot<'a> {
    /// The parameter, updated in place.
    pub parameter: &'a Tensor,
    /// `momentum_buffer`, updated in place.
    pub buffer: Option<&'a Tensor>,
    /// Whether the buffer is still empty and starts from this gradient.
    pub fresh: bool,
}

fn pointers<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> Vec<*const C_tensor> {
    tensors.into_iter().map(Tensor::as_ptr).collect()
}

/// Checks that each parameter has a gradient of its own shape and float dtype.
fn ready<'a>(what: &str, parameters: impl IntoIterator<Item = &'a Tensor>) -> Result<()> {
    for parameter in parameters {
        let grad = parameter.grad();
        if !grad.defined() || grad.size() != parameter.size() || grad.kind() != parameter.kind() {
            return wrong(format!(
                "{what}: expected a gradient of the shape and dtype of the parameter {:?}",
                parameter.size()
            ));
        }
    }
    Ok(())
}

fn like(what: &str, state: &Tensor, parameter: &Tensor) -> Result<()> {
    if state.size() != parameter.size() || state.device() != parameter.device() {
        return wrong(format!(
            "{what}: expected state of {:?} on {:?}, found {:?} on {:?}",
            parameter.size(),
            parameter.device(),
            state.size(),
            state.device()
        ));
    }
    Ok(())
}

/// Makes one step of Adam or AdamW; updates parameters and state in place.
pub fn adam(slots: &[AdamSlot], options: &Adam) -> Result<()> {
    if slots.is_empty() {
        return Ok(());
    }
    ready("Adam", slots.iter().map(|slot| slot.parameter))?;
    for slot in slots {
        for state in [Some(slot.average), Some(slot.square), slot.maximum].into_iter().flatten() {
            like("Adam", state, slot.parameter)?;
        }
    }
    let maxima = pointers(slots.iter().filter_map(|slot| slot.maximum));
    if options.amsgrad && maxima.len() != slots.len() {
        return wrong("Adam: amsgrad needs `maximum` for each parameter".into());
    }
    let (parameters, averages) =
        (pointers(slots.iter().map(|slot| slot.parameter)), pointers(slots.iter().map(|slot| slot.average)));
    let squares = pointers(slots.iter().map(|slot| slot.square));
    let steps: Vec<f64> = slots.iter().map(|slot| slot.step).collect();
    let [beta1, beta2] = options.betas;
    let numbers = AdamStep {
        lr: options.lr,
        beta1,
        beta2,
        eps: options.eps,
        weight_decay: options.weight_decay,
        amsgrad: options.amsgrad.into(),
        maximize: options.maximize.into(),
        decoupled: options.decoupled.into(),
    };
    // SAFETY: each list has one live tensor for each slot (maxima: only read with amsgrad), of shapes checked above;
    // they outlive the call.
    checked(unsafe {
        sb_adam(
            slots.len() as i64,
            parameters.as_ptr(),
            averages.as_ptr(),
            squares.as_ptr(),
            maxima.as_ptr(),
            steps.as_ptr(),
            &raw const numbers,
        )
    })
}

/// Makes one step of SGD; updates parameters and momentum buffers in place.
pub fn sgd(slots: &[SgdSlot], options: &Sgd) -> Result<()> {
    if slots.is_empty() {
        return Ok(());
    }
    ready("SGD", slots.iter().map(|slot| slot.parameter))?;
    let buffers = pointers(slots.iter().filter_map(|slot| slot.buffer));
    if options.momentum != 0.0 && buffers.len() != slots.len() {
        return wrong("SGD: momentum needs `buffer` for each parameter".into());
    }
    for slot in slots {
        if let Some(buffer) = slot.buffer {
            like("SGD", buffer, slot.parameter)?;
        }
    }
    let parameters = pointers(slots.iter().map(|slot| slot.parameter));
    let fresh: Vec<i32> = slots.iter().map(|slot| slot.fresh.into()).collect();
    let numbers = SgdStep {
        lr: options.lr,
        momentum: options.momentum,
        dampening: options.dampening,
        weight_decay: options.weight_decay,
        nesterov: options.nesterov.into(),
        maximize: options.maximize.into(),
    };
    // SAFETY: as in `adam`; buffers are only read with momentum, in which case every slot has one.
    checked(unsafe {
        sb_sgd(slots.len() as i64, parameters.as_ptr(), buffers.as_ptr(), fresh.as_ptr(), &raw const numbers)
    })
}

/// `optimizer.zero_grad()`: drops the gradients; the next backward pass allocates new ones.
pub fn clear_gradients(parameters: &[Tensor]) -> Result<()> {
    let list = pointers(parameters);
    // SAFETY: each pointer refers to a live tensor.
    checked(unsafe { sb_clear_gradients(list.len() as i64, list.as_ptr()) })
}
