//! `--skip-existing`: decides whether the results of a case are up to date.
//!
//! Beside the first result of a case, a sidecar record `RESULT.json` lists inputs, weights, config and outputs with
//! their digests. A case is skipped only if all of them are unchanged.

use super::record::CaseRecord;
use crate::contracts::{CaseContext, CaseStatus};
use crate::err;
use crate::error::Result;
use crate::formats::atomic;
use crate::formats::digest::{self, Digest, FileDigests};
use crate::formats::{paths, reader};
use crate::image::extensions::glob_expression;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Version of the file format.
const FORMAT: u64 = 1;

/// Version, weights and config that all results of a run depend on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// Version of segbundle.
    pub version: &'static str,
    pub weights_sha256: String,
    pub config_sha256: String,
}

/// The input files of a case before they are read.
pub struct InputFiles(Vec<Input>);

struct Input {
    path: PathBuf,
    /// Each file with size and modification time, to detect changes while it is being read.
    files: Vec<(PathBuf, u64, Option<SystemTime>)>,
}

impl InputFiles {
    /// Looks up size and modification time of every file. `paths`: files and folders.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn look_up(paths: &[PathBuf]) -> Result<InputFiles> {
        let input = |path: &PathBuf| {
            let found = reader::files(path).and_then(|files| files.iter().map(|file| stat(file)).collect());
            let files = found.map_err(|error| match glob_expression(path) {
                Some(expression) => error.hint(format!("list the files: {expression}")),
                None => error,
            })?;
            Ok(Input { path: path.clone(), files })
        };
        paths.iter().map(input).collect::<Result<_>>().map(InputFiles)
    }
    /// Compares size and modification time of every file with those before.
    ///
    /// # Errors
    /// A file was changed or removed since [`InputFiles::look_up`].
    pub fn check_unchanged(&self) -> Result<()> {
        for (path, bytes, modified) in self.0.iter().flat_map(|input| &input.files) {
            let now = stat(path)?;
            if (now.1, now.2) != (*bytes, *modified) {
                return Err(err!("the file changed while it was being read")
                    .file(path)
                    .hint("run it again when it is complete"));
            }
        }
        Ok(())
    }
    /// Path and digest of every input; files without a digest in `digests` are read.
    ///
    /// # Errors
    /// A file cannot be read; cancellation.
    pub fn records(&self, digests: &FileDigests, context: &CaseContext) -> Result<Vec<FileRecord>> {
        self.0.iter().map(|input| Ok(FileRecord::new(absolute(&input.path), input.digest(digests, context)?))).collect()
    }
}

impl Input {
    fn digest(&self, digests: &FileDigests, context: &CaseContext) -> Result<Digest> {
        let mut files = vec![];
        for (file, ..) in &self.files {
            files.push((file, digests.get_or_read(file, || context.check())?));
        }
        if let [_] = files[..] {
            return Ok(files.swap_remove(0).1);
        }
        let names: Vec<String> =
            files.iter().map(|(file, _)| file.strip_prefix(&self.path).unwrap_or(file).display().to_string()).collect();
        let pieces =
            names.iter().zip(&files).flat_map(|(name, (_, digest))| [name.as_bytes(), b"\0", digest.sha256.as_bytes()]);
        Ok(Digest { bytes: files.iter().map(|(_, digest)| digest.bytes).sum(), sha256: digest::of_pieces(pieces) })
    }
}

fn stat(path: &Path) -> Result<(PathBuf, u64, Option<SystemTime>)> {
    let metadata = std::fs::metadata(path).map_err(|error| err!("cannot read: {error}").file(path))?;
    Ok((path.to_owned(), metadata.len(), metadata.modified().ok()))
}

fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

/// Sidecar record of a result. A file with other fields was written by another version.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ResultRecord {
    format: u64,
    /// Version of segbundle that computed the result.
    segbundle: String,
    /// With absolute paths.
    inputs: Vec<FileRecord>,
    weights_sha256: String,
    config_sha256: String,
    /// With paths relative to the folder of the first, so that the output folder may be moved.
    outputs: Vec<FileRecord>,
    case: CaseRecord,
}

/// A file and its content.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRecord {
    path: String,
    bytes: u64,
    sha256: String,
}

impl FileRecord {
    fn new(path: String, Digest { bytes, sha256 }: Digest) -> FileRecord {
        FileRecord { path, bytes, sha256 }
    }
}

/// Fields common to the records of all versions.
#[derive(Default, Deserialize)]
#[serde(default)]
struct AnyRecord {
    segbundle: Option<String>,
}

/// Whether a case can be skipped.
pub enum SkipDecision {
    /// The results are up to date; the record of the run that computed them.
    Current(Box<CaseRecord>),
    /// The results do not exist.
    Missing,
    /// The results are out of date, for this reason.
    Stale(String),
}

/// `s0037_trans.nii.gz` → `s0037_trans.nii.gz.json`.
pub fn sidecar(output: &Path) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    name.push(".json");
    name.into()
}

/// Compares the sidecar record of the first of `outputs` with the case. `inputs` returns [`InputFiles::records`]; it is
/// called only if there is a record to compare with.
///
/// # Errors
/// An input cannot be read; cancellation.
pub fn skip_decision(
    outputs: &[PathBuf],
    inputs: impl FnOnce() -> Result<Vec<FileRecord>>,
    identity: &Identity,
    context: &CaseContext,
) -> Result<SkipDecision> {
    let Some(first) = outputs.first() else { return Ok(SkipDecision::Missing) };
    let path = sidecar(first);
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(_) if first.exists() => {
            return Ok(SkipDecision::Stale(format!("{} has no record of its inputs", first.display())));
        }
        Err(_) => return Ok(SkipDecision::Missing),
    };
    let found = match serde_json::from_slice::<ResultRecord>(&text) {
        Ok(found) if found.format == FORMAT && found.segbundle == identity.version => found,
        _ => {
            return Ok(SkipDecision::Stale(match serde_json::from_slice::<AnyRecord>(&text) {
                Ok(AnyRecord { segbundle: Some(other) }) if other != identity.version => {
                    format!("computed by segbundle {other}, this is {}", identity.version)
                }
                Ok(_) => format!("{} is incomplete or has another format", path.display()),
                Err(_) => format!("{} is not valid JSON", path.display()),
            }));
        }
    };
    Ok(compare(found, first, outputs, &inputs()?, identity, context).unwrap_or_else(SkipDecision::Stale))
}

fn compare(
    found: ResultRecord,
    first: &Path,
    outputs: &[PathBuf],
    inputs: &[FileRecord],
    identity: &Identity,
    context: &CaseContext,
) -> Result<SkipDecision, String> {
    if found.inputs != inputs {
        return Err("the input has changed".into());
    }
    if found.weights_sha256 != identity.weights_sha256 {
        return Err("the network's weights have changed".into());
    }
    if found.config_sha256 != identity.config_sha256 {
        return Err("the config has changed".into());
    }
    let folder = first.parent().unwrap_or(Path::new(""));
    let mut recorded = vec![];
    for output in found.outputs {
        let path = paths::normal(&folder.join(&output.path));
        match digest::of_file_while(&path, || context.check()) {
            Ok(now) if (now.bytes, &now.sha256) == (output.bytes, &output.sha256) => recorded.push(path),
            Ok(_) => return Err(format!("{} has changed since it was written", path.display())),
            Err(_) if !path.exists() => return Err(format!("{} is missing", path.display())),
            Err(error) => return Err(error.to_string()),
        }
    }
    if let Some(missing) = outputs.iter().find(|output| !recorded.contains(output)) {
        return Err(format!("{} has no record of its inputs", missing.display()));
    }
    // Current paths: the output folder may have been moved.
    let outputs = recorded.iter().map(|path| path.display().to_string()).collect();
    Ok(SkipDecision::Current(Box::new(CaseRecord { outputs, ..found.case })))
}

/// Writes the sidecar record of complete `outputs`. `case`: the case's record.
pub fn save(
    outputs: Vec<(PathBuf, Digest)>,
    inputs: Vec<FileRecord>,
    identity: &Identity,
    case: &CaseRecord,
) -> Result<()> {
    let Some(first) = outputs.first().map(|(path, _)| path.clone()) else { return Ok(()) };
    let folder = first.parent().unwrap_or(Path::new(""));
    let written = outputs.into_iter().map(|(output, digest)| {
        // Relative also for files above it, such as tables of all cases: the output folder may be moved.
        FileRecord::new(paths::seen_from(folder, &output).display().to_string(), digest)
    });
    let content = ResultRecord {
        format: FORMAT,
        segbundle: identity.version.into(),
        inputs,
        weights_sha256: identity.weights_sha256.clone(),
        config_sha256: identity.config_sha256.clone(),
        outputs: written.collect(),
        case: CaseRecord { status: CaseStatus::Done, ..case.clone() },
    };
    atomic::write_file(sidecar(&first), |file, _| {
        serde_json::to_writer_pretty(&mut *file, &content).map_err(std::io::Error::from)?;
        Ok(writeln!(file)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value as Json, json};

    const OUTPUT: &str = "a_trans.nii.gz";

    fn identity() -> Identity {
        Identity { version: "1.0", weights_sha256: "w".into(), config_sha256: "c".into() }
    }

    /// The decision after `change` was applied to the record of a result.
    fn decision(change: impl FnOnce(&mut Json)) -> Result<CaseRecord, String> {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join(OUTPUT);
        std::fs::write(&output, "labels").unwrap();
        let case = json!({"index": 0, "status": "done", "input": "a", "outputs": [], "windows": 1,
            "seconds": {"check": 0.0, "pre": 0.0, "inferer": 0.0, "invert": 0.0, "post": 0.0, "write": 0.0, "total": 0.0},
            "peak_memory_bytes": 1, "error": null});
        let case: CaseRecord = serde_json::from_value(case).unwrap();
        let context = CaseContext::quiet();
        let digest = digest::of_file(&output).unwrap();
        save(vec![(output.clone(), digest)], vec![], &identity(), &case).unwrap();
        let path = sidecar(&output);
        let mut json = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        change(&mut json);
        std::fs::write(&path, json.to_string()).unwrap();
        match skip_decision(&[output], || Ok(vec![]), &identity(), &context).unwrap() {
            SkipDecision::Current(case) => Ok(*case),
            SkipDecision::Missing => Err("missing".into()),
            SkipDecision::Stale(why) => Err(why),
        }
    }

    #[test]
    fn a_record_with_unknown_or_missing_fields_is_stale() {
        assert!(decision(|_| {}).unwrap().outputs[0].ends_with(OUTPUT));
        let incomplete = format!("{OUTPUT}.json is incomplete or has another format");
        for result in [
            decision(|json| json["case"]["color"] = json!("red")),
            decision(|json| drop(json.as_object_mut().unwrap().remove("inputs"))),
            decision(|json| drop(json["case"].as_object_mut().unwrap().remove("windows"))),
            decision(|json| json["format"] = json!(7)),
            decision(|json| *json = json!([])),
        ] {
            assert!(result.as_ref().unwrap_err().ends_with(&incomplete), "{result:?}");
        }
        let other = decision(|json| *json = json!({"segbundle": "0.9", "more": 1}));
        assert_eq!(other.unwrap_err(), "computed by segbundle 0.9, this is 1.0");
    }
}
