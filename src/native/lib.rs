//! What segbundle needs of libtorch's C++ side, behind safe functions; all `unsafe` of the program is in this crate.
//!
//! - [`memory`]: the page-keeping allocator ([`install_allocator`]), its counters and limits.
//! - [`kernels`]: fused loops for channels-last tensors on the CPU: group normalisation, upsampling, blending of
//!   windows, the last layer with argmax.
//! - [`convolution`]: 3×3×3 convolutions by Winograd's algorithm, with what stands around them.
//! - [`generator`]: torch's random generators, their seeds and states.
//! - [`label_sums()`]: what Dice and cross-entropy need of softmax(logits), with a backward pass of its own.
//! - [`optimizers`]: steps of Adam, AdamW and SGD.
//! - [`runtime`]: autocast, CUDA's library, what the processor can do, which threads get signals.
//! - [`training`]: residual blocks, upsampling and the last layer with their gradients.
//!
//! Errors are [`tch::TchError`]s whose message says what was expected and what was found.

mod convolution;
mod generator;
mod kernels;
mod label_sums;
mod memory;
mod optimizers;
mod runtime;
pub mod training;

pub use convolution::{Conv3, fills_vectors};
pub use generator::{generator_seed, generator_state, permutation, set_generator_state};
pub use kernels::{
    Affine, Box3, GroupNorm, LabelsMut, Moments, add_moments, argmax, blend, channels_last, head_argmax, head_logits,
    is_channels_last, moments, upsample_add,
};
pub use label_sums::{LabelSums, label_sums};
pub use memory::{Memory, install_allocator, memory, reset_peak, set_limit, trim};
pub use optimizers::{Adam, AdamSlot, Sgd, SgdSlot, adam, clear_gradients, sgd};
pub use runtime::{Autocast, Cpu, block_signals, cpu, load_cuda, unblock_signals};

pub type Result<T> = std::result::Result<T, tch::TchError>;
