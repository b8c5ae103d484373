//! The processes (ranks) that compute together in this run, as torch.distributed: one group for the whole process.
//!
//! [`init`] joins the group, [`group`] returns it, [`leave`] and [`fail`] end it. All ranks make the same calls of a
//! [`Group`] in the same order.
//!
//! Differences from torch:
//! - A rank that fails reports its error in the store, and the others end with that error. A thread of each rank shows
//!   that it lives once a second, so that the others can name a rank that was killed.
//! - An interrupt of one rank is one of all.
//! - A rank that has another WORLD_SIZE, or the same RANK as another, is an error at once.

use crate::err;
use crate::error::{Error, Kind, Result};
use crate::python::logging::Logger;
use crate::text;
use parking_lot::{Mutex, RwLock};
use segbundle_native as native;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tch::Tensor;

/// Time that ranks wait for each other unless the config sets `timeout`: torch's default.
pub const TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// Interval at which a rank shows that it lives and looks for failures of others.
const BEAT: Duration = Duration::from_secs(1);
/// Time after which a rank that does not show that it lives counts as dead.
const SILENCE: Duration = Duration::from_secs(4);
/// Time for which the process that holds the store waits for the others before it ends.
const FAREWELL: Duration = Duration::from_secs(10);
/// The same after a failure: long enough for all others to read the reason.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// Interval at which conditions are checked.
const POLL: Duration = Duration::from_millis(50);

// Keys in the store.
const SIZE: &str = "segbundle/world_size";
const FAILED: &str = "segbundle/failed";
const INTERRUPTED: &str = "segbundle/interrupted";
const LEFT: &str = "segbundle/left";

fn joined_key(rank: usize) -> String {
    format!("segbundle/joined/{rank}")
}
fn beat_key(rank: usize) -> String {
    format!("segbundle/beat/{rank}")
}
fn left_key(rank: usize) -> String {
    format!("segbundle/left/{rank}")
}

/// The group of this process.
enum State {
    None,
    /// Not connected to anything: the only rank, for `segbundle explain`.
    Simulated {
        initialized: bool,
    },
    Group(Arc<Group>),
}

static STATE: RwLock<State> = RwLock::new(State::None);

/// From now on, [`init`] connects to no other process: this one is the only rank.
pub fn simulate() {
    *STATE.write() = State::Simulated { initialized: false };
}

/// The group, if this process has joined one.
pub fn group() -> Option<Arc<Group>> {
    match &*STATE.read() {
        State::Group(group) => Some(group.clone()),
        _ => None,
    }
}

/// Whether [`init`] was called.
pub fn is_initialized() -> bool {
    matches!(*STATE.read(), State::Group(_) | State::Simulated { initialized: true })
}

/// Number of this rank; 0 without a group.
pub fn rank() -> usize {
    group().map_or(0, |group| group.rank)
}

/// Number of ranks; 1 without a group.
pub fn world_size() -> usize {
    group().map_or(1, |group| group.size)
}

/// Values of all ranks in their order; `value` alone without a group. `what`: for errors.
pub fn gather<T: Serialize + DeserializeOwned>(what: &str, value: T) -> Result<Vec<T>> {
    match group() {
        Some(group) => group.gather(what, &value),
        None => Ok(vec![value]),
    }
}

/// How a rank finds the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendezvous {
    /// Host of the store.
    pub address: String,
    /// Port of the store.
    pub port: u16,
    /// Number of this rank.
    pub rank: usize,
    /// Number of ranks.
    pub size: usize,
    /// Whether torchrun holds the store; otherwise rank 0 does.
    pub agent_store: bool,
}

/// What sets the variables that [`Rendezvous::from_environment`] reads.
const LAUNCHER: &str = "start all ranks with torchrun, which sets it: \
     `torchrun --standalone --nproc_per_node=2 --no-python segbundle run …`";

impl Rendezvous {
    /// Reads MASTER_ADDR, MASTER_PORT, RANK, WORLD_SIZE and TORCHELASTIC_USE_AGENT_STORE. `rank` and `size` replace the
    /// variables if they are given.
    ///
    /// # Errors
    /// A variable is missing or has an invalid value.
    pub fn from_environment(rank: Option<usize>, size: Option<usize>) -> Result<Rendezvous> {
        let variable = |name: &str| {
            let value = std::env::var(name).ok().filter(|value| !value.is_empty());
            value.ok_or_else(|| err!("the environment variable {name} is not set").kind(Kind::Config).hint(LAUNCHER))
        };
        fn number<T: std::str::FromStr>(name: &str, expected: &str, value: String) -> Result<T> {
            let number = value.trim().parse();
            number.map_err(|_| {
                err!("the environment variable {name} is '{value}', expected {expected}").kind(Kind::Config)
            })
        }
        let count = |name: &str, given: Option<usize>| match given {
            Some(given) => Ok(given),
            None => number(name, "a number from 0", variable(name)?),
        };
        let (rank, size) = (count("RANK", rank)?, count("WORLD_SIZE", size)?);
        let address = variable("MASTER_ADDR")?;
        let port = number("MASTER_PORT", "a port from 1 to 65535", variable("MASTER_PORT")?)?;
        let agent_store = std::env::var("TORCHELASTIC_USE_AGENT_STORE").is_ok_and(|value| value == "True");
        Ok(Rendezvous { address, port, rank, size, agent_store })
    }
}

/// The library through which ranks communicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// Sockets between hosts, for tensors in host memory.
    Gloo,
    /// NVIDIA's library for GPUs.
    Nccl,
}

impl Backend {
    /// Torch's name.
    pub fn name(self) -> &'static str {
        match self {
            Backend::Gloo => "gloo",
            Backend::Nccl => "nccl",
        }
    }
    /// Whether this build and machine have it.
    pub fn is_available(self) -> bool {
        self == Backend::Gloo
    }
    /// # Errors
    /// It is not available.
    fn check(self) -> Result<()> {
        if self.is_available() {
            return Ok(());
        }
        let hint = "segbundle's configs/multi_gpu_train.json and configs/multi_gpu_evaluate.json select gloo where there \
                    is no nccl: give one of them in the place of this config";
        Err(match tch::Cuda::is_available() {
            true => err!("the backend 'nccl' is not supported yet").kind(Kind::Unsupported),
            false => err!("the backend 'nccl' needs GPUs, but CUDA is not available").kind(Kind::Config),
        }
        .hint(hint))
    }
}

/// Joins the group of all ranks. `cancel` is set when another rank fails or is interrupted. On all ranks but the first,
/// segbundle's own log shows warnings and errors only.
///
/// # Errors
/// The group exists already; the port of the store is in use; a rank does not come within `timeout`, which also limits
/// every later exchange; another rank fails meanwhile.
pub fn init(
    backend: Backend,
    rendezvous: impl FnOnce() -> Result<Rendezvous>,
    timeout: Duration,
    cancel: Arc<AtomicBool>,
) -> Result<()> {
    let mut state = STATE.write();
    match &mut *state {
        State::Group(_) | State::Simulated { initialized: true } => {
            return Err(err!("trying to initialize the default process group twice").kind(Kind::Config));
        }
        State::Simulated { initialized } => *initialized = true,
        State::None => {
            backend.check()?;
            *state = State::Group(Arc::new(Group::join(backend, &rendezvous()?, timeout, cancel)?));
        }
    }
    Ok(())
}

/// Leaves the group. The process that holds the store waits until the others have left, up to ten seconds.
///
/// # Errors
/// There is no group.
pub fn leave() -> Result<()> {
    match std::mem::replace(&mut *STATE.write(), State::None) {
        State::Group(group) => {
            group.leave(FAREWELL);
            Ok(())
        }
        State::Simulated { initialized: true } => Ok(()),
        _ => Err(uninitialized()),
    }
}

/// Leaves the group after an error of this rank, and reports it to the others. Returns the error of the rank that failed
/// first, if this one is only its consequence.
pub fn fail(error: Error) -> Error {
    match std::mem::replace(&mut *STATE.write(), State::None) {
        State::Group(group) => group.fail(error),
        _ => error,
    }
}

/// torch's error where there is no group.
pub fn uninitialized() -> Error {
    err!("default process group has not been initialized, please make sure to call init_process_group")
        .kind(Kind::Config)
        .hint("call `$dist.init_process_group(…)` in `initialize`, or omit the multi-GPU config from the list of files")
}

/// An error of another rank, as it stands in the store.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Failure {
    rank: usize,
    message: String,
}

/// What the thread of [`Group::join`] and the group share.
struct Watch {
    /// Ends the thread.
    stop: AtomicBool,
    cancel: Arc<AtomicBool>,
    failure: Mutex<Option<Failure>>,
}

/// The ranks of this run.
pub struct Group {
    store: Arc<native::Store>,
    native: native::ProcessGroup,
    /// Number of this rank.
    pub rank: usize,
    /// Number of ranks.
    pub size: usize,
    /// How they communicate.
    pub backend: Backend,
    timeout: Duration,
    /// Whether this process holds the store.
    serves: bool,
    watch: Arc<Watch>,
}

impl Group {
    fn join(backend: Backend, at: &Rendezvous, timeout: Duration, cancel: Arc<AtomicBool>) -> Result<Group> {
        let (rank, size) = (at.rank, at.size);
        if rank >= size {
            return Err(err!("expected a RANK below WORLD_SIZE, found RANK {rank} and WORLD_SIZE {size}")
                .kind(Kind::Config)
                .hint("ranks are counted from 0"));
        }
        let serves = rank == 0 && !at.agent_store;
        let place = format!("{}:{}", at.address, at.port);
        let began = Instant::now();
        tracing::debug!("rank {rank} of {size}: connecting through the store at {place}");
        let store = native::Store::new(&at.address, at.port, serves, size, timeout);
        let store = Arc::new(store.map_err(|error| no_store(&error.into(), serves, &place, timeout))?);
        let connected = wait_for_ranks(&store, rank, size, began, timeout, &cancel).and_then(|()| {
            let group = native::ProcessGroup::gloo(&store, rank, size, timeout);
            group.map_err(|error| lost("connecting to the other ranks", error))
        });
        let native = match connected {
            Ok(native) => native,
            Err(error) => {
                if !matches!(error.get_kind(), Kind::Peer | Kind::Cancelled) {
                    report(&store, rank, &error);
                    wait_while_served(&store, size, if serves { LAST_WORDS } else { Duration::ZERO });
                }
                return Err(error);
            }
        };
        let watch = Arc::new(Watch { stop: AtomicBool::new(false), cancel, failure: Mutex::default() });
        let (own, shared) = (store.clone(), watch.clone());
        std::thread::Builder::new()
            .name("ranks".into())
            .spawn(move || shared.run(&own, rank, &place))
            .map_err(|error| err!("cannot start a thread: {error}"))?;
        if rank > 0 {
            Logger::named("segbundle").set_level(30);
        }
        tracing::info!("{} of {size} ranks, connected by {}", rank + 1, backend.name());
        Ok(Group { store, native, rank, size, backend, timeout, serves, watch })
    }

    /// Values of all ranks in their order. `what`: for errors.
    ///
    /// # Errors
    /// As for all exchanges: an error of [`Kind::Peer`] if another rank has died or does not come within the timeout.
    pub fn gather<T: Serialize + DeserializeOwned>(&self, what: &str, value: &T) -> Result<Vec<T>> {
        let all = self.gather_bytes(what, &serde_json::to_vec(value)?)?;
        all.iter().map(|bytes| Ok(serde_json::from_slice(bytes)?)).collect()
    }
    /// Bytes of all ranks in their order.
    pub fn gather_bytes(&self, what: &str, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        self.native.all_gather_bytes(bytes).map_err(|error| self.lost(what, error))
    }
    /// For each flag, whether it is set on any rank.
    pub fn any<const N: usize>(&self, what: &str, flags: [bool; N]) -> Result<[bool; N]> {
        let mut all = Tensor::f_from_slice(&flags.map(i32::from))?;
        let reduced = self.native.all_reduce(&mut all, native::Reduction::Max);
        reduced.map_err(|error| self.lost(what, error))?;
        let values = Vec::<i32>::try_from(&all)?;
        Ok(std::array::from_fn(|at| values[at] != 0))
    }
    /// Copies the tensors of rank 0 to all ranks.
    pub fn broadcast(&self, what: &str, tensors: &[Tensor]) -> Result<()> {
        self.native.broadcast(tensors).map_err(|error| self.lost(what, error))
    }
    /// Waits for all ranks.
    pub fn barrier(&self) -> Result<()> {
        self.native.barrier().map_err(|error| self.lost("a barrier", error))
    }
    /// Averages the gradients of `params` in every backward pass, see [`native::Reducer::new`].
    pub fn reducer(
        &self,
        params: &[(String, Tensor)],
        buffers: &[Tensor],
        options: &native::ReducerOptions,
    ) -> Result<native::Reducer> {
        native::Reducer::new(&self.native, params, buffers, options).map_err(|error| {
            let error = Error::from(error);
            match is_of_connection(&error) {
                true => self.lost("a comparison of the networks", error),
                false => error.context("the networks of the ranks differ"),
            }
        })
    }

    fn lost(&self, what: &str, error: impl Into<Error>) -> Error {
        let error = lost(what, error);
        match error.message().contains("imed out") {
            true => error.hint(format!(
                "ranks wait {} for each other: set `timeout` of init_process_group if one may take longer",
                text::duration(self.timeout)
            )),
            false => error,
        }
    }

    /// Ends the thread and reports that this rank leaves; waits up to `farewell` for the others if it holds the store.
    fn leave(&self, farewell: Duration) {
        self.watch.stop.store(true, Ordering::Relaxed);
        // The store may be gone.
        let _ = self.store.set(&left_key(self.rank), b"1").and_then(|()| self.store.add(LEFT, 1));
        if self.serves {
            wait_while_served(&self.store, self.size, farewell);
        }
    }

    fn fail(&self, error: Error) -> Error {
        let consequence = error.get_kind() == Kind::Peer || is_of_connection(&error);
        let reason = match error.get_kind() {
            _ if consequence => self.reason(),
            Kind::Cancelled => self.watch.failure.lock().clone(),
            _ => {
                report(&self.store, self.rank, &error);
                None
            }
        };
        if let Some(reason) = reason.as_ref().filter(|_| consequence) {
            // For the ranks that see only a lost connection to this one.
            let text = serde_json::to_vec(reason).unwrap_or_default();
            let _ = self.store.set_first(FAILED, &text);
        }
        self.leave(LAST_WORDS);
        match reason {
            Some(Failure { rank, message }) => {
                let whole = err!("rank {rank} failed: {message}").kind(Kind::Peer);
                whole.hint(format!("see the log of rank {rank}; this rank stopped: {}", error.message()))
            }
            None => error,
        }
    }

    /// Why another rank is lost: its own report, or the rank that does not show that it lives.
    fn reason(&self) -> Option<Failure> {
        let beats = || (0..self.size).map(|rank| self.store.get(&beat_key(rank)).ok().flatten()).collect::<Vec<_>>();
        let (began, before) = (Instant::now(), beats());
        while began.elapsed() < SILENCE {
            if let Some(failure) = self.watch.failure.lock().clone().or_else(|| reported(&self.store)) {
                return Some(failure).filter(|failure| failure.rank != self.rank);
            }
            std::thread::sleep(POLL);
        }
        let now = beats();
        let silent = |rank: &usize| {
            let left = self.store.get(&left_key(*rank)).ok().flatten().is_some();
            before[*rank].is_some() && before[*rank] == now[*rank] && !left
        };
        let dead = (0..self.size).filter(|rank| *rank != self.rank).find(silent);
        dead.map(|rank| Failure { rank, message: "it was killed, or its machine does not answer".into() })
    }
}

/// An error of [`Kind::Peer`] in an exchange with other ranks.
pub fn lost(what: &str, error: impl Into<Error>) -> Error {
    err!("lost the connection to another rank in {what}: {}", plain(error.into().message())).kind(Kind::Peer)
}

/// Marks an error of a backward pass that comes from the connection to other ranks.
pub fn named(error: Error) -> Error {
    if group().is_some() && is_of_connection(&error) { lost("the backward pass", error) } else { error }
}

/// Whether libtorch's error comes from the connection to other ranks.
fn is_of_connection(error: &Error) -> bool {
    ["third_party/gloo", "ProcessGroup", "NCCL"].iter().any(|part| error.message().contains(part))
}

/// An error of gloo without the place in its source: `libtorch: [/…/pair.cc:534] Connection closed by peer [127.0.0.1]:9`.
fn plain(message: &str) -> &str {
    let message = message.trim_start_matches("libtorch: ");
    let source = message.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    source.filter(|(source, _)| source.contains(".cc:")).map_or(message, |(_, rest)| rest)
}

fn no_store(error: &Error, serves: bool, place: &str, timeout: Duration) -> Error {
    let message = error.message();
    if serves && (message.contains("EADDRINUSE") || message.contains("already in use")) {
        return err!("cannot hold the store of the ranks at {place}: the port is in use")
            .kind(Kind::Config)
            .hint("set MASTER_PORT to a free port, the same for all ranks");
    }
    let hint = "rank 0 holds the store, unless torchrun does: check that it has started, and that MASTER_ADDR and \
                MASTER_PORT are its host and port";
    err!("found no store of the ranks at {place} within {}: {}", text::duration(timeout), plain(message))
        .kind(Kind::Peer)
        .hint(hint)
}

/// Waits until all ranks have come, or one of them goes ahead (those of Python do not announce themselves).
fn wait_for_ranks(
    store: &native::Store,
    rank: usize,
    size: usize,
    began: Instant,
    timeout: Duration,
    cancel: &AtomicBool,
) -> Result<()> {
    let theirs = store.set_first(SIZE, size.to_string().as_bytes())?;
    let theirs = String::from_utf8_lossy(&theirs).into_owned();
    if theirs != size.to_string() {
        return Err(err!("WORLD_SIZE is {size} on rank {rank}, but {theirs} on another rank")
            .kind(Kind::Config)
            .hint("set WORLD_SIZE to the number of processes, the same for all ranks"));
    }
    if store.add(&joined_key(rank), 1)? > 1 {
        return Err(err!("two processes have the RANK {rank}")
            .kind(Kind::Config)
            .hint("give each process a RANK of its own, from 0 to WORLD_SIZE - 1"));
    }
    loop {
        if let Some(Failure { rank, message }) = reported(store) {
            return Err(err!("rank {rank} failed: {message}").kind(Kind::Peer));
        }
        if cancel.load(Ordering::Relaxed) {
            return Err(err!("interrupted").kind(Kind::Cancelled));
        }
        let mut missing = vec![];
        for rank in 0..size {
            if store.get(&joined_key(rank))?.is_none() {
                missing.push(rank.to_string());
            }
        }
        if missing.is_empty() || store.is_connecting()? {
            return Ok(());
        }
        if began.elapsed() > timeout {
            let (ranks, waited) = (missing.join(", "), text::duration(timeout));
            return Err(err!("expected {size} ranks, but after {waited} these have not come: {ranks}")
                .hint("check that WORLD_SIZE is the number of processes, and the logs of the missing ranks"));
        }
        std::thread::sleep(POLL);
    }
}

/// Reports an error of this rank to the others, unless another one has failed before.
fn report(store: &native::Store, rank: usize, error: &Error) {
    let failure = Failure { rank, message: error.message().to_owned() };
    let _ = store.set_first(FAILED, &serde_json::to_vec(&failure).unwrap_or_default());
}

/// The first failure that was reported.
fn reported(store: &native::Store) -> Option<Failure> {
    serde_json::from_slice(&store.get(FAILED).ok()??).ok()
}

/// Waits until the other ranks have left, up to `time`.
fn wait_while_served(store: &native::Store, size: usize, time: Duration) {
    let began = Instant::now();
    while began.elapsed() < time && store.add(LEFT, 0).is_ok_and(|left| left < size as i64) {
        std::thread::sleep(POLL);
    }
}

impl Watch {
    /// Shows that this rank lives, and looks for failures and interrupts of the others.
    fn run(&self, store: &native::Store, rank: usize, place: &str) {
        let mut told = false;
        loop {
            let began = Instant::now();
            while began.elapsed() < BEAT {
                if self.stop.load(Ordering::Relaxed) {
                    return;
                }
                std::thread::sleep(POLL);
            }
            if self.look(store, rank, &mut told).is_err() {
                if !self.stop.load(Ordering::Relaxed) {
                    let message =
                        format!("the store at {place} does not answer; was the process that holds it killed?");
                    self.stop_for(Failure { rank: 0, message });
                }
                return;
            }
        }
    }

    fn look(&self, store: &native::Store, rank: usize, told: &mut bool) -> Result<()> {
        store.add(&beat_key(rank), 1)?;
        if let Some(failure) = reported(store).filter(|failure| failure.rank != rank) {
            self.stop_for(failure);
        } else if !*told {
            let cancelled = self.cancel.load(Ordering::Relaxed);
            if cancelled {
                store.set(INTERRUPTED, rank.to_string().as_bytes())?;
            } else if let Some(other) = store.get(INTERRUPTED)? {
                tracing::warn!("stopping: rank {} was interrupted", String::from_utf8_lossy(&other));
                self.cancel.store(true, Ordering::Relaxed);
            }
            *told = self.cancel.load(Ordering::Relaxed);
        }
        Ok(())
    }

    fn stop_for(&self, failure: Failure) {
        self.failure.lock().get_or_insert(failure);
        self.cancel.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_gloo_lose_the_place_in_its_source() {
        let text = "libtorch: [/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:9";
        assert_eq!(plain(text), "Connection closed by peer [127.0.0.1]:9");
        assert_eq!(plain("[a] b"), "[a] b");
    }
}
