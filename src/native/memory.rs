//! The CPU allocator under libtorch: see cpp/allocator.cpp.

unsafe extern "C" {
    fn sb_allocator_install();
    fn sb_allocator_memory(out: *mut usize);
    fn sb_allocator_reset_peak();
    fn sb_allocator_trim();
    fn sb_allocator_limit(bytes: usize);
}

/// Bytes of CPU tensors, as the allocator counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// In use now.
    pub live: usize,
    /// The most that was in use since the start or [`reset_peak`].
    pub peak: usize,
    /// Pages mapped for large blocks, in use or kept for later.
    pub held: usize,
}

/// Make libtorch allocate CPU tensors from the page-keeping allocator. Call it before the first tensor is made;
/// further calls do nothing. Later allocations that fail give an error "not enough memory: asked N bytes".
pub fn install_allocator() {
    // SAFETY: takes no arguments; the allocator lives for ever and is installed once. A tensor made before keeps the
    // deleter of its own allocator.
    unsafe { sb_allocator_install() }
}

pub fn memory() -> Memory {
    let mut out = [0; 3];
    // SAFETY: writes three values to `out`, under the allocator's lock.
    unsafe { sb_allocator_memory(out.as_mut_ptr()) };
    Memory { live: out[0], peak: out[1], held: out[2] }
}

/// Start a new measurement of [`Memory::peak`].
pub fn reset_peak() {
    // SAFETY: takes no arguments and locks by itself.
    unsafe { sb_allocator_reset_peak() }
}

/// Give every free page back to the system; for the time between cases.
pub fn trim() {
    // SAFETY: releases only pieces that no tensor uses, under the allocator's lock.
    unsafe { sb_allocator_trim() }
}

/// Refuse large blocks once more than `bytes` would be in use; `None` lifts the limit.
pub fn set_limit(bytes: Option<usize>) {
    // SAFETY: sets a number under the allocator's lock.
    unsafe { sb_allocator_limit(bytes.unwrap_or(usize::MAX)) }
}
