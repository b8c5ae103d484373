//! Reads run.json in the output folder of a run: its cases with their inputs and label maps.

use super::label_names;
use super::structures::Structures;
use crate::err;
use crate::error::Result;
use serde_json::Value as Json;
use std::path::{Path, PathBuf};

/// Largest size of a run.json that is read.
pub const MAX_RECORD_BYTES: u64 = 256 << 20;

/// A case with a label map.
#[derive(Debug, Clone)]
pub struct LabeledCase {
    /// The input as run.json names it.
    pub input: String,
    /// Path of the input: a file, or a folder of DICOM slices.
    pub image: PathBuf,
    /// Path of the label map.
    pub labels: PathBuf,
    /// Names of the structures.
    pub names: Structures,
}

/// Reads run.json; `None` if the folder has none.
pub fn read_record(folder: &Path) -> Result<Option<Json>> {
    let path = folder.join("run.json");
    if !path.exists() {
        return Ok(None);
    }
    let text = crate::text::read(&path, MAX_RECORD_BYTES)?;
    serde_json::from_str(&text).map(Some).map_err(|error| err!("expected JSON: {error}").file(&path))
}

/// The cases in a run.json.
pub fn cases_of(run: &Json) -> impl Iterator<Item = &Json> {
    run["cases"].as_array().into_iter().flatten()
}

/// The cases whose label maps exist. Their names are those in the label map or near it, else those in the config.
pub fn labeled(folder: &Path, run: &Json) -> Vec<LabeledCase> {
    let config_names = names_in_config(&run["config"]);
    let labeled = |case: &Json| {
        let input = case["input"].as_str()?.to_owned();
        let (labels, start) = label_map(folder, case)?;
        let image = start.map(|start| start.join(&input)).filter(|path| path.exists());
        let names = label_names::of(&labels, None).ok().map(|(names, _)| names);
        let names = names.filter(|names| !names.is_empty()).unwrap_or_else(|| config_names.clone());
        Some(LabeledCase { image: image.unwrap_or_else(|| PathBuf::from(&input)), input, labels, names })
    };
    cases_of(run).filter_map(labeled).collect()
}

/// Names of the structures in the config of our own inference.json, which takes them from the bundle's metadata.
fn names_in_config(config: &Json) -> Structures {
    let named = config["label_names"].as_object().into_iter().flatten();
    let named: Option<Vec<(u32, String)>> =
        named.map(|(id, name)| Some((id.parse().ok()?, name.as_str()?.to_owned()))).collect();
    named.and_then(|named| Structures::new(named).ok()).unwrap_or_default()
}

/// Label map of a finished case. Paths in run.json are relative to the folder in which the run was started, which is
/// returned if it is another one than now; the output folder may also have been moved since.
fn label_map(folder: &Path, case: &Json) -> Option<(PathBuf, Option<PathBuf>)> {
    let outputs = case["outputs"].as_array()?.iter().filter_map(Json::as_str);
    let is_nifti = |path: &&str| path.ends_with(".nii.gz") || path.ends_with(".nii");
    outputs.filter(is_nifti).find_map(|path| {
        if Path::new(path).is_file() {
            return Some((PathBuf::from(path), None));
        }
        let parts: Vec<_> = Path::new(path).components().collect();
        (0..parts.len()).find_map(|cut| {
            let [before, after]: [PathBuf; 2] = [parts[..cut].iter().collect(), parts[cut..].iter().collect()];
            let labels = Some(folder.join(after)).filter(|path| path.is_file())?;
            let folder = folder.canonicalize().ok();
            let start = folder.filter(|folder| cut > 0 && folder.ends_with(&before));
            let start = start.and_then(|folder| folder.ancestors().nth(cut).map(Path::to_owned));
            Some((labels, start))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn cases_are_found_from_another_folder_and_after_a_move() {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("eval/demo");
        std::fs::create_dir_all(out.join("s1")).unwrap();
        std::fs::create_dir_all(root.path().join("images")).unwrap();
        for file in ["eval/demo/s1/s1_trans.nii.gz", "images/s1.nii.gz"] {
            std::fs::write(root.path().join(file), "").unwrap();
        }
        let run = json!({"config": {"label_names": {"1": "liver"}}, "cases": [
            {"input": "images/s1.nii.gz", "outputs": ["eval/demo/labels.ctbl", "eval/demo/s1/s1_trans.nii.gz"]},
            {"input": "images/s2.nii.gz", "outputs": ["eval/demo/s2/s2_trans.nii.gz"]},
            {"input": "images/s3.nii.gz", "outputs": []},
        ]});
        let found = labeled(&out, &run);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].labels, out.join("s1/s1_trans.nii.gz"));
        assert_eq!(found[0].image, root.path().canonicalize().unwrap().join("images/s1.nii.gz"));
        assert_eq!((&*found[0].input, &*found[0].names.get(1).name), ("images/s1.nii.gz", "liver"));
        let moved = root.path().join("moved");
        std::fs::rename(&out, &moved).unwrap();
        let found = labeled(&moved, &run);
        assert_eq!(found[0].labels, moved.join("s1/s1_trans.nii.gz"));
        assert_eq!(found[0].image, Path::new("images/s1.nii.gz"));
    }
}
