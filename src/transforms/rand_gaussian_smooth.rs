//! RandGaussianSmoothd: smooth with a Gaussian of random width with a given probability (monai/transforms/intensity,
//! MONAI 1.6.1).

use super::gaussian_smooth::smooth;
use super::random::{Chance, seeded_by_chance};
use super::support::{KeyList, in_f32};
use crate::bail;
use crate::component::Keys;
use crate::contracts::{Sample, Step, Transform, TransformContext};
use crate::error::Result;

component! {
    /// Randomly smooth images with a Gaussian filter.
    pub static COMPONENT = dictionary "RandGaussianSmooth" in "monai.transforms" / "intensity.dictionary";

    pub struct RandGaussianSmoothArgs {
        /// Keys of the images to smooth, all with the same filter.
        keys: Keys,
        /// Range of the standard deviation along x in voxels.
        sigma_x: Vec<f64> = [0.25, 1.5],
        /// Range of the standard deviation along y in voxels.
        sigma_y: Vec<f64> = [0.25, 1.5],
        /// Range of the standard deviation along z in voxels.
        sigma_z: Vec<f64> = [0.25, 1.5],
        /// Approximation of the Gaussian kernel: "erf" (integrated over voxels), "sampled" or "scalespace" (Bessel
        /// functions).
        approx: String = "erf",
        /// Probability of applying the transform.
        prob: f64 = 0.1,
        /// Skip missing keys instead of raising an error.
        allow_missing_keys: bool = false,
    }

    build: RandGaussianSmooth::new,
}

struct RandGaussianSmooth {
    keys: KeyList,
    sigmas: [[f64; 2]; 3],
    approx: String,
    chance: Chance,
}

impl RandGaussianSmooth {
    fn new(args: RandGaussianSmoothArgs) -> Result<Self> {
        let mut sigmas = [[0.0; 2]; 3];
        for ((name, given), sigma) in
            ["sigma_x", "sigma_y", "sigma_z"].iter().zip([args.sigma_x, args.sigma_y, args.sigma_z]).zip(&mut sigmas)
        {
            let [low, high] = given[..] else { bail!("`{name}` has {} values, expected a pair", given.len()) };
            *sigma = [low, high];
        }
        Ok(RandGaussianSmooth {
            keys: KeyList::new(args.keys, args.allow_missing_keys),
            sigmas,
            approx: args.approx,
            chance: Chance::new(args.prob),
        })
    }
}

impl Transform for RandGaussianSmooth {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn image_keys(&self) -> &[std::sync::Arc<str>] {
        &self.keys.keys
    }
    fn plan(&self, sample: Sample) -> Result<Step<'_>> {
        Ok(Step::at_most(in_f32(&self.keys, sample, None)?))
    }
    fn apply(&self, sample: Sample, cx: &mut TransformContext) -> Result<Vec<Sample>> {
        let happens = self.chance.happens(cx.rng);
        if !happens {
            self.keys.present(&sample)?;
            return Ok(vec![sample]);
        }
        let random = self.chance.inner(cx.rng);
        let sigma = self.sigmas.map(|[low, high]| random.uniform(low, high));
        self.keys.images(sample, |volume, _| smooth(volume, sigma, &self.approx))
    }
    seeded_by_chance!();
}
