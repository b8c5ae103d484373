//! SlidingWindowInferer against MONAI's, with a network that is a formula.
//!
//! `tests/data/sliding_window.pt` was made with MONAI 1.6.1 and torch 2.11:
//!
//! ```python
//! def ramp(w):
//!     i, j, k = (torch.linspace(-1, 1, n) for n in w.shape[2:])
//!     t = (i[:, None, None] + 2 * j[:, None] - 3 * k)[None, None]
//!     return torch.cat([w, w * w + 0.1 * t, 0.5 * t - w], 1)
//!
//! out = {}
//! for name, shape in {"long": (21, 10, 13), "small": (5, 6, 7), "exact": (8, 8, 8), "deep": (9, 8, 30)}.items():
//!     torch.manual_seed(len(name))
//!     x = torch.randn(1, 1, *shape)
//!     out[f"{name}.x"] = x
//!     for mode in ("constant", "gaussian"):
//!         for padding in ("replicate", "constant"):
//!             out[f"{name}.{mode}.{padding}"] = SlidingWindowInferer((8, 8, 8), 1, 0.25, mode, padding_mode=padding)(x, ramp)
//! torch.save(out, "tests/data/sliding_window.pt")
//! ```

use crate::common::{build, golden, volume_of};
use parking_lot::Mutex;
use segbundle::component::Value;
use segbundle::contracts::{CaseContext, InfererHandle, Linear, Mode, Network, NetworkState, Shared};
use segbundle::error::Result;
use segbundle::image::{Affine, Applied, Grid, Inverse, Spatial, Voxels};
use segbundle::prediction::{PredictionState, VoxelOp};
use segbundle::torch::Device;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tch::{Kind, Tensor};

/// The formula above. With `head`, as features (w, w², t) and a linear last layer, which gives the same values.
struct Ramp {
    head: bool,
    state: NetworkState,
    /// Number of windows that it has memory for.
    fits: usize,
    /// Number of calls that find no memory at all.
    refuses: AtomicUsize,
}

impl Ramp {
    fn shared(head: bool) -> Shared<dyn Network> {
        Ramp::limited(head, usize::MAX, 0)
    }
    fn limited(head: bool, fits: usize, refuses: usize) -> Shared<dyn Network> {
        let state = NetworkState::default();
        Arc::new(Mutex::new(Ramp { head, state, fits, refuses: AtomicUsize::new(refuses) }))
    }
    fn parts(x: &Tensor) -> [Tensor; 3] {
        let size = x.size();
        let line = |axis: usize| {
            let mut shape = [1, 1, 1, 1, 1];
            shape[axis] = size[axis];
            Tensor::linspace(-1.0, 1.0, size[axis], (Kind::Float, tch::Device::Cpu)).view(shape)
        };
        let t = line(2) + line(3) * 2.0 - line(4) * 3.0;
        [x.shallow_clone(), x * x, t.expand_as(x)]
    }
}

impl Network for Ramp {
    fn name(&self) -> &str {
        "Ramp"
    }
    fn in_channels(&self) -> usize {
        1
    }
    fn out_channels(&self) -> usize {
        3
    }
    fn feature_channels(&self) -> usize {
        3
    }
    fn forward(&self, x: &Tensor, _: Mode) -> Result<Tensor> {
        let [w, square, t] = Ramp::parts(x);
        Ok(Tensor::cat(&[&w, &(square + &t * 0.1), &(t * 0.5 - &w)], 1))
    }
    fn features(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let refused = self.refuses.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok();
        if refused || x.size()[0] as usize > self.fits {
            // libtorch's error, as tch passes it on: a panic of its functions that return no result.
            panic!("Torch(\"CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8 GiB\")");
        }
        if self.head { Ok(Tensor::cat(&Ramp::parts(x), 1)) } else { self.forward(x, mode) }
    }
    fn head(&self) -> Option<Linear> {
        let weight = Tensor::from_slice(&[1.0f32, 0.0, 0.0, 0.0, 1.0, 0.1, -1.0, 0.0, 0.5]).view([3, 3]);
        self.head.then(|| Linear { weight, bias: Some(Tensor::zeros([3], (Kind::Float, tch::Device::Cpu))) })
    }
    fn state(&self) -> &NetworkState {
        &self.state
    }
    fn load(&mut self, _: &[(String, Tensor)]) -> Result<()> {
        Ok(())
    }
    fn to(&mut self, _: Device) -> Result<()> {
        Ok(())
    }
    fn device(&self) -> Device {
        Device::Cpu
    }
}

fn inferer(mode: &str, padding: &str, batch: i64) -> Arc<InfererHandle> {
    windows_of(8, mode, padding, batch)
}

fn windows_of(roi: i64, mode: &str, padding: &str, batch: i64) -> Arc<InfererHandle> {
    let args = [
        ("roi_size", Value::from([roi, roi, roi])),
        ("mode", mode.into()),
        ("padding_mode", padding.into()),
        ("sw_batch_size", Value::Int(batch)),
    ];
    build("SlidingWindowInferer", &args).unwrap().downcast().unwrap()
}

/// Contexts that blend by the kernels for the CPU, and as a GPU does.
fn both_ways() -> [CaseContext; 2] {
    [false, true].map(|blends_as_gpu| CaseContext { blends_as_gpu, ..CaseContext::quiet() })
}

/// f32 sums in another order: a few units in the last place of values below 20.
const TOLERANCE: f64 = 1e-5;

#[test]
fn blended_values_equal_those_of_monai() {
    let golden = golden("sliding_window.pt");
    let mut compared = 0;
    for name in ["long", "small", "exact", "deep"] {
        let x = &golden[&format!("{name}.x")];
        for mode in ["constant", "gaussian"] {
            for padding in ["replicate", "constant"] {
                let expected = golden[&format!("{name}.{mode}.{padding}")].squeeze_dim(0);
                for (head, batch) in [(false, 1), (false, 3), (true, 1), (true, 4)] {
                    for case in both_ways() {
                        let network = Ramp::shared(head);
                        let prediction =
                            inferer(mode, padding, batch).0.infer(x, &volume_of(x), &network, &case).unwrap();
                        let (values, grid) = prediction.dense(&case).unwrap();
                        assert_eq!(grid.shape.map(|n| n as i64), x.size()[2..]);
                        let worst = (values - &expected).abs().max().double_value(&[]);
                        assert!(worst < TOLERANCE, "{name} {mode} {padding} head {head} batch {batch}: {worst}");
                        compared += 1;
                    }
                }
            }
        }
    }
    assert_eq!(compared, 128);
}

#[test]
fn argmax_without_the_values_equals_argmax_of_the_values() {
    let golden = golden("sliding_window.pt");
    for name in ["long", "small", "deep"] {
        let x = &golden[&format!("{name}.x")];
        let expected =
            golden[&format!("{name}.gaussian.replicate")].squeeze_dim(0).argmax(0, false).to_kind(Kind::Uint8);
        let expected = Vec::<u8>::try_from(expected.reshape([-1])).unwrap();
        for (head, case) in [false, true].into_iter().flat_map(|head| both_ways().map(|case| (head, case))) {
            let network = Ramp::shared(head);
            let infer = || inferer("gaussian", "replicate", 2).0.infer(x, &volume_of(x), &network, &case).unwrap();
            // Softmax does not change the largest channel; sigmoid, here far from saturation, neither.
            for ops in [&[][..], &[VoxelOp::Softmax], &[VoxelOp::Sigmoid]] {
                let prediction = ops.iter().fold(infer(), |prediction, op| prediction.activate(*op, &case).unwrap());
                match prediction.argmax(&case).unwrap().state {
                    PredictionState::Labels { map: Voxels::U8(map), .. } => {
                        assert_eq!(&*map, expected.as_slice(), "{name} head {head} {ops:?}")
                    }
                    _ => panic!("expected labels in u8"),
                }
            }
        }
    }
}

#[test]
fn less_memory_means_strips_and_the_same_labels() {
    let golden = golden("sliding_window.pt");
    for name in ["long", "small", "deep"] {
        let x = &golden[&format!("{name}.x")];
        for head in [false, true] {
            let dense = |budget_bytes| {
                let case = CaseContext { budget_bytes, ..CaseContext::quiet() };
                let prediction =
                    inferer("gaussian", "replicate", 1).0.infer(x, &volume_of(x), &Ramp::shared(head), &case).unwrap();
                prediction.argmax(&case).map(|prediction| match prediction.state {
                    PredictionState::Labels { map: Voxels::U8(map), .. } => map.to_vec(),
                    _ => panic!("expected labels in u8"),
                })
            };
            let expected = dense(u64::MAX).unwrap();
            // Slabs from larger than needed down to a few voxels across; each is refused or gives the same labels.
            let mut given = 0;
            for budget in [400_000, 200_000, 100_000, 70_000, 50_000, 20_000] {
                match dense(budget) {
                    Ok(labels) => {
                        assert_eq!(labels, expected, "{name} head {head} budget {budget}");
                        given += 1;
                    }
                    Err(error) => assert!(error.message().contains("blending windows over"), "{error}"),
                }
            }
            assert!(given > 1, "{name}: {given}");
        }
    }
}

#[test]
fn memory_that_runs_out_means_smaller_batches_then_blending_on_the_cpu_then_an_error() {
    let golden = golden("sliding_window.pt");
    let x = &golden["deep.x"];
    let labels = |network: &Shared<dyn Network>, case: &CaseContext| {
        let prediction = inferer("gaussian", "replicate", 4).0.infer(x, &volume_of(x), network, case).unwrap();
        prediction.argmax(case).map(|prediction| match prediction.state {
            PredictionState::Labels { map: Voxels::U8(map), .. } => map.to_vec(),
            _ => panic!("expected labels in u8"),
        })
    };
    let [host, gpu] = both_ways();
    let expected = labels(&Ramp::shared(true), &host).unwrap();
    for case in [&host, &gpu] {
        for fits in [1, 2, 3] {
            assert_eq!(labels(&Ramp::limited(true, fits, 0), case).unwrap(), expected, "{fits} windows fit");
        }
        let error = labels(&Ramp::limited(true, 0, 0), case).unwrap_err();
        let message = "a window of [8, 8, 8] voxels does not fit into the memory of cpu: out of memory: CUDA out of memory. Tried to allocate 2.00 GiB";
        assert!(error.message().contains(message), "{error}");
        assert_eq!(error.get_kind(), segbundle::error::Kind::Memory);
    }
    // Two windows find no memory, then one; then the blending leaves the GPU, so that there is enough.
    assert_eq!(labels(&Ramp::limited(true, 4, 2), &gpu).unwrap(), expected);
    assert!(labels(&Ramp::limited(true, 4, 2), &host).is_err());
}

#[test]
fn threshold_gives_one_mask_per_channel() {
    let golden = golden("sliding_window.pt");
    let x = &golden["small.x"];
    let prediction = inferer("constant", "constant", 1)
        .0
        .infer(x, &volume_of(x), &Ramp::shared(true), &CaseContext::quiet())
        .unwrap();
    let volume = prediction
        .activate(VoxelOp::Sigmoid, &CaseContext::quiet())
        .unwrap()
        .threshold(0.5, &CaseContext::quiet())
        .unwrap()
        .into_volume(&CaseContext::quiet())
        .unwrap();
    assert_eq!(volume.layout.shape, [3, 5, 6, 7]);
    // sigmoid(v) >= 0.5 where v >= 0
    let expected = golden["small.constant.constant"].ge(0.0).to_kind(Kind::Uint8).reshape([-1]);
    let Voxels::U8(masks) = volume.voxels else { panic!("expected masks in u8") };
    assert_eq!(&*masks, Vec::<u8>::try_from(expected).unwrap().as_slice());
}

#[test]
fn values_that_do_not_fit_the_memory_are_an_error_that_says_how_many_bytes() {
    let golden = golden("sliding_window.pt");
    let x = &golden["long.x"];
    let prediction = inferer("constant", "constant", 1)
        .0
        .infer(x, &volume_of(x), &Ramp::shared(true), &CaseContext::quiet())
        .unwrap();
    let case = CaseContext { budget_bytes: 1000, ..CaseContext::quiet() };
    let error = prediction.dense(&case).err().unwrap();
    assert!(error.message().contains("all 3 channels on 21×10×13"), "{error}");
}

#[test]
fn a_label_map_that_does_not_fit_the_memory_is_an_error_before_it_is_made() {
    let golden = golden("sliding_window.pt");
    let x = &golden["long.x"];
    let prediction = inferer("constant", "constant", 1)
        .0
        .infer(x, &volume_of(x), &Ramp::shared(true), &CaseContext::quiet())
        .unwrap();
    let before = Grid { shape: [2000, 1000, 1000], affine: Affine::IDENTITY };
    let crop = Applied { by: "Cropd", before, after: prediction.grid(), what: Spatial::CropPad { start: [0; 3] } };
    let inverse = Arc::new(Inverse::new(&[Arc::new(crop)]).unwrap());
    let case = CaseContext { budget_bytes: 1 << 30, ..CaseContext::quiet() };
    let labels = prediction.argmax(&case).unwrap();
    let error = labels.invert(&inverse, true, &case).err().unwrap();
    assert!(
        error.message().contains("the label map on 2000×1000×1000 needs 3.7 GiB of memory, 1.0 GiB may be used"),
        "{error}"
    );
    assert!(error.get_hint().unwrap().contains("--max-memory, or use a larger pixdim"), "{error}");
}

#[test]
fn what_no_image_fits_is_an_error_when_the_inferer_is_built() {
    let (roi, short) = (("roi_size", Value::Int(8)), || Value::list([Value::Int(8), Value::Int(8)]));
    for (args, message) in [
        (vec![roi.clone(), ("overlap", Value::Float(1.0))], "overlap is 1"),
        (vec![roi.clone(), ("sigma_scale", short())], "`sigma_scale` has 2 values"),
        (vec![("roi_size", short())], "`roi_size` has 2 values"),
    ] {
        let error = build("SlidingWindowInferer", &args).unwrap_err();
        assert!(error.message().contains(message), "{error}");
    }
}

#[test]
fn padding_that_reflects_more_than_the_image_is_an_error_with_both_sizes() {
    let x = Tensor::zeros([1, 1, 9, 40, 40], (Kind::Float, tch::Device::Cpu));
    let infer = |padding: &str| {
        windows_of(32, "constant", padding, 1).0.infer(&x, &volume_of(&x), &Ramp::shared(true), &CaseContext::quiet())
    };
    let error = infer("reflect").err().unwrap();
    let expected =
        "padding_mode 'reflect' cannot pad an axis of 9 voxels to the window size 32: it adds at most 8 voxels";
    assert!(error.message().contains(expected), "{error}");
    assert!(error.get_hint().unwrap().contains("'constant' or 'replicate'"), "{error}");
    assert!(infer("circular").err().unwrap().message().contains("it adds at most 9"));
    assert!(infer("replicate").is_ok() && infer("constant").is_ok());
}
