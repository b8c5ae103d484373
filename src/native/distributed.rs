//! Processes that compute together: store, process group and gradient reducer of torch.distributed. See
//! cpp/distributed.cpp.
//!
//! All processes of a group (ranks) must make the same calls in the same order. A call whose counterpart does not come
//! is an error after the group's timeout, one whose counterpart has died at once.

use crate::Result;
use crate::kernels::wrong;
use crate::label_sums::checked;
use std::ffi::{CString, c_char};
use std::ptr::NonNull;
use std::time::Duration;
use tch::{Device, Kind, TchError, Tensor};
use torch_sys::C_tensor;

#[repr(C)]
struct StoreHandle {
    _opaque: [u8; 0],
}
#[repr(C)]
struct GroupHandle {
    _opaque: [u8; 0],
}
#[repr(C)]
struct ReducerHandle {
    _opaque: [u8; 0],
}

unsafe extern "C" {
    fn sb_store_new(
        host: *const c_char,
        port: u16,
        serves: i32,
        size: i64,
        timeout_ms: i64,
        out: *mut *mut StoreHandle,
    ) -> *mut c_char;
    fn sb_store_free(store: *mut StoreHandle);
    fn sb_store_set(store: *mut StoreHandle, key: *const c_char, value: *const u8, length: i64) -> *mut c_char;
    fn sb_store_get(store: *mut StoreHandle, key: *const c_char, out: *mut *mut u8, length: *mut i64) -> *mut c_char;
    fn sb_store_set_first(
        store: *mut StoreHandle,
        key: *const c_char,
        value: *const u8,
        length: i64,
        out: *mut *mut u8,
        out_length: *mut i64,
    ) -> *mut c_char;
    fn sb_store_add(store: *mut StoreHandle, key: *const c_char, value: i64, out: *mut i64) -> *mut c_char;
    fn sb_store_is_connecting(store: *mut StoreHandle, out: *mut i32) -> *mut c_char;
    fn sb_group_gloo(
        store: *mut StoreHandle,
        rank: i32,
        size: i32,
        timeout_ms: i64,
        out: *mut *mut GroupHandle,
    ) -> *mut c_char;
    fn sb_group_free(group: *mut GroupHandle);
    fn sb_all_reduce(group: *mut GroupHandle, tensor: *mut C_tensor, op: i32) -> *mut c_char;
    fn sb_broadcast(group: *mut GroupHandle, tensors: *const *const C_tensor, n: i64) -> *mut c_char;
    fn sb_all_gather(
        group: *mut GroupHandle,
        tensor: *const C_tensor,
        out: *const *const C_tensor,
        n: i64,
    ) -> *mut c_char;
    fn sb_barrier(group: *mut GroupHandle) -> *mut c_char;
    fn sb_reducer_new(
        group: *mut GroupHandle,
        params: *const *const C_tensor,
        names: *const *const c_char,
        n: i64,
        buffers: *const *const C_tensor,
        buffer_count: i64,
        bucket_bytes: i64,
        find_unused: i32,
        views: i32,
        out: *mut *mut ReducerHandle,
    ) -> *mut c_char;
    fn sb_reducer_free(reducer: *mut ReducerHandle);
    fn sb_reducer_before_forward(reducer: *mut ReducerHandle) -> *mut c_char;
    fn sb_reducer_before_backward(reducer: *mut ReducerHandle, outputs: *const *const C_tensor, n: i64) -> *mut c_char;
}

/// The handle that `make` has written.
fn made<T>(make: impl FnOnce(*mut *mut T) -> *mut c_char) -> Result<NonNull<T>> {
    let mut out = std::ptr::null_mut();
    checked(make(&mut out))?;
    NonNull::new(out).ok_or_else(|| TchError::Torch("expected a handle, found null".into()))
}

/// The bytes that `make` has allocated; `None` for null.
fn bytes(make: impl FnOnce(*mut *mut u8, *mut i64) -> *mut c_char) -> Result<Option<Vec<u8>>> {
    let (mut out, mut length) = (std::ptr::null_mut(), 0);
    checked(make(&mut out, &mut length))?;
    if out.is_null() {
        return Ok(None);
    }
    // SAFETY: the functions in cpp/ return null or `length` bytes of malloc, which the caller owns.
    unsafe {
        let copy = std::slice::from_raw_parts(out, length as usize).to_vec();
        libc::free(out.cast());
        Ok(Some(copy))
    }
}

fn text(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| TchError::Torch(format!("expected a text without NUL, found {text:?}")))
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn pointers<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> Vec<*const C_tensor> {
    tensors.into_iter().map(Tensor::as_ptr).collect()
}

/// Keys and values that all ranks share (`TCPStore`), held by one process.
pub struct Store(NonNull<StoreHandle>);

// SAFETY: TCPStore serializes its operations with a mutex of its own.
unsafe impl Send for Store {}
// SAFETY: as for Send.
unsafe impl Sync for Store {}

impl Store {
    /// Connects to the store of `size` ranks at `host` and `port`, and holds it if this process `serves`. `timeout` limits
    /// every operation, and the wait for a store that does not exist yet.
    ///
    /// # Errors
    /// The port is in use; no store within `timeout`.
    pub fn new(host: &str, port: u16, serves: bool, size: usize, timeout: Duration) -> Result<Store> {
        let (host, size, timeout) = (text(host)?, size as i64, milliseconds(timeout));
        // SAFETY: `host` is a NUL-terminated text that outlives the call.
        made(|out| unsafe { sb_store_new(host.as_ptr(), port, serves.into(), size, timeout, out) }).map(Store)
    }
    /// Sets a key.
    pub fn set(&self, key: &str, value: &[u8]) -> Result<()> {
        let key = text(key)?;
        // SAFETY: the handle lives as long as `self`; key and value outlive the call.
        checked(unsafe { sb_store_set(self.0.as_ptr(), key.as_ptr(), value.as_ptr(), value.len() as i64) })
    }
    /// The value of a key, without waiting for it.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let key = text(key)?;
        // SAFETY: as in `set`.
        bytes(|out, length| unsafe { sb_store_get(self.0.as_ptr(), key.as_ptr(), out, length) })
    }
    /// Sets a key unless it is set, and returns its value: that of the first rank.
    pub fn set_first(&self, key: &str, value: &[u8]) -> Result<Vec<u8>> {
        let key = text(key)?;
        let (from, length) = (value.as_ptr(), value.len() as i64);
        // SAFETY: as in `set`.
        let found = bytes(|out, out_length| unsafe {
            sb_store_set_first(self.0.as_ptr(), key.as_ptr(), from, length, out, out_length)
        })?;
        Ok(found.unwrap_or_default())
    }
    /// Adds to a counter, from 0, and returns its new value.
    pub fn add(&self, key: &str, value: i64) -> Result<i64> {
        let key = text(key)?;
        let mut out = 0;
        // SAFETY: as in `set`; writes one value to `out`.
        checked(unsafe { sb_store_add(self.0.as_ptr(), key.as_ptr(), value, &mut out) })?;
        Ok(out)
    }
    /// Whether some rank, in this program or in Python, has begun to connect its [`ProcessGroup`].
    pub fn is_connecting(&self) -> Result<bool> {
        let mut out = 0;
        // SAFETY: live handle; writes one value to `out`.
        checked(unsafe { sb_store_is_connecting(self.0.as_ptr(), &mut out) })?;
        Ok(out != 0)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // SAFETY: the handle is owned.
        unsafe { sb_store_free(self.0.as_ptr()) }
    }
}

/// How [`ProcessGroup::all_reduce`] combines values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduction {
    /// The sum.
    Sum,
    /// The largest value.
    Max,
}

/// The ranks of a run (`ProcessGroup`).
pub struct ProcessGroup {
    handle: NonNull<GroupHandle>,
    size: usize,
    /// Device of the tensors that the backend exchanges.
    device: Device,
}

// SAFETY: c10d's process groups may be used from any thread; the callers keep the order of the calls.
unsafe impl Send for ProcessGroup {}
// SAFETY: as for Send.
unsafe impl Sync for ProcessGroup {}

impl ProcessGroup {
    /// Connects `size` ranks through `store`, for tensors on the CPU (gloo).
    ///
    /// # Errors
    /// Some rank has not come within `timeout`, which limits every later call as well.
    pub fn gloo(store: &Store, rank: usize, size: usize, timeout: Duration) -> Result<ProcessGroup> {
        let (Ok(number), Ok(count)) = (i32::try_from(rank), i32::try_from(size)) else {
            return wrong(format!("process group: {size} ranks are too many"));
        };
        if rank >= size {
            return wrong(format!("process group: expected a rank below {size}, found {rank}"));
        }
        let timeout = milliseconds(timeout);
        // SAFETY: the store is a live handle, of which the group keeps a reference of its own.
        let handle = made(|out| unsafe { sb_group_gloo(store.0.as_ptr(), number, count, timeout, out) })?;
        Ok(ProcessGroup { handle, size, device: Device::Cpu })
    }

    /// Replaces `tensor` on every rank by the combination of all ranks'.
    pub fn all_reduce(&self, tensor: &mut Tensor, reduction: Reduction) -> Result<()> {
        let op = match reduction {
            Reduction::Sum => 0,
            Reduction::Max => 4,
        };
        // SAFETY: live handle and tensor.
        checked(unsafe { sb_all_reduce(self.handle.as_ptr(), tensor.as_mut_ptr(), op) })
    }
    /// Copies the tensors of rank 0 into those of the other ranks, which have the same shapes and types.
    pub fn broadcast(&self, tensors: &[Tensor]) -> Result<()> {
        if tensors.is_empty() {
            return Ok(());
        }
        let list = pointers(tensors);
        // SAFETY: live handle and tensors.
        checked(unsafe { sb_broadcast(self.handle.as_ptr(), list.as_ptr(), list.len() as i64) })
    }
    /// The tensors of all ranks, which have the same shape and type.
    pub fn all_gather(&self, tensor: &Tensor) -> Result<Vec<Tensor>> {
        let tensor = tensor.f_detach()?.f_contiguous()?;
        let out = (0..self.size).map(|_| tensor.f_empty_like()).collect::<Result<Vec<_>>>()?;
        let list = pointers(&out);
        // SAFETY: live handle and tensors; `out` has one tensor for each rank.
        checked(unsafe { sb_all_gather(self.handle.as_ptr(), tensor.as_ptr(), list.as_ptr(), list.len() as i64) })?;
        Ok(out)
    }
    /// The bytes of all ranks, of any length.
    pub fn all_gather_bytes(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        let lengths = self.all_gather(&Tensor::f_from_slice(&[bytes.len() as i64])?.f_to_device(self.device)?)?;
        let lengths: Vec<i64> = lengths.iter().map(|length| length.f_int64_value(&[0])).collect::<Result<_>>()?;
        let longest = lengths.iter().copied().max().unwrap_or(0).max(1);
        let mut padded = bytes.to_vec();
        padded.resize(longest as usize, 0);
        let all = self.all_gather(&Tensor::f_from_slice(&padded)?.f_to_device(self.device)?)?;
        let one = |(tensor, length): (Tensor, &i64)| {
            Vec::<u8>::try_from(&tensor.f_narrow(0, 0, *length)?.f_to_kind(Kind::Uint8)?.f_to_device(Device::Cpu)?)
        };
        all.into_iter().zip(&lengths).map(one).collect()
    }
    /// Waits for all ranks.
    pub fn barrier(&self) -> Result<()> {
        // SAFETY: live handle.
        checked(unsafe { sb_barrier(self.handle.as_ptr()) })
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        // SAFETY: the handle is owned; reducers keep a reference to the group of their own.
        unsafe { sb_group_free(self.handle.as_ptr()) }
    }
}

/// Options of a [`Reducer`], with the defaults of DistributedDataParallel.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReducerOptions {
    /// Size of the messages in bytes; `None` is 25 MiB, and 1 MiB for the first.
    pub bucket_bytes: Option<u64>,
    /// Whether some parameters may have no part in a forward pass.
    pub find_unused: bool,
    /// Whether gradients are views of the messages, which saves their memory.
    pub gradient_as_bucket_view: bool,
}

/// Averages gradients over the ranks during the backward pass (`c10d::Reducer`).
pub struct Reducer {
    handle: NonNull<ReducerHandle>,
    find_unused: bool,
}

// SAFETY: the reducer locks its state; its hooks run on the threads of autograd.
unsafe impl Send for Reducer {}

impl Reducer {
    /// Checks that all ranks have the same parameters, copies parameters and buffers of rank 0 to all others, and from
    /// then on averages the gradients of each backward pass that follows [`Reducer::before_backward`]. `params`: by name,
    /// in PyTorch's order.
    ///
    /// # Errors
    /// The ranks have other parameters; the connection is lost.
    pub fn new(
        group: &ProcessGroup,
        params: &[(String, Tensor)],
        buffers: &[Tensor],
        options: &ReducerOptions,
    ) -> Result<Reducer> {
        let names = params.iter().map(|(name, _)| text(name)).collect::<Result<Vec<_>>>()?;
        let names: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect::<Vec<_>>();
        let (tensors, buffers) = (pointers(params.iter().map(|(_, tensor)| tensor)), pointers(buffers));
        let bucket_bytes = options.bucket_bytes.map_or(0, |bytes| i64::try_from(bytes.max(1)).unwrap_or(i64::MAX));
        // SAFETY: live handle, tensors and texts, which outlive the call; the reducer keeps references of its own.
        let handle = made(|out| unsafe {
            sb_reducer_new(
                group.handle.as_ptr(),
                tensors.as_ptr(),
                names.as_ptr(),
                tensors.len() as i64,
                buffers.as_ptr(),
                buffers.len() as i64,
                bucket_bytes,
                options.find_unused.into(),
                options.gradient_as_bucket_view.into(),
                out,
            )
        })?;
        Ok(Reducer { handle, find_unused: options.find_unused })
    }

    /// To be called before the forward pass of an iteration whose gradients are averaged.
    pub fn before_forward(&self) -> Result<()> {
        // SAFETY: live handle.
        checked(unsafe { sb_reducer_before_forward(self.handle.as_ptr()) })
    }
    /// To be called with the result of that forward pass, before its backward pass.
    pub fn before_backward(&self, output: &Tensor) -> Result<()> {
        let outputs = pointers(self.find_unused.then_some(output));
        // SAFETY: live handle and tensor.
        checked(unsafe { sb_reducer_before_backward(self.handle.as_ptr(), outputs.as_ptr(), outputs.len() as i64) })
    }
}

impl Drop for Reducer {
    fn drop(&mut self) {
        // SAFETY: the handle is owned.
        unsafe { sb_reducer_free(self.handle.as_ptr()) }
    }
}
