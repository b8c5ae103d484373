//! `json`: reading into plain values, and writing in Python's layout.
//!
//! Difference from Python: integers beyond 64 bits are errors.

use super::common::{charge_text, pure, reads, wrong};
use super::io::TextFile;
use crate::bundle::json;
use crate::bundle::load::Notes;
use crate::component::{Args, BuildContext, Declared, Function, Value};
use crate::error::{Error, Kind, Result};
use crate::{args, err};

pub const FUNCTIONS: &[Function] = &[
    pure("json.loads", |args, call| match args.expect("json.loads", ["s"])? {
        [Value::Str(text)] => parse("json.loads", &text, call),
        [other] => Err(wrong("json.loads", "str", &other)),
    }),
    reads("json.load", |args, call| {
        let [file] = args.expect("json.load", ["fp"])?;
        let file = file.downcast::<TextFile>().ok_or_else(|| wrong("json.load", "open file", &file))?;
        parse("json.load", &file.read("json.load")?, call).map_err(|e| e.file(file.name()))
    }),
    pure("json.dumps", dumps),
];

/// A JSON text as a value.
pub fn parse(name: &str, text: &str, call: &mut BuildContext) -> Result<Value> {
    charge_text(call, text.len())?;
    let invalid = |e: Error| err!("{name}: {}", e.message()).kind(Kind::Config);
    let node = json::read(text, name, &mut Notes::default()).map_err(invalid)?;
    call.charge(node.count())?;
    Ok(node.to_value())
}

args! {
    struct Dumps {
        obj: Value,
        skipkeys: bool = false,
        ensure_ascii: bool = true,
        check_circular: bool = true,
        allow_nan: bool = true,
        cls: Value = (),
        indent: Value = (),
        separators: Value = (),
        default: Value = (),
        sort_keys: bool = false,
    }
}

struct Layout {
    indent: Option<String>,
    comma: String,
    colon: String,
    ascii: bool,
    sort: bool,
    default: Value,
}

fn dumps(args: Args, call: &mut BuildContext) -> Result<Value> {
    let args = Dumps::parse("json.dumps", args)?;
    let indent = match &args.indent {
        Value::None => None,
        Value::Int(n) => Some(" ".repeat((*n).clamp(0, 64) as usize)),
        Value::Str(text) => Some(text.to_string()),
        other => return Err(wrong("json.dumps: argument `indent`", "int, str or None", other)),
    };
    let (comma, colon) = match args.separators.as_sequence().as_deref() {
        Some([Value::Str(comma), Value::Str(colon)]) => (comma.to_string(), colon.to_string()),
        Some(_) => return Err(wrong("json.dumps: argument `separators`", "(str, str)", &args.separators)),
        None => (if indent.is_some() { "," } else { ", " }.to_owned(), ": ".to_owned()),
    };
    let layout = Layout { indent, comma, colon, ascii: args.ensure_ascii, sort: args.sort_keys, default: args.default };
    let mut out = String::new();
    layout.write(&args.obj, 0, &mut out, call)?;
    Ok(out.into())
}

impl Layout {
    fn write(&self, value: &Value, level: usize, out: &mut String, call: &mut BuildContext) -> Result<()> {
        call.charge(1)?;
        match value {
            Value::None => out.push_str("null"),
            Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
            Value::Int(_) | Value::Float(_) => out.push_str(&number(value)),
            Value::Str(text) => self.quote(text, out, call)?,
            Value::List(_) | Value::Tuple(_) => {
                let items = value.as_sequence().unwrap_or_default();
                self.block(['[', ']'], &items, level, out, call, |item, out, call| {
                    self.write(item, level + 1, out, call)
                })?;
            }
            Value::Dict(dict) => {
                let mut items = dict.items();
                if self.sort {
                    items.sort_by(|a, b| a.0.cmp(&b.0));
                }
                self.block(['{', '}'], &items, level, out, call, |(key, item), out, call| {
                    match key.to_value() {
                        Value::Str(text) => self.quote(&text, out, call)?,
                        Value::None => out.push_str("\"null\""),
                        key @ (Value::Int(_) | Value::Float(_)) => out.push_str(&format!("\"{}\"", number(&key))),
                        key => return Err(wrong("json.dumps: a key", "str, int, float or None", &key)),
                    }
                    out.push_str(&self.colon);
                    self.write(item, level + 1, out, call)
                })?;
            }
            other if self.default.callable() => {
                let replaced = self.default.call(Args::positional([other.clone()]), call)?;
                call.nested(|call| self.write(&replaced, level, out, call))?;
            }
            other => return Err(wrong("json.dumps", "str, number, bool, None, list, tuple or dict", other)),
        }
        Ok(())
    }

    fn block<T>(
        &self,
        [open, close]: [char; 2],
        items: &[T],
        level: usize,
        out: &mut String,
        call: &mut BuildContext,
        mut each: impl FnMut(&T, &mut String, &mut BuildContext) -> Result<()>,
    ) -> Result<()> {
        out.push(open);
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                out.push_str(&self.comma);
            }
            self.new_line(level + 1, out, call)?;
            call.nested(|call| each(item, out, call))?;
        }
        if !items.is_empty() {
            self.new_line(level, out, call)?;
        }
        out.push(close);
        Ok(())
    }

    fn new_line(&self, level: usize, out: &mut String, call: &mut BuildContext) -> Result<()> {
        if let Some(indent) = &self.indent {
            charge_text(call, indent.len() * level)?;
            out.push('\n');
            out.push_str(&indent.repeat(level));
        }
        Ok(())
    }

    fn quote(&self, text: &str, out: &mut String, call: &mut BuildContext) -> Result<()> {
        charge_text(call, text.len())?;
        out.push('"');
        for c in text.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                c if (c as u32) < 0x20 || self.ascii && (c as u32) > 0x7e => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                c => out.push(c),
            }
        }
        out.push('"');
        Ok(())
    }
}

fn number(value: &Value) -> String {
    match value {
        Value::Float(x) if x.is_nan() => "NaN".into(),
        Value::Float(x) if x.is_infinite() => if *x > 0.0 { "Infinity" } else { "-Infinity" }.into(),
        value => format!("{value:?}"),
    }
}
