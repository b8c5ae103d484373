//! Seed and state of torch's default random generators, and permutations drawn from a separately seeded generator.

use crate::Result;
use crate::label_sums::checked;
use std::ffi::c_char;
use tch::{Device, Tensor};
use torch_sys::C_tensor;

unsafe extern "C" {
    fn sb_generator_seed(cuda: i32, out: *mut u64) -> *mut c_char;
    fn sb_generator_state(cuda: i32, out: *mut *mut C_tensor) -> *mut c_char;
    fn sb_generator_set_state(cuda: i32, state: *const C_tensor) -> *mut c_char;
    fn sb_permutation(n: i64, seed: u64, out: *mut i64) -> *mut c_char;
}

fn number(device: Device) -> i32 {
    match device {
        Device::Cuda(index) => i32::try_from(index).unwrap_or(i32::MAX),
        _ => -1,
    }
}

/// `torch.initial_seed()`: the last seed of the device's default generator.
pub fn generator_seed(device: Device) -> Result<u64> {
    let mut seed = 0;
    // SAFETY: writes one value to `seed`.
    unsafe { checked(sb_generator_seed(number(device), &mut seed))? };
    Ok(seed)
}

/// `torch.get_rng_state()`: the state (u8) of the device's default generator.
pub fn generator_state(device: Device) -> Result<Tensor> {
    let mut state = std::ptr::null_mut();
    // SAFETY: on success `state` is a new tensor, which the wrapper owns.
    unsafe {
        checked(sb_generator_state(number(device), &mut state))?;
        Ok(Tensor::from_ptr(state))
    }
}

/// `torch.set_rng_state(state)`; an error if `state` is not a valid state of this generator.
pub fn set_generator_state(device: Device, state: &Tensor) -> Result<()> {
    // SAFETY: `state` is a live tensor; libtorch checks its type and size.
    unsafe { checked(sb_generator_set_state(number(device), state.as_ptr())) }
}

/// `torch.randperm(n, generator=torch.Generator().manual_seed(seed))`
pub fn permutation(n: usize, seed: u64) -> Result<Vec<usize>> {
    let mut out = vec![0_i64; n];
    // SAFETY: writes `n` values to `out`, which has as many.
    unsafe { checked(sb_permutation(n as i64, seed, out.as_mut_ptr()))? };
    Ok(out.into_iter().map(|index| index as usize).collect())
}
