//! Differentiable sums over softmax(logits) and labels, from which Dice and cross-entropy are computed, in memory that
//! does not grow with the number of classes. See cpp/label_sums.cpp.

use crate::Result;
use crate::kernels::{same_shape, wrong};
use std::ffi::{CStr, c_char};
use tch::{Device, Kind, TchError, Tensor};
use torch_sys::C_tensor;

unsafe extern "C" {
    fn sb_label_sums(
        logits: *const C_tensor,
        labels: *const C_tensor,
        squares: i32,
        out: *mut *mut C_tensor,
    ) -> *mut c_char;
}

/// Converts the result of a C++ function that returns a malloc'ed error message, or null.
pub(crate) fn checked(error: *mut c_char) -> Result<()> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: the functions in cpp/ return null or a NUL-terminated string allocated by strdup, which the caller owns.
    let text = unsafe {
        let text = CStr::from_ptr(error).to_string_lossy().into_owned();
        libc::free(error.cast());
        text
    };
    Err(TchError::Torch(text))
}

/// Sums over the voxels of p = softmax(logits, 1), in f32; all of them are differentiable with respect to the logits.
pub struct LabelSums {
    /// `[N,C]`: Σ p·1\[label = c\].
    pub intersection: Tensor,
    /// `[N,C]`: Σ p.
    pub prediction: Tensor,
    /// `[N,C]`: Σ p²; zeros unless requested.
    pub square: Tensor,
    /// `[N,S]`: log p of the label of each voxel.
    pub log_likelihood: Tensor,
}

/// Computes the sums for `logits` `[N,C,…]` (any float dtype and layout, on the CPU) and `labels` `[N,S]` (contiguous
/// i32 in 0..C, where S is the number of voxels of the logits).
///
/// Memory: 4 bytes per voxel and a few MB; the only large allocation of the backward pass is the gradient of the
/// logits.
pub fn label_sums(logits: &Tensor, labels: &Tensor, squares: bool) -> Result<LabelSums> {
    let size = logits.size();
    if size.len() < 3 || size.contains(&0) || logits.device() != Device::Cpu || labels.device() != Device::Cpu {
        return wrong(format!("label sums: expected non-empty logits [N,C,…] on the CPU, found {size:?}"));
    }
    if !matches!(logits.kind(), Kind::Float | Kind::BFloat16 | Kind::Half | Kind::Double) {
        return Err(TchError::Kind(format!("label sums: expected float logits, found {:?}", logits.kind())));
    }
    if labels.kind() != Kind::Int || !labels.is_contiguous() {
        return Err(TchError::Kind(format!("label sums: expected contiguous i32 labels, found {:?}", labels.kind())));
    }
    same_shape("label sums: labels", labels, &[size[0], size[2..].iter().product()])?;
    let (low, high) = (labels.f_min()?.f_int64_value(&[])?, labels.f_max()?.f_int64_value(&[])?);
    if low < 0 || high >= size[1] {
        return wrong(format!("label sums: expected labels of 0 to {}, found {low} to {high}", size[1] - 1));
    }
    let mut out = [std::ptr::null_mut(); 4];
    // SAFETY: both pointers are live tensors with the type, shape, device and range of values that the C++ side relies
    // on (checked above); on success `out` holds four new tensors that the wrappers below own.
    let [intersection, prediction, square, log_likelihood] = unsafe {
        checked(sb_label_sums(logits.as_ptr(), labels.as_ptr(), i32::from(squares), out.as_mut_ptr()))?;
        out.map(|tensor| Tensor::from_ptr(tensor))
    };
    Ok(LabelSums { intersection, prediction, square, log_likelihood })
}
