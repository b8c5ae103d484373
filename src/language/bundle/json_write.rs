//! A config as JSON, as Python's `json.dump` gives it: keys become strings, tuples lists, `NaN` stays a number; with
//! line breaks, which MONAI's `export_config_file` leaves out.

use super::node::{Content, Node, key_text};
use crate::component::{Key, Value};
use crate::err;
use crate::error::{Kind, Result};

/// The text of a whole file. A set, or what only the command line can hold, is an error.
pub fn write(node: &Node) -> Result<String> {
    let mut out = String::new();
    put(&mut out, node, 0)?;
    out.push('\n');
    Ok(out)
}

fn put(out: &mut String, node: &Node, depth: usize) -> Result<()> {
    match &node.content {
        Content::Leaf(value) => leaf(out, value).map_err(|error| error.file(node.origin.text()))?,
        Content::List(items) => block(out, ['[', ']'], items.iter().map(|item| (None, item)), depth)?,
        Content::Dict(entries) => {
            block(out, ['{', '}'], entries.iter().map(|(key, item)| (Some(name(key)), item)), depth)?
        }
    }
    Ok(())
}

fn block<'a>(
    out: &mut String,
    brackets: [char; 2],
    items: impl Iterator<Item = (Option<String>, &'a Node)>,
    depth: usize,
) -> Result<()> {
    out.push(brackets[0]);
    let mut any = false;
    for (key, item) in items {
        out.push_str(if any { ",\n" } else { "\n" });
        any = true;
        out.push_str(&"    ".repeat(depth + 1));
        if let Some(key) = key {
            out.push_str(&quoted(&key));
            out.push_str(": ");
        }
        put(out, item, depth + 1)?;
    }
    if any {
        out.push('\n');
        out.push_str(&"    ".repeat(depth));
    }
    out.push(brackets[1]);
    Ok(())
}

fn leaf(out: &mut String, value: &Value) -> Result<()> {
    match value {
        Value::None => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Int(i) => out.push_str(&i.to_string()),
        Value::Float(x) if x.is_nan() => out.push_str("NaN"),
        Value::Float(x) if x.is_infinite() => out.push_str(if *x > 0.0 { "Infinity" } else { "-Infinity" }),
        Value::Float(_) => out.push_str(&value.to_string()),
        Value::Str(text) => out.push_str(&quoted(text)),
        Value::List(_) | Value::Tuple(_) => {
            out.push('[');
            for (at, item) in value.as_sequence().unwrap_or_default().iter().enumerate() {
                out.push_str(if at == 0 { "" } else { ", " });
                leaf(out, item)?;
            }
            out.push(']');
        }
        other => return Err(err!("a value of type {} cannot be written as JSON", other.type_name()).kind(Kind::Config)),
    }
    Ok(())
}

/// Python's spelling of keys that are no strings.
fn name(key: &Key) -> String {
    match key {
        Key::None => "null".into(),
        key => key_text(key),
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
