//! GaussianSmoothd: convolve with a Gaussian along each axis, with zero padding.
//!
//! Source: monai/transforms/intensity/array.py, monai/networks/layers/simplelayers.py (`GaussianFilter`) and
//! convutils.py (`gaussian_1d`) of MONAI 1.6.1.

use super::support::{KeyList, in_f32, per_axis};
use crate::bail;
use crate::component::{Keys, OneOrMany};
use crate::contracts::{Sample, Step, Transform, TransformContext};
use crate::error::Result;
use crate::image::{Element, Volume, Voxels, filled};
use rayon::prelude::*;

component! {
    /// Smooth images with a Gaussian filter.
    pub static COMPONENT = dictionary "GaussianSmooth" in "monai.transforms" / "intensity.dictionary";

    pub struct GaussianSmoothArgs {
        /// Keys of the images to smooth.
        keys: Keys,
        /// Standard deviation in voxels, one value or one per axis.
        sigma: OneOrMany<f64>,
        /// Approximation of the Gaussian kernel: "erf" (integrated over voxels), "sampled" or "scalespace" (Bessel
        /// functions).
        approx: String = "erf",
        /// Skip missing keys instead of raising an error.
        allow_missing_keys: bool = false,
    }

    build: GaussianSmooth::new,
}

struct GaussianSmooth {
    keys: KeyList,
    /// One kernel for each axis X, Y, Z.
    kernels: [Vec<f32>; 3],
}

/// Smooths with a Gaussian of standard deviation `sigma`, in voxels, along each axis; `approx` as in
/// [`GaussianSmoothArgs`].
pub fn smooth(volume: Volume, sigma: [f64; 3], approx: &str) -> Result<Volume> {
    GaussianSmooth { keys: KeyList { keys: vec![], allow_missing: true }, kernels: kernels(sigma, approx)? }
        .smoothed(volume)
}

fn kernels(sigma: [f64; 3], approx: &str) -> Result<[Vec<f32>; 3]> {
    let mut kernels: [Vec<f32>; 3] = Default::default();
    for (kernel, sigma) in kernels.iter_mut().zip(sigma) {
        *kernel = gaussian(sigma as f32, approx)?;
    }
    Ok(kernels)
}

impl GaussianSmooth {
    fn new(args: GaussianSmoothArgs) -> Result<Self> {
        let kernels = kernels(per_axis(&args.sigma, "sigma")?, &args.approx)?;
        Ok(GaussianSmooth { keys: KeyList::new(args.keys, args.allow_missing_keys), kernels })
    }
    fn smoothed(&self, volume: Volume) -> Result<Volume> {
        let mut volume = volume.into_f32()?.contiguous()?;
        let [_, nx, ny, nz] = volume.layout.shape;
        if let Voxels::F32(source) = &volume.voxels {
            volume.voxels = f32::wrap(filled(source.len(), |out| {
                out.par_chunks_exact_mut((ny * nz).max(1)).enumerate().for_each_init(
                    Vec::new,
                    |scratch: &mut Vec<f32>, (at, plane)| {
                        let (channel, x) = (at / nx, at % nx);
                        let neighbor = |i: usize| &source[(channel * nx + i) * ny * nz..][..ny * nz];
                        along(&self.kernels[0], x, nx, plane, neighbor);
                        scratch.clear();
                        scratch.extend_from_slice(plane);
                        for (y, row) in plane.chunks_exact_mut(nz).enumerate() {
                            along(&self.kernels[1], y, ny, row, |i| &scratch[i * nz..][..nz]);
                        }
                        for row in plane.chunks_exact_mut(nz) {
                            scratch.clear();
                            scratch.extend_from_slice(row);
                            for (z, out) in row.iter_mut().enumerate() {
                                along(&self.kernels[2], z, nz, std::slice::from_mut(out), |i| &scratch[i..=i]);
                            }
                        }
                    },
                );
            })?);
        }
        Ok(volume)
    }
}

/// `out = Σ_k kernel[k] · line(at + k - tail)`, where lines outside the image are zero.
fn along<'a>(kernel: &[f32], at: usize, n: usize, out: &mut [f32], line: impl Fn(usize) -> &'a [f32]) {
    let tail = kernel.len() / 2;
    out.fill(0.0);
    for (k, &weight) in kernel.iter().enumerate() {
        if let Some(i) = (at + k).checked_sub(tail).filter(|&i| i < n) {
            for (out, x) in out.iter_mut().zip(line(i)) {
                *out += weight * x;
            }
        }
    }
}

/// MONAI's `gaussian_1d` truncated at 4 sigma, in f32 as in MONAI.
///
/// # Errors
/// Unknown `approx`; a negative, very large or non-finite `sigma`.
fn gaussian(sigma: f32, approx: &str) -> Result<Vec<f32>> {
    if !(0.0..=1e4).contains(&sigma) {
        bail!("`sigma` is {sigma}, expected a size in voxels from 0 to 10000");
    }
    let tail = ((f64::from(sigma) * 4.0).max(0.5) + 0.5) as i32;
    let places = (-tail..=tail).map(|x| x as f32);
    Ok(match approx.to_ascii_lowercase().as_str() {
        "erf" => {
            let t = std::f32::consts::FRAC_1_SQRT_2 / sigma;
            places.map(|x| (0.5 * (libm::erff(t * (x + 0.5)) - libm::erff(t * (x - 0.5)))).max(0.0)).collect()
        }
        "sampled" => {
            let scale = 2.506_628_2 * sigma;
            places.map(|x| (-0.5 / (sigma * sigma) * x * x).exp() / scale).collect()
        }
        "scalespace" => {
            let variance = sigma * sigma;
            let half: Vec<f32> = (0..=tail).map(|k| bessel(k, variance) * (-variance).exp()).collect();
            half.iter().skip(1).rev().chain(&half).copied().collect()
        }
        _ => bail!("`approx` is \"{approx}\", expected \"erf\", \"sampled\" or \"scalespace\""),
    })
}

/// Modified Bessel function I_n(x) for x ≥ 0, by Abramowitz and Stegun 9.8.1-9.8.4 and downward recurrence.
fn bessel(n: i32, x: f32) -> f32 {
    let polynomial = |coefficients: &[f32], y: f32| coefficients.iter().fold(0.0, |sum, c| sum * y + c);
    match n {
        0 if x < 3.75 => {
            polynomial(&[0.0045813, 0.0360768, 0.2659732, 1.2067492, 3.0899424, 3.5156229, 1.0], x * x / 14.0625)
        }
        0 => {
            let c = [
                0.00392377,
                -0.01647633,
                0.02635537,
                -0.02057706,
                0.00916281,
                -0.00157565,
                0.00225319,
                0.01328592,
                0.398_942_3,
            ];
            polynomial(&c, 3.75 / x) * x.exp() / x.sqrt()
        }
        1 if x < 3.75 => {
            x * polynomial(
                &[0.00032411, 0.00301532, 0.02658733, 0.15084934, 0.51498869, 0.87890594, 0.5],
                x * x / 14.0625,
            )
        }
        1 => {
            let c = [
                -0.00420059,
                0.01787654,
                -0.02895312,
                0.02282967,
                -0.01031555,
                0.00163801,
                -0.00362018,
                -0.03988024,
                0.398_942_3,
            ];
            polynomial(&c, 3.75 / x) * x.exp() / x.sqrt()
        }
        _ if x == 0.0 => 0.0,
        _ => {
            let twice = 2.0 / x;
            let (mut answer, mut previous, mut current) = (0.0f32, 0.0f32, 1.0f32);
            let start = 2 * (n + (40.0 * f64::from(n)).sqrt().floor() as i32);
            for j in (1..=start).rev() {
                let next = previous + j as f32 * twice * current;
                previous = current;
                current = next;
                if current.abs() > 1e10 {
                    answer *= 1e-10;
                    current *= 1e-10;
                    previous *= 1e-10;
                }
                if j == n {
                    answer = previous;
                }
            }
            answer * bessel(0, x) / current
        }
    }
}

impl Transform for GaussianSmooth {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn image_keys(&self) -> &[std::sync::Arc<str>] {
        &self.keys.keys
    }
    fn plan(&self, sample: Sample) -> Result<Step<'_>> {
        Ok(Step::exact(in_f32(&self.keys, sample, None)?))
    }
    fn apply(&self, sample: Sample, _cx: &mut TransformContext) -> Result<Vec<Sample>> {
        self.keys.images(sample, |volume, _| self.smoothed(volume))
    }
}
