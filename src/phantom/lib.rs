//! Sample data: synthetic CT phantoms with labels of all 104 structures, in the folder layout that the whole-body
//! bundle expects. They are not patient data and cannot replace it.
//!
//! An average body is described by solids, assembled in `anatomy`. A `person` is a smooth deformation of it with
//! individual build, contrast phase and organ sizes; a `view` determines the field of view and the voxel grid.
//! `render` computes HU and labels, `scanner` adds noise and blur.
//!
//! Organ sizes are those of adults: ICRP Publication 89 (2002), "Basic anatomical and physiological data for use in
//! radiological protection", table 2.8, gives masses (mean of man and woman): liver 1600 g, brain 1375 g, heart with
//! blood 730 g, stomach with contents 385 g, kidneys 293 g, bladder with urine 245 g, spleen 140 g, pancreas 130 g,
//! both adrenal glands 13.5 g; the lungs hold 3.0 l at rest and 6.0 l when full. The pancreas follows CT volumetry
//! instead (70 to 90 ml). Not modeled: disease, motion, metal, and most structures without a class (nerves, lymph
//! nodes, small vessels, genitals).
//!
//! The same options give the same voxels on every machine and for any number of threads: voxels are computed
//! independently, with IEEE 754 arithmetic and the sine of `libm` only.

mod abdomen;
mod anatomy;
mod bowel;
mod chest_wall;
pub mod classes;
mod flesh;
mod frame;
mod geometry;
mod head;
mod heart;
mod limbs;
mod lungs;
mod muscles;
mod noise;
mod person;
mod random;
mod render;
mod scanner;
mod solid;
mod spine;
mod structure;
mod tissue;
mod vessels;
mod view;

use person::Person;
use random::Stream;
use rayon::prelude::*;
use segbundle_base::error::{Kind, Result};
use segbundle_base::{bail, err, error};
use segbundle_formats::nifti;
use segbundle_image::{DType, Grid, Layout, Voxels};
use std::path::{Path, PathBuf};

/// Number of the first case, s0037.
const FIRST_ID: usize = 37;
/// Text of the `descrip` field in the header of every file.
const DESCRIPTION: &str = "segbundle phantom: synthetic, not patient data";
/// Limit of the number of voxels of all cases that are computed in parallel.
const VOXELS_AT_A_TIME: usize = 200_000_000;

/// Size and content of a data set.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Number of training cases (imagesTr, labelsTr).
    pub training: usize,
    /// Number of test cases (imagesTs, labelsTs).
    pub test: usize,
    /// Voxels along x, y, z of a typical case; larger views have more along z.
    pub size: [usize; 3],
    /// Voxel spacing of a typical case, mm.
    pub spacing_mm: f64,
    /// Seed of everything random; the same seed gives the same voxels.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options { training: 20, test: 5, size: [128, 104, 200], spacing_mm: 3.0, seed: 0 }
    }
}

/// One case in memory; x varies fastest.
pub struct Case {
    /// Size in voxels, and affine.
    pub grid: Grid,
    /// HU
    pub image: Vec<i16>,
    /// Class ids of [`crate::classes`].
    pub labels: Vec<u8>,
}

/// Returns the file name of case `index`: s0037.nii.gz for 0. Training cases come first.
pub fn file_name(index: usize) -> String {
    format!("s{:04}.nii.gz", FIRST_ID + index)
}

/// Writes the data set to imagesTr, labelsTr, imagesTs and labelsTs in `output_dir`, which is created if missing.
/// Returns the paths of the images, training cases first.
///
/// # Errors
/// Options are out of range, or a file cannot be written.
pub fn write_set(output_dir: impl AsRef<Path>, options: &Options) -> Result<Vec<PathBuf>> {
    check(options).map_err(|error| error.kind(Kind::Config))?;
    let output_dir = output_dir.as_ref();
    let write = |index: usize| write_case(output_dir, index, options);
    let cases = options.training + options.test;
    let voxels = options.size.iter().product::<usize>();
    match voxels.saturating_mul(rayon::current_num_threads()) < VOXELS_AT_A_TIME {
        true => (0..cases).into_par_iter().map(write).collect(),
        false => (0..cases).map(write).collect(),
    }
}

fn write_case(output_dir: &Path, index: usize, options: &Options) -> Result<PathBuf> {
    let Case { grid, image, labels } = case(index, options)?;
    let training = options.training;
    let [x, y, z] = grid.shape;
    let options = nifti::Options { description: DESCRIPTION, ..nifti::Options::default() };
    let layout = Layout::fortran([1, x, y, z]);
    let [images, folder_of_labels] = if index < training { ["imagesTr", "labelsTr"] } else { ["imagesTs", "labelsTs"] };
    let path = output_dir.join(images).join(file_name(index));
    let labels_path = output_dir.join(folder_of_labels).join(file_name(index));
    nifti::write(labels_path, &Voxels::U8(labels.into()), &layout, &grid.affine, DType::U8, options)?;
    nifti::write(&path, &Voxels::I16(image.into()), &layout, &grid.affine, DType::I16, options)?;
    Ok(path)
}

fn check(options: &Options) -> Result<()> {
    let Options { training, test, size, spacing_mm, .. } = options;
    if training.saturating_add(*test) > 9000 {
        bail!("expected at most 9000 cases, found {training} + {test}");
    }
    if size.iter().any(|n| !(8..=640).contains(n)) {
        bail!("expected a size of 8 to 640 voxels along each axis, found {size:?}");
    }
    if !(0.4..=20.0).contains(spacing_mm) {
        bail!("expected a spacing of 0.4 to 20 mm, found {spacing_mm}");
    }
    Ok(())
}

/// Computes case `index`.
///
/// # Errors
/// The anatomy uses an unknown class name.
pub fn case(index: usize, options: &Options) -> Result<Case> {
    let view = view::of_case(index);
    let person = Person::new(options.seed, index as u64, view.arms_raised);
    let mut stream = Stream::new(&[options.seed, index as u64, 2]);
    let grid = view::grid(view, options.size, options.spacing_mm, person.scale.map(f64::from), &mut stream);
    let structures = anatomy::structures(&person)?;
    let painted = render::Scene::new(&person, &structures).paint(&grid);
    Ok(Case { grid, image: scanner::scan(painted.hu, grid.shape, &person), labels: painted.labels })
}
