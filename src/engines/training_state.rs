//! The saved state of a training, `resume/state.pt` below the config's `ckpt_dir`, for `--resume`.
//!
//! It is saved after every epoch, at intervals within an epoch ([`RunOptions::save_every`](crate::run::RunOptions)),
//! and when the run is interrupted or fails. The file is replaced atomically; the one before is kept as `previous.pt`.
//! It contains weights, optimizer, gradient scaler, handlers, metrics, the position in the data, and the random states
//! of consumed (not prefetched) batches: with the same number of threads, a resumed training is bit-identical to an
//! uninterrupted one.
//!
//! With several ranks, rank 0 writes the file, which contains the position and random states of all ranks; each of them
//! reads it from the same folder.

use super::record;
use crate::bundle::{expr, id};
use crate::checkpoint::{self, Int64Tensor, StateDict, Uint8Tensor};
use crate::contracts::{ConfigRecord, EngineStart, Loader};
use crate::data::pass::{LoaderPosition, seeded};
use crate::distributed;
use crate::error::{Error, Kind, Result};
use crate::formats::atomic;
use crate::formats::lock::FolderLock;
use crate::random::{RandomState, RngStates};
use crate::run::{CHECKPOINT_FOLDER, SAVE_EVERY};
use crate::torch::convert::to_u8;
use crate::torch::{Device, DeviceExt};
use crate::{err, log_error};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tch::Tensor;

/// Name of the file with the last saved state.
const STATE: &str = "state.pt";

/// The folder in which training states are saved; `None` if the config does not define `ckpt_dir`.
///
/// # Errors
/// `ckpt_dir` cannot be evaluated, or is not a path.
pub fn folder(config: &ConfigRecord) -> Result<Option<PathBuf>> {
    Ok(config.checkpoint_folder.clone()?.map(|folder| folder.join("resume")))
}

/// Checks that training states can be saved, before anything is computed.
///
/// # Errors
/// As for [`folder`]; the folder is not writable.
pub fn check_writable(config: &ConfigRecord) -> Result<()> {
    let Some(folder) = folder(config)? else { return Ok(()) };
    atomic::check_writable(&folder.join(STATE)).map_err(|error| error.context("the training could not be saved"))
}

/// Saves and loads the state of a training.
pub struct TrainingState {
    /// `None` if the config does not define `ckpt_dir`.
    path: Option<PathBuf>,
    saved: Option<StateDict>,
    /// The config as JSON, until it is written beside the state.
    config: Option<String>,
    every: Duration,
    last: Instant,
    failed: bool,
    /// Keeps other trainings out of the folder.
    _lock: Option<FolderLock>,
    /// Whether this process writes: rank 0.
    writes: bool,
}

impl TrainingState {
    /// Reads the last saved state with `--resume`; otherwise renames an earlier one.
    ///
    /// # Errors
    /// `ckpt_dir` is not a path, or missing with `--resume`; another training writes to it; no saved state can be read; an
    /// earlier one cannot be renamed.
    pub fn open(start: &EngineStart) -> Result<TrainingState> {
        let options = &start.run.options;
        let path = folder(&start.config)?.map(|folder| folder.join(STATE));
        let lock =
            path.as_deref().and_then(Path::parent).map(|folder| record::lock(folder, None)).transpose()?.flatten();
        let mut state = TrainingState {
            path,
            saved: None,
            config: None,
            every: options.save_every.unwrap_or(SAVE_EVERY),
            last: Instant::now(),
            failed: false,
            _lock: lock,
            writes: distributed::rank() == 0,
        };
        match &state.path {
            None if options.resume => {
                return Err(err!("cannot resume: the config has no `{CHECKPOINT_FOLDER}`, so no training was saved")
                    .kind(Kind::Config)
                    .hint("start without --resume, or add `ckpt_dir` to the config"));
            }
            None => tracing::warn!("the config has no `{CHECKPOINT_FOLDER}`: this training cannot be resumed"),
            Some(path) => {
                if let Some(folder) = path.parent().filter(|_| state.writes) {
                    atomic::remove_stale(folder);
                }
                let found = [path.clone(), previous(path)].into_iter().filter(|path| path.exists()).collect::<Vec<_>>();
                match (options.resume, found.is_empty()) {
                    (true, true) => {
                        tracing::warn!("found no saved training in {}: starting a new one", path.display())
                    }
                    (true, false) => state.saved = Some(read(&found)?),
                    // Otherwise a later `--resume` could pick it up instead of this training.
                    (false, false) if state.writes => {
                        let earlier = unused_name(path);
                        archive(&found, &earlier).map_err(|error| error.file(path))?;
                        tracing::warn!(
                            "{} held an earlier training, which was renamed to {}: starting a new one",
                            path.display(),
                            earlier.display()
                        );
                    }
                    (false, _) => {}
                }
            }
        }
        Ok(state)
    }

    /// Returns the state read with `--resume`, on the first call.
    pub fn take_saved(&mut self) -> Option<StateDict> {
        self.saved.take()
    }
    /// Path of `state.pt`; empty if the config does not define `ckpt_dir`.
    pub fn path(&self) -> &Path {
        self.path.as_deref().unwrap_or(Path::new(""))
    }
    /// Sets the config to save beside the state. `resumed`: warns of changes since it was saved.
    pub fn compare_config(&mut self, now: &Json, resumed: bool) {
        let path = self.path.as_ref().filter(|_| resumed).map(|path| path.with_file_name("config.json"));
        if let Some(before) = path.and_then(|path| std::fs::read_to_string(path).ok()) {
            warn_of_changes(&before, now);
        }
        self.config = serde_json::to_string_pretty(now).ok();
    }
    /// Whether the interval since the last save has passed.
    pub fn is_due(&self) -> bool {
        self.path.is_some() && self.last.elapsed() >= self.every
    }

    /// Saves the training; a failure is logged, and the training continues. All ranks call it, since `make` collects
    /// their states.
    pub fn save(&mut self, make: impl FnOnce() -> Result<StateDict>) {
        let Some(path) = &self.path else { return };
        let beside = || match &self.config {
            Some(config) => atomic::write(path.with_file_name("config.json"), |path| Ok(std::fs::write(path, config)?)),
            None => Ok(()),
        };
        let write = |saved: StateDict| match self.writes {
            true => write(path, &saved).and_then(|()| beside()),
            false => Ok(()),
        };
        let written = make().and_then(write);
        if written.is_ok() {
            self.config = None;
        }
        self.last = Instant::now();
        self.failed = written.is_err();
        if let Err(error) = written {
            let error = error.file(path);
            log_error!(error, &error, "cannot save the training, the previous state is kept: {}", error.message());
        }
    }

    /// Whether the last save failed.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// Saves a diverged training as `failed.pt` for inspection, beside the last good state.
    pub fn save_failed(&self, make: impl FnOnce() -> Result<StateDict>) {
        let Some(path) = self.path.as_ref().map(|path| path.with_file_name("failed.pt")) else { return };
        match make().and_then(|saved| checkpoint::save_state(&path, &saved)) {
            Ok(()) => match path.with_file_name(STATE).exists() {
                true => tracing::info!(
                    "saved the training before this iteration in {}; `--resume` continues from state.pt, which is older, or from previous.pt if that is removed",
                    path.display()
                ),
                false => tracing::info!("saved the training before this iteration in {}", path.display()),
            },
            Err(error) => {
                let error = error.file(path);
                log_error!(error, &error, "cannot save the training: {}", error.message())
            }
        }
    }

    /// Adds a hint about `--resume` to an error; logs it if the error already has a hint.
    pub fn hint(&self, error: Error) -> Error {
        if self.failed || !self.path.as_ref().is_some_and(|path| path.exists()) {
            return error;
        }
        let hint = "`segbundle --resume run …` continues this training";
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

/// The first of `earlier.pt`, `earlier-2.pt`, … beside `path` that does not exist.
fn unused_name(path: &Path) -> PathBuf {
    let first = path.with_file_name("earlier.pt");
    let numbered = (2..).map(|number: u64| path.with_file_name(format!("earlier-{number}.pt")));
    std::iter::once(first.clone()).chain(numbered).find(|name| !name.exists()).unwrap_or(first)
}

/// Renames the first of `found` to `to` and removes the others.
fn archive(found: &[PathBuf], to: &Path) -> Result<()> {
    let moved = |error: std::io::Error| err!("cannot rename the earlier training: {error}");
    for (at, path) in found.iter().enumerate() {
        if at == 0 { std::fs::rename(path, to) } else { std::fs::remove_file(path) }.map_err(moved)?;
    }
    Ok(())
}

/// Warns of differences from the config of the saved training.
fn warn_of_changes(before: &str, now: &Json) {
    let changes = serde_json::from_str(before).ok().and_then(|before| changes_between(&before, now));
    if let Some(changes) = changes {
        tracing::warn!(
            "the config has changed since this training was saved: {changes}; learning rates, options and schedules of the saved training are used"
        );
    }
}

/// The first differences between two configs, with both values; `None` if there are none.
fn changes_between(before: &Json, now: &Json) -> Option<String> {
    const MOST: usize = 8;
    let mut changes = vec![];
    find_changes("", before, now, &mut changes);
    let more = changes.len().saturating_sub(MOST);
    changes.truncate(MOST);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!changes.is_empty()).then(|| format!("{}{more}", changes.join(", ")))
}

fn find_changes(id: &str, before: &Json, now: &Json, out: &mut Vec<String>) {
    use Json::{Array, Object};
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

/// Reads the newest readable file of `found`.
fn read(found: &[PathBuf]) -> Result<StateDict> {
    let mut error = err!("found no saved training");
    for path in found {
        match checkpoint::load(path).and_then(|file| file.state()) {
            Ok(saved) => {
                tracing::info!("read the saved training {}", path.display());
                return Ok(saved);
            }
            Err(failed) => {
                log_error!(warn, &failed, "{}", failed.message());
                error = failed;
            }
        }
    }
    Err(error)
}

fn write(path: &Path, saved: &StateDict) -> Result<()> {
    let next = path.with_file_name("next.pt");
    checkpoint::save_state(&next, saved)?;
    // Without fsync, a crash of the machine could lose the new file after the old one was replaced.
    std::fs::File::open(&next).and_then(|file| file.sync_all()).map_err(|error| err!("cannot write: {error}"))?;
    let rename = |from: &Path, to: &Path| {
        std::fs::rename(from, to).map_err(|error| err!("cannot rename {}: {error}", from.display()))
    };
    if path.exists() {
        rename(path, &previous(path))?;
    }
    rename(&next, path)
}

/// Progress of a training in `state.pt`, beside the states of its components.
#[derive(Debug, Serialize, Deserialize)]
pub struct TrainingProgress {
    /// From 1; 0 before the first epoch.
    pub epoch: usize,
    /// Iterations in an epoch.
    pub epoch_length: usize,
    /// Position at which the training resumes.
    #[serde(rename = "mark")]
    pub cursor: TrainingCursor,
    /// If a handler ended the training: `max_epochs` at that time.
    pub stopped: Option<usize>,
    /// The data of the training; `None` if it was saved by a version that did not record it.
    #[serde(default)]
    pub data: Option<TrainingData>,
}

impl TrainingProgress {
    /// Reads the progress from the contents of `state.pt`.
    ///
    /// # Errors
    /// The saved training is damaged.
    pub fn of(saved: &StateDict) -> Result<TrainingProgress> {
        checkpoint::from_state(saved).map_err(|error| error.context("the saved training is damaged"))
    }
}

/// What a training reads, by the config. A resumed training reads the same: with other batches, cases or transforms it
/// would not be the training that was saved, and its position in the data would have no meaning.
///
/// Everything else of the config may change, as MONAI users change it from run to run: `max_epochs` and handlers take
/// effect, learning rates, optimizer options and schedules remain those of the saved training, which is logged
/// ([`TrainingState::compare_config`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingData {
    /// Number of cases per batch.
    batch_size: usize,
    /// Number of cases in the datalist.
    cases: usize,
    /// The transforms with their arguments, and the items that they refer to, by id: a JSON object. `None` if they are not
    /// part of the config.
    transforms: Option<String>,
}

impl TrainingData {
    /// The data of the training that reads from `loader`.
    pub fn new(loader: &Loader, config: &ConfigRecord) -> TrainingData {
        let transforms = transforms_of(&config.fingerprint).map(|transforms| transforms.to_string());
        TrainingData { batch_size: loader.batch_size, cases: loader.dataset.len(), transforms }
    }

    /// Compares the config with `saved`.
    ///
    /// # Errors
    /// The first difference with both values; what was not saved is not compared.
    pub fn check(&self, saved: &TrainingData) -> Result<()> {
        let again = "or start again without --resume";
        if self.batch_size != saved.batch_size {
            let (before, now) = (saved.batch_size, self.batch_size);
            return Err(err!("the saved training has batches of {before} cases, this config of {now}")
                .hint(format!("set `batch_size` of the data loader to {before}, {again}")));
        }
        if self.cases != saved.cases {
            return Err(err!("the saved training has {} cases, this config has {}", saved.cases, self.cases)
                .hint(format!("resume with the same cases, {again}")));
        }
        let (Some(before), Some(now)) = (&saved.transforms, &self.transforms) else { return Ok(()) };
        let (Ok(before), Ok(now)) = (serde_json::from_str(before), serde_json::from_str(now)) else { return Ok(()) };
        match changes_between(&before, &now) {
            None => Ok(()),
            Some(changes) => Err(err!("the transforms differ from those of the saved training: {changes}")
                .hint(format!("resume with the same transforms, {again}"))),
        }
    }
}

/// The transforms of the dataset that a trainer reads, and the items that they refer to, by id; `None` if the config has
/// no trainer, or several.
fn transforms_of(fingerprint: &Json) -> Option<Json> {
    let items = fingerprint.as_object()?;
    let trainers: Vec<&Json> = items.values().filter_map(|item| argument(item, "train_data_loader")).collect();
    let &[loader] = &trainers[..] else { return None };
    // The loader refers to its dataset, and that to its transforms.
    let dataset = referenced(items, loader);
    let transform = dataset.iter().find_map(|(_, item)| argument(item, "transform"))?;
    let items = referenced(items, transform);
    Some(items.into_iter().map(|(id, item)| (id.to_owned(), item.clone())).collect::<Map<String, Json>>().into())
}

/// The value under `key` in an item or in one that it contains.
fn argument<'a>(item: &'a Json, key: &str) -> Option<&'a Json> {
    match item {
        Json::Object(entries) => entries.get(key).or_else(|| entries.values().find_map(|entry| argument(entry, key))),
        Json::Array(items) => items.iter().find_map(|item| argument(item, key)),
        _ => None,
    }
}

/// An item, under the id `""`, and all items that it refers to, directly or through others.
fn referenced<'a>(items: &'a Map<String, Json>, item: &'a Json) -> Vec<(&'a str, &'a Json)> {
    let mut out = vec![("", item)];
    let mut next = 0;
    while let Some((_, item)) = out.get(next) {
        let mut ids = vec![];
        references(item, &mut ids);
        for id in ids {
            if let Some((id, item)) =
                items.get_key_value(&id).filter(|(id, _)| out.iter().all(|(known, _)| known != id))
            {
                out.push((id, item));
            }
        }
        next += 1;
    }
    out
}

/// Ids that the strings in an item refer to.
fn references(item: &Json, out: &mut Vec<String>) {
    match item {
        Json::Object(entries) => entries.values().for_each(|entry| references(entry, out)),
        Json::Array(items) => items.iter().for_each(|item| references(item, out)),
        Json::String(text) => {
            let text = id::normalize(text);
            if let Some(id) = id::whole_reference(&text) {
                out.push(id.to_owned());
            } else if let Some(Ok(parsed)) = text.strip_prefix('$').map(expr::parse) {
                out.extend(parsed.references().iter().map(|reference| reference.id.clone()));
            }
        }
        _ => {}
    }
}

/// Position of a training between two iterations: iteration, data, random generators.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TrainingCursor {
    /// Number of completed iterations.
    pub iteration: usize,
    /// Loss of the last iteration, if its handlers have not been called yet.
    #[serde(rename = "untold")]
    pub pending_loss: Option<f64>,
    /// Whether the current epoch is incomplete.
    #[serde(rename = "running")]
    pub in_epoch: bool,
    position: Option<SavedPosition>,
    /// States of torch's generators: of the CPU, then of the device if it is another one.
    generators: Vec<Uint8Tensor>,
}

impl TrainingCursor {
    /// Captures the current generators of the CPU and of `device`. `position`: in the pass over the data, if one has
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

    /// Converts the position for another number of ranks, and so of iterations per epoch: the rest of an incomplete epoch
    /// begins a new pass over the data.
    pub fn rescale(&mut self, from: usize, to: usize) {
        self.iteration = self.iteration / from * to + self.iteration % from * to / from;
        (self.position, self.pending_loss) = (None, None);
    }

    /// The position in the pass over `loader`; `None` before the first pass.
    ///
    /// # Errors
    /// The random transforms of the config differ from the saved ones.
    pub fn position(&self, loader: &Loader) -> Result<Option<LoaderPosition>> {
        let other = || err!("the random transforms of the config differ from those of the saved training");
        self.position.as_ref().map(|saved| saved.position(loader).ok_or_else(other)).transpose()
    }

    /// Restores the generators of the CPU and of `device`.
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

/// A serializable [`LoaderPosition`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SavedPosition {
    base_seed: u64,
    order_seed: Option<u64>,
    used: usize,
    streams: Vec<Option<SavedRngStates>>,
}

impl SavedPosition {
    /// Converts a position.
    pub fn new(position: &LoaderPosition) -> SavedPosition {
        let LoaderPosition { base_seed, order_seed, used, ref rng } = *position;
        let streams = rng.iter().map(|worker| worker.as_ref().map(SavedRngStates::new)).collect();
        SavedPosition { base_seed, order_seed, used, streams }
    }

    /// Restores the position; `None` if the random states belong to other transforms.
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

/// Random states of a worker: for each the MT19937 key `[624]`, the position in it, and a cached normal value.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SavedRngStates(Vec<(Int64Tensor, usize, Option<f64>)>);

impl SavedRngStates {
    /// Copies the current states.
    pub fn new(states: &RngStates) -> SavedRngStates {
        let one = |random: &RandomState| {
            let (key, at, gauss) = random.state();
            (Int64Tensor(key.iter().map(|&x| i64::from(x)).collect()), at, gauss)
        };
        SavedRngStates(states.states().map(one).collect())
    }

    /// Returns `fresh` with the saved states; `None` if they belong to other transforms.
    pub fn restore(&self, mut fresh: RngStates) -> Option<RngStates> {
        let one = |(Int64Tensor(key), at, gauss): &(Int64Tensor, usize, Option<f64>)| {
            let key = key.iter().map(|&x| u32::try_from(x).ok()).collect::<Option<Vec<_>>>()?;
            RandomState::from_state(&key, *at, *gauss)
        };
        let states = self.0.iter().map(one).collect::<Option<_>>()?;
        fresh.restore(states).then_some(fresh)
    }
}
