//! `segbundle classes`: list the structures of a bundle or label map.

use crate::error::Result;
use crate::tools::label_names;
use crate::tools::structures::Structure;
use std::fmt::Write;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// metadata.json of a bundle, the folder of a bundle, or a label map (NIfTI) [default: configs/metadata.json, else
    /// the 104 structures of version 1 of TotalSegmentator's dataset]
    source: Option<PathBuf>,
    /// Print a JSON list instead of a table
    #[arg(long)]
    json: bool,
}

pub fn classes(args: &Args) -> Result<()> {
    let structures = match &args.source {
        Some(path) if path.is_file() && path.extension().is_none_or(|end| end != "json") => {
            label_names::of(path, None)?.0
        }
        Some(path) if path.is_dir() => label_names::channels(&path.join("configs/metadata.json"))?,
        path => super::bundle_names(path.as_deref(), label_names::channels)?,
    };
    if let (true, Some(path)) = (structures.iter().next().is_none(), &args.source) {
        let error = crate::err!("expected names of structures, found none").file(path);
        return Err(error.hint("give metadata.json or the folder of the bundle that made the label map"));
    }
    if args.json {
        let rows: Vec<serde_json::Value> = structures.iter().map(row).collect();
        let text = serde_json::to_string_pretty(&rows).map_err(|error| crate::err!("cannot write JSON: {error}"))?;
        return super::show(&(text + "\n"));
    }
    let width = structures.iter().map(|structure| structure.name.chars().count()).max().unwrap_or(0).max(4);
    let mut text = format!("number  {:width$}  color    SNOMED CT\n", "name");
    for structure in structures.iter() {
        let code = structure.code().map_or(String::new(), |code| {
            let side = code.side.map_or(String::new(), |side| format!(", {}", side.meaning()));
            format!("{} {}{side}", code.code, code.meaning)
        });
        let row = format!("{:6}  {:width$}  {}  {code}", structure.id, structure.name, structure.css_color());
        let _ = writeln!(text, "{}", row.trim_end());
    }
    super::show(&text)
}

fn row(structure: &Structure) -> serde_json::Value {
    let code = structure.code().map(|code| {
        serde_json::json!({
            "scheme": "SCT",
            "code": code.code,
            "meaning": code.meaning,
            "side": code.side.map(|side| serde_json::json!({"code": side.code(), "meaning": side.meaning()})),
        })
    });
    serde_json::json!({"number": structure.id, "name": structure.name, "color": structure.css_color(), "code": code})
}
