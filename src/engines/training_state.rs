//! A training on disk, so that it can go on: `resume/state.pt` below the config's `ckpt_dir`.
//!
//! Written after every epoch, every so many minutes, and when the run is interrupted or fails; replaced as a whole, with
//! the one before kept as `previous.pt`. It holds weights, optimizer, gradient scaler, handlers, metrics, the place in
//! the data, and the random states as they were used, not as they were read ahead: at equal threads a training that
//! goes on ends in the same bits as one that was never interrupted.

use crate::checkpoint::{self, Int64Tensor, StateDict, Uint8Tensor};
use crate::contracts::{ConfigRecord, EngineStart, Loader};
use crate::data::pass::{LoaderPosition, seeded};
use crate::err;
use crate::error::{Error, Result};
use crate::formats::atomic;
use crate::random::{RandomState, RngStates};
use crate::run::CHECKPOINT_FOLDER;
use crate::torch::convert::to_u8;
use crate::torch::{Device, DeviceExt};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tch::Tensor;

/// The folder that a training is saved in, if the config has one.
pub fn folder(config: &ConfigRecord) -> Option<PathBuf> {
    config.checkpoint_folder.as_ref().map(|folder| folder.join("resume"))
}

/// Where a training is saved, and when.
pub struct TrainingState {
    /// `None`: the config names no folder.
    path: Option<PathBuf>,
    saved: Option<StateDict>,
    /// The config, until it is written beside.
    config: Option<String>,
    every: Duration,
    last: Instant,
    failed: bool,
}

impl TrainingState {
    /// With `--resume` what was saved last is read.
    pub fn open(start: &EngineStart) -> Result<TrainingState> {
        let options = &start.run.options;
        let path = folder(&start.config).map(|folder| folder.join("state.pt"));
        let mut state = TrainingState {
            path,
            saved: None,
            config: None,
            every: options.save_every,
            last: Instant::now(),
            failed: false,
        };
        match &state.path {
            None => tracing::warn!("the config has no `{CHECKPOINT_FOLDER}`: this training cannot be resumed"),
            Some(path) => {
                if let Some(folder) = path.parent() {
                    atomic::remove_stale(folder);
                }
                let found = [path.clone(), previous(path)].into_iter().filter(|path| path.exists()).collect::<Vec<_>>();
                match (options.resume, found.is_empty()) {
                    (true, true) => {
                        tracing::info!("there is no saved training in {}; this one starts anew", path.display())
                    }
                    (true, false) => state.saved = Some(read(&found)?),
                    // Otherwise it could be gone on with in place of this one.
                    (false, false) => {
                        let earlier = path.with_file_name("earlier.pt");
                        put_aside(&found, &earlier).map_err(|error| error.file(path))?;
                        tracing::warn!(
                            "{} held an earlier training, which is now {}; this one starts anew",
                            path.display(),
                            earlier.display()
                        );
                    }
                    (false, true) => {}
                }
            }
        }
        Ok(state)
    }

    pub fn take_saved(&mut self) -> Option<StateDict> {
        self.saved.take()
    }
    pub fn path(&self) -> &Path {
        self.path.as_deref().unwrap_or(Path::new(""))
    }
    /// Take the config as it runs, to be kept beside the training. `resumed`: warns of what has changed since it was saved.
    pub fn compare_config(&mut self, now: &serde_json::Value, resumed: bool) {
        let path = self.path.as_ref().filter(|_| resumed).map(|path| path.with_file_name("config.json"));
        if let Some(before) = path.and_then(|path| std::fs::read_to_string(path).ok()) {
            tell_changes(&before, now);
        }
        self.config = serde_json::to_string_pretty(now).ok();
    }
    pub fn is_due(&self) -> bool {
        self.path.is_some() && self.last.elapsed() >= self.every
    }

    /// Write the training; a failure is reported, and the training goes on.
    pub fn save(&mut self, make: impl FnOnce() -> Result<StateDict>) {
        let Some(path) = &self.path else { return };
        let config = self.config.take();
        let beside = || match config {
            Some(config) => atomic::write(path.with_file_name("config.json"), |path| Ok(std::fs::write(path, config)?)),
            None => Ok(()),
        };
        let written = make().and_then(|saved| write(path, &saved)).and_then(|()| beside());
        self.last = Instant::now();
        self.failed = written.is_err();
        if let Err(error) = written {
            tracing::error!("the training could not be saved, the state before it stays: {}", error.file(path));
        }
    }

    /// Whether the last save did not work.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// Write a training that has failed beside the last good one, for whoever wants to know why.
    pub fn save_failed(&self, make: impl FnOnce() -> Result<StateDict>) {
        let Some(path) = self.path.as_ref().map(|path| path.with_file_name("failed.pt")) else { return };
        match make().and_then(|saved| checkpoint::save_state(&path, &saved)) {
            Ok(()) => match path.with_file_name("state.pt").exists() {
                true => tracing::info!(
                    "the training before this iteration is in {}; `--resume` goes on from state.pt, which is older, and from previous.pt if that is removed",
                    path.display()
                ),
                false => tracing::info!("the training before this iteration is in {}", path.display()),
            },
            Err(error) => tracing::error!("the training could not be saved: {}", error.file(path)),
        }
    }

    /// Tell with an error how to go on.
    pub fn hint(&self, error: Error) -> Error {
        if self.path.is_none() || self.failed {
            return error;
        }
        let hint = "`segbundle --resume run …` goes on where this run stopped";
        match error.get_hint() {
            Some(_) => {
                tracing::info!("{hint}");
                error
            }
            None => error.hint(hint),
        }
    }
}

fn previous(path: &Path) -> PathBuf {
    path.with_file_name("previous.pt")
}

/// The first of these files under the name `to`, the others removed.
fn put_aside(found: &[PathBuf], to: &Path) -> Result<()> {
    let moved = |error: std::io::Error| err!("cannot put an earlier training aside: {error}");
    for (at, path) in found.iter().enumerate() {
        if at == 0 { std::fs::rename(path, to) } else { std::fs::remove_file(path) }.map_err(moved)?;
    }
    Ok(())
}

/// Warn of values that are not those of the config that a training was saved with.
fn tell_changes(before: &str, now: &serde_json::Value) {
    const MOST: usize = 8;
    let Ok(before) = serde_json::from_str(before) else { return };
    let mut changes = vec![];
    find_changes("", &before, now, &mut changes);
    let more = changes.len().saturating_sub(MOST);
    changes.truncate(MOST);
    if !changes.is_empty() {
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        tracing::warn!(
            "the config has changed since this training was saved: {}{more}; learning rates, options and schedules go on as they were saved",
            changes.join(", ")
        );
    }
}

fn find_changes(id: &str, before: &serde_json::Value, now: &serde_json::Value, out: &mut Vec<String>) {
    use serde_json::Value::{Array, Object};
    let inside = |key: &str| if id.is_empty() { key.to_owned() } else { format!("{id}::{key}") };
    match (before, now) {
        _ if before == now => {}
        (Object(a), Object(b)) => {
            for key in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
                find_changes(&inside(key), a.get(key).unwrap_or_default(), b.get(key).unwrap_or_default(), out);
            }
        }
        (Array(a), Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().for_each(|(at, (a, b))| find_changes(&inside(&at.to_string()), a, b, out));
        }
        (Object(_) | Array(_), _) | (_, Object(_) | Array(_)) => out.push(id.to_owned()),
        (a, b) => out.push(format!("{id} ({a}, now {b})")),
    }
}

/// The newest that can be read.
fn read(found: &[PathBuf]) -> Result<StateDict> {
    let mut error = err!("there is no saved training");
    for path in found {
        match checkpoint::load(path).and_then(|file| file.state()) {
            Ok(saved) => {
                tracing::info!("going on from {}", path.display());
                return Ok(saved);
            }
            Err(failed) => {
                tracing::warn!("{failed}");
                error = failed;
            }
        }
    }
    Err(error)
}

fn write(path: &Path, saved: &StateDict) -> Result<()> {
    let next = path.with_file_name("next.pt");
    checkpoint::save_state(&next, saved)?;
    // After a crash of the machine the newest may be the one that is not on disk.
    std::fs::File::open(&next).and_then(|file| file.sync_all()).map_err(|error| err!("cannot write: {error}"))?;
    let rename = |from: &Path, to: &Path| {
        std::fs::rename(from, to).map_err(|error| err!("cannot rename {}: {error}", from.display()))
    };
    if path.exists() {
        rename(path, &previous(path))?;
    }
    rename(&next, path)
}

/// What `state.pt` holds beside tensors and the states of its parts.
#[derive(Debug, Serialize, Deserialize)]
pub struct TrainingProgress {
    /// From 1; 0 before the first.
    pub epoch: usize,
    /// Iterations in an epoch.
    pub epoch_length: usize,
    #[serde(rename = "mark")]
    pub cursor: TrainingCursor,
    /// The `max_epochs` that a handler has ended the training under.
    pub stopped: Option<usize>,
}

impl TrainingProgress {
    pub fn of(saved: &StateDict) -> Result<TrainingProgress> {
        checkpoint::from_state(saved).map_err(|error| error.context("the saved training is damaged"))
    }
}

/// Where a training stands between two iterations.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TrainingCursor {
    /// Iterations that are done.
    pub iteration: usize,
    /// The loss of the last one, if its handlers have not been called yet.
    #[serde(rename = "untold")]
    pub pending_loss: Option<f64>,
    /// In the middle of an epoch.
    #[serde(rename = "running")]
    pub in_epoch: bool,
    position: Option<SavedPosition>,
    /// States of torch's generators: the CPU's, then the device's if it is another.
    generators: Vec<Uint8Tensor>,
}

impl TrainingCursor {
    /// With the generators of the CPU and of `device` as they are now. `position`: in the pass over the data, if one has
    /// begun.
    pub fn new(
        device: Device,
        iteration: usize,
        pending_loss: Option<f64>,
        in_epoch: bool,
        position: Option<&LoaderPosition>,
    ) -> Result<TrainingCursor> {
        let state = |device| Ok(Uint8Tensor(to_u8(&segbundle_native::generator_state(device)?)?));
        let generators = devices(device).into_iter().map(state).collect::<Result<_>>()?;
        let position = position.map(SavedPosition::new);
        Ok(TrainingCursor { iteration, pending_loss, in_epoch, position, generators })
    }

    /// The position in the pass over `loader`; `None` before the first pass.
    pub fn position(&self, loader: &Loader) -> Result<Option<LoaderPosition>> {
        let other = || err!("the saved training has other random transforms than the config");
        self.position.as_ref().map(|saved| saved.position(loader).ok_or_else(other)).transpose()
    }

    /// Sets the generators of the CPU and of `device`.
    pub fn restore_generators(&self, device: Device) -> Result<()> {
        for (device, Uint8Tensor(state)) in devices(device).into_iter().zip(&self.generators) {
            segbundle_native::set_generator_state(device, &Tensor::f_from_slice(state)?)?;
        }
        Ok(())
    }
}

fn devices(device: Device) -> Vec<tch::Device> {
    let mut devices = vec![tch::Device::Cpu];
    devices.extend((device != Device::Cpu).then(|| device.tch()));
    devices
}

/// A [`LoaderPosition`] as a checkpoint holds it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SavedPosition {
    base_seed: u64,
    order_seed: Option<u64>,
    used: usize,
    streams: Vec<Option<SavedRngStates>>,
}

impl SavedPosition {
    pub fn new(position: &LoaderPosition) -> SavedPosition {
        let LoaderPosition { base_seed, order_seed, used, ref rng } = *position;
        let streams = rng.iter().map(|worker| worker.as_ref().map(SavedRngStates::new)).collect();
        SavedPosition { base_seed, order_seed, used, streams }
    }

    /// `None` if the random states are of other transforms.
    pub fn position(&self, loader: &Loader) -> Option<LoaderPosition> {
        let fresh = |worker: usize| match loader.num_workers {
            0 => loader.rng_states(),
            _ => seeded(loader, self.base_seed, worker),
        };
        let worker = |(worker, saved): (usize, &Option<SavedRngStates>)| match saved {
            Some(saved) => saved.restore(fresh(worker)).map(Some),
            None => Some(None),
        };
        let rng = self.streams.iter().enumerate().map(worker).collect::<Option<_>>()?;
        Some(LoaderPosition { base_seed: self.base_seed, order_seed: self.order_seed, used: self.used, rng })
    }
}

/// A worker's random states: of each the key [624] of its MT19937, the place in it, and a normal value that waits.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SavedRngStates(Vec<(Int64Tensor, usize, Option<f64>)>);

impl SavedRngStates {
    pub fn new(states: &RngStates) -> SavedRngStates {
        let one = |random: &RandomState| {
            let (key, at, gauss) = random.state();
            (Int64Tensor(key.iter().map(|&x| i64::from(x)).collect()), at, gauss)
        };
        SavedRngStates(states.states().map(one).collect())
    }

    /// `fresh` with the saved states; `None` if they are of other transforms.
    pub fn restore(&self, mut fresh: RngStates) -> Option<RngStates> {
        let one = |(Int64Tensor(key), at, gauss): &(Int64Tensor, usize, Option<f64>)| {
            let key = key.iter().map(|&x| u32::try_from(x).ok()).collect::<Option<Vec<_>>>()?;
            RandomState::from_state(&key, *at, *gauss)
        };
        let states = self.0.iter().map(one).collect::<Option<_>>()?;
        fresh.restore(states).then_some(fresh)
    }
}
