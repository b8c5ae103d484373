//! SaveStatisticsd (not in MONAI): save volume, position and HU statistics of each structure of a label map.

use super::output_name::OutputName;
use super::save_labels::{labels, source_image};
use super::support::SeriesName;
use crate::component::{Keys, OneOrMany, Value};
use crate::contracts::{OutputRules, Sample, Step, Transform, TransformContext, WriteJob};
use crate::error::Result;
use crate::image::Volume;
use crate::tools::statistics::{Row, statistics, write};
use crate::tools::structures::Structures;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

component! {
    /// Save volume (ml), centroid (mm), HU statistics and border contact of each structure as CSV and JSON.
    pub static COMPONENT = transform "SaveStatisticsd" in "segbundle.transforms";

    pub struct SaveStatisticsArgs {
        /// Keys of label maps on the input's grid, that is after Invertd.
        keys: Keys,
        /// Names by label, such as channel_def in metadata.json: {"1": "spleen"}, or a list that starts at label 0.
        names: Value,
        /// Output folder; created if it does not exist.
        #[no_effect_on_results]
        output_dir: PathBuf = "./",
        /// Compute HU statistics, which reads the input image again.
        intensity: bool = true,
        /// File extension: `.csv`, `.json` or a list of both.
        output_ext: OneOrMany<String> = [".csv", ".json"],
        /// Postfix of the file name.
        output_postfix: String = "statistics",
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
    build: SaveStatistics::new,
}

struct SaveStatistics {
    args: SaveStatisticsArgs,
    name: OutputName,
    structures: Structures,
    extensions: Vec<String>,
}

impl SaveStatistics {
    fn new(args: SaveStatisticsArgs) -> Result<SaveStatistics> {
        let extensions = match &args.output_ext {
            OneOrMany::One(extension) => vec![extension.clone()],
            OneOrMany::Many(extensions) => extensions.clone(),
        };
        if let Some(other) = extensions.iter().find(|extension| !matches!(extension.as_str(), ".csv" | ".json")) {
            crate::bail!("argument `output_ext`: expected '.csv' or '.json', found '{other}'");
        }
        let structures = Structures::from_value(&args.names)?;
        let name = OutputName::new(&args.output_dir, &args.data_root_dir, args.separate_folder);
        Ok(SaveStatistics { args, name, structures, extensions })
    }
}

impl Transform for SaveStatistics {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn output_folder(&self) -> Option<&Path> {
        Some(&self.args.output_dir)
    }
    fn output_paths(&self, source: &Path, rules: &OutputRules) -> Result<Vec<PathBuf>> {
        self.extensions
            .iter()
            .map(|extension| self.name.path(source, rules, &self.args.output_postfix, extension))
            .collect()
    }
    fn plan(&self, sample: Sample) -> Result<Step<'_>> {
        Ok(Step::exact(sample))
    }
    fn apply(&self, mut sample: Sample, cx: &mut TransformContext) -> Result<Vec<Sample>> {
        for key in &self.args.keys.0 {
            let volume = labels(&mut sample, key, cx.case)?;
            let rows = Arc::new(self.rows(&volume));
            for (at, path) in self.output_paths(&volume.header.path, &cx.case.output_rules)?.into_iter().enumerate() {
                let (rows, target) = (rows.clone(), path.clone());
                // The voxels are shared between the jobs: count them once.
                let bytes = if at == 0 { volume.bytes() } else { 0 };
                cx.writes.push(WriteJob {
                    path,
                    bytes,
                    write: Box::new(move || write(&target, (*rows).as_ref().map_err(Clone::clone)?)),
                });
            }
        }
        Ok(vec![sample])
    }
}

/// Computed when the first file is written, and used for all files.
type Rows = LazyLock<Result<Vec<Row>>, Box<dyn FnOnce() -> Result<Vec<Row>> + Send>>;

impl SaveStatistics {
    fn rows(&self, volume: &Volume) -> Rows {
        let (volume, structures) = (volume.clone(), self.structures.clone());
        let (intensity, series) = (self.args.intensity, self.args.series_name.clone());
        LazyLock::new(Box::new(move || {
            let image = intensity.then(|| source_image(&volume, series)).transpose()?;
            statistics(&volume, image.as_ref(), &structures).map_err(|error| error.file(&volume.header.path))
        }))
    }
}
