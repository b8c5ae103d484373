#![allow(unsafe_code)]

//! Reference-counted slices whose pages come from the kernel only as they are written.

use std::sync::Arc;

/// Types for which all bits zero is a value.
///
/// # Safety
/// Only for types of which that is true.
pub unsafe trait Zeroed: Copy {}

macro_rules! zeroed {
    ($($number:ty),*) => { $(
        // SAFETY: all bits zero is the number 0.
        unsafe impl Zeroed for $number {}
    )* };
}
zeroed!(u8, i8, u16, i16, u32, i32, u64, i64, f32, f64);

/// `length` zeros, as a large calloc makes them: nothing is written, so no memory is used before the caller fills it.
/// `None` where the allocator refuses (the standard library would abort).
pub fn arc<T: Zeroed>(length: usize) -> Option<Arc<[T]>> {
    // Space for the counts too.
    Vec::<u8>::new().try_reserve_exact(length.checked_mul(size_of::<T>())?.checked_add(64)?).ok()?;
    let slice = Arc::<[T]>::new_zeroed_slice(length);
    // SAFETY: every element has all bits zero, which `Zeroed` says is a value of T.
    Some(unsafe { slice.assume_init() })
}
