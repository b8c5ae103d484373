//! MetricsSaver (monai.handlers.metrics_saver, MONAI 1.6.1): write metrics, their values by case, and summaries as CSV
//! files.
//!
//! `metrics.csv`, `<metric>_raw.csv` and `<metric>_summary.csv` are equal to MONAI's. `metrics_by_structure.csv` and the
//! table in the log are additions: they list the structures by the names in the bundle's metadata.json.

use super::stats::tensor_text;
use crate::checkpoint::{self, StateDict};
use crate::component::{Args, BuildContext, Dict, FromValue, Key, OneOrMany, Value};
use crate::contracts::{EngineStart, EngineState, Event, Handler, MetricDetails, Score};
use crate::distributed;
use crate::error::{Error, Kind, Result};
use crate::formats::atomic;
use crate::metrics::SummaryOp;
use crate::text::count;
use crate::tools::structure_scores::{self, Better, StructureScore};
use crate::tools::structures::Structures;
use crate::{bail, err};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

component! {
    /// Write metrics, their values by case, and summaries as CSV files.
    pub static COMPONENT = handler "MetricsSaver" in "monai.handlers" / "metrics_saver";

    pub struct MetricsSaverArgs {
        /// Folder for the files; it is created if it is missing.
        save_dir: PathBuf,
        /// Metrics to write to `metrics.csv`, by name; "*" writes all, None writes none.
        metrics: Option<OneOrMany<String>> = "*",
        /// Metrics to write by case and class to `<metric>_raw.csv`, by name; "*" writes all, None writes none.
        metric_details: Option<OneOrMany<String>> = (),
        /// Function of the batch that returns the metadata of each image, whose `filename_or_obj` names the case:
        /// `$lambda x: [xx['image'].meta for xx in x]`. None uses the metadata of `image`.
        batch_transform: Value = (),
        /// Columns of `<metric>_summary.csv`: "mean", "median", "max", "min", "90percentile" or another percentile,
        /// "std", "notnans"; "*" is all of these, None writes no summary.
        summary_ops: Option<Summary> = (),
        /// Rank that writes the files.
        save_rank: usize = 0,
        /// Delimiter of the columns.
        delimiter: String = ",",
        /// Format of the files; only "csv" is supported, as in MONAI.
        output_type: String = "csv",
    }

    differs: [
        "the batch that `batch_transform` gets has `image` and `label` after the postprocessing",
        "without `batch_transform`, cases are named after their image, where MONAI writes `None`",
        "metrics_by_structure.csv and a table in the log name the structures",
    ],
    build: MetricsSaver::new,
}

/// `summary_ops`: one operation, a list, or "*".
struct Summary(Vec<SummaryOp>);

impl FromValue for Summary {
    fn expected() -> String {
        format!("\"*\", or one or a list of {}", SummaryOp::expected())
    }
    fn from_value(value: &Value) -> Option<Self> {
        let values = value.as_sequence().unwrap_or_else(|| vec![value.clone()]);
        match values.iter().any(|value| value.as_str() == Some("*")) {
            true => Some(Summary(SummaryOp::ALL.to_vec())),
            false => values.iter().map(SummaryOp::from_value).collect::<Option<_>>().map(Summary),
        }
    }
}

struct MetricsSaver {
    args: MetricsSaverArgs,
    /// Names of the epoch's cases, with their indices in the dataset.
    cases: Mutex<Vec<(usize, String)>>,
}

impl MetricsSaver {
    fn new(args: MetricsSaverArgs) -> Result<MetricsSaver> {
        if !args.output_type.eq_ignore_ascii_case("csv") {
            bail!("`output_type`: expected \"csv\", found \"{}\"", args.output_type);
        }
        let ranks = distributed::world_size();
        if args.save_rank >= ranks {
            return Err(err!("`save_rank` is {}, but there are only {}", args.save_rank, count(ranks, "rank"))
                .hint("set save_rank to 0, or remove it"));
        }
        if !args.batch_transform.is_none() && !args.batch_transform.callable() {
            return Err(
                err!("`batch_transform`: expected a function, found {:?}", args.batch_transform).kind(Kind::Config)
            );
        }
        Ok(MetricsSaver { args, cases: Mutex::default() })
    }

    /// Names of the cases of an iteration; none for an iteration whose images are not known.
    fn names(&self, engine: &EngineState) -> Result<Vec<String>> {
        let batch = engine.batch();
        let items = batch.as_sequence().unwrap_or_default();
        if items.iter().all(|case| matches!(case, Value::Dict(case) if case.items().is_empty())) {
            return Ok(vec![]);
        }
        let name = |metadata: &Dict| metadata.get(FILE_NAME).unwrap_or_default();
        if self.args.batch_transform.is_none() {
            let of_case = |case: &Value| match case {
                Value::Dict(case) => ["image", "label"].iter().find_map(|key| metadata_of(&case.get(key)?)),
                _ => None,
            };
            let names = items.iter().map(|case| match of_case(case) {
                Some(Value::Dict(metadata)) => name(&metadata).to_string(),
                _ => Value::None.to_string(),
            });
            return Ok(names.collect());
        }
        let metadata = self
            .args
            .batch_transform
            .call(Args::positional([batch]), &mut BuildContext::default())
            .map_err(|error| error.context("batch_transform"))?;
        let wrong = |found: &str| {
            err!("batch_transform: expected the metadata of each image as a list of dicts, found {found}")
                .hint("write `$lambda x: [xx['image'].meta for xx in x]`")
        };
        // A dict of lists is metadata that MONAI has collated.
        if let Value::Dict(dict) = &metadata {
            let names = name(dict);
            return Ok(names.as_sequence().unwrap_or_else(|| vec![names]).iter().map(Value::to_string).collect());
        }
        let list = metadata.as_sequence().ok_or_else(|| wrong(&metadata.type_name()))?;
        let of_image = |item: &Value| match item {
            Value::Dict(dict) => Ok(name(dict).to_string()),
            other => Err(wrong(&format!("a list with {}", other.type_name()))),
        };
        list.iter().map(of_image).collect()
    }

    /// Writes a file and adds its name to `files`.
    fn write(&self, name: String, text: impl AsRef<[u8]>, files: &mut Vec<String>) -> Result<()> {
        let path = self.args.save_dir.join(&name);
        atomic::write_file(&path, |file, _| {
            file.write_all(text.as_ref()).map_err(|error| err!("cannot write: {error}").file(&path))
        })?;
        files.push(name);
        Ok(())
    }

    fn write_all(&self, engine: &EngineState) -> Result<()> {
        let delimiter = &self.args.delimiter;
        let mut files = vec![];
        let mut metrics = String::new();
        let selected = Selection::new(&self.args.metrics);
        for (name, text) in engine.metrics.iter().flat_map(|(name, score)| texts(name, score)) {
            if selected.contains(&name) {
                metrics += &format!("{name}{delimiter}{text}\n");
            }
        }
        if !metrics.is_empty() {
            self.write("metrics.csv".into(), &metrics, &mut files)?;
        }
        selected.warn_of_unknown("metrics", engine.metrics.keys());
        let structures = Structures::channels(&engine.start.config.channel_names).unwrap_or_else(|error| {
            if !engine.start.config.channel_names.is_none() {
                tracing::warn!("MetricsSaver: structures are listed by number: {error}");
            }
            Structures::default()
        });
        let cases: Vec<String> = std::mem::take(&mut *self.cases.lock()).into_iter().map(|(_, name)| name).collect();
        let selected = Selection::new(&self.args.metric_details);
        let mut table = vec![];
        for (name, details) in engine.metric_details.iter().filter(|(name, _)| selected.contains(name)) {
            let known = details.rows.len() == cases.len();
            if !known {
                tracing::warn!(
                    "MetricsSaver: {name} has the values of {} cases, but {} cases have names: rows are numbered",
                    details.rows.len(),
                    cases.len()
                );
            }
            let raw = details.raw_csv(if known { &cases } else { &[] }, delimiter);
            self.write(format!("{name}_raw.csv"), &raw, &mut files)?;
            if let Some(Summary(ops)) = &self.args.summary_ops {
                self.write(format!("{name}_summary.csv"), details.summary_csv(ops, delimiter), &mut files)?;
            }
            let rows = by_structure(name, details, &structures);
            tracing::info!("{}", table_text(name, &rows, details));
            table.extend(rows);
        }
        selected.warn_of_unknown("values by case", engine.metric_details.keys());
        if !table.is_empty() {
            let failed = |error: &dyn std::fmt::Display| err!("cannot write the table of structures: {error}");
            let byte = if let [byte] = delimiter.as_bytes() { *byte } else { b',' };
            let mut csv = csv::WriterBuilder::new().delimiter(byte).from_writer(vec![]);
            table.iter().try_for_each(|row| csv.serialize(row)).map_err(|error| failed(&error))?;
            let text = csv.into_inner().map_err(|error| failed(&error))?;
            self.write("metrics_by_structure.csv".into(), &text, &mut files)?;
        }
        if !files.is_empty() {
            tracing::info!("wrote {} to {}", files.join(", "), self.args.save_dir.display());
        }
        Ok(())
    }

    fn check_writable(&self) -> Result<()> {
        atomic::check_writable(&self.args.save_dir.join("metrics.csv"))
    }
}

/// Names in `metrics` or `metric_details`.
struct Selection<'a>(&'a [String]);

impl<'a> Selection<'a> {
    fn new(names: &'a Option<OneOrMany<String>>) -> Selection<'a> {
        Selection(names.as_ref().map_or(&[], OneOrMany::as_slice))
    }
    fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|selected| selected == name || selected == "*")
    }
    /// Warns of names that select nothing; MONAI ignores them.
    fn warn_of_unknown<'k>(&self, what: &str, known: impl Iterator<Item = &'k Arc<str>>) {
        let known: Vec<&str> = known.map(|name| &**name).collect();
        for name in self.0.iter().filter(|name| *name != "*" && !known.contains(&name.as_str())) {
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            tracing::warn!("MetricsSaver: `{name}` is not among the {what} of the engine ({known})");
        }
    }
}

/// State of the handler in a saved training.
#[derive(Serialize, Deserialize)]
struct SavedCases {
    cases: Vec<String>,
}

/// Key of the file name in the metadata of an image.
const FILE_NAME: &str = "filename_or_obj";

fn metadata_of(image: &Value) -> Option<Value> {
    if let Value::Object(object) = image { object.attr("meta").ok().flatten() } else { None }
}

/// Names and texts of a score in `metrics.csv`; scores by label are written one by one and together.
fn texts(name: &str, score: &Score) -> Vec<(String, String)> {
    match score {
        Score::Number(x) => vec![(name.to_owned(), Value::Float(*x).to_string())],
        Score::Numbers(all) => vec![(name.to_owned(), tensor_text(all))],
        Score::Named(all) => {
            let together = Value::Dict(Dict::new(all.iter().map(|(label, x)| (Key::str(label), Value::Float(*x)))));
            let each = all.iter().map(|(label, x)| (label.clone(), Value::Float(*x).to_string()));
            each.chain([(name.to_owned(), together.to_string())]).collect()
        }
    }
}

fn by_structure(metric: &str, details: &MetricDetails, structures: &Structures) -> Vec<StructureScore> {
    let channels = details.rows.first().map_or(0, Vec::len);
    let rows = (0..channels).map(|column| {
        let label = (column + details.first_channel) as u32;
        let finite: Vec<f32> = details.column(column).into_iter().filter(|value| value.is_finite()).collect();
        let of = |op: SummaryOp| Some(op.apply(&finite)).filter(|x| !x.is_nan());
        StructureScore {
            metric: metric.to_owned(),
            label,
            structure: match label {
                0 if !structures.contains(0) => "background".into(),
                label => structures.get(label).name,
            },
            cases: finite.len(),
            mean: of(SummaryOp::Mean),
            median: of(SummaryOp::Median),
            min: of(SummaryOp::Min),
            max: of(SummaryOp::Max),
            better: if details.lower_is_better { Better::Lower } else { Better::Higher },
            infinite: details.infinite.get(column).copied().unwrap_or(0),
            unit: details.unit.unwrap_or_default().to_owned(),
        }
    });
    rows.collect()
}

/// The rows as a table, the worst first; structures without values are listed below it.
fn table_text(metric: &str, rows: &[StructureScore], details: &MetricDetails) -> String {
    let (mut known, absent): (Vec<&StructureScore>, Vec<_>) = rows.iter().partition(|row| row.has_values());
    known.sort_by(|a, b| a.worst_first(b));
    let width = known.iter().map(|row| row.structure.chars().count()).max().unwrap_or(0).max("structure".len());
    let infinite = structure_scores::describe_infinite(rows);
    let mut text = format!(
        "{metric} by structure{}, {} first{}\n  {:width$} {:>6} {:>7} {:>7} {:>7}{}",
        details.unit.map(|unit| format!(" in {unit}")).unwrap_or_default(),
        if details.lower_is_better { "highest" } else { "lowest" },
        infinite.as_ref().map(|them| format!(", without {them}")).unwrap_or_default(),
        "structure",
        "cases",
        "mean",
        "min",
        "max",
        if infinite.is_some() { " infinite" } else { "" },
    );
    for row in known {
        text += &format!("\n  {:width$} {:>6}", row.structure, row.cases);
        let number = |value: Option<f32>| value.map_or("-".into(), |value| format!("{value:.4}"));
        [row.mean, row.min, row.max].into_iter().for_each(|value| text += &format!(" {:>7}", number(value)));
        if infinite.is_some() {
            text += &format!(" {:>8}", row.infinite);
        }
    }
    if !absent.is_empty() {
        let absent: Vec<&str> = absent.iter().map(|row| &*row.structure).collect();
        text += &format!("\n  without a value: {}", absent.join(", "));
    }
    text
}

impl Handler for MetricsSaver {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn wants_output(&self) -> bool {
        self.args.metric_details.is_some()
    }
    fn output_folder(&self) -> Option<&Path> {
        Some(&self.args.save_dir)
    }
    fn check(&self, _start: &EngineStart) -> Vec<Error> {
        self.check_writable().err().into_iter().collect()
    }
    fn prepare(&self, _start: &EngineStart) -> Result<()> {
        self.check_writable()
    }
    fn save(&self) -> Result<StateDict> {
        checkpoint::to_state(&SavedCases { cases: self.cases.lock().iter().map(|(_, name)| name.clone()).collect() })
    }
    fn load(&self, saved: &StateDict) -> Result<()> {
        let cases = checkpoint::from_state::<SavedCases>(saved)?.cases;
        *self.cases.lock() = cases.into_iter().map(|name| (0, name)).collect();
        Ok(())
    }
    fn note(&self) -> Option<serde_json::Value> {
        Some(serde_json::json!(*self.cases.lock()))
    }
    fn receive(&self, notes: Vec<serde_json::Value>) -> Result<()> {
        let all =
            notes.into_iter().map(serde_json::from_value::<Vec<(usize, String)>>).collect::<Result<Vec<_>, _>>()?;
        let mut cases = all.concat();
        cases.sort_by_key(|(index, _)| *index);
        *self.cases.lock() = cases;
        Ok(())
    }
    fn on(&self, event: Event, engine: &EngineState) -> Result<()> {
        match event {
            Event::Started => self.cases.lock().clear(),
            Event::IterationCompleted if self.wants_output() => {
                let names = self.names(engine)?;
                self.cases.lock().extend(names.into_iter().map(|name| (engine.case, name)));
            }
            Event::EpochCompleted if distributed::rank() == self.args.save_rank => self.write_all(engine)?,
            _ => {}
        }
        Ok(())
    }
}
