//! What a run would do, case by case, from headers alone: shapes after each transform, windows, memory, time, files.
//!
//! The network is timed for about two seconds on a part of a window; memory is added up from what is known to exist at
//! the same time, so it is an estimate from above. Nothing is read but headers, and nothing is written.

use super::cases::Case;
use super::headers::{self, VoxelsAre, flattened};
use crate::contracts::{InferencePlan, Inferer, Loader, Mode, Network, OnPrediction, Shared, Transform};
use crate::error::Result;
use crate::image::{Grid, Volume};
use crate::torch::{Device, DeviceExt, guard};
use crate::{bail, err};
use segbundle_native as native;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tch::{Kind, Tensor};

/// How long the network is timed.
const CALIBRATION: Duration = Duration::from_secs(2);
/// Files of a case that are listed: there can be a mask for each of a hundred structures.
const SHOWN_FILES: usize = 8;

pub struct Explain<'a> {
    pub loader: &'a Loader,
    pub network: &'a Shared<dyn Network>,
    pub inferer: Option<&'a dyn Inferer>,
    pub postprocessing: &'a [Arc<dyn Transform>],
    pub memory_bytes: u64,
    pub device: Device,
    pub autocast: Option<Kind>,
}

/// What the network costs, measured.
struct Speed {
    /// The part of a window that was timed.
    measured: [usize; 3],
    seconds_per_voxel: f64,
    /// Memory while it runs, beyond its weights; 0 where it cannot be seen (a GPU's).
    bytes_per_voxel: f64,
}

/// One case, as far as its header tells.
struct Expected {
    /// Of the file's own voxels, if all are in memory once.
    raw_bytes: u64,
    file: Grid,
    network: Volume,
    plan: InferencePlan,
}

impl Explain<'_> {
    /// Describe all cases. An error, after the text, if one cannot run.
    pub fn write(&self, cases: &[Case], out: &mut String) -> Result<()> {
        let (name, channels, classes, features) = {
            let network = self.network.lock();
            (network.name().to_owned(), network.in_channels(), network.out_channels(), network.feature_channels())
        };
        let amp = match self.autocast {
            Some(Kind::BFloat16) => "bfloat16",
            Some(_) => "float16",
            None => "float32",
        };
        let _ = writeln!(
            out,
            "{name}, {channels} -> {classes} channels, {amp} on {}, {} threads; {} may be used",
            self.device,
            tch::get_num_threads(),
            bytes_text(self.memory_bytes)
        );
        self.write_postprocessing(classes, features, out);
        let (mut speed, mut wrong, mut seconds) = (None, 0, 0.0);
        for (index, case) in cases.iter().enumerate() {
            let _ = writeln!(out, "\n[{}/{}] {}", index + 1, cases.len(), case.name);
            match self.case(index, case, (channels, features, classes), &mut speed, out) {
                Ok(expected) => seconds += expected,
                Err(error) => {
                    wrong += 1;
                    let _ = writeln!(out, "  error: {}", error.to_string().replace('\n', "\n  "));
                }
            }
        }
        let _ =
            writeln!(out, "\n{} cases: about {} in the network; {wrong} cannot run", cases.len(), time_text(seconds));
        match wrong {
            0 => Ok(()),
            wrong => Err(err!("{wrong} of {} cases cannot run; the reasons are above", cases.len())),
        }
    }

    /// All transforms of the postprocessing, without the Composes around them.
    fn steps(&self) -> Vec<&dyn Transform> {
        flattened(self.postprocessing)
    }

    fn write_postprocessing(&self, classes: usize, features: usize, out: &mut String) {
        let how = if features < classes {
            format!("windows are blended as {features} features, the last layer is applied once per voxel after that")
        } else {
            format!("windows are blended as {features} channels")
        };
        let _ = writeln!(out, "  windows              {how}");
        for step in self.steps() {
            let what = match step.on_prediction() {
                OnPrediction::Recorded => "fused: computed with what comes next, box by box",
                OnPrediction::Labels => {
                    "fused with the windows: one class number per voxel, all channels never exist at once"
                }
                OnPrediction::Masks => "fused with the windows: one byte per channel and voxel",
                OnPrediction::Moved => "one pass over the result, nearest voxels",
                OnPrediction::AllChannels => "needs all channels at once, four bytes each",
                OnPrediction::Written => "compressed and written while the next case is in the network",
                OnPrediction::Other => "as it comes",
            };
            let _ = writeln!(out, "  {:<20} {what}", step.name());
        }
    }

    /// Describe one case; returns the seconds that it would be in the network.
    fn case(
        &self,
        index: usize,
        case: &Case,
        (channels, features, classes): (usize, usize, usize),
        speed: &mut Option<Speed>,
        out: &mut String,
    ) -> Result<f64> {
        let outputs = case.outputs.as_ref().map_err(Clone::clone)?;
        let expected = self.outline(index, features, out)?;
        if expected.network.channels() != channels {
            bail!("the image has {} channels, but the network takes {channels}", expected.network.channels());
        }
        let plan = expected.plan;
        let again = if plan.strips > 1 {
            format!(" ({} with those that run again, in {} strips)", plan.runs, plan.strips)
        } else {
            String::new()
        };
        let _ = writeln!(out, "  windows              {} of {}{again}", plan.windows, shape_text(plan.window));
        let speed = match speed {
            Some(speed) => speed,
            None => speed.insert(self.calibrate(channels, plan.window)?),
        };
        let window: f64 = plan.window.iter().map(|&n| n as f64).product();
        let seconds = speed.seconds_per_voxel * window * plan.runs as f64;
        let _ = writeln!(
            out,
            "  time                 about {} in the network ({} for a window, from {} voxels)",
            time_text(seconds),
            time_text(speed.seconds_per_voxel * window),
            shape_text(speed.measured)
        );
        let parts = self.memory(&expected, classes, speed.bytes_per_voxel * window * plan.batch as f64);
        let total: u64 = parts.iter().map(|(_, bytes)| bytes).sum();
        let list: Vec<String> = parts.iter().map(|(what, bytes)| format!("{what} {}", bytes_text(*bytes))).collect();
        let _ = writeln!(out, "  memory               about {}: {}", bytes_text(total), list.join(", "));
        for path in outputs.iter().take(SHOWN_FILES) {
            let there = if path.exists() { " (exists)" } else { "" };
            let _ = writeln!(out, "  writes               {}{there}", path.display());
        }
        if outputs.len() > SHOWN_FILES {
            let _ = writeln!(out, "  writes               and {} more files", outputs.len() - SHOWN_FILES);
        }
        if total > self.memory_bytes {
            let most = parts.iter().max_by_key(|(_, bytes)| bytes).map_or("", |(what, _)| what);
            return Err(err!(
                "does not fit, because about {} are needed and {} may be used; the largest part is {most}",
                bytes_text(total),
                bytes_text(self.memory_bytes)
            )
            .hint("raise --max-memory, use a larger pixdim, or put argmax before Invertd"));
        }
        Ok(seconds)
    }

    /// Go through the preprocessing with headers only, a line for each transform.
    fn outline(&self, index: usize, features: usize, out: &mut String) -> Result<Expected> {
        let (mut first, mut before): (Option<(u64, Grid)>, Option<Volume>) = (None, None);
        let mut on_the_way = false;
        headers::walk(&*self.loader.dataset, index, &mut |step| {
            let image = step.image;
            first.get_or_insert((image.bytes(), image.header.grid));
            on_the_way |= step.voxels == VoxelsAre::ReadHere;
            let same = before
                .as_ref()
                .is_some_and(|before| before.layout.shape == image.layout.shape && before.affine == image.affine);
            let note = match (step.exact, same) {
                (false, _) => "  at most: only the voxels tell",
                (true, true) => "  unchanged",
                (true, false) if step.voxels == VoxelsAre::ReadHere => "  while the file is read",
                (true, false) => "",
            };
            let _ = writeln!(out, "  {:<20} {}{note}", step.name, volume_text(image));
            before = Some(image.clone());
        })?;
        let Some((network, (raw_bytes, file))) = before.zip(first) else {
            bail!("the preprocessing leaves no image under `image`");
        };
        let raw_bytes = if on_the_way { 0 } else { raw_bytes };
        let budget = self.memory_bytes.saturating_sub(crate::env::resident_memory_bytes() + raw_bytes);
        let shape = network.layout.spatial();
        let plan = match self.inferer {
            Some(inferer) => inferer.plan(shape, features, budget),
            None => crate::inferers::SimpleInferer.plan(shape, features, budget),
        };
        Ok(Expected { raw_bytes, file, network, plan: plan.map_err(|error| error.context("does not fit, because"))? })
    }

    /// What exists at the same time at the worst moment.
    fn memory(&self, expected: &Expected, classes: usize, activations: f64) -> Vec<(&'static str, u64)> {
        let voxels = |grid: &Grid| grid.shape.iter().map(|&n| n as u64).product::<u64>();
        let grid = expected.network.grid();
        let image = 4 * expected.network.channels() as u64 * voxels(&grid);
        let wide = if classes > 256 { 2 } else { 1 };
        // What the answer is when it is largest: on the network's grid and, moved, on the file's.
        let mut per_voxel = 4 * classes as u64;
        let (mut answer, mut moved) = (per_voxel * voxels(&grid), false);
        for step in self.steps() {
            match step.on_prediction() {
                OnPrediction::Labels => per_voxel = wide,
                OnPrediction::Masks => per_voxel = classes as u64,
                OnPrediction::Moved => moved = true,
                OnPrediction::AllChannels => {
                    moved = true;
                    break;
                }
                OnPrediction::Written => break,
                OnPrediction::Recorded | OnPrediction::Other => {}
            }
            answer = per_voxel * voxels(&grid);
        }
        if moved {
            answer += per_voxel * voxels(&expected.file);
        }
        let ahead = if self.loader.num_workers > 0 { expected.raw_bytes + image } else { 0 };
        vec![
            ("program and weights", crate::env::resident_memory_bytes()),
            // Preprocessed, once more as the network's input.
            ("image", 2 * image),
            ("next case", ahead),
            ("network", activations as u64),
            ("blending", expected.plan.stitch_bytes),
            ("result", answer),
        ]
    }

    /// Time the network on a part of a window of zeros, at most the whole.
    fn calibrate(&self, channels: usize, window: [usize; 3]) -> Result<Speed> {
        // Half of each axis, a multiple of 16: enough levels for any usual network.
        let part = window.map(|n| if n >= 64 { (n / 2).next_multiple_of(16) } else { n });
        self.measure(channels, part)
            .or_else(|_| self.measure(channels, window))
            .map_err(|error| error.context("the network fails on a window"))
    }

    fn measure(&self, channels: usize, shape: [usize; 3]) -> Result<Speed> {
        let [x, y, z] = shape.map(|n| n as i64);
        let input = Tensor::f_zeros([1, channels as i64, x, y, z], (Kind::Float, self.device.tch()))?;
        let mode = Mode { train: false, autocast: self.autocast };
        let network = self.network.lock();
        let run = || {
            guard(|| {
                network.features(&input, mode).and_then(|output| Ok(output.f_sum(Kind::Float)?.f_double_value(&[])?))
            })
        };
        // The first pass pays for what is made once, such as weights in another form, which then belong to the program.
        let first = Instant::now();
        run()?;
        let before = native::memory().live;
        native::reset_peak();
        let start = Instant::now();
        run()?;
        let bytes = native::memory().peak.saturating_sub(before);
        let mut best = start.elapsed();
        while first.elapsed() + best < CALIBRATION {
            let start = Instant::now();
            run()?;
            best = best.min(start.elapsed());
        }
        drop(network);
        native::trim();
        let voxels: f64 = shape.iter().map(|&n| n as f64).product();
        let on_cpu = self.device == Device::Cpu;
        Ok(Speed {
            measured: shape,
            seconds_per_voxel: best.as_secs_f64() / voxels,
            bytes_per_voxel: if on_cpu { bytes as f64 / voxels } else { 0.0 },
        })
    }
}

fn volume_text(volume: &Volume) -> String {
    let [c, x, y, z] = volume.layout.shape;
    let [a, b, d] = volume.affine.spacing_mm();
    format!("{c} × {x}×{y}×{z}  {a:.2}×{b:.2}×{d:.2} mm  {}", volume.voxels.dtype().name())
}

fn shape_text([x, y, z]: [usize; 3]) -> String {
    format!("{x}×{y}×{z}")
}

pub(super) fn bytes_text(bytes: u64) -> String {
    match bytes {
        0..100_000 => format!("{:.0} kB", bytes as f64 / 1e3),
        100_000..10_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        10_000_000..1_000_000_000 => format!("{:.0} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

fn time_text(seconds: f64) -> String {
    match seconds {
        0.0..1.0 => format!("{:.0} ms", seconds * 1e3),
        1.0..120.0 => format!("{seconds:.1} s"),
        120.0..7200.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}
