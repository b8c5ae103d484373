//! A report about the output folder of a run: one HTML file without scripts or references to other files.

mod charts;
mod sources;

use crate::err;
use crate::error::Result;
use crate::formats::atomic;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment};
use serde::Serialize;
use std::io::Write;
use std::path::Path;

pub use sources::{Options, gather};

/// What a report shows. Empty parts are left out of the page.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Name of the folder.
    pub title: String,
    /// When the report was written, UTC.
    pub written: String,
    /// Version of the program that wrote the report.
    pub version: &'static str,
    /// Runs that have a run.json.
    pub runs: Vec<Run>,
    /// What could not be read or is not shown, and why.
    pub notes: Vec<String>,
    /// Training curves.
    pub curves: Vec<Curve>,
    /// Metrics over all cases.
    pub metrics: Vec<Metric>,
    /// Values by structure, one table per metric.
    pub structures: Vec<StructureTable>,
    /// Cases in the order of the run.
    pub cases: Vec<CaseRow>,
    /// Whether any case has a score.
    pub scored: bool,
    /// Pictures of cases.
    pub previews: Vec<Preview>,
    /// Volumes by structure.
    pub volumes: Vec<VolumeRow>,
}

/// A run.
#[derive(Debug, Serialize)]
pub struct Run {
    /// Name of its output folder.
    pub title: String,
    /// `running`, `done`, `failed` or `interrupted`.
    pub status: String,
    /// Label and text of each fact.
    pub facts: Vec<(&'static str, String)>,
    /// The resolved config as JSON text.
    pub config: Option<String>,
}

/// A scalar over the steps of a training.
#[derive(Debug, Serialize)]
pub struct Curve {
    /// Its tag in the event files.
    pub tag: String,
    /// The chart, an `svg` element.
    pub svg: String,
    /// Last value.
    pub last: String,
    /// Step of the last value.
    pub step: i64,
    /// Smallest and largest value.
    pub range: [String; 2],
}

/// A metric over all cases.
#[derive(Debug, Serialize)]
pub struct Metric {
    /// Its name.
    pub name: String,
    /// Its value with unit.
    pub value: String,
    /// Which values by structure are infinite.
    pub note: Option<String>,
}

/// A metric by structure.
#[derive(Debug, Serialize)]
pub struct StructureTable {
    /// Name of the metric.
    pub metric: String,
    /// Unit of the values; empty for scores without one.
    pub unit: String,
    /// Whether any distance is infinite.
    pub infinite: bool,
    /// Structures, the worst first.
    pub rows: Vec<StructureRow>,
}

/// A metric of one structure.
#[derive(Debug, Serialize)]
pub struct StructureRow {
    /// Name of the structure.
    pub name: String,
    /// CSS color.
    pub color: String,
    /// Number of cases that have a finite value.
    pub cases: usize,
    /// Number of cases with an infinite distance.
    pub infinite: usize,
    /// Mean, median, smallest and largest of the finite values.
    pub values: [String; 4],
    /// Length of the mean's bar, in percent of the longest possible one.
    pub bar: f64,
}

/// A case of the run.
#[derive(Debug, Serialize)]
pub struct CaseRow {
    /// Title of its run.
    pub run: String,
    /// Path of the input.
    pub name: String,
    /// `done`, `skipped`, `failed` or `interrupted`.
    pub status: String,
    /// Size of the input.
    pub size: String,
    /// Seconds: total, preprocessing, network, the rest.
    pub seconds: [String; 4],
    /// Peak memory of the process.
    pub memory: String,
    /// Mean of the first metric with values by case.
    pub score: Option<String>,
    /// Reason of a failure, with its file and hint.
    pub error: Option<String>,
}

/// A picture of a case.
#[derive(Debug, Serialize)]
pub struct Preview {
    /// Name of the case.
    pub name: String,
    /// The PNG as base64.
    pub png: String,
}

/// Volume of one structure over the cases.
#[derive(Debug, Serialize)]
pub struct VolumeRow {
    /// Name of the structure.
    pub name: String,
    /// CSS color.
    pub color: String,
    /// Number of cases that contain it.
    pub cases: usize,
    /// Number of these cases in which it touches the border of the image.
    pub cut: usize,
    /// Mean, smallest and largest volume in ml.
    pub ml: [String; 3],
}

/// Returns the HTML page. All texts are escaped.
pub fn render(report: &Report) -> Result<String> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    let failed = |error: minijinja::Error| err!("cannot render the report: {error:#}");
    environment.add_template("page.html", include_str!("page.html")).map_err(failed)?;
    environment.get_template("page.html").and_then(|page| page.render(Serde(report))).map_err(failed)
}

/// Writes the HTML page atomically and returns its size in bytes.
pub fn write(report: &Report, path: &Path) -> Result<u64> {
    let page = render(report)?;
    atomic::write_file(path, |file, _| {
        file.write_all(page.as_bytes()).map_err(|error| err!("cannot write: {error}").file(path))
    })?;
    Ok(page.len() as u64)
}
