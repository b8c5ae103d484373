//! SaveImaged: write images and predictions to NIfTI files (monai.transforms.io.dictionary, monai.data.folder_layout,
//! MONAI 1.6.1).
//!
//! Deliberate differences: a volume of one slice keeps its three dimensions; a file on the input's grid keeps the
//! input's qform, sform, their codes and the units.

use super::output_name::OutputName;
use super::support::{ModeArg, PaddingArg};
use crate::bail;
use crate::component::{Accepted, Keys, NotSupported};
use crate::contracts::{Item, OnPrediction, OutputRules, Sample, Step, Transform, TransformContext, WriteJob};
use crate::error::Result;
use crate::formats::nifti;
use crate::image::{DType, Layout, Sampling, Volume, resample};
use std::path::{Path, PathBuf};

component! {
    /// Save images or predictions as NIfTI files named after the input.
    pub static COMPONENT = dictionary "SaveImage" in "monai.transforms" / "io.dictionary";

    pub struct SaveImageArgs {
        /// Keys of the images or predictions to save.
        keys: Keys,
        /// No effect: images always keep their metadata.
        meta_keys: Accepted = (),
        /// No effect: images always keep their metadata.
        meta_key_postfix: Accepted = "meta_dict",
        /// Output folder; created if it does not exist.
        #[no_effect_on_results]
        output_dir: PathBuf = "./",
        /// Postfix of the file name: `s0037_trans.nii.gz`; none if empty.
        output_postfix: String = "trans",
        /// File extension: `.nii.gz` or `.nii`.
        output_ext: String = ".nii.gz",
        /// Resample to the grid of the input file before saving.
        resample: bool = false,
        /// Interpolation mode of `resample`: "nearest" or "bilinear" (trilinear in 3D).
        mode: ModeArg = "nearest",
        /// Padding mode of `resample`: "border", "zeros" or "reflection".
        padding_mode: PaddingArg = "border",
        /// Clip to [0, 1] and scale to 255 or 65535; not supported.
        scale: NotSupported = (),
        /// No effect: `resample` computes in float64.
        dtype: Accepted = (),
        /// Data type of the file; None keeps the image's. Values out of its range are an error.
        output_dtype: Option<DType> = "float32",
        /// Skip missing keys instead of raising an error.
        allow_missing_keys: bool = false,
        /// Remove a trailing channel axis of length 1.
        squeeze_end_dims: bool = true,
        /// Root of the inputs: their folders below it are reproduced in output_dir, to keep inputs of equal names
        /// apart.
        #[no_effect_on_results]
        data_root_dir: String = "",
        /// Save each case in a folder of its own.
        separate_folder: bool = true,
        /// Log every saved file.
        #[no_effect_on_results]
        print_log: bool = true,
        /// No effect: output_ext selects the format.
        output_format: Accepted = "",
        /// Image writer: only None or "NibabelWriter", as NIfTI is written.
        writer: Option<String> = (),
        /// Function that formats file names; not supported.
        output_name_formatter: NotSupported = (),
        /// Custom folder layout; not supported.
        folder_layout: NotSupported = (),
        /// No effect: saved paths are in the log and in run.json.
        savepath_in_metadict: Accepted = false,
    }

    effect: Acts,
    differs: [
        "a volume of a single slice keeps its three dimensions",
        "files are written under a temporary name, then renamed",
        "on the input's own grid, qform, sform and their codes are the input's",
    ],
    build: SaveImage::new,
}

struct SaveImage {
    args: SaveImageArgs,
    name: OutputName,
    extension: String,
}

impl SaveImage {
    fn new(args: SaveImageArgs) -> Result<SaveImage> {
        if let Some(writer) = args.writer.as_ref().filter(|writer| writer.rsplit('.').next() != Some("NibabelWriter")) {
            bail!("argument `writer`: expected None or 'NibabelWriter', found '{writer}'");
        }
        let extension = if args.output_ext.starts_with('.') {
            args.output_ext.to_lowercase()
        } else {
            format!(".{}", args.output_ext.to_lowercase())
        };
        if ![".nii", ".nii.gz"].contains(&extension.as_str()) {
            bail!("argument `output_ext`: expected '.nii.gz' or '.nii', found '{}'", args.output_ext);
        }
        let name = OutputName::new(&args.output_dir, &args.data_root_dir, args.separate_folder);
        Ok(SaveImage { args, name, extension })
    }
}

impl Transform for SaveImage {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn output_paths(&self, source: &Path, rules: &OutputRules) -> Result<Vec<PathBuf>> {
        Ok(vec![self.name.path(source, rules, &self.args.output_postfix, &self.extension)?])
    }
    fn on_prediction(&self) -> OnPrediction {
        OnPrediction::Written
    }
    fn output_folder(&self) -> Option<&Path> {
        Some(&self.args.output_dir)
    }
    fn plan(&self, sample: Sample) -> Result<Step<'_>> {
        Ok(Step::exact(sample))
    }
    fn apply(&self, mut sample: Sample, cx: &mut TransformContext) -> Result<Vec<Sample>> {
        for key in &self.args.keys.0 {
            if self.args.allow_missing_keys && sample.get(key).is_none() {
                continue;
            }
            let mut volume = match sample.take(key)? {
                Item::Image(volume) => volume,
                Item::Prediction(prediction) => prediction.into_volume(cx.case)?,
                Item::Value(value) => bail!("`{key}` is {value:?}, expected an image or a prediction"),
            };
            if self.args.resample {
                volume = self.resampled(volume, cx)?;
            }
            let path = self.name.path(
                &volume.header.path,
                &cx.case.output_rules,
                &self.args.output_postfix,
                &self.extension,
            )?;
            let (dtype, log) = (self.args.output_dtype.unwrap_or(volume.voxels.dtype()), self.args.print_log);
            let spatial_dims = volume.header.spatial_dims;
            let [_, x, y, _] = volume.layout.shape;
            // The file is written plane by plane.
            let plane_bytes = (x as u64).saturating_mul(y as u64).saturating_mul(dtype.size_bytes() as u64);
            cx.case.reserve(plane_bytes, || format!("writing planes of {x}×{y} voxels of {}", dtype.name()))?;
            // Qform and sform of the input if the volume is on its grid, else the codes that MONAI writes.
            let space = volume.header.space.filter(|space| {
                space.forms.is_some_and(|forms| forms.describe(&volume.layout.spatial(), &volume.affine))
            });
            let options = nifti::Options {
                squeeze_end_dims: self.args.squeeze_end_dims,
                spatial_dims,
                space,
                ..nifti::Options::default()
            };
            let (saved, target) = (volume.clone(), path.clone());
            cx.writes.push(WriteJob {
                path,
                bytes: saved.voxels.len() as u64 * saved.voxels.dtype().size_bytes() as u64,
                write: Box::new(move || {
                    let digest = nifti::write(&target, &saved.voxels, &saved.layout, &saved.affine, dtype, options)?;
                    if log {
                        tracing::info!("wrote {}", target.display());
                    }
                    Ok(digest)
                }),
            });
            sample.set(key, Item::Image(volume));
        }
        Ok(vec![sample])
    }
}

impl SaveImage {
    /// Resamples the volume to the grid of its input file.
    fn resampled(&self, mut volume: Volume, cx: &TransformContext) -> Result<Volume> {
        let target = volume.header.grid;
        let [x, y, z] = target.shape;
        if let Sampling::Resample(sampler) = Sampling::new(&volume.grid(), &target, self.args.padding_mode.0, false)? {
            let bytes = [volume.channels(), x, y, z].iter().fold(4u64, |bytes, &n| bytes.saturating_mul(n as u64));
            cx.case.reserve(bytes, || format!("resampling to {x}×{y}×{z} voxels"))?;
            volume.voxels = resample(&volume, &sampler, self.args.mode.0)?;
            volume.layout = Layout::contiguous([volume.channels(), x, y, z]);
            volume.affine = sampler.affine;
        }
        Ok(volume)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::{Args, BuildContext, Value};
    use crate::contracts::TransformHandle;
    use std::sync::Arc;

    fn path(source: &str, named: &[(&str, Value)]) -> String {
        let mut args: Vec<(Arc<str>, Value)> = vec![("keys".into(), "pred".into())];
        args.extend(named.iter().map(|(key, value)| ((*key).into(), value.clone())));
        let built = (COMPONENT.build)(Args::named(args), &mut BuildContext::default()).unwrap();
        let transform = built.downcast::<TransformHandle>().unwrap();
        transform.0.output_paths(Path::new(source), &OutputRules::default()).unwrap()[0].display().to_string()
    }

    /// Expected values: monai.data.utils.create_file_basename(postfix, source, output_dir, data_root_dir,
    /// separate_folder).
    #[test]
    fn files_are_named_as_monai_names_them() {
        let out = ("output_dir", Value::from("./eval"));
        assert_eq!(path("in/s0037.nii.gz", std::slice::from_ref(&out)), "eval/s0037/s0037_trans.nii.gz");
        assert_eq!(path("in/s.0037.nii", &[out.clone(), ("output_ext", "nii".into())]), "eval/s.0037/s.0037_trans.nii");
        assert_eq!(
            path("in/a.hdr", &[out.clone(), ("separate_folder", false.into()), ("output_postfix", "".into())]),
            "eval/a.nii.gz"
        );
        assert_eq!(
            path("in/one/a.nii.gz", &[out.clone(), ("data_root_dir", "in".into())]),
            "eval/one/a/a_trans.nii.gz"
        );
        assert_eq!(path("in/.hidden.gz", &[out]), "eval/.hidden/.hidden_trans.nii.gz");
    }
}
