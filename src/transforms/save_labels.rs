//! SaveLabelsd (not in MONAI): save a label map with the names of its structures, as one file or one mask per
//! structure.

use super::output_name::OutputName;
use super::support::SeriesName;
use crate::case_context::CaseContext;
use crate::component::{Keys, Value};
use crate::contracts::{Item, OutputRules, Sample, Step, Transform, TransformContext, WriteJob};
use crate::error::{Kind, Result};
use crate::formats::{atomic, digest, nifti, reader};
use crate::image::{Orientation, Volume};
use crate::tools::label_names;
use crate::tools::split_labels::{check_channels, keep_only, write_mask};
use crate::tools::statistics::same_grid;
use crate::tools::structures::{Names, Structures};
use std::io::Write;
use std::path::{Path, PathBuf};

component! {
    /// Save a label map with the names of its structures.
    ///
    /// Optionally saves one mask per structure, and color tables for viewers.
    pub static COMPONENT = transform "SaveLabelsd" in "segbundle.transforms";

    pub struct SaveLabelsArgs {
        /// Keys of the label maps.
        keys: Keys,
        /// Names by label, such as channel_def in metadata.json: {"1": "spleen"}, or a list that starts at label 0. In
        /// a map of several channels the channel index is the label.
        names: Value,
        /// Output folder; created if it does not exist.
        #[no_effect_on_results]
        output_dir: PathBuf = "./",
        /// Names of the structures to save; None saves all.
        structures: Option<Names> = (),
        /// Save one label map, with the names in a header extension.
        combined: bool = true,
        /// Save one mask per structure: `segmentations/liver.nii.gz` in the folder of the case.
        separate: bool = false,
        /// Save color tables in output_dir: `labels.ctbl` for 3D Slicer and `labels.itksnap.txt` for ITK-SNAP.
        tables: bool = true,
        /// Postfix of the label map's file name; none if empty.
        output_postfix: String = "trans",
        /// File extension: `.nii.gz` or `.nii`.
        output_ext: String = ".nii.gz",
        /// Save each case in a folder of its own.
        separate_folder: bool = true,
        /// Root of the inputs: their folders below it are reproduced in output_dir, to keep inputs of equal names
        /// apart.
        #[no_effect_on_results]
        data_root_dir: String = "",
    }

    effect: Acts,
    differs: ["not in MONAI: a config that enables it cannot be built there"],
    build: SaveLabels::new,
}

struct SaveLabels {
    args: SaveLabelsArgs,
    name: OutputName,
    structures: Structures,
}

/// The label map under `key`, which is computed if necessary and stored in the sample as an image.
pub(super) fn labels(sample: &mut Sample, key: &str, case: &CaseContext) -> Result<Volume> {
    let volume = match sample.take(key)? {
        Item::Image(volume) => volume,
        Item::Prediction(prediction) => prediction.into_volume(case)?,
        Item::Value(value) => crate::bail!("`{key}` is {value:?}, expected a label map"),
    };
    sample.set(key, Item::Image(volume.clone()));
    Ok(volume)
}

/// Reads the image that `labels` were computed from again: the same series as LoadImaged, in the orientation of
/// `labels`.
pub(super) fn source_image(labels: &Volume, series: Option<SeriesName>) -> Result<Volume> {
    let series = series.map(|SeriesName(name)| name).or_else(|| labels.header.series.clone());
    let image = reader::read(&labels.header.path, series.as_deref())?;
    match same_grid(labels, &image) {
        Ok(()) => Ok(image),
        // Grids that cannot be matched are reported by `same_grid` later.
        Err(_) => image.turned_to(&Orientation::of(&labels.affine)?),
    }
}

impl SaveLabels {
    fn new(args: SaveLabelsArgs) -> Result<SaveLabels> {
        if ![".nii", ".nii.gz"].contains(&args.output_ext.as_str()) {
            crate::bail!("argument `output_ext`: expected '.nii.gz' or '.nii', found '{}'", args.output_ext);
        }
        if !args.combined && !args.separate {
            return Err(crate::err!("expected `combined` or `separate` to be True, found both False")
                .arguments(&["combined", "separate"]));
        }
        let mut structures = Structures::from_value(&args.names)?;
        if let Some(Names(names)) = &args.structures {
            if names.is_empty() {
                return Err(crate::err!("argument `structures`: expected names, found an empty list")
                    .kind(Kind::Config)
                    .hint("None keeps all structures"));
            }
            structures = structures.subset(names)?;
        }
        let name = OutputName::new(&args.output_dir, &args.data_root_dir, args.separate_folder);
        Ok(SaveLabels { args, name, structures })
    }
}

impl Transform for SaveLabels {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn output_folder(&self) -> Option<&Path> {
        Some(&self.args.output_dir)
    }
    fn output_paths(&self, source: &Path, rules: &OutputRules) -> Result<Vec<PathBuf>> {
        let map =
            self.args.combined.then(|| self.name.path(source, rules, &self.args.output_postfix, &self.args.output_ext));
        let masks = self
            .structures
            .iter()
            .filter(|_| self.args.separate)
            .map(|structure| self.mask_path(source, rules, &structure.name));
        map.into_iter().chain(masks).collect()
    }
    fn plan(&self, sample: Sample) -> Result<Step<'_>> {
        Ok(Step::exact(sample))
    }
    fn apply(&self, mut sample: Sample, cx: &mut TransformContext) -> Result<Vec<Sample>> {
        for key in &self.args.keys.0 {
            let volume = labels(&mut sample, key, cx.case)?;
            if self.args.separate || self.args.structures.is_some() {
                check_channels(&volume, &self.structures).map_err(|error| error.context(format_args!("`{key}`")))?;
            }
            let rules = &cx.case.output_rules;
            let path = self.name.path(&volume.header.path, rules, &self.args.output_postfix, &self.args.output_ext)?;
            if self.args.combined {
                let (structures, target, bytes) = (self.structures.clone(), path.clone(), volume.bytes());
                let volume = volume.clone();
                let subset = self.args.structures.is_some();
                cx.writes.push(WriteJob {
                    path: path.clone(),
                    bytes,
                    write: Box::new(move || {
                        let kept = if subset { keep_only(&volume, &structures)? } else { volume };
                        let names = label_names::to_xml(&structures);
                        let options = nifti::Options {
                            extension: names.as_bytes(),
                            space: kept.header.space,
                            ..nifti::Options::default()
                        };
                        let dtype = kept.voxels.dtype();
                        let digest = nifti::write(&target, &kept.voxels, &kept.layout, &kept.affine, dtype, options)?;
                        tracing::info!("wrote {}", target.display());
                        Ok(digest)
                    }),
                });
            }
            if self.args.separate {
                for (at, structure) in self.structures.iter().enumerate() {
                    let path = self.mask_path(&volume.header.path, rules, &structure.name)?;
                    let (volume, structure, target) = (volume.clone(), structure.clone(), path.clone());
                    // The voxels are shared: counted once.
                    let bytes = if self.args.combined || at > 0 { 0 } else { volume.bytes() };
                    cx.writes.push(WriteJob {
                        path,
                        bytes,
                        write: Box::new(move || write_mask(&volume, &structure, &target)),
                    });
                }
            }
            if self.args.tables {
                self.tables(cx)?;
            }
        }
        Ok(vec![sample])
    }
}

impl SaveLabels {
    /// Path of a structure's mask, such as `segmentations/liver.nii.gz` in the case's folder.
    fn mask_path(&self, source: &Path, rules: &OutputRules, structure: &str) -> Result<PathBuf> {
        let case = self.name.path(source, rules, "", "")?;
        let folder = match case.parent() {
            Some(folder) if self.args.separate_folder => folder.join("segmentations"),
            _ => PathBuf::from(format!("{}_segmentations", case.display())),
        };
        Ok(folder.join(format!("{structure}{}", self.args.output_ext)))
    }
    /// Writes the tables of names: equal for all cases, but recorded as results of each.
    fn tables(&self, cx: &mut TransformContext) -> Result<()> {
        let folder = cx.case.output_rules.folder(&self.name.output_dir)?;
        for (name, text) in
            [("labels.ctbl", self.structures.slicer_table()), ("labels.itksnap.txt", self.structures.itk_snap_table())]
        {
            let path = folder.join(name);
            let target = path.clone();
            let write = move || match std::fs::read_to_string(&target) {
                Ok(there) if there == text => Ok(digest::of_bytes(text.as_bytes())),
                _ => atomic::write_hashed(&target, |out| Ok(out.write_all(text.as_bytes())?)),
            };
            cx.writes.push(WriteJob { path, bytes: 0, write: Box::new(write) });
        }
        Ok(())
    }
}
