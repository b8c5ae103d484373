//! Collects what a report shows from the files of an output folder.

use super::charts::{curve, short};
use super::{CaseRow, Curve, Metric, Preview, Report, Run, StructureRow, StructureTable, VolumeRow};
use crate::err;
use crate::error::{Error, Result};
use crate::formats::{nifti, reader, tfevents};
use crate::text::{bytes, count};
use crate::tools::run_folder::{self, LabeledCase, cases_of};
use crate::tools::structure_scores::{self, StructureScore};
use crate::tools::structures::Structure;
use crate::tools::{preview, statistics};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use indexmap::IndexMap;
use rayon::prelude::*;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Largest size of a text file that is read.
const MAX_TEXT_BYTES: u64 = 256 << 20;

/// What to include in a report.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Number of pictures; more cases are listed without one.
    pub previews: usize,
    /// Whether label maps are read to measure volumes.
    pub volumes: bool,
}

/// Collects a report about output folders, such as those of an inference and its evaluation: run.json, CSV files of
/// MetricsSaver, event files and label maps, as far as they exist. What cannot be read becomes a note.
///
/// # Errors
/// A folder cannot be read, or contains none of these files.
pub fn gather(folders: &[PathBuf], options: Options) -> Result<Report> {
    let mut report = Report {
        written: chrono::Utc::now().format("%Y-%m-%d %H:%M UTC").to_string(),
        version: env!("CARGO_PKG_VERSION"),
        ..Report::default()
    };
    let (mut titles, mut scores, mut runs) = (vec![], BTreeMap::new(), vec![]);
    for folder in folders {
        std::fs::read_dir(folder).map_err(|error| err!("cannot read the folder: {error}").file(folder))?;
        let real = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        let title = real.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let before = report.metrics.len() + report.structures.len() + report.curves.len();
        scores.extend(add_metrics(folder, (folders.len() > 1).then_some(&*title), &mut report));
        add_curves(folder, &mut report);
        let run = optional(run_folder::read_record(folder), &mut report);
        if run.is_none() && report.metrics.len() + report.structures.len() + report.curves.len() == before {
            return Err(err!("expected run.json, metrics.csv or event files of a run, found none")
                .file(folder)
                .hint("name the output folder of `segbundle run`, such as eval"));
        }
        titles.push(title.clone());
        runs.extend(run.map(|run| (title, folder.clone(), run)));
    }
    report.title = titles.join(", ");
    for (title, folder, run) in &runs {
        check_age(folder, run, &mut report);
        add_run(title, run, &scores, &mut report);
    }
    add_results(&runs, options, &mut report);
    Ok(report)
}

/// `None` if the file does not exist; other errors become a note.
fn optional<T>(read: Result<Option<T>>, report: &mut Report) -> Option<T> {
    read.unwrap_or_else(|error| {
        report.notes.push(note(&error));
        None
    })
}

/// An error in one line.
fn note(error: &Error) -> String {
    let mut text = error.message().replace('\n', "; ");
    if let Some(file) = error.get_file() {
        text = format!("{file}: {text}");
    }
    match error.get_hint() {
        Some(hint) => format!("{text} ({hint})"),
        None => text,
    }
}

/// Reads metrics.csv, metrics_by_structure.csv and the values by case. Returns the mean value by case of the first
/// metric that has them.
fn add_metrics(folder: &Path, title: Option<&str>, report: &mut Report) -> BTreeMap<String, f64> {
    // With several folders, each name tells its folder.
    let named = |name: String| title.map_or(name.clone(), |title| format!("{title}: {name}"));
    let metrics = optional(read_metrics(&folder.join("metrics.csv")), report).unwrap_or_default();
    let tables = optional(read_structures(&folder.join("metrics_by_structure.csv")), report).unwrap_or_default();
    report.metrics.extend(metrics.into_iter().map(|(name, value)| {
        let rows = tables.get(&name).map_or(&[][..], Vec::as_slice);
        metric(named(name), value, rows)
    }));
    let first = tables.first().map(|(metric, _)| format!("{metric}_raw.csv"));
    let tables = tables.into_iter().filter(|(_, rows)| !rows.is_empty());
    report.structures.extend(tables.map(|(metric, rows)| structure_table(named(metric), rows)));
    let scores = first.and_then(|name| optional(read_scores(&folder.join(name)), report));
    scores.unwrap_or_default()
}

/// `rows`: values of the metric by structure, if they are known.
fn metric(name: String, value: String, rows: &[StructureScore]) -> Metric {
    let number: Option<f64> = value.trim().parse().ok();
    let unit = rows.first().map(|row| row.unit.as_str()).filter(|unit| !unit.is_empty());
    let text = match number {
        Some(number) if number.is_infinite() => "infinite".into(),
        Some(number) => format!("{number:.4}{}", unit.map(|unit| format!(" {unit}")).unwrap_or_default()),
        None => value,
    };
    let note = structure_scores::describe_infinite(rows);
    let verb = if number.is_some_and(f64::is_finite) { "without" } else { "because of" };
    Metric { name, value: text, note: note.map(|infinite| format!("{verb} {infinite}")) }
}

/// MONAI writes a line `name<TAB>value` per metric.
fn read_metrics(path: &Path) -> Result<Option<Vec<(String, String)>>> {
    if !path.exists() {
        return Ok(None);
    }
    let text = crate::text::read(path, MAX_TEXT_BYTES)?;
    let pair = |line: &str| {
        let (name, value) = line.split_once(['\t', ',', ';'])?;
        Some((name.to_owned(), value.trim().to_owned()))
    };
    Ok(Some(text.lines().filter_map(pair).collect()))
}

/// A reader of CSV whose delimiter is the first that occurs in the header.
fn table(path: &Path) -> Result<Option<csv::Reader<std::io::Cursor<String>>>> {
    if !path.exists() {
        return Ok(None);
    }
    let text = crate::text::read(path, MAX_TEXT_BYTES)?;
    let header = text.lines().next().unwrap_or_default();
    let delimiter = header.bytes().find(|byte| matches!(byte, b',' | b';' | b'\t')).unwrap_or(b',');
    Ok(Some(csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(std::io::Cursor::new(text))))
}

/// The rows with values by metric, in the order of the file.
fn read_structures(path: &Path) -> Result<Option<IndexMap<String, Vec<StructureScore>>>> {
    let Some(mut table) = table(path)? else { return Ok(None) };
    let mut by_metric: IndexMap<String, Vec<StructureScore>> = IndexMap::new();
    for row in table.deserialize() {
        let row: StructureScore = row.map_err(|error| err!("cannot read the table: {error}").file(path))?;
        let rows = by_metric.entry(row.metric.clone()).or_default();
        rows.extend(Some(row).filter(StructureScore::has_values));
    }
    Ok(Some(by_metric))
}

fn structure_table(metric: String, mut rows: Vec<StructureScore>) -> StructureTable {
    rows.sort_by(StructureScore::worst_first);
    let unit = rows.first().map_or(String::new(), |row| row.unit.clone());
    // Scores are drawn on a scale to 1.
    let longest = rows.iter().filter_map(StructureScore::finite_mean).fold(1.0, f32::max);
    let row = |row: StructureScore| {
        let structure = Structure { id: row.label, name: row.structure.clone() };
        let text = |value: Option<f32>| value.map_or(String::new(), |value| short(f64::from(value)));
        StructureRow {
            color: structure.css_color(),
            name: structure.name,
            cases: row.cases,
            infinite: row.infinite,
            values: [row.mean, row.median, row.min, row.max].map(text),
            bar: f64::from(row.finite_mean().map_or(0.0, |mean| (mean / longest * 100.0).clamp(0.0, 100.0))),
        }
    };
    let rows: Vec<StructureRow> = rows.into_iter().map(row).collect();
    StructureTable { infinite: rows.iter().any(|row| row.infinite > 0), rows, metric, unit }
}

/// The column `mean` of MONAI's table of values by case.
fn read_scores(path: &Path) -> Result<Option<BTreeMap<String, f64>>> {
    let Some(mut table) = table(path)? else { return Ok(None) };
    let wrong = |error: csv::Error| err!("cannot read the table: {error}").file(path);
    let mean = table.headers().map_err(wrong)?.iter().position(|name| name == "mean");
    let Some(mean) = mean else { return Ok(None) };
    let mut scores = BTreeMap::new();
    for record in table.records() {
        let record = record.map_err(wrong)?;
        if let (Some(name), Some(Ok(value))) = (record.get(0), record.get(mean).map(str::parse)) {
            scores.insert(name.to_owned(), value);
        }
    }
    Ok(Some(scores))
}

fn add_curves(folder: &Path, report: &mut Report) {
    let curves = tfevents::read_scalars(folder).and_then(|scalars| {
        report.notes.extend(scalars.damaged.iter().map(|path| {
            format!("{}: the end of the file is missing or damaged; the events before it are shown", path.display())
        }));
        let curve = |(tag, points): (String, Vec<(i64, f64)>)| {
            let finite: Vec<f64> = points.iter().map(|(_, value)| *value).filter(|value| value.is_finite()).collect();
            let &(step, last) = points.last()?;
            let range = [finite.iter().copied().reduce(f64::min)?, finite.iter().copied().reduce(f64::max)?];
            let drawn = curve(&points);
            Some(drawn.map(|svg| Curve { tag, svg, last: short(last), step, range: range.map(short) }))
        };
        scalars.by_tag.into_iter().filter_map(curve).collect::<Result<Vec<_>>>()
    });
    match curves {
        Ok(curves) => report.curves.extend(curves),
        Err(error) => report.notes.push(note(&error)),
    }
}

/// Notes metrics that were written before the run started.
fn check_age(folder: &Path, run: &Json, report: &mut Report) {
    let started = run["started"].as_str().and_then(|time| chrono::DateTime::parse_from_rfc3339(time).ok());
    let written = std::fs::metadata(folder.join("metrics.csv")).and_then(|file| file.modified());
    if let (Some(started), Ok(written)) = (started, written)
        && chrono::DateTime::<chrono::Utc>::from(written) < started
    {
        report.notes.push(format!(
            "{} and the scores are those of an earlier run: they were written before the run of run.json started",
            folder.join("metrics.csv").display()
        ));
    }
}

fn add_run(title: &str, run: &Json, scores: &BTreeMap<String, f64>, report: &mut Report) {
    let text = |key: &str| run[key].as_str().map(str::to_owned);
    // To the second: 2026-01-31 12:00:00 UTC.
    let time = |key: &str| text(key).map(|time| time.get(..19).map_or(time.clone(), |t| t.replace('T', " ") + " UTC"));
    let status = text("status").unwrap_or_default();
    let counts = run["counts"].as_object().into_iter().flatten();
    let counts: Vec<String> = counts
        .filter(|(_, n)| n.as_u64().is_some_and(|n| n > 0))
        .map(|(name, n)| format!("{n} {}", name.replace('_', " ")))
        .collect();
    let mut facts =
        vec![("cases", Some(counts.join(", "))), ("started", time("started")), ("updated", time("updated"))];
    facts.push(("device", text("device")));
    facts.push(("precision", Some(text("amp").unwrap_or_else(|| "float32".into()))));
    facts.push(("threads", run["threads"].as_u64().map(|n| n.to_string())));
    let features = run["cpu_features"].as_array().into_iter().flatten().filter_map(Json::as_str);
    facts.push(("CPU", Some(features.collect::<Vec<_>>().join(", "))));
    facts.push(("peak memory", run["peak_memory_bytes"].as_u64().map(bytes)));
    facts.push((
        "segbundle",
        text("segbundle").zip(text("libtorch")).map(|(own, torch)| format!("{own}, libtorch {torch}")),
    ));
    let facts = facts.into_iter().filter_map(|(label, text)| Some((label, text.filter(|text| !text.is_empty())?)));
    let config = Some(&run["config"]).filter(|config| !config.is_null());
    report.runs.push(Run {
        title: title.to_owned(),
        status,
        facts: facts.collect(),
        config: config.and_then(|config| serde_json::to_string_pretty(config).ok()),
    });
    report.cases.extend(cases_of(run).map(|case| case_row(title, case, scores)));
    report.scored = report.cases.iter().any(|case| case.score.is_some());
}

fn case_row(run: &str, case: &Json, scores: &BTreeMap<String, f64>) -> CaseRow {
    let name = case["input"].as_str().unwrap_or_default().to_owned();
    let seconds = |keys: &[&str]| -> f64 { keys.iter().filter_map(|key| case["seconds"][key].as_f64()).sum() };
    let parts =
        [seconds(&["total"]), seconds(&["check", "pre"]), seconds(&["inferer"]), seconds(&["invert", "post", "write"])];
    let sizes: Vec<String> =
        case["input_shape"].as_array().into_iter().flatten().skip(1).map(Json::to_string).collect();
    let error = case["error"].as_object().map(|error| {
        let part = |key: &str| error.get(key).and_then(Json::as_str);
        let mut text = part("message").unwrap_or("unknown error").to_owned();
        text.extend(part("file").filter(|file| *file != name).map(|file| format!(" ({file})")));
        text.extend(part("hint").map(|hint| format!("; hint: {hint}")));
        text
    });
    CaseRow {
        run: run.to_owned(),
        status: case["status"].as_str().unwrap_or_default().to_owned(),
        size: sizes.join("×"),
        seconds: parts.map(|seconds| format!("{seconds:.1}")),
        memory: case["peak_memory_bytes"].as_u64().map_or(String::new(), bytes),
        score: scores.get(&name).map(|score| format!("{score:.4}")),
        error,
        name,
    }
}

/// Adds pictures and volumes of the label maps that the runs have written.
fn add_results(runs: &[(String, PathBuf, Json)], options: Options, report: &mut Report) {
    let cases: Vec<LabeledCase> = runs.iter().flat_map(|(_, folder, run)| run_folder::labeled(folder, run)).collect();
    let shown = &cases[..options.previews.min(cases.len())];
    for picture in shown.par_iter().map(picture).collect::<Vec<_>>() {
        match picture {
            Ok(picture) => report.previews.push(picture),
            Err(error) => report.notes.push(note(&error)),
        }
    }
    if shown.len() < cases.len() {
        report.notes.push(format!(
            "previews of {} of {}: `--previews N` shows more",
            shown.len(),
            count(cases.len(), "case")
        ));
    }
    if !options.volumes {
        report.notes.push("without volumes (`--no-volumes`)".into());
        return;
    }
    let measure = |case: &LabeledCase| {
        let rows = statistics::statistics(&nifti::read(&case.labels)?, None, &case.names);
        rows.map_err(|error| error.file(&case.labels))
    };
    let mut by_structure: BTreeMap<u32, (String, Vec<(f64, bool)>)> = BTreeMap::new();
    for rows in cases.par_iter().map(measure).collect::<Vec<_>>() {
        match rows {
            Ok(rows) => rows.into_iter().for_each(|row| {
                let volumes = &mut by_structure.entry(row.id).or_insert((row.name, vec![])).1;
                volumes.push((row.volume_ml, row.touches_border));
            }),
            Err(error) => report.notes.push(note(&error)),
        }
    }
    report.volumes = by_structure.into_iter().map(|(id, (name, volumes))| volume_row(id, name, &volumes)).collect();
}

fn volume_row(id: u32, name: String, volumes: &[(f64, bool)]) -> VolumeRow {
    let ml = || volumes.iter().map(|(ml, _)| *ml);
    let mean = ml().sum::<f64>() / volumes.len().max(1) as f64;
    let range = [ml().fold(f64::INFINITY, f64::min), ml().fold(0.0, f64::max)];
    let structure = Structure { id, name };
    VolumeRow {
        color: structure.css_color(),
        cases: volumes.len(),
        cut: volumes.iter().filter(|(_, cut)| *cut).count(),
        ml: [mean, range[0], range[1]].map(|ml| format!("{ml:.1}")),
        name: structure.name,
    }
}

/// The preview that the run has written beside the label map, or a new one.
fn picture(case: &LabeledCase) -> Result<Preview> {
    let LabeledCase { input, image, labels, names } = case;
    let own = labels.file_name().unwrap_or_default().to_string_lossy();
    let beside = labels.parent().into_iter().flat_map(std::fs::read_dir).flatten().flatten().map(|entry| entry.path());
    // `s0001_preview.png` belongs to `s0001_trans.nii.gz`.
    let is_preview = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.strip_suffix("preview.png").is_some_and(|stem| stem.ends_with('_') && own.starts_with(stem))
    };
    let png = match beside.into_iter().find(is_preview) {
        Some(path) => std::fs::read(&path).map_err(|error| err!("cannot read: {error}").file(&path))?,
        None => {
            let (map, volume) = (nifti::read(labels)?, reader::read(image, None)?);
            let title = Path::new(input).file_name().unwrap_or_default().to_string_lossy();
            let made = preview::preview(&map, &volume, names, &title, preview::Options::default());
            made.and_then(|picture| picture.to_png()).map_err(|error| error.file(labels))?
        }
    };
    Ok(Preview { name: input.clone(), png: STANDARD.encode(png) })
}
