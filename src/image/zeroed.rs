#![allow(unsafe_code)]

//! Zeroed reference-counted slices, whose pages are allocated by the kernel when they are first written.

use std::sync::Arc;

/// Types for which all bits zero is a valid value.
///
/// # Safety
/// All bits zero must be a valid value of the type.
pub unsafe trait Zeroed: Copy {}

macro_rules! zeroed {
    ($($number:ty),*) => { $(
        // All bits zero is the number 0.
        unsafe impl Zeroed for $number {}
    )* };
}
zeroed!(u8, i8, u16, i16, u32, i32, u64, i64, f32, f64);

/// Allocates `length` zeros as calloc does, without writing to them, so that no physical memory is used yet. Returns
/// `None` if the allocation fails, in which case the standard library would abort.
pub(crate) fn arc<T: Zeroed>(length: usize) -> Option<Arc<[T]>> {
    // Includes the reference counts.
    Vec::<u8>::new().try_reserve_exact(length.checked_mul(size_of::<T>())?.checked_add(64)?).ok()?;
    let slice = Arc::<[T]>::new_zeroed_slice(length);
    // SAFETY: every element has all bits zero, which `Zeroed` says is a value of T.
    Some(unsafe { slice.assume_init() })
}
