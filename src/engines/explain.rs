//! Dry run of an evaluation from file headers alone: shapes after each transform, windows, memory, time, output files.
//!
//! The network is timed on a part of a window. The memory is an estimate: the sum of all large buffers that exist at the
//! same time. Only headers are read, and nothing is written.

use super::case_plan::{CasePlan, ExtraMemory};
use super::cases::Case;
use crate::contracts::{
    CaseExplanation, EvaluationExplanation, ExplainedInference, ExplainedStep, Inferer, Loader, Mode, Network, Shared,
    Transform, flattened,
};
use crate::error::{Error, Result};
use crate::torch::{Device, DeviceExt, guard};
use crate::{bail, text};
use segbundle_native as native;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tch::{Kind, Tensor};

/// Arguments of a dry run.
pub struct Explain<'a> {
    /// Data loader of the cases.
    pub loader: &'a Loader,
    /// Network to time.
    pub network: &'a Shared<dyn Network>,
    /// Inference method; `None` is one pass over the whole image.
    pub inferer: Option<&'a dyn Inferer>,
    /// Transforms of the prediction, in order.
    pub postprocessing: &'a [Arc<dyn Transform>],
    /// Memory limit of the process in bytes.
    pub memory_bytes: u64,
    /// Device of the network.
    pub device: Device,
    /// Autocast dtype; `None` computes in float32.
    pub autocast: Option<Kind>,
    /// Time for measuring the network.
    pub calibration: Duration,
}

/// Memory limit with which an explained case runs, in bytes: a tenth more than its estimate.
fn sufficient(case: &CaseExplanation) -> u64 {
    let total = case.memory_bytes();
    total + total / 10
}

/// Measured speed and memory of the network.
struct Speed {
    /// Size `[X, Y, Z]` of the timed input, at most a window.
    measured: [usize; 3],
    seconds_per_voxel: f64,
    /// Memory of activations; 0 on a GPU, where it is not measured.
    bytes_per_voxel: f64,
}

impl Explain<'_> {
    /// Explains the cases with the indices in `share`; the error of a case is part of its explanation.
    pub fn explain(&self, cases: &[Case], share: &[usize]) -> EvaluationExplanation {
        let mut explanation = self.settings();
        let mut speed = None;
        for &index in share {
            let case = &cases[index];
            let mut explained = CaseExplanation { name: case.name.clone(), ..CaseExplanation::default() };
            explained.error = self.case(index, case, &explanation, &mut speed, &mut explained).err();
            explanation.cases.push(explained);
        }
        explanation
    }

    /// Memory limit with which a case runs, in bytes; `None` if that is not known from headers or the device is not the
    /// CPU.
    pub fn sufficient_bytes(&self, index: usize, case: &Case) -> Option<u64> {
        let mut explained = CaseExplanation::default();
        let unlimited = Explain { memory_bytes: u64::MAX, calibration: Duration::ZERO, ..*self };
        (self.device == Device::Cpu).then_some(())?;
        unlimited.case(index, case, &unlimited.settings(), &mut None, &mut explained).ok()?;
        Some(sufficient(&explained))
    }

    /// The explanation without cases.
    fn settings(&self) -> EvaluationExplanation {
        let network = self.network.lock();
        EvaluationExplanation {
            network: network.name().to_owned(),
            in_channels: network.in_channels(),
            out_channels: network.out_channels(),
            blended_channels: network.feature_channels(),
            precision: match self.autocast {
                Some(Kind::BFloat16) => "bfloat16",
                Some(_) => "float16",
                None => "float32",
            },
            device: self.device.to_string(),
            threads: tch::get_num_threads().max(0) as usize,
            memory_bytes: self.memory_bytes,
            postprocessing: flattened(self.postprocessing)
                .iter()
                .map(|transform| (transform.name(), transform.on_prediction()))
                .collect(),
            cases: vec![],
        }
    }

    /// Fills in the explanation of a case as far as it can be planned.
    ///
    /// # Errors
    /// The reason why the case cannot run.
    fn case(
        &self,
        index: usize,
        case: &Case,
        run: &EvaluationExplanation,
        speed: &mut Option<Speed>,
        out: &mut CaseExplanation,
    ) -> Result<()> {
        let outputs = case.outputs.as_ref().map_err(Clone::clone)?;
        let plan = CasePlan::new(&*self.loader.dataset, index, self.postprocessing)?;
        for step in &plan.preprocessing.steps {
            let Some(image) = &step.image else { continue };
            out.steps.push(ExplainedStep {
                transform: step.name,
                shape: image.layout.shape,
                affine: image.affine,
                dtype: image.voxels.dtype(),
                certainty: step.certainty,
                voxels: step.voxels,
            });
        }
        if let Some(error) = &plan.preprocessing.error {
            return Err(error.clone());
        }
        let Some(image) = plan.image() else { bail!("the preprocessing leaves no image under `image`") };
        let taken = crate::env::resident_memory_bytes() + plan.file_bytes();
        let inferer = self.inferer.unwrap_or(&crate::inferers::SimpleInferer);
        let within = |bytes: u64| inferer.plan(image.layout.spatial(), run.blended_channels, bytes);
        let fitting = within(self.memory_bytes.saturating_sub(taken));
        let inference = fitting.as_ref().map_or_else(|_| within(u64::MAX), |plan| Ok(*plan))?;
        if image.channels() != run.in_channels {
            bail!("the image has {} channels, but the network takes {}", image.channels(), run.in_channels);
        }
        let speed = match speed {
            Some(speed) => speed,
            None => speed.insert(self.calibrate(run.in_channels, inference.window)?),
        };
        let window: f64 = inference.window.iter().map(|&n| n as f64).product();
        let (measured, seconds_per_window) = (speed.measured, speed.seconds_per_voxel * window);
        out.inference = Some(ExplainedInference { plan: inference, measured, seconds_per_window });
        let extra = ExtraMemory {
            classes: run.out_channels,
            activations: (speed.bytes_per_voxel * window * inference.batch as f64) as u64,
            stitch: inference.stitch_bytes,
            read_ahead: self.loader.num_workers > 0,
        };
        out.memory = plan.estimate(image, self.postprocessing, &extra);
        out.outputs = outputs.clone();
        let largest = out.memory.iter().max_by_key(|(_, bytes)| bytes).map_or("", |(what, _)| what);
        let error = match (fitting, out.memory_bytes()) {
            (Err(error), _) => error.context("does not fit in memory"),
            (_, total) if total > self.memory_bytes => Error::memory(
                format!(
                    "does not fit in memory: needs about {}, {} may be used; the largest part is {largest}",
                    text::bytes(total),
                    text::bytes(self.memory_bytes)
                ),
                "use a larger pixdim, or put argmax before Invertd",
            ),
            _ => return Ok(()),
        };
        Err(error.sufficient_memory(sufficient(out)))
    }

    /// Times the network on a window of zeros, or on a part of a large window.
    fn calibrate(&self, channels: usize, window: [usize; 3]) -> Result<Speed> {
        // Half of each axis, rounded up to a multiple of 16 for four levels of downsampling.
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
        // The first pass includes one-time work such as repacked weights, which count as memory of the program.
        let first = Instant::now();
        run()?;
        let before = native::memory().live;
        native::reset_peak();
        let start = Instant::now();
        run()?;
        let bytes = native::memory().peak.saturating_sub(before);
        let mut best = start.elapsed();
        while first.elapsed() + best < self.calibration {
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
