//! Lists of cases from files, for `--datalist cases.csv`: CSV tables, JSON lines, lists of paths, and standard input.
//!
//! Their values are data: a path that starts with `$` or `@` is a path, not an expression or a reference. As everywhere,
//! relative paths start in the working folder.

use crate::bundle::node::{Node, Origin};
use crate::bundle::{RunArgs, id};
use crate::component::{Dict, Key, Value};
use crate::error::{Kind, Result};
use crate::formats;
use crate::{err, text};
use serde_json::Value as Json;
use std::collections::HashSet;
use std::io::Read;
use std::path::Path;

/// Largest size of a list in bytes.
const MAX_BYTES: u64 = 64 << 20;
/// Largest number of cases.
const MAX_CASES: usize = 1_000_000;
/// Key of the image in an entry of the datalist.
const IMAGE: &str = "image";
/// Name of standard input, in arguments.
const STDIN: &str = "-";

/// Format of a list.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    /// A table whose first line names the columns.
    Csv,
    /// A JSON object or string per line.
    JsonLines,
    /// A path, or a JSON object or string, per line.
    Lines,
}

/// Replaces the datalists among the overrides that name a file, or `-` for standard input, by its content.
///
/// # Errors
/// The file cannot be read or has another format.
pub fn read_overrides(args: &mut RunArgs) -> Result<()> {
    for (key, node) in &mut args.overrides {
        let Some(source) = node.as_str().filter(|_| id::split_last(&id::normalize(key)).1 == "datalist") else {
            continue;
        };
        let extension = Path::new(source).extension().unwrap_or_default().to_ascii_lowercase();
        let format = match extension.to_str().unwrap_or_default() {
            _ if source.starts_with(['$', '@', '%']) => continue,
            _ if source == STDIN => Format::Lines,
            "csv" => Format::Csv,
            "jsonl" | "ndjson" => Format::JsonLines,
            "txt" => Format::Lines,
            _ => continue,
        };
        let name = if source == STDIN { "standard input" } else { source };
        let cases = content(source)
            .and_then(|text| match format {
                Format::Csv => table(&text),
                format => lines(&text, format),
            })
            .map_err(|error| error.kind(Kind::Config).file(name))?;
        // A leaf: its strings are not read as expressions.
        *node = Node::leaf(Value::list(cases), Origin::new(name, 0));
    }
    Ok(())
}

fn content(source: &str) -> Result<String> {
    let mut bytes = vec![];
    let cannot = |error: std::io::Error| err!("cannot read the list of cases: {error}");
    match source {
        STDIN => std::io::stdin().lock().take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(cannot)?,
        file => {
            let file = formats::open(Path::new(file)).map_err(cannot)?;
            file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(cannot)?
        }
    };
    if bytes.len() as u64 > MAX_BYTES {
        return Err(err!("expected at most {} of cases, found more", text::bytes(MAX_BYTES)));
    }
    text::decode(bytes)
}

/// Adds an entry of line `line`.
fn add(cases: &mut Vec<Vec<(Key, Value)>>, line: u64, entry: Vec<(Key, Value)>) -> Result<()> {
    check_entry(&entry).map_err(|error| error.context(format_args!("line {line}")))?;
    if cases.len() == MAX_CASES {
        return Err(err!("expected at most {MAX_CASES} cases, found more"));
    }
    cases.push(entry);
    Ok(())
}

/// Paths if no entry has other keys, as configs expect that build the entries themselves; else the entries as dicts.
fn values(cases: Vec<Vec<(Key, Value)>>) -> Vec<Value> {
    let only_images = cases.iter().all(|entry| entry.len() == 1);
    let value = |entry: Vec<(Key, Value)>| match only_images {
        true => entry.into_iter().next().map_or(Value::None, |(_, image)| image),
        false => Value::Dict(Dict::new(entry)),
    };
    cases.into_iter().map(value).collect()
}

/// The entry of a case: that of a path or a list of paths, or an object as it is.
///
/// # Errors
/// The value is not one of these, or the object has no paths under `image`.
pub fn entry_of(json: &Json) -> Result<Value> {
    let entry = items_of(json);
    check_entry(&entry)?;
    Ok(Value::Dict(Dict::new(entry)))
}

fn items_of(json: &Json) -> Vec<(Key, Value)> {
    match json {
        Json::Object(entry) => entry.iter().map(|(key, value)| (Key::str(key), value_of(value))).collect(),
        path => vec![(Key::str(IMAGE), value_of(path))],
    }
}

fn value_of(json: &Json) -> Value {
    match json {
        Json::Null => Value::None,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match number.as_i64() {
            Some(value) => Value::Int(value),
            None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::str(text),
        Json::Array(items) => Value::list(items.iter().map(value_of)),
        Json::Object(entries) => {
            Value::Dict(Dict::new(entries.iter().map(|(key, value)| (Key::str(key), value_of(value)))))
        }
    }
}

/// Checks that an entry has paths under `image`.
fn check_entry(entry: &[(Key, Value)]) -> Result<()> {
    let is_path = |value: &Value| value.as_str().is_some_and(|path| !path.is_empty());
    let names_images = |value: &Value| match value.as_sequence() {
        Some(paths) => !paths.is_empty() && paths.iter().all(is_path),
        None => is_path(value),
    };
    match entry.iter().find(|(key, _)| key.as_str() == Some(IMAGE)) {
        Some((_, value)) if names_images(value) => Ok(()),
        Some((_, value)) => Err(err!("expected a path under `{IMAGE}`, found {value:?}")),
        None => Err(err!("expected a path under `{IMAGE}`, found none")),
    }
}

fn table(text: &str) -> Result<Vec<Value>> {
    let mut table = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let wrong = |error: csv::Error| match error.kind() {
        csv::ErrorKind::UnequalLengths { pos, expected_len, len } => err!(
            "line {}: expected {expected_len} columns as in the first line, found {len}",
            pos.as_ref().map_or(0, csv::Position::line)
        ),
        _ => err!("expected a table in CSV: {error}"),
    };
    let names: Vec<String> = table.headers().map_err(wrong)?.iter().map(str::to_owned).collect();
    let image = names.iter().position(|name| name == IMAGE);
    if let (None, Some(first)) = (image, names.first())
        && (first.is_empty() || first.contains(['.', '/']))
    {
        return Err(err!("line 1: expected names of columns, found `{first}`").hint(format!("add the line `{IMAGE}`")));
    }
    let keys: Vec<Key> = names
        .iter()
        .enumerate()
        .map(|(at, name)| Key::str(if at == image.unwrap_or(0) { IMAGE } else { name }))
        .collect();
    let mut seen = HashSet::new();
    if let Some(twice) = keys.iter().filter_map(Key::as_str).find(|name| !seen.insert(*name)) {
        return Err(err!("line 1: two columns are named `{twice}`"));
    }
    let mut cases = vec![];
    for record in table.records() {
        let record = record.map_err(wrong)?;
        let line = record.position().map_or(0, csv::Position::line);
        // An empty cell is a key that the case does not have.
        let cells = keys.iter().cloned().zip(record.iter()).filter(|(_, cell)| !cell.is_empty());
        add(&mut cases, line, cells.map(|(key, cell)| (key, Value::str(cell))).collect())?;
    }
    Ok(values(cases))
}

fn lines(text: &str, format: Format) -> Result<Vec<Value>> {
    let mut cases = vec![];
    for (line, content) in (1..).zip(text.lines()) {
        let trimmed = content.trim();
        let entry = match trimmed.chars().next() {
            None => continue,
            Some('{' | '"') => {
                let json = serde_json::from_str(trimmed);
                items_of(&json.map_err(|error| err!("line {line}: expected JSON: {error}"))?)
            }
            _ if format == Format::JsonLines => {
                return Err(err!("line {line}: expected a JSON object or string, found `{}`", shortened(trimmed)));
            }
            _ => vec![(Key::str(IMAGE), Value::str(content))],
        };
        add(&mut cases, line, entry)?;
    }
    Ok(values(cases))
}

fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(40).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(cases: Result<Vec<Value>>) -> String {
        match cases {
            Ok(cases) => format!("{:?}", Value::list(cases)),
            Err(error) => error.message().to_owned(),
        }
    }

    #[test]
    fn a_table_has_images_and_further_keys() {
        for (text, expected) in [
            ("image\na.nii.gz\n\"b, c.nii\"\n", "['a.nii.gz', 'b, c.nii']"),
            ("\u{feff}path\r\n$f(x)\r\n", "['$f(x)']"),
            ("id,image,label\n1,a,\n2, b ,l\n", "[{'id': '1', 'image': 'a'}, {'id': '2', 'image': 'b', 'label': 'l'}]"),
            ("image\n", "[]"),
            ("a.nii.gz\nb.nii.gz\n", "line 1: expected names of columns, found `a.nii.gz`"),
            ("image,label\na\n", "line 2: expected 2 columns as in the first line, found 1"),
            ("image,label\na,b\n,c\n", "line 3: expected a path under `image`, found none"),
            ("image,id,id\na,b,c\n", "line 1: two columns are named `id`"),
            ("", "[]"),
        ] {
            assert_eq!(shown(text::decode(text.into()).and_then(|text| table(&text))), expected, "{text:?}");
        }
    }

    #[test]
    fn lines_hold_json_or_paths() {
        for (text, format, expected) in [
            ("{\"image\": \"a\"}\n\n\"@b\"\n", Format::JsonLines, "['a', '@b']"),
            (
                "{\"image\": [\"a\", \"b\"], \"age\": 3}\n\"c\"",
                Format::JsonLines,
                "[{'image': ['a', 'b'], 'age': 3}, {'image': 'c'}]",
            ),
            ("a\n", Format::JsonLines, "line 1: expected a JSON object or string, found `a`"),
            ("a b.nii\n\"c\"\n{\"image\": \"$d\"}\n", Format::Lines, "['a b.nii', 'c', '$d']"),
            ("\"a\"\n{\"image\": 3}\n", Format::Lines, "line 2: expected a path under `image`, found 3"),
            ("{\"label\": \"a\"}\n", Format::Lines, "line 1: expected a path under `image`, found none"),
            ("{\"image\": []}\n", Format::Lines, "line 1: expected a path under `image`, found []"),
        ] {
            assert_eq!(shown(lines(text, format)), expected, "{text:?}");
        }
        let error = lines("\"a\"\n{\"image\": \n", Format::Lines).unwrap_err();
        assert!(error.message().starts_with("line 2: expected JSON: "), "{error}");
    }
}
