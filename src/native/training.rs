//! What a SegResNet is made of, in training on the CPU: f32, channels last, with backward passes of their own that keep
//! half of what torch's operations keep. See cpp/training.cpp.
//!
//! Values and gradients are those of torch's operations up to rounding. The weights' gradients are split over libtorch's
//! threads: their last bits depend on how many there are.

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

/// A group normalisation, weight and bias [C], with the ReLU behind it.
#[derive(Debug, Clone, Copy)]
pub struct NormRelu<'a> {
    pub weight: &'a Tensor,
    pub bias: &'a Tensor,
    pub groups: usize,
    pub eps: f64,
}

fn dense(what: &str, x: &Tensor) -> Result<()> {
    on_cpu(what, x)?;
    match x.kind() {
        Kind::Float => Ok(()),
        other => Err(TchError::Kind(format!("{what}: expected f32, found {other:?}"))),
    }
}

/// The channels of x [N,C,X,Y,Z].
fn channels(what: &str, x: &Tensor) -> Result<i64> {
    dense(what, x)?;
    let size = x.size();
    if size.len() != 5 || size.contains(&0) || !fills_vectors(size[1]) {
        return wrong(format!(
            "{what}: expected [N,C,X,Y,Z] with C a multiple of the processor's vectors, found {size:?}"
        ));
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
            return wrong(format!("{what}: {channels} channels do not fit {} groups", self.groups));
        }
        Ok(())
    }
}

fn owned(call: impl FnOnce(*mut *mut C_tensor) -> *mut c_char) -> Result<Tensor> {
    let mut out = std::ptr::null_mut();
    checked(call(&mut out))?;
    // SAFETY: a call without an error has made a new tensor, which is owned from here on.
    Ok(unsafe { Tensor::from_ptr(out) })
}

/// x + conv₂(norm₂(conv₁(norm₁(x)))): x [N,C,X,Y,Z] of any layout → the same shape, channels last. Weights of the
/// convolutions [K,C,3,3,3] and [C,K,3,3,3].
///
/// Kept for the backward pass: x, the output of the first convolution, and sums per channel.
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

/// x [N,C,X,Y,Z] trilinearly doubled (`align_corners=False`), plus skip [N,C,2X,2Y,2Z]; any layout → channels last.
pub fn upsample_sum(x: &Tensor, skip: &Tensor) -> Result<Tensor> {
    let what = "upsampled sum";
    let c = channels(what, x)?;
    channels(what, skip)?;
    let size = x.size();
    same_shape(what, skip, &[size[0], c, 2 * size[2], 2 * size[3], 2 * size[4]])?;
    // SAFETY: both are live f32 CPU tensors of the shapes checked above.
    owned(|out| unsafe { sb_upsample_add(x.as_ptr(), skip.as_ptr(), out) })
}

/// A 1×1×1 convolution of norm(x): x [N,C,X,Y,Z] of any layout, weight [K,C,1,1,1], bias [K] → [N,K,X,Y,Z], contiguous.
/// Kept for the backward pass: x, and sums per channel.
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

/// x [N,C,X,Y,Z] in channels-last layout, differentiable; no copy if it is so already.
pub fn to_channels_last(x: &Tensor) -> Result<Tensor> {
    if is_channels_last(x) {
        return Ok(x.shallow_clone());
    }
    x.f_permute([0, 2, 3, 4, 1])?.f_contiguous()?.f_permute([0, 4, 1, 2, 3])
}
