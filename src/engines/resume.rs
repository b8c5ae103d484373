//! Going on where an earlier run stopped: beside the result of a case lies a small JSON file, `RESULT.json`, that says
//! what the result was made from. A case may be left out only if all of it still holds.

use super::record::CaseRecord;
use crate::contracts::{CaseContext, CaseStatus};
use crate::err;
use crate::error::Result;
use crate::formats::atomic;
use crate::formats::digest::{self, Digest, FileDigests};
use crate::formats::{paths, reader};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The layout of the file.
const FORMAT: u64 = 1;

/// What all results of a run are made with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    pub version: &'static str,
    pub weights_sha256: String,
    pub config_sha256: String,
}

/// The files of one case, as they are before it is read.
pub struct InputFiles(Vec<Input>);

struct Input {
    path: PathBuf,
    /// Each file with size and time of change, to notice a change while it is being read.
    files: Vec<(PathBuf, u64, Option<SystemTime>)>,
}

impl InputFiles {
    /// Look up size and time of change of every file. `paths`: files and folders. Errors name the file.
    pub fn look_up(paths: &[PathBuf]) -> Result<InputFiles> {
        let input = |path: &PathBuf| {
            let files = reader::files(path)?.iter().map(|file| stat(file)).collect::<Result<Vec<_>>>()?;
            Ok(Input { path: path.clone(), files })
        };
        paths.iter().map(input).collect::<Result<_>>().map(InputFiles)
    }
    /// An error if a file is gone or another one than it was.
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
    /// Path and digest of every input; what `digests` lacks is read for it, unless the user interrupts.
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

/// What a result was made from: the content of the file beside it. A file with other fields is of another version.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ResultRecord {
    format: u64,
    /// The version that made it.
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

/// The fields that records of every version have.
#[derive(Default, Deserialize)]
#[serde(default)]
struct AnyRecord {
    segbundle: Option<String>,
}

/// Whether a case's result is there and up to date.
pub enum SkipDecision {
    /// What the run that made it recorded of the case.
    Current(Box<CaseRecord>),
    /// Nothing is there.
    Missing,
    /// Why it has to be made again.
    Stale(String),
}

/// `s0037_trans.nii.gz` → `s0037_trans.nii.gz.json`.
pub fn sidecar(output: &Path) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    name.push(".json");
    name.into()
}

/// Compare what lies beside the first of `outputs` with the case. `inputs` gives [`InputFiles::records`] where there is
/// something to compare with.
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
            return Ok(SkipDecision::Stale(format!("nothing says what {} was made from", first.display())));
        }
        Err(_) => return Ok(SkipDecision::Missing),
    };
    let found = match serde_json::from_slice::<ResultRecord>(&text) {
        Ok(found) if found.format == FORMAT && found.segbundle == identity.version => found,
        _ => {
            return Ok(SkipDecision::Stale(match serde_json::from_slice::<AnyRecord>(&text) {
                Ok(AnyRecord { segbundle: Some(other) }) if other != identity.version => {
                    format!("it was made by segbundle {other}, this is {}", identity.version)
                }
                Ok(_) => format!("{} is not complete, or of another version", path.display()),
                Err(_) => format!("{} is no JSON", path.display()),
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
        return Err("the input is not the one that it was made from".into());
    }
    if found.weights_sha256 != identity.weights_sha256 {
        return Err("the network's weights are others".into());
    }
    if found.config_sha256 != identity.config_sha256 {
        return Err("the config is another one".into());
    }
    let folder = first.parent().unwrap_or(Path::new(""));
    let mut recorded = vec![];
    for output in found.outputs {
        let path = paths::normal(&folder.join(&output.path));
        match digest::of_file_while(&path, || context.check()) {
            Ok(now) if (now.bytes, &now.sha256) == (output.bytes, &output.sha256) => recorded.push(path),
            Ok(_) => return Err(format!("{} is not as it was written", path.display())),
            Err(_) if !path.exists() => return Err(format!("{} is gone", path.display())),
            Err(error) => return Err(error.to_string()),
        }
    }
    if let Some(missing) = outputs.iter().find(|output| !recorded.contains(output)) {
        return Err(format!("nothing says what {} was made from", missing.display()));
    }
    // Where they are now: the folder may have been moved.
    let outputs = recorded.iter().map(|path| path.display().to_string()).collect();
    Ok(SkipDecision::Current(Box::new(CaseRecord { outputs, ..found.case })))
}

/// Writes what `outputs`, which are complete, were made from. `case`: the case's record.
pub fn save(
    outputs: Vec<(PathBuf, Digest)>,
    inputs: Vec<FileRecord>,
    identity: &Identity,
    case: &CaseRecord,
) -> Result<()> {
    let Some(first) = outputs.first().map(|(path, _)| path.clone()) else { return Ok(()) };
    let folder = first.parent().unwrap_or(Path::new(""));
    let written = outputs.into_iter().map(|(output, digest)| {
        // Also what lies above, as tables for all cases: the output folder may be moved.
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

    /// What the decision is once the record beside a result was changed by `change`.
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
        let incomplete = format!("{OUTPUT}.json is not complete, or of another version");
        for result in [
            decision(|json| json["case"]["colour"] = json!("red")),
            decision(|json| drop(json.as_object_mut().unwrap().remove("inputs"))),
            decision(|json| drop(json["case"].as_object_mut().unwrap().remove("windows"))),
            decision(|json| json["format"] = json!(7)),
            decision(|json| *json = json!([])),
        ] {
            assert!(result.as_ref().unwrap_err().ends_with(&incomplete), "{result:?}");
        }
        let other = decision(|json| *json = json!({"segbundle": "0.9", "more": 1}));
        assert_eq!(other.unwrap_err(), "it was made by segbundle 0.9, this is 1.0");
    }
}
