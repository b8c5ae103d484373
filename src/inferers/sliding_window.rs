//! SlidingWindowInferer (monai.inferers.inferer, MONAI 1.6.1).
//!
//! Difference from MONAI: predictions are computed lazily, when postprocessing needs them, and blended slab by slab
//! (see `stitch`), so arguments that trade memory for time in MONAI have no effect.

use super::check_window;
use super::stitch::{SLAB_SHARE, SlidingWindows};
use super::windows::{Blend, Windows, importance};
use crate::bail;
use crate::component::{Accepted, FromValue, NotSupported, OneOrMany, Value};
use crate::contracts::{CaseContext, InferencePlan, Inferer, Network, Shared};
use crate::err;
use crate::error::{Kind, Result};
use crate::image::Volume;
use crate::prediction::Prediction;
use crate::torch::Device;
use tch::Tensor;

component! {
    /// Run the network on overlapping windows and blend the predictions.
    pub static COMPONENT = inferer "SlidingWindowInferer" in "monai.inferers" / "inferer";

    pub struct SlidingWindowInfererArgs {
        /// Window size in voxels, one value or one per axis; None or a non-positive value uses the size of the image.
        roi_size: OneOrMany<Option<i64>>,
        /// Number of windows per forward pass.
        sw_batch_size: usize = 1,
        /// Overlap between neighboring windows as a fraction of the window size, in [0, 1), one value or one per axis.
        overlap: OneOrMany<f64> = 0.25,
        /// Weighting of overlapping windows: "constant" or "gaussian".
        mode: Blend = "constant",
        /// Standard deviation of the Gaussian weights as a fraction of the window size, one value or one per axis.
        sigma_scale: OneOrMany<f64> = 0.125,
        /// Padding mode for images smaller than the window.
        padding_mode: PadMode = "constant",
        /// Fill value of padding mode "constant".
        cval: f64 = 0.0,
        /// Device to run the network on; None is the engine's device.
        sw_device: Option<Device> = (),
        /// Device to blend the predictions on; None is the network's device.
        device: Option<Device> = (),
        /// No effect: progress is always shown.
        progress: Accepted = false,
        /// No effect: computing the weights takes milliseconds.
        cache_roi_weight_map: Accepted = false,
        /// Number of voxels above which predictions are blended on the CPU, if `device` is None.
        cpu_thresh: Option<usize> = (),
        /// No effect: predictions are always blended in slabs along one axis.
        buffer_steps: Accepted = (),
        /// No effect: slabs run along the longest axis.
        buffer_dim: Accepted = -1,
        /// Pass the window's coordinates to the network; not supported.
        with_coord: NotSupported = false,
    }

    differs: [
        "predictions are computed lazily, slab by slab; a final linear layer is applied once per voxel, after blending",
    ],
    build: SlidingWindowInferer::new,
}

/// Padding modes of `torch.nn.functional.pad`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PadMode {
    /// Fills with `cval`.
    Constant,
    /// Mirrors the image at its border, without repeating the border voxels.
    Reflect,
    /// Repeats the border voxels.
    Replicate,
    /// Continues with the opposite side of the image.
    Circular,
}

/// Implements an argument type that accepts one of a list of names, as a string or as MONAI's enum member of that
/// value.
macro_rules! named {
    ($ty:ty { $($name:literal => $value:expr),* }) => {
        impl FromValue for $ty {
            fn expected() -> String {
                ["one of", $(concat!("'", $name, "'")),*].join(" ")
            }
            fn from_value(value: &Value) -> Option<Self> {
                match value.to_string().as_str() {
                    $($name => Some($value),)*
                    _ => None,
                }
            }
        }
    };
}

named!(Blend { "constant" => Blend::Constant, "gaussian" => Blend::Gaussian });
named!(PadMode { "constant" => PadMode::Constant, "reflect" => PadMode::Reflect, "replicate" => PadMode::Replicate, "circular" => PadMode::Circular });

struct SlidingWindowInferer(SlidingWindowInfererArgs);

impl SlidingWindowInferer {
    fn new(args: SlidingWindowInfererArgs) -> Result<SlidingWindowInferer> {
        if args.sw_batch_size == 0 {
            bail!("sw_batch_size is 0, expected at least 1");
        }
        let inferer = SlidingWindowInferer(args);
        // These arguments do not depend on the image: check them once, at construction.
        inferer.windows([1; 3])?;
        three(&inferer.0.sigma_scale, "sigma_scale")?;
        Ok(inferer)
    }
}

impl Inferer for SlidingWindowInferer {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn infer(
        &self,
        x: &Tensor,
        image: &Volume,
        network: &Shared<dyn Network>,
        case: &CaseContext,
    ) -> Result<Prediction> {
        let args = &self.0;
        let grid = image.grid();
        let windows = self.windows(grid.shape)?;
        args.padding_mode.check(grid.shape, &windows)?;
        check_window(self.name(), &*network.lock(), windows.roi)?;
        let x = pad(x, &windows, args.padding_mode, args.cval)?;
        let network_device = args.sw_device.unwrap_or(case.device);
        let many = args.cpu_thresh.is_some_and(|limit| grid.shape.iter().product::<usize>() > limit);
        let source = SlidingWindows {
            x,
            importance: importance(windows.roi, args.mode, three(&args.sigma_scale, "sigma_scale")?)?,
            windows,
            batch: SlidingWindows::first_batch(args.sw_batch_size, network_device).into(),
            grid,
            path: image.header.path.clone(),
            channels: network.lock().out_channels(),
            network: network.clone(),
            network_device,
            stitch_device: args.device.unwrap_or(if many { Device::Cpu } else { network_device }),
        };
        Ok(Prediction::pending(Box::new(source), image.header.clone(), image.trace.clone()))
    }
    fn check(&self, network: &dyn Network) -> Result<()> {
        // An axis without a window size has that of the image, which is checked with each image.
        let roi = self.0.roi_size.repeat(3, "roi_size")?;
        let multiples = network.multiples();
        let window: Vec<i64> = roi
            .iter()
            .zip(&multiples)
            .map(|(size, multiple)| size.filter(|size| *size > 0).unwrap_or(*multiple))
            .collect();
        network.check_size(&window).map_err(|error| {
            error
                .context(format_args!("{}: argument `roi_size`", self.name()))
                .kind(Kind::Config)
                .arguments(&["inferer"])
        })
    }
    fn plan(&self, shape: [usize; 3], features: usize, budget_bytes: u64) -> Result<InferencePlan> {
        let windows = self.windows(shape)?;
        self.0.padding_mode.check(shape, &windows)?;
        let passes = windows.passes(features, budget_bytes / SLAB_SHARE)?;
        Ok(InferencePlan {
            window: windows.roi,
            windows: windows.count(),
            runs: passes.runs,
            strips: passes.strips.len(),
            batch: self.0.sw_batch_size,
            stitch_bytes: passes.slab_bytes,
        })
    }
}

impl SlidingWindowInferer {
    fn windows(&self, shape: [usize; 3]) -> Result<Windows> {
        let roi = self.0.roi_size.repeat(3, "roi_size")?;
        Windows::new(shape, std::array::from_fn(|axis| roi[axis].unwrap_or(0)), three(&self.0.overlap, "overlap")?)
    }
}

impl PadMode {
    /// Checks that the padding mode can pad `image` to a window: torch reflects or wraps an axis at most once.
    fn check(self, image: [usize; 3], windows: &Windows) -> Result<()> {
        let (name, limits) = match self {
            PadMode::Constant | PadMode::Replicate => return Ok(()),
            PadMode::Reflect => ("reflect", image.map(|length| length - 1)),
            PadMode::Circular => ("circular", image),
        };
        for (axis, (before, after)) in windows.pad.into_iter().enumerate() {
            if before.max(after) > limits[axis] {
                let (length, roi) = (image[axis], windows.roi[axis]);
                return Err(err!(
                    "padding_mode '{name}' cannot pad an axis of {length} voxels to the window size {roi}: it adds at most {} voxels on each side",
                    limits[axis]
                )
                .hint("set `padding_mode` to 'constant' or 'replicate', or use a smaller `roi_size`"));
            }
        }
        Ok(())
    }
}

/// Expands an argument to one value per axis.
fn three(values: &OneOrMany<f64>, name: &str) -> Result<[f64; 3]> {
    values.repeat(3, name).map(|values| [values[0], values[1], values[2]])
}

/// Pads x [1,C,X,Y,Z] to at least one window.
fn pad(x: &Tensor, windows: &Windows, mode: PadMode, value: f64) -> Result<Tensor> {
    let [x_pad, y_pad, z_pad] = windows.pad.map(|(before, after)| (before as i64, after as i64));
    let pad = [z_pad.0, z_pad.1, y_pad.0, y_pad.1, x_pad.0, x_pad.1];
    if pad == [0; 6] {
        return Ok(x.shallow_clone());
    }
    let (mode, value) = match mode {
        PadMode::Constant => ("constant", Some(value)),
        PadMode::Reflect => ("reflect", None),
        PadMode::Replicate => ("replicate", None),
        PadMode::Circular => ("circular", None),
    };
    Ok(x.f_pad(pad, mode, value)?)
}
