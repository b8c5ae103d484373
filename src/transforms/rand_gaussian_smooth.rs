//! RandGaussianSmoothd: smooth with a Gaussian of random width, by chance (monai/transforms/intensity, MONAI 1.6.1).

use super::gaussian_smooth::smooth;
use super::random::{Chance, seeded_by_chance};
use super::support::KeyList;
use crate::bail;
use crate::component::Keys;
use crate::contracts::{Sample, Transform, TransformContext};
use crate::error::Result;

component! {
    /// Smooth an image with a Gaussian of random width, by chance.
    pub static COMPONENT = dictionary "RandGaussianSmooth" in "monai.transforms" / "intensity.dictionary";

    pub struct RandGaussianSmoothArgs {
        /// Keys of the images to smooth, all alike.
        keys: Keys,
        /// Range of the standard deviation along x, in voxels.
        sigma_x: Vec<f64> = [0.25, 1.5],
        /// Along y.
        sigma_y: Vec<f64> = [0.25, 1.5],
        /// Along z.
        sigma_z: Vec<f64> = [0.25, 1.5],
        /// How the kernel is made: "erf" (integrated over voxels), "sampled", or "scalespace" (Bessel functions).
        approx: String = "erf",
        /// The chance.
        prob: f64 = 0.1,
        /// Skip keys that a sample does not have.
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
        "RandGaussianSmoothd"
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
