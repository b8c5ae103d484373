//! Networks as TorchScript files.

use crate::Result;
use crate::label_sums::checked;
use std::ffi::{CString, c_char, c_void};
use std::path::Path;
use tch::{TchError, Tensor};
use torch_sys::C_tensor;

unsafe extern "C" {
    fn sb_trace(
        name: *const c_char,
        tensors: i64,
        names: *const *const c_char,
        values: *const *const C_tensor,
        x: *const C_tensor,
        forward: extern "C" fn(*mut c_void, *const C_tensor) -> *const C_tensor,
        context: *mut c_void,
        extras: i64,
        texts: *const *const c_char,
        path: *const c_char,
    ) -> *mut c_char;
}

/// The function being recorded, and its result.
struct Context<'a> {
    forward: &'a mut dyn FnMut(&Tensor) -> Option<Tensor>,
    output: Option<Tensor>,
}

extern "C" fn run(context: *mut c_void, x: *const C_tensor) -> *const C_tensor {
    // SAFETY: `trace` passes a context that it borrows until the C++ side returns; `x` is a live tensor, of which this
    // makes another reference.
    let (context, x) = unsafe { (&mut *context.cast::<Context>(), Tensor::clone_from_ptr(x.cast_mut())) };
    context.output = (context.forward)(&x);
    context.output.as_ref().map_or(std::ptr::null(), |output| output.as_ptr())
}

/// Writes a network to `path` as a TorchScript module of the class `name`: `tensors` by their paths in the module (those
/// that require gradients are parameters, others buffers), a method `forward` with the torch operations that `forward`
/// applies to `x`, and `extra` files of a name and a text. Other operations and shapes are recorded as constants.
///
/// `forward` must not panic; `None` stands for a failure.
pub fn trace(
    path: &Path,
    name: &str,
    tensors: &[(&str, &Tensor)],
    x: &Tensor,
    extra: &[(String, String)],
    forward: &mut dyn FnMut(&Tensor) -> Option<Tensor>,
) -> Result<()> {
    let text = |text: &str| CString::new(text).map_err(|_| TchError::Kind(format!("expected no NUL byte in {text:?}")));
    let name = text(name)?;
    let path = text(&path.to_string_lossy())?;
    let names = tensors.iter().map(|(name, _)| text(name)).collect::<Result<Vec<_>>>()?;
    let texts = extra.iter().flat_map(|(name, content)| [name, content]).map(|part| text(part));
    let texts = texts.collect::<Result<Vec<_>>>()?;
    let pointers = |texts: &[CString]| texts.iter().map(|text| text.as_ptr()).collect::<Vec<_>>();
    let values: Vec<*const C_tensor> = tensors.iter().map(|(_, tensor)| tensor.as_ptr()).collect();
    let (name_pointers, text_pointers) = (pointers(&names), pointers(&texts));
    let mut context = Context { forward, output: None };
    // SAFETY: all pointers are to live values, in arrays of the lengths that are passed; `run` gets the context, and
    // does not unwind because `forward` does not panic.
    checked(unsafe {
        sb_trace(
            name.as_ptr(),
            tensors.len() as i64,
            name_pointers.as_ptr(),
            values.as_ptr(),
            x.as_ptr(),
            run,
            (&raw mut context).cast(),
            extra.len() as i64,
            text_pointers.as_ptr(),
            path.as_ptr(),
        )
    })
}
