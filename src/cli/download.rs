//! `segbundle download` and `segbundle download-large-files`: fetch a bundle, or the files that its repository lacks.

use super::console::Console;
use super::monai::CommandArgs;
use crate::bundle::args::ARGS_FILE;
use crate::bundle::{Parameter, Rules};
use crate::err;
use crate::error::{Kind, Result};
use crate::formats::{digest, paths};
use crate::text::{bytes, count};
use crate::tools::bundle::archive::{self, MODEL_ZOO};
use crate::tools::bundle::download::{Client, Downloaded};
use crate::tools::bundle::large_files::{self, HashType};
use std::path::{Path, PathBuf};

pub const ARGS: CommandArgs = CommandArgs {
    command: "download",
    parameters: &[
        Parameter::new("name", "NAME", "Bundle, such as spleen_ct_segmentation"),
        Parameter::new("version", "VERSION", "Its version, such as 0.5.9; needed without --url"),
        Parameter::new("bundle_dir", "DIR", "Output folder [default: torch's, ~/.cache/torch/hub/bundle]"),
        Parameter::new("source", "SOURCE", "monaihosting or github [default: BUNDLE_DOWNLOAD_SRC, else monaihosting]"),
        Parameter::new("repo", "REPO", "OWNER/NAME/TAG of a GitHub release [default: MONAI's model zoo]"),
        Parameter::new("url", "URL", "Address of a zip file, instead of a source"),
        Parameter::new("remove_prefix", "PREFIX", "No effect: it concerns a source that is not supported"),
        Parameter::new("progress", "BOOL", "Show a progress bar [default: True]"),
        ARGS_FILE,
        Parameter::new(
            "large_files",
            "FILE",
            "Download the files that large_files.yml lists into --bundle_dir instead",
        ),
    ],
    usage: "--name NAME --version VERSION [--bundle_dir DIR]",
    overrides: false,
    examples: "\
An interrupted download continues where it stopped. Not supported: the sources ngc, ngc_private and huggingface_hub, \
and finding the latest version.

Examples:
  segbundle download --name wholeBody_ct_segmentation --version 0.2.5 --bundle_dir bundles
  segbundle download --url https://example.org/bundle.zip --bundle_dir bundles
  segbundle download --large_files large_files.yml --bundle_dir .",
};

pub const LARGE_FILES: CommandArgs = CommandArgs {
    command: "download-large-files",
    parameters: &[
        Parameter::new("bundle_path", "DIR", "Folder of the bundle [default: the current folder]"),
        Parameter::new("large_file_name", "FILE", "List of files [default: large_files.yml, .yaml or .json there]"),
    ],
    usage: "[--bundle_path DIR] [--large_file_name FILE]",
    overrides: false,
    examples: "\
Example:
  segbundle download-large-files --bundle_path bundles/wholeBody_ct_segmentation",
};

pub fn download(words: &[String], rules: Rules, console: &Console) -> Result<()> {
    let Some(mut arguments) = ARGS.parse(words, rules)? else { return Ok(()) };
    let mut text = |name: &str| arguments.text(name);
    let (name, version, url, source) = (text("name")?, text("version")?, text("url")?, text("source")?);
    let (repo, list) = (text("repo")?, text("large_files")?);
    let folder = text("bundle_dir")?.map(PathBuf::from);
    let progress = arguments.boolean("progress")?.unwrap_or(true);
    arguments.take("remove_prefix");
    arguments.finish(ARGS.parameters)?;
    if let Some(list) = list {
        return fetch_large_files(&folder.unwrap_or_else(|| ".".into()), Some(Path::new(&list)), progress, console);
    }
    let config = |message: &str| err!("{message}").kind(Kind::Config).file("command line");
    let folder = folder.map_or_else(hub_folder, Ok)?;
    let (url, file) = match (url, &name, version) {
        (Some(url), _, _) => {
            let path = url.split(['?', '#']).next().unwrap_or_default();
            let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned();
            let file = name.as_ref().map_or(last, |name| format!("{name}.zip"));
            (url, file)
        }
        (None, Some(name), Some(version)) => {
            let source = source.or_else(|| std::env::var("BUNDLE_DOWNLOAD_SRC").ok());
            let source = source.as_deref().unwrap_or("monaihosting");
            let url = archive::address(source, repo.as_deref().unwrap_or(MODEL_ZOO), name, &version)?;
            (url, format!("{name}_v{version}.zip"))
        }
        (None, Some(name), None) => {
            return Err(config("no version is given").hint(format!(
                "add `--version`: https://github.com/Project-MONAI/model-zoo lists the versions of {name}"
            )));
        }
        (None, None, _) => return Err(config("no bundle is given").hint("add `--name` and `--version`, or `--url`")),
    };
    let zip = folder.join(large_files::within(&folder, Path::new(&file))?);
    let zip = zip.with_file_name(temporary_name(&file, &url));
    if let Some(name) = name.filter(|name| folder.join(name).exists()) {
        return Err(err!("the bundle exists")
            .file(folder.join(name))
            .hint("delete it, or choose another --bundle_dir"));
    }
    // Left by a run that was killed while it unpacked: the file at the address may have changed since.
    let _ = std::fs::remove_file(&zip);
    let downloaded = fetch(&Client::default(), &url, &zip, None, progress, console)?;
    let unpacked = archive::unpack(&zip, &folder);
    if downloaded == Downloaded::New {
        let _ = std::fs::remove_file(&zip);
    }
    let bundle = unpacked.map_err(|error| error.file(&url))?;
    tracing::info!("downloaded {}", bundle.display());
    Ok(())
}

pub fn download_large_files(words: &[String], rules: Rules, console: &Console) -> Result<()> {
    let Some(mut arguments) = LARGE_FILES.parse(words, rules)? else { return Ok(()) };
    let folder = arguments.text("bundle_path")?.map_or_else(|| ".".into(), PathBuf::from);
    let list = arguments.text("large_file_name")?.map(PathBuf::from);
    arguments.finish(LARGE_FILES.parameters)?;
    fetch_large_files(&folder, list.as_deref(), true, console)
}

/// Name of the archive `file` from `url` while it is downloaded and unpacked. No file of the user has it, and the part of
/// another archive is not continued.
fn temporary_name(file: &str, url: &str) -> String {
    let digest = digest::of_bytes(url.as_bytes()).sha256;
    let stem = file.strip_suffix(".zip").unwrap_or(file);
    format!("{stem}.{}.zip", digest.get(..8).unwrap_or(&digest))
}

/// Downloads all files of a list; a failure does not keep the others from being downloaded.
fn fetch_large_files(folder: &Path, list: Option<&Path>, progress: bool, console: &Console) -> Result<()> {
    let missing = || err!("the folder has no large_files.yml, .yaml or .json").kind(Kind::Config).file(folder);
    let list = match list {
        // As in MONAI, a name is one in the bundle.
        Some(list) if !list.is_file() && folder.join(list).is_file() => folder.join(list),
        Some(list) => list.to_owned(),
        None => large_files::find(folder).ok_or_else(missing)?,
    };
    let files = large_files::read(&list, folder, &mut super::console::warn)?;
    let client = Client::default();
    let mut failed = 0;
    for file in &files {
        let path = paths::normal(&folder.join(&file.path));
        if let Err(error) = fetch(&client, &file.url, &path, file.hash.as_ref(), progress, console) {
            console.error(&error);
            failed += 1;
        }
    }
    match failed {
        0 => Ok(()),
        _ => Err(err!("{failed} of {} could not be downloaded", count(files.len(), "file")).file(&list)),
    }
}

fn fetch(
    client: &Client,
    url: &str,
    path: &Path,
    hash: Option<&(HashType, String)>,
    progress: bool,
    console: &Console,
) -> Result<Downloaded> {
    let bar = progress.then(|| console.byte_bar(path));
    let result = client.download(url, path, hash, &mut |here, total| {
        if let Some(bar) = &bar {
            bar.set_length(total.unwrap_or(here));
            bar.set_position(here);
        }
    });
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let size = std::fs::metadata(path).map_or(0, |file| file.len());
    let (path, size) = (path.display(), bytes(size));
    let checked = hash.map_or("not checked: no digest is known".into(), |(ty, _)| format!("{} is correct", ty.name()));
    let downloaded = result?;
    match downloaded {
        Downloaded::New => tracing::info!("wrote {path}: {size}, {checked}"),
        Downloaded::Existed => tracing::info!("{path} exists: {size}, {checked}"),
    }
    Ok(downloaded)
}

/// Where torch.hub and MONAI keep bundles.
fn hub_folder() -> Result<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let torch = variable("TORCH_HOME")
        .or_else(|| variable("XDG_CACHE_HOME").map(|cache| cache.join("torch")))
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache/torch")));
    let hint = "name the output folder: `--bundle_dir DIR`";
    torch.map(|torch| torch.join("hub/bundle")).ok_or_else(|| err!("there is no home folder").hint(hint))
}
