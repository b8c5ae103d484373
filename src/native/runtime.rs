//! Autocast guard, CPU features, signal masks, and loading of the CUDA library at run time.

use crate::Result;
use std::marker::PhantomData;
use std::os::fd::AsFd;
use tch::{Device, Kind, TchError};

unsafe extern "C" {
    fn sb_autocast_enter(cuda: i32, dtype: i32, was: *mut i32);
    fn sb_autocast_leave(cuda: i32, was: *const i32);
    fn sb_cpu_features() -> i32;
}

/// RAII guard for `torch.autocast(device, dtype)` on the current thread. Dropping it, also in a panic, restores the
/// previous state and clears the cache of cast weights.
pub struct Autocast {
    cuda: i32,
    was: [i32; 2],
    /// Autocast state is thread-local: the guard must not be sent to another thread.
    _stay: PhantomData<*const ()>,
}

impl Autocast {
    /// Enables autocast to `kind`, BFloat16 or Half.
    pub fn new(device: Device, kind: Kind) -> Result<Autocast> {
        let dtype = match kind {
            Kind::Half => 5,
            Kind::BFloat16 => 15,
            other => return Err(TchError::Kind(format!("autocast: expected BFloat16 or Half, found {other:?}"))),
        };
        let cuda = i32::from(matches!(device, Device::Cuda(_)));
        let mut was = [0; 2];
        // SAFETY: sets thread-local state of libtorch and writes two values to `was`; `dtype` is one of c10's types.
        unsafe { sb_autocast_enter(cuda, dtype, was.as_mut_ptr()) };
        Ok(Autocast { cuda, was, _stay: PhantomData })
    }
}

impl Drop for Autocast {
    fn drop(&mut self) {
        // SAFETY: restores what `new` read on this thread (the guard cannot leave it).
        unsafe { sb_autocast_leave(self.cuda, self.was.as_ptr()) }
    }
}

/// Instruction sets relevant for performance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cpu {
    /// AVX2 and FMA.
    pub avx2: bool,
    /// AVX-512 F, BW, DQ and VL.
    pub avx512: bool,
    /// bf16 arithmetic; without it bf16 is slower than f32.
    pub avx512_bf16: bool,
    /// Matrix units with bf16 arithmetic (AMX).
    pub amx_bf16: bool,
}

impl Cpu {
    /// Names of the instruction sets that this CPU has.
    pub fn names(self) -> Vec<&'static str> {
        let all = [
            (self.avx2, "AVX2"),
            (self.avx512, "AVX-512"),
            (self.avx512_bf16, "AVX-512 bf16"),
            (self.amx_bf16, "AMX bf16"),
        ];
        all.into_iter().filter_map(|(has, name)| has.then_some(name)).collect()
    }
}

/// Returns the instruction sets of this CPU.
pub fn cpu() -> Cpu {
    // SAFETY: reads CPUID.
    let bits = unsafe { sb_cpu_features() };
    Cpu { avx2: bits & 1 != 0, avx512: bits & 2 != 0, avx512_bf16: bits & 4 != 0, amx_bf16: bits & 8 != 0 }
}

/// Blocks `signals` on the current thread and on threads that it starts later.
///
/// oneDNN's generated code uses the stack pointer for data: a signal handled on a computing thread would overwrite the
/// heap.
pub fn block_signals(signals: &[i32]) -> std::io::Result<()> {
    mask(libc::SIG_BLOCK, signals)
}

/// Unblocks `signals` on the current thread.
pub fn unblock_signals(signals: &[i32]) -> std::io::Result<()> {
    mask(libc::SIG_UNBLOCK, signals)
}

fn mask(how: i32, signals: &[i32]) -> std::io::Result<()> {
    let mut set = std::mem::MaybeUninit::uninit();
    // SAFETY: sigemptyset initializes the set that the others read and change; only the mask of this thread is set.
    let status = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for &signal in signals {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(how, set.as_ptr(), std::ptr::null_mut())
    };
    if status == 0 { Ok(()) } else { Err(std::io::Error::from_raw_os_error(status)) }
}

/// Sends a signal to a child process that has not been waited for.
pub fn send_signal(pid: u32, signal: i32) -> std::io::Result<()> {
    // SAFETY: no memory is involved.
    match unsafe { libc::kill(pid as libc::pid_t, signal) } {
        -1 => Err(std::io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Returns the standard output of the process; whatever is written to standard output afterwards goes to standard error.
pub fn take_stdout() -> std::io::Result<std::fs::File> {
    let own = std::io::stdout().as_fd().try_clone_to_owned()?;
    // SAFETY: both descriptors stay open: standard output and standard error of the process.
    match unsafe { libc::dup2(libc::STDERR_FILENO, libc::STDOUT_FILENO) } {
        -1 => Err(std::io::Error::last_os_error()),
        _ => Ok(own.into()),
    }
}

/// Loads libtorch's CUDA library if it exists, so that one binary runs on machines with and without a GPU. Returns
/// whether it was loaded. Call it before the first `tch::Cuda::is_available()`, whose result is cached.
pub fn load_cuda() -> bool {
    // SAFETY: the name is a NUL-terminated constant; the library's initializers are libtorch's own. The handle is never
    // closed.
    let handle = unsafe { libc::dlopen(c"libtorch_cuda.so".as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    !handle.is_null()
}
