//! A training on disk, so that it can go on: `resume/state.pt` below the config's `ckpt_dir`.
//!
//! Written after every epoch, every so many minutes, and when the run is interrupted or fails; replaced as a whole, with
//! the one before kept as `previous.pt`. It holds weights, optimizer, gradient scaler, handlers, metrics, the place in
//! the data, and the random states as they were used, not as they were read ahead: at equal threads a training that
//! goes on ends in the same bits as one that was never interrupted.

use crate::checkpoint::{self, StateDict};
use crate::contracts::{Loader, Run};
use crate::data::batches::{Position, seeded};
use crate::err;
use crate::error::{Error, Result};
use crate::formats::atomic;
use crate::random::{RandomState, RngStates};
use crate::torch::{Device, DeviceExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tch::Tensor;

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
    pub fn open(run: &Run) -> Result<TrainingState> {
        let path = run.resume_folder().map(|folder| folder.join("state.pt"));
        let mut state = TrainingState {
            path,
            saved: None,
            config: None,
            every: run.save_every,
            last: Instant::now(),
            failed: false,
        };
        match &state.path {
            None => tracing::warn!("the config has no ckpt_dir, so this training cannot be saved and gone on with"),
            Some(path) => {
                if let Some(folder) = path.parent() {
                    atomic::remove_stale(folder);
                }
                let found = [path.clone(), previous(path)].into_iter().filter(|path| path.exists()).collect::<Vec<_>>();
                match (run.resume, found.is_empty()) {
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
    /// The config as it runs, to be kept beside the training. `resumed`: what has changed since it was saved is said.
    pub fn know_config(&mut self, now: &serde_json::Value, resumed: bool) {
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

/// Epoch and iteration of a saved training, as far as they can be read.
pub fn progress(saved: &StateDict) -> (usize, usize) {
    let count = |saved: Option<&StateDict>, key| {
        saved.and_then(|saved| int(saved, key)).and_then(|x| usize::try_from(x).ok()).unwrap_or(0)
    };
    (count(Some(saved), "epoch"), count(saved.get("mark"), "iteration"))
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

/// Where a training stands between two iterations, apart from its tensors.
pub struct Mark {
    iteration: usize,
    /// The iteration's loss, if its handlers have not been told.
    untold: Option<f64>,
    running: bool,
    position: Option<Position>,
    /// Of the CPU's generator, and the device's if it is another.
    generators: Vec<Tensor>,
}

impl Mark {
    pub fn new(
        device: Device,
        (iteration, untold): (usize, Option<f64>),
        running: bool,
        position: Option<Position>,
    ) -> Result<Mark> {
        let generators =
            devices(device).into_iter().map(segbundle_native::generator_state).collect::<Result<_, _>>()?;
        Ok(Mark { iteration, untold, running, position, generators })
    }
    pub fn iteration(&self) -> usize {
        self.iteration
    }
    pub fn untold(&self) -> Option<f64> {
        self.untold
    }
    /// In the middle of an epoch.
    pub fn running(&self) -> bool {
        self.running
    }
    /// The place in the pass over the data; `None` before the first.
    pub fn position(&self) -> Option<Position> {
        self.position.clone()
    }
    pub fn set_generators(&self, device: Device) -> Result<()> {
        for (device, state) in devices(device).into_iter().zip(&self.generators) {
            segbundle_native::set_generator_state(device, state)?;
        }
        Ok(())
    }

    pub fn save(&self) -> Result<StateDict> {
        let position = match &self.position {
            None => StateDict::None,
            Some(position) => StateDict::dict([
                ("base_seed", StateDict::Int(position.base_seed as i64)),
                ("order_seed", position.order_seed.map_or(StateDict::None, |seed| StateDict::Int(seed as i64))),
                ("used", StateDict::Int(position.used as i64)),
                ("streams", StateDict::List(position.rng.iter().map(save_rng).collect::<Result<_>>()?)),
            ]),
        };
        Ok(StateDict::dict([
            ("iteration", StateDict::Int(self.iteration as i64)),
            ("untold", self.untold.map_or(StateDict::None, StateDict::Float)),
            ("running", StateDict::Bool(self.running)),
            ("position", position),
            (
                "generators",
                StateDict::List(self.generators.iter().map(|state| StateDict::Tensor(state.shallow_clone())).collect()),
            ),
        ]))
    }

    pub fn load(saved: &StateDict, loader: &Loader) -> Result<Mark> {
        Mark::parse(saved, loader)
            .ok_or_else(|| err!("the saved training's place in the data is damaged, or of other transforms"))
    }

    fn parse(saved: &StateDict, loader: &Loader) -> Option<Mark> {
        let position = match saved.get("position")? {
            StateDict::None => None,
            position => {
                let base_seed = int(position, "base_seed")? as u64;
                let order_seed = if let StateDict::None = position.get("order_seed")? {
                    None
                } else {
                    Some(int(position, "order_seed")? as u64)
                };
                let StateDict::List(all) = position.get("streams")? else { return None };
                let fresh = |worker: usize| match loader.num_workers {
                    0 => loader.rng.lock().clone(),
                    _ => seeded(loader, base_seed, worker),
                };
                let rng = all
                    .iter()
                    .enumerate()
                    .map(|(worker, saved)| load_rng(saved, || fresh(worker)))
                    .collect::<Option<_>>()?;
                Some(Position { base_seed, order_seed, used: usize::try_from(int(position, "used")?).ok()?, rng })
            }
        };
        let StateDict::List(generators) = saved.get("generators")? else { return None };
        let tensor =
            |saved: &StateDict| if let StateDict::Tensor(tensor) = saved { Some(tensor.shallow_clone()) } else { None };
        let StateDict::Bool(running) = saved.get("running")? else { return None };
        Some(Mark {
            iteration: usize::try_from(int(saved, "iteration")?).ok()?,
            untold: if let Some(StateDict::Float(loss)) = saved.get("untold") { Some(*loss) } else { None },
            running: *running,
            position,
            generators: generators.iter().map(tensor).collect::<Option<_>>()?,
        })
    }
}

fn int(saved: &StateDict, key: &str) -> Option<i64> {
    if let StateDict::Int(x) = saved.get(key)? { Some(*x) } else { None }
}

fn devices(device: Device) -> Vec<tch::Device> {
    let mut devices = vec![tch::Device::Cpu];
    devices.extend((device != Device::Cpu).then(|| device.tch()));
    devices
}

/// A worker's random states: of each its key [624] and place.
pub(super) fn save_rng(rng: &Option<RngStates>) -> Result<StateDict> {
    let Some(rng) = rng else { return Ok(StateDict::None) };
    let one = |random: &RandomState| {
        let (key, at, gauss) = random.state();
        let key: Vec<i64> = key.iter().map(|&x| i64::from(x)).collect();
        let gauss = gauss.map_or(StateDict::None, StateDict::Float);
        Ok(StateDict::Tuple(vec![StateDict::Tensor(Tensor::f_from_slice(&key)?), StateDict::Int(at as i64), gauss]))
    };
    Ok(StateDict::List(rng.states().map(one).collect::<Result<_>>()?))
}

/// `None` if they are of other transforms.
pub(super) fn load_rng(saved: &StateDict, fresh: impl FnOnce() -> RngStates) -> Option<Option<RngStates>> {
    let all = match saved {
        StateDict::None => return Some(None),
        StateDict::List(all) => all,
        _ => return None,
    };
    let one = |saved: &StateDict| {
        let StateDict::Tuple(parts) = saved else { return None };
        let [StateDict::Tensor(key), StateDict::Int(at), gauss] = parts.as_slice() else { return None };
        let key: Vec<i64> = Vec::try_from(key).ok()?;
        let key = key.into_iter().map(|x| u32::try_from(x).ok()).collect::<Option<Vec<_>>>()?;
        let gauss = if let StateDict::Float(x) = gauss { Some(*x) } else { None };
        RandomState::from_state(&key, usize::try_from(*at).ok()?, gauss)
    };
    let states = all.iter().map(one).collect::<Option<Vec<_>>>()?;
    let mut rng = fresh();
    rng.restore(states).then_some(Some(rng))
}
