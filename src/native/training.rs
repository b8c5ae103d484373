//! Differentiable building blocks of SegResNet for training on the CPU (f32, channels last), which save half as much
//! memory for the backward pass as torch's operations. See cpp/training.cpp.
//!
//! Values and gradients equal those of torch's operations up to rounding. Weight gradients are summed over libtorch's
//! threads: their last bits depend on the number of threads.

use crate::Result;
use crate::convolution::fills_vectors;
use crate::kernels::{is_channels_last, on_cpu, same_shape, wrong};
use crate::label_sums::checked;
use std::ffi::c_char;
use tch::{Kind, TchError, Tensor};
use torch_sys::C_tensor;

unsafe extern "C" {
    fn sb_residual_block(
        x: *const C_tensor,
        weights: *const *const C_tensor,
        groups: *const i64,
        eps: *const f64,
        out: *mut *mut C_tensor,
    ) -> *mut c_char;
    fn sb_upsample_add(x: *const C_tensor, skip: *const C_tensor, out: *mut *mut C_tensor) -> *mut c_char;
    fn sb_norm_head(
        x: *const C_tensor,
        weights: *const *const C_tensor,
        groups: i64,
        eps: f64,
        out: *mut *mut C_tensor,
    ) -> *mut c_char;
}

/// A group normalization (weight and bias `[C]`) followed by ReLU.
#[derive(Debug, Clone, Copy)]
pub struct NormRelu<'a> {
    /// Weight `[C]` of the normalization.
    pub weight: &'a Tensor,
    /// Bias `[C]` of the normalization.
    pub bias: &'a Tensor,
    /// Number of groups of adjacent channels.
    pub groups: usize,
    /// Added to the variance.
    pub eps: f64,
}

fn dense(what: &str, x: &Tensor) -> Result<()> {
    on_cpu(what, x)?;
    match x.kind() {
        Kind::Float => Ok(()),
        other => Err(TchError::Kind(format!("{what}: expected f32, found {other:?}"))),
    }
}

/// Checks x `[N,C,X,Y,Z]` and returns the number of channels.
fn channels(what: &str, x: &Tensor) -> Result<i64> {
    dense(what, x)?;
    let size = x.size();
    if size.len() != 5 || size.contains(&0) || !fills_vectors(size[1]) {
        return wrong(format!("{what}: expected [N,C,X,Y,Z] with C a multiple of 4, found {size:?}"));
    }
    Ok(size[1])
}

fn weight(what: &str, tensor: &Tensor, shape: &[i64]) -> Result<()> {
    dense(what, tensor)?;
    same_shape(what, tensor, shape)?;
    if !tensor.is_contiguous() {
        return wrong(format!("{what}: expected a contiguous weight, found strides {:?}", tensor.stride()));
    }
    Ok(())
}

impl NormRelu<'_> {
    fn check(&self, what: &str, channels: i64) -> Result<()> {
        weight(what, self.weight, &[channels])?;
        weight(what, self.bias, &[channels])?;
        if self.groups == 0 || channels % self.groups as i64 != 0 {
            return wrong(format!("{what}: {channels} channels are not divisible into {} groups", self.groups));
        }
        Ok(())
    }
}

fn owned(call: impl FnOnce(*mut *mut C_tensor) -> *mut c_char) -> Result<Tensor> {
    let mut out = std::ptr::null_mut();
    checked(call(&mut out))?;
    // SAFETY: a call without an error has created a new tensor, which the wrapper owns from here on.
    Ok(unsafe { Tensor::from_ptr(out) })
}

/// Computes x + conv₂(norm₂(conv₁(norm₁(x)))): x `[N,C,X,Y,Z]` of any layout → the same shape, channels last. The
/// weights of the convolutions are `[K,C,3,3,3]` and `[C,K,3,3,3]`.
///
/// Saved for the backward pass: x, the output of the first convolution, and sums per channel.
pub fn residual_block(x: &Tensor, norms: [NormRelu; 2], convs: [&Tensor; 2]) -> Result<Tensor> {
    let what = "residual block";
    let c = channels(what, x)?;
    let k = convs[0].size().first().copied().unwrap_or(0);
    if !fills_vectors(k) {
        return wrong(format!("{what}: expected a weight [K,C,3,3,3], found {:?}", convs[0].size()));
    }
    weight(what, convs[0], &[k, c, 3, 3, 3])?;
    weight(what, convs[1], &[c, k, 3, 3, 3])?;
    norms[0].check(what, c)?;
    norms[1].check(what, k)?;
    let [first, second] = norms;
    let weights = [first.weight, first.bias, convs[0], second.weight, second.bias, convs[1]].map(Tensor::as_ptr);
    let groups = norms.map(|norm| norm.groups as i64);
    let eps = norms.map(|norm| norm.eps);
    // SAFETY: all pointers are live tensors of the type, shapes and device that the C++ side relies on (checked above).
    owned(|out| unsafe { sb_residual_block(x.as_ptr(), weights.as_ptr(), groups.as_ptr(), eps.as_ptr(), out) })
}

/// Upsamples x `[N,C,X,Y,Z]` trilinearly by 2 (`align_corners=False`) and adds skip `[N,C,2X,2Y,2Z]`; any layout →
/// channels last.
pub fn upsample_sum(x: &Tensor, skip: &Tensor) -> Result<Tensor> {
    let what = "upsampled sum";
    let c = channels(what, x)?;
    channels(what, skip)?;
    let size = x.size();
    same_shape(what, skip, &[size[0], c, 2 * size[2], 2 * size[3], 2 * size[4]])?;
    // SAFETY: both are live f32 CPU tensors of the shapes checked above.
    owned(|out| unsafe { sb_upsample_add(x.as_ptr(), skip.as_ptr(), out) })
}

/// Computes a 1×1×1 convolution of norm(x): x `[N,C,X,Y,Z]` of any layout, weight `[K,C,1,1,1]`, bias `[K]` →
/// `[N,K,X,Y,Z]`, contiguous. Saved for the backward pass: x, and sums per channel.
pub fn norm_head(x: &Tensor, norm: NormRelu, matrix: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let what = "head";
    let c = channels(what, x)?;
    let k = matrix.size().first().copied().unwrap_or(0);
    weight(what, matrix, &[k, c, 1, 1, 1])?;
    weight(what, bias, &[k])?;
    norm.check(what, c)?;
    let weights = [norm.weight, norm.bias, matrix, bias].map(Tensor::as_ptr);
    // SAFETY: all pointers are live f32 CPU tensors of the shapes checked above.
    owned(|out| unsafe { sb_norm_head(x.as_ptr(), weights.as_ptr(), norm.groups as i64, norm.eps, out) })
}

/// Converts x `[N,C,X,Y,Z]` to channels-last layout, differentiably; no copy if it already has it.
pub fn to_channels_last(x: &Tensor) -> Result<Tensor> {
    if is_channels_last(x) {
        return Ok(x.shallow_clone());
    }
    x.f_permute([0, 2, 3, 4, 1])?.f_contiguous()?.f_permute([0, 4, 1, 2, 3])
}
