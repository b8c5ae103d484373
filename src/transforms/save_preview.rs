//! SavePreviewd (not in MONAI): save a preview picture of each case with its labels.

use super::output_name::OutputName;
use super::save_labels::{labels, source_image};
use super::support::SeriesName;
use crate::component::{Keys, Value};
use crate::contracts::{OutputRules, Sample, Step, Transform, TransformContext, WriteJob};
use crate::error::Result;
use crate::tools::preview::{Options, preview};
use crate::tools::structures::Structures;
use std::path::{Path, PathBuf};

component! {
    /// Save a PNG of an axial, a coronal and a sagittal slice with the labels overlaid and their names.
    pub static COMPONENT = transform "SavePreviewd" in "segbundle.transforms";

    pub struct SavePreviewArgs {
        /// Keys of label maps on the input's grid, that is after Invertd.
        keys: Keys,
        /// Names by label, such as channel_def in metadata.json: {"1": "spleen"}, or a list that starts at label 0.
        names: Value,
        /// Output folder; created if it does not exist.
        #[no_effect_on_results]
        output_dir: PathBuf = "./",
        /// Display window in HU: [black, white].
        window: Vec<f64> = [-160.0, 240.0],
        /// Opacity of the label colors, in [0, 1].
        opacity: f64 = 0.4,
        /// Height of the tallest slice in pixels.
        height: usize = 480,
        /// Postfix of the file name.
        output_postfix: String = "preview",
        /// Save each case in a folder of its own.
        separate_folder: bool = true,
        /// Root of the inputs: their folders below it are reproduced in output_dir, to keep inputs of equal names
        /// apart.
        #[no_effect_on_results]
        data_root_dir: String = "",
        /// Series of a DICOM folder, as in LoadImaged; None uses the series that LoadImaged read.
        series_name: Option<SeriesName> = (),
    }

    effect: Acts,
    differs: ["not in MONAI: a config that enables it cannot be built there"],
    build: SavePreview::new,
}

struct SavePreview {
    args: SavePreviewArgs,
    name: OutputName,
    structures: Structures,
    options: Options,
}

impl SavePreview {
    fn new(args: SavePreviewArgs) -> Result<SavePreview> {
        let options = match args.window[..] {
            [low, high] if low < high && (0.0..=1.0).contains(&args.opacity) && (16..=4096).contains(&args.height) => {
                Options { window: [low, high], opacity: args.opacity, height_px: args.height }
            }
            _ => crate::bail!(
                "expected a window [low, high], an opacity from 0 to 1 and a height from 16 to 4096, found {:?}, {} and {}",
                args.window,
                args.opacity,
                args.height
            ),
        };
        let structures = Structures::from_value(&args.names)?;
        let name = OutputName::new(&args.output_dir, &args.data_root_dir, args.separate_folder);
        Ok(SavePreview { args, name, structures, options })
    }
}

impl Transform for SavePreview {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn output_folder(&self) -> Option<&Path> {
        Some(&self.args.output_dir)
    }
    fn output_paths(&self, source: &Path, rules: &OutputRules) -> Result<Vec<PathBuf>> {
        Ok(vec![self.name.path(source, rules, &self.args.output_postfix, ".png")?])
    }
    fn plan(&self, sample: Sample) -> Result<Step<'_>> {
        Ok(Step::exact(sample))
    }
    fn apply(&self, mut sample: Sample, cx: &mut TransformContext) -> Result<Vec<Sample>> {
        for key in &self.args.keys.0 {
            let volume = labels(&mut sample, key, cx.case)?;
            let source = volume.header.path.clone();
            let path = self.name.path(&source, &cx.case.output_rules, &self.args.output_postfix, ".png")?;
            let (structures, options, target) = (self.structures.clone(), self.options, path.clone());
            let (series, bytes) = (self.args.series_name.clone(), volume.bytes());
            cx.writes.push(WriteJob {
                path,
                bytes,
                write: Box::new(move || {
                    let image = source_image(&volume, series)?;
                    let title = source.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    let picture =
                        preview(&volume, &image, &structures, &title, options).map_err(|error| error.file(&source))?;
                    picture.write(&target)
                }),
            });
        }
        Ok(vec![sample])
    }
}
