//! Safe functions over libtorch's C++ API and the project's C++ kernels. All `unsafe` code is in this crate, except
//! `segbundle_image`'s zeroed allocation.
//!
//! - `memory`: the page-caching allocator ([`install_allocator`]), its counters and limits.
//! - `kernels`: fused loops for channels-last tensors on the CPU: group normalization, upsampling, blending of
//!   windows, the last layer with argmax.
//! - `convolution`: 3×3×3 convolutions by Winograd's algorithm, fused with neighboring operations.
//! - `distributed`: the store, process group and gradient reducer of torch.distributed.
//! - `generator`: torch's random generators, their seeds and states.
//! - [`label_sums()`]: differentiable sums over softmax(logits) for Dice and cross-entropy.
//! - `optimizers`: steps of Adam, AdamW and SGD.
//! - `runtime`: autocast, loading of the CUDA library, CPU features, signal masks.
//! - [`trace()`]: networks as TorchScript files.
//! - [`training`]: differentiable residual blocks, upsampling and the last layer.
//!
//! Errors are [`tch::TchError`]s with a message of what was expected and what was found.

#![allow(unsafe_code)]

mod convolution;
mod distributed;
mod generator;
mod kernels;
mod label_sums;
mod memory;
mod optimizers;
mod runtime;
mod trace;
pub mod training;

pub use convolution::{Conv3, fills_vectors};
pub use distributed::{ProcessGroup, Reducer, ReducerOptions, Reduction, Store};
pub use generator::{generator_seed, generator_state, permutation, set_generator_state};
pub use kernels::{
    Affine, Box3, GroupNorm, LabelsMut, Moments, add_moments, argmax, blend, channels_last, elements, head_argmax,
    head_logits, is_channels_last, moments, upsample_add,
};
pub use label_sums::{LabelSums, label_sums};
pub use memory::{Memory, install_allocator, memory, reset_peak, set_limit, trim};
pub use optimizers::{Adam, AdamSlot, Sgd, SgdSlot, adam, clear_gradients, sgd};
pub use runtime::{Autocast, Cpu, block_signals, cpu, load_cuda, send_signal, take_stdout, unblock_signals};
pub use trace::trace;

/// Result of functions that call libtorch.
pub type Result<T> = std::result::Result<T, tch::TchError>;
