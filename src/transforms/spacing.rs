//! Spacingd: resample to a voxel spacing.
//!
//! Source: monai/transforms/spatial/dictionary.py and array.py of MONAI 1.6.1. The geometry is in
//! [`Zoom`](crate::image::Zoom) and [`Sampling`](crate::image::Sampling).

use super::support::{DTypeArg, KeyList, ModeArg, PaddingArg, take_image};
use crate::component::{Accepted, Keys, OneOrMany};
use crate::contracts::{
    CaseContext, Certainty, Item, Sample, Step, Transform, TransformContext, VoxelAccess, applied_to_headers,
};
use crate::error::Result;
use crate::formats::{nifti, reader};
use crate::image::{
    Affine, Applied, DType, Grid, Interpolation, Layout, Padding, Sampler, Sampling, Spatial, StreamingResampler,
    Volume, Voxels, Zoom, resample,
};
use crate::{bail, err};
use std::cell::Cell;
use std::sync::Arc;

component! {
    /// Resample images to a voxel spacing in mm.
    pub static COMPONENT = dictionary "Spacing" in "monai.transforms" / "spatial.dictionary";

    pub struct SpacingArgs {
        /// Keys of the images to resample.
        keys: Keys,
        /// Target voxel spacing in mm, one value or one per axis; a non-positive value keeps the image's spacing. A
        /// shorter list repeats its last value.
        pixdim: OneOrMany<f64>,
        /// Resample to a diagonal affine; the image's orientation and shear are not kept.
        diagonal: bool = false,
        /// Interpolation mode, one or one per key: "bilinear" (trilinear in 3D) or "nearest".
        mode: OneOrMany<ModeArg> = "bilinear",
        /// Padding mode outside the image, one or one per key: "border", "zeros" or "reflection".
        padding_mode: OneOrMany<PaddingArg> = "border",
        /// Align the centers of the corner voxels instead of the image borders, one value or one per key.
        align_corners: OneOrMany<bool> = false,
        /// Data type of the computation, one or one per key: any float type. Coordinates are always float64; the output
        /// is float32.
        dtype: OneOrMany<Option<DTypeArg>> = "float64",
        /// Scale the full extent of the image including half voxels at the borders, one value or one per key; requires
        /// align_corners.
        scale_extent: OneOrMany<bool> = false,
        /// Recompute the affine from the output shape, as MONAI does.
        recompute_affine: bool = false,
        /// Minimum spacing in mm, one value or one per axis: images between min_pixdim and max_pixdim keep their
        /// spacing.
        min_pixdim: OneOrMany<Option<f64>> = (),
        /// Maximum spacing in mm, see min_pixdim.
        max_pixdim: OneOrMany<Option<f64>> = (),
        /// Give all images that had the same shape and spacing the output shape of the first key.
        ensure_same_shape: bool = true,
        /// Skip missing keys instead of raising an error.
        allow_missing_keys: bool = false,
        /// No effect: transforms are never lazy.
        lazy: Accepted = false,
    }

    differs: [
        "Coordinates are float64 whatever `dtype` is; with dtype float32 MONAI's values differ in the last digits.",
        "Spline interpolation (an integer `mode`) is an error.",
        "Nearest-neighbor interpolation keeps the stored data type; the values are the same.",
    ],
    build: Spacing::new,
}

struct Spacing {
    keys: KeyList,
    zoom: Zoom,
    recompute_affine: bool,
    ensure_same_shape: bool,
    per_key: Vec<PerKey>,
}

#[derive(Clone, Copy)]
struct PerKey {
    interpolation: Interpolation,
    padding: Padding,
    align_corners: bool,
    scale_extent: bool,
}

impl Spacing {
    fn new(args: SpacingArgs) -> Result<Self> {
        let keys = KeyList::new(args.keys, args.allow_missing_keys);
        let n = keys.len();
        let pixdim = match args.pixdim {
            OneOrMany::One(mm) => vec![mm],
            OneOrMany::Many(mm) => mm,
        };
        let Some(&last) = pixdim.last() else { bail!("`pixdim` is empty") };
        if pixdim.iter().any(|mm| !mm.is_finite()) {
            bail!("`pixdim` {pixdim:?} is not finite");
        }
        let [min_mm, max_mm] = [args.min_pixdim, args.max_pixdim].map(|bounds| {
            let bounds = match bounds {
                OneOrMany::One(mm) => vec![mm],
                OneOrMany::Many(mm) => mm,
            };
            std::array::from_fn(|axis| bounds.get(axis).copied().flatten().unwrap_or(f64::NAN))
        });
        if let Some(axis) =
            (0..3).find(|&axis| max_mm[axis] < min_mm[axis] || (min_mm[axis] < 0.0 && !max_mm[axis].is_nan()))
        {
            return Err(err!("`min_pixdim` {} is negative or larger than `max_pixdim` {}", min_mm[axis], max_mm[axis])
                .arguments(&["min_pixdim", "max_pixdim"]));
        }
        for dtype in args.dtype.repeat(n, "dtype")?.into_iter().flatten() {
            if !dtype.0.is_float() {
                bail!("argument `dtype`: expected a float type for resampling, found {}", dtype.0.name());
            }
        }
        let (mode, padding) = (args.mode.repeat(n, "mode")?, args.padding_mode.repeat(n, "padding_mode")?);
        let (corners, extent) =
            (args.align_corners.repeat(n, "align_corners")?, args.scale_extent.repeat(n, "scale_extent")?);
        let per_key = (0..n).map(|i| PerKey {
            interpolation: mode[i].0,
            padding: padding[i].0,
            align_corners: corners[i],
            scale_extent: extent[i],
        });
        let zoom = Zoom {
            pixdim_mm: std::array::from_fn(|axis| pixdim.get(axis).copied().unwrap_or(last)),
            min_mm,
            max_mm,
            diagonal: args.diagonal,
            scale_extent: false,
        };
        Ok(Spacing {
            per_key: per_key.collect(),
            keys,
            zoom,
            recompute_affine: args.recompute_affine,
            ensure_same_shape: args.ensure_same_shape,
        })
    }
    /// Replaces the image by its resampled version; `voxels` returns the new voxels, read or resampled as its argument
    /// says.
    fn resampled(
        &self,
        mut volume: Volume,
        settings: PerKey,
        shape: Option<[usize; 3]>,
        voxels: impl FnOnce(&Volume, Option<(&Sampler, Interpolation)>) -> Result<Voxels>,
    ) -> Result<Volume> {
        let before = volume.grid();
        let mut target = Zoom { scale_extent: settings.scale_extent, ..self.zoom.clone() }.target(&before)?;
        if let Some(shape) = shape {
            target.shape = shape;
        }
        if target.shape.contains(&0) {
            bail!(
                "resampling to spacing {:?} mm would result in {:?} voxels (the image has {:?})",
                self.zoom.pixdim_mm,
                target.shape,
                before.shape
            );
        }
        let PerKey { interpolation, padding, align_corners, .. } = settings;
        match Sampling::new(&before, &target, padding, align_corners)? {
            Sampling::Resample(sampler) => {
                volume.voxels = voxels(&volume, Some((&sampler, interpolation)))?;
                let [x, y, z] = target.shape;
                volume.layout = Layout::contiguous([volume.channels(), x, y, z]);
                volume.affine = sampler.affine;
            }
            _ => volume.voxels = voxels(&volume, None)?,
        }
        volume.integer_type = None;
        if self.recompute_affine {
            volume.affine = scale_affine(before.shape, target.shape, align_corners);
        }
        let after = Grid { shape: target.shape, affine: volume.affine };
        volume.trace.push(Arc::new(Applied {
            by: COMPONENT.name,
            before,
            after,
            what: Spatial::Resample { interpolation, padding, align_corners },
        }));
        Ok(volume)
    }
}

impl Spacing {
    fn over_keys(
        &self,
        mut sample: Sample,
        voxels: impl Fn(&Volume, Option<(&Sampler, Interpolation)>) -> Result<Voxels> + Copy,
    ) -> Result<Sample> {
        let mut first: Option<(Grid, [usize; 3])> = None;
        for (at, key) in self.keys.present(&sample)? {
            let volume = take_image(&mut sample, &key)?;
            let before = volume.grid();
            let shape = match first {
                Some((grid, shape))
                    if self.ensure_same_shape && grid.shape == before.shape && same_spacing(&grid, &before) =>
                {
                    Some(shape)
                }
                _ => None,
            };
            let volume = self
                .resampled(volume, self.per_key[at], shape, voxels)
                .map_err(|e| e.context(format_args!("`{key}`")))?;
            first.get_or_insert((before, volume.layout.spatial()));
            sample.set(&key, Item::Image(volume));
        }
        Ok(sample)
    }
}

/// Whether [`read_slices`] can read the file of a header-only volume: a single-file NIfTI image with one channel.
fn can_stream(volume: &Volume, how: Option<(&Sampler, Interpolation)>) -> bool {
    how.is_some_and(|(sampler, interpolation)| StreamingResampler::supports(&volume.layout, sampler, interpolation))
        && volume.channels() == 1
        && reader::has_slices(&volume.header.path)
}

/// Reads the voxels of a header-only volume from its file, resampling them slice by slice.
fn read_slices(volume: &Volume, how: Option<(&Sampler, Interpolation)>, case: &CaseContext) -> Result<Voxels> {
    let path = &volume.header.path;
    let changed = || err!("the file has changed since its header was read").file(path);
    let (sampler, interpolation) = how.ok_or_else(changed)?;
    let dtype = volume.voxels.dtype();
    let mut image = StreamingResampler::new(&volume.layout, sampler, interpolation, dtype)?;
    let slices = nifti::SliceReader::open(path, case.digests.as_ref())?;
    let mut slices = slices.filter(|slices| slices.shape() == image.shape()).ok_or_else(changed)?;
    while let Some((range, voxels)) = slices.advance()? {
        case.check()?;
        image.push(range, &voxels.clone().cast(dtype)?)?;
    }
    image.finish()
}

/// MONAI's `scale_affine`: maps voxel indices of the new grid to those of the old one.
fn scale_affine(old: [usize; 3], new: [usize; 3], align_corners: bool) -> Affine {
    let mut affine = Affine::IDENTITY;
    for axis in 0..3 {
        let (o, n) = (old[axis] as f64, new[axis] as f64);
        if old == new {
            continue;
        }
        let scale = match align_corners {
            true if n == 1.0 => 0.0,
            true => (o - 1.0) / (n - 1.0),
            false => o / n,
        };
        affine.0[axis][axis] = scale;
        affine.0[axis][3] = if align_corners { 0.0 } else { (scale - 1.0) / 2.0 };
    }
    affine
}

impl Transform for Spacing {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn image_keys(&self) -> &[Arc<str>] {
        &self.keys.keys
    }
    fn plan(&self, sample: Sample) -> Result<Step<'_>> {
        let after = applied_to_headers(self, sample.duplicate()?)?;
        // Images of other keys would be left without voxels.
        let own = |key: &Arc<str>| self.keys.keys.contains(key);
        let all = sample.items.iter().all(|(key, item)| !matches!(item, Item::Image(_)) || own(key));
        let streams = Cell::new(all);
        self.over_keys(sample.duplicate()?, |volume, how| {
            streams.set(streams.get() && can_stream(volume, how));
            Ok(Voxels::empty(DType::F32))
        })?;
        if !streams.get() {
            return Ok(Step::exact(after));
        }
        let read = move |case: &CaseContext| self.over_keys(sample, |volume, how| read_slices(volume, how, case));
        Ok(Step { sample: after, certainty: Certainty::Exact, access: VoxelAccess::Streaming(Box::new(read)) })
    }
    fn apply(&self, sample: Sample, _cx: &mut TransformContext) -> Result<Vec<Sample>> {
        let voxels = |volume: &Volume, how: Option<(&Sampler, Interpolation)>| match (how, volume.is_header_only()) {
            (None, _) | (Some((_, Interpolation::Nearest)), true) => Ok(volume.voxels.clone()),
            (Some((_, Interpolation::Linear)), true) => Ok(Voxels::empty(DType::F32)),
            (Some((sampler, interpolation)), false) => resample(volume, sampler, interpolation),
        };
        Ok(vec![self.over_keys(sample, voxels)?])
    }
    fn traced_keys(&self) -> &[Arc<str>] {
        &self.keys.keys
    }
}

fn same_spacing(a: &Grid, b: &Grid) -> bool {
    a.affine.spacing_mm().iter().zip(b.affine.spacing_mm()).all(|(a, b)| (a - b).abs() <= 1e-3 + 1e-5 * b.abs())
}
