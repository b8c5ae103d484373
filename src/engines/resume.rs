//! Going on where an earlier run stopped: beside the result of a case lies a small JSON file, `RESULT.json`, that says
//! what the result was made from. A case may be left out only if all of it still holds.

use crate::contracts::{CaseContext, CaseStatus};
use crate::err;
use crate::error::Result;
use crate::formats::atomic;
use crate::formats::digest::{self, Digest};
use crate::formats::{paths, reader};
use serde_json::{Map, Value as Json, json};
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

/// The files of one case, as they were when it was read.
pub struct Inputs(Vec<Input>);

struct Input {
    path: PathBuf,
    digest: Digest,
    /// Each file with size and time of change, to notice a change while it is being read.
    files: Vec<(PathBuf, u64, Option<SystemTime>)>,
}

impl Inputs {
    /// Read every file once, unless the user interrupts. `paths`: files and folders. Errors name the file.
    pub fn read(paths: &[PathBuf], context: &CaseContext) -> Result<Inputs> {
        paths.iter().map(|path| Input::read(path, context)).collect::<Result<_>>().map(Inputs)
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
    fn json(&self) -> Json {
        let one = |input: &Input| json!({"path": absolute(&input.path), "bytes": input.digest.bytes, "sha256": input.digest.sha256});
        self.0.iter().map(one).collect()
    }
}

impl Input {
    fn read(path: &Path, context: &CaseContext) -> Result<Input> {
        let paths = reader::files(path)?;
        let files = paths.iter().map(|path| stat(path)).collect::<Result<Vec<_>>>()?;
        let digests =
            paths.iter().map(|path| digest::of_file_while(path, || context.check())).collect::<Result<Vec<_>>>()?;
        let digest = match &digests[..] {
            [one] => one.clone(),
            several => {
                let names: Vec<String> =
                    paths.iter().map(|file| file.strip_prefix(path).unwrap_or(file).display().to_string()).collect();
                let pieces = names
                    .iter()
                    .zip(several)
                    .flat_map(|(name, digest)| [name.as_bytes(), b"\0", digest.sha256.as_bytes()]);
                Digest { bytes: several.iter().map(|digest| digest.bytes).sum(), sha256: digest::of_pieces(pieces) }
            }
        };
        Ok(Input { path: path.to_owned(), digest, files })
    }
}

fn stat(path: &Path) -> Result<(PathBuf, u64, Option<SystemTime>)> {
    let metadata = std::fs::metadata(path).map_err(|error| err!("cannot read: {error}").file(path))?;
    Ok((path.to_owned(), metadata.len(), metadata.modified().ok()))
}

fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

/// Whether a case's result is there and up to date.
pub enum SkipDecision {
    /// What the run that made it recorded of the case.
    Current(Map<String, Json>),
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

/// Look at what lies beside the first of `outputs`.
pub fn skip_decision(outputs: &[PathBuf], inputs: &Inputs, identity: &Identity, context: &CaseContext) -> SkipDecision {
    let Some(first) = outputs.first() else { return SkipDecision::Missing };
    let path = sidecar(first);
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(_) if first.exists() => {
            return SkipDecision::Stale(format!("nothing says what {} was made from", first.display()));
        }
        Err(_) => return SkipDecision::Missing,
    };
    match serde_json::from_slice::<Json>(&text) {
        Ok(found) => compare(found, first, outputs, inputs, identity, context).unwrap_or_else(SkipDecision::Stale),
        Err(_) => SkipDecision::Stale(format!("{} is no JSON", path.display())),
    }
}

fn compare(
    mut found: Json,
    first: &Path,
    outputs: &[PathBuf],
    inputs: &Inputs,
    identity: &Identity,
    context: &CaseContext,
) -> Result<SkipDecision, String> {
    let same = |key: &str, expected: &Json| found.get(key) == Some(expected);
    if !same("format", &json!(FORMAT)) || !same("segbundle", &json!(identity.version)) {
        return Err(format!("it was made by segbundle {}, this is {}", text_of(&found, "segbundle"), identity.version));
    }
    if !same("inputs", &inputs.json()) {
        return Err("the input is not the one that it was made from".into());
    }
    if !same("weights_sha256", &json!(identity.weights_sha256)) {
        return Err("the network's weights are others".into());
    }
    if !same("config_sha256", &json!(identity.config_sha256)) {
        return Err("the config is another one".into());
    }
    let folder = first.parent().unwrap_or(Path::new(""));
    let mut recorded = vec![];
    for output in found.get("outputs").and_then(Json::as_array).into_iter().flatten() {
        let path = paths::normal(&folder.join(text_of(output, "path")));
        let expected = (output.get("bytes").and_then(Json::as_u64), text_of(output, "sha256"));
        match digest::of_file_while(&path, || context.check()) {
            Ok(now) if (Some(now.bytes), now.sha256.as_str()) == (expected.0, expected.1) => recorded.push(path),
            Ok(_) => return Err(format!("{} is not as it was written", path.display())),
            Err(_) if !path.exists() => return Err(format!("{} is gone", path.display())),
            Err(error) => return Err(error.to_string()),
        }
    }
    if let Some(missing) = outputs.iter().find(|output| !recorded.contains(output)) {
        return Err(format!("nothing says what {} was made from", missing.display()));
    }
    match found.get_mut("case").map(Json::take) {
        Some(Json::Object(mut case)) => {
            // Where they are now: the folder may have been moved.
            case.insert("outputs".into(), recorded.iter().map(|path| json!(path.display().to_string())).collect());
            Ok(SkipDecision::Current(case))
        }
        _ => Err("its record is not complete".into()),
    }
}

fn text_of<'a>(json: &'a Json, key: &str) -> &'a str {
    json.get(key).and_then(Json::as_str).unwrap_or("(unknown)")
}

/// Write down what `outputs`, which are complete, were made from. `case`: the case's record.
pub fn save(outputs: &[PathBuf], inputs: &Inputs, identity: &Identity, case: &Map<String, Json>) -> Result<()> {
    let Some(first) = outputs.first() else { return Ok(()) };
    let folder = first.parent().unwrap_or(Path::new(""));
    let mut written = vec![];
    for output in outputs {
        let Digest { bytes, sha256 } = digest::of_file(output)?;
        // Also what lies above, as tables for all cases: the output folder may be moved.
        let path = paths::seen_from(folder, output).display().to_string();
        written.push(json!({"path": path, "bytes": bytes, "sha256": sha256}));
    }
    let mut case = case.clone();
    case.insert("status".into(), json!(CaseStatus::Done.name()));
    let content = json!({
        "format": FORMAT,
        "segbundle": identity.version,
        "inputs": inputs.json(),
        "weights_sha256": identity.weights_sha256,
        "config_sha256": identity.config_sha256,
        "outputs": written,
        "case": case,
    });
    atomic::write_file(sidecar(first), |file, _| Ok(writeln!(file, "{content:#}")?))
}
