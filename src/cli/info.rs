//! `segbundle info`: what a bundle is and which of its files exist.

use crate::error::Result;
use crate::registry;
use crate::text::{bytes, count, printable};
use crate::tools::bundle::info::{self, Info, Network, Tensor};
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// Folder of a bundle, or one of its configs
    #[arg(default_value = ".")]
    source: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Entries of the metadata to show, with their labels.
const SHOWN: [(&str, &str); 7] = [
    ("task", "task"),
    ("description", "description"),
    ("monai_version", "MONAI"),
    ("pytorch_version", "PyTorch"),
    ("authors", "authors"),
    ("copyright", "copyright"),
    ("intended_use", "use"),
];

pub fn info(args: &Args) -> Result<()> {
    let info = info::info(&args.source, registry::table(), &mut super::console::warn)?;
    if args.json {
        let text = serde_json::to_string_pretty(&info).map_err(|error| crate::err!("cannot write JSON: {error}"))?;
        return super::show(&(text + "\n"));
    }
    super::show(&page(&info))
}

/// The lines of the page. A bundle is untrusted: its control characters, which a terminal would obey, are escaped.
fn page(info: &Info) -> String {
    lines(info).iter().map(|line| printable(&line.replace('\n', "\\n")).into_owned() + "\n").collect()
}

fn lines(info: &Info) -> Vec<String> {
    let mut out = vec![];
    let entry = |key: &str| info.metadata.get(key).map(String::as_str);
    let folder = info.folder.file_name().unwrap_or(info.folder.as_os_str()).display().to_string();
    out.push(format!("{} {}", entry("name").unwrap_or(&folder), entry("version").unwrap_or("(no metadata)")));
    let mut row = |label: &str, text: &str| {
        out.push(format!("  {label:12} {text}"));
    };
    for (key, label) in SHOWN {
        if let Some(text) = entry(key) {
            row(label, text);
        }
    }
    let described = |tensor: &Tensor| {
        let Tensor { name, kind, channels, spatial_shape, dtype } = tensor;
        let shape = spatial_shape.join("×");
        format!("{name}: {kind}, {}, {shape}, {dtype}", count(*channels as usize, "channel"))
    };
    info.inputs.iter().for_each(|tensor| row("input", &described(tensor)));
    info.outputs.iter().for_each(|tensor| row("output", &described(tensor)));
    match &info.structures[..] {
        [] => {}
        [only] => row("structure", only),
        [first, .., last] => {
            let number = info.structures.len();
            row("structures", &format!("{number}, {first} to {last}; `segbundle classes` lists them"));
        }
    }
    let names: Vec<&str> = info.configs.iter().map(|config| &*config.file).collect();
    row("configs", &names.join(", "));
    out.extend(["", "networks"].map(str::to_owned));
    let mut networks: Vec<(&Network, Vec<&str>)> = vec![];
    for (network, config) in info.configs.iter().flat_map(|config| config.networks.iter().map(move |n| (n, config))) {
        match networks.iter_mut().find(|(known, _)| *known == network) {
            Some((_, configs)) => configs.push(&config.file),
            None => networks.push((network, vec![&config.file])),
        }
    }
    for (network, configs) in &networks {
        let arguments: Vec<String> = network.arguments.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let note = if network.supported { "" } else { "; segbundle does not support this network" };
        out.push(format!("  {}: {}({})", network.id, network.class, arguments.join(", ")));
        out.push(format!("    in {}{note}", configs.join(", ")));
    }
    if networks.is_empty() {
        out.push("  none in these configs".to_owned());
    }
    let width = info.files.iter().map(|file| file.path.display().to_string().len()).max().unwrap_or(0);
    out.extend(["", "files"].map(str::to_owned));
    for file in &info.files {
        let size = file.bytes.map_or("missing".into(), bytes);
        out.push(format!("  {:width$}  {size:>9}  {}", file.path.display().to_string(), file.needed_by));
    }
    out
}
