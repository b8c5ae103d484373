//! libtorch's CPU allocator, replaced by cpp/allocator.cpp.

unsafe extern "C" {
    fn sb_allocator_install();
    fn sb_allocator_memory(out: *mut usize);
    fn sb_allocator_reset_peak();
    fn sb_allocator_trim();
    fn sb_allocator_limit(bytes: usize);
}

/// Memory of CPU tensors as counted by the allocator, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Currently in use.
    pub live: usize,
    /// Peak use since the start or the last [`reset_peak`].
    pub peak: usize,
    /// Memory mapped for large blocks, in use or cached.
    pub held: usize,
}

/// Installs the page-caching allocator for CPU tensors. Call it before the first tensor is created; further calls have
/// no effect. A failed allocation then returns the error "not enough memory: asked N bytes".
pub fn install_allocator() {
    // SAFETY: takes no arguments; the allocator is never destroyed and installed once. A tensor created before keeps
    // the deleter of its own allocator.
    unsafe { sb_allocator_install() }
}

/// Returns the counters of the allocator.
pub fn memory() -> Memory {
    let mut out = [0; 3];
    // SAFETY: writes three values to `out`, under the allocator's lock.
    unsafe { sb_allocator_memory(out.as_mut_ptr()) };
    Memory { live: out[0], peak: out[1], held: out[2] }
}

/// Resets [`Memory::peak`] to the current use.
pub fn reset_peak() {
    // SAFETY: takes no arguments; the function locks the allocator.
    unsafe { sb_allocator_reset_peak() }
}

/// Returns all free pages to the system; called between cases.
pub fn trim() {
    // SAFETY: releases only blocks that no tensor uses, under the allocator's lock.
    unsafe { sb_allocator_trim() }
}

/// Limits the memory in use: large allocations beyond `bytes` fail. `None` removes the limit.
pub fn set_limit(bytes: Option<usize>) {
    // SAFETY: sets a number under the allocator's lock.
    unsafe { sb_allocator_limit(bytes.unwrap_or(usize::MAX)) }
}
