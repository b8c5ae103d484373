//! Command lines as python-fire parses them: flags, words and their values.
//!
//! Source: `fire/core.py` (`_ParseKeywordArgs`, `_IsFlag`), as called for the functions of `monai.bundle.scripts` that
//! take any keyword, and `fire/parser.py` (`DefaultParseValue`). Deliberate difference: bytes, complex numbers and integers
//! beyond 64 bits are read as text.

use super::expr::{Names, literal};
use super::load::Warning;
use super::node::{Node, Origin};
use crate::component::Value;
use crate::err;
use crate::error::{Kind, Result};
use indexmap::IndexMap;

/// A parameter of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter {
    /// Name, as in Python: `config_file` is given as `--config_file` or `--config-file`.
    pub name: &'static str,
    /// What the value is, for the help: `FILE`, `DIR`, `N`.
    pub value: &'static str,
    /// Help.
    pub help: &'static str,
}

impl Parameter {
    /// A parameter.
    pub const fn new(name: &'static str, value: &'static str, help: &'static str) -> Parameter {
        Parameter { name, value, help }
    }
}

/// Parse flags and their values, in the order of first occurrence. Words are assigned to the first of the `parameters`
/// without a flag; surplus words are errors.
pub fn parse(argv: &[String], parameters: &[Parameter], warnings: &mut Vec<Warning>) -> Result<IndexMap<String, Node>> {
    let config = |message: String| err!("{message}").kind(Kind::Config).file("command line");
    // Arguments after the last `--` are for fire itself.
    let end = argv.iter().rposition(|arg| arg == "--").unwrap_or(argv.len());
    if end + 1 < argv.len() {
        warnings.push(config(format!("ignored after `--`: {}", argv[end + 1..].join(" "))));
    }
    let argv = &argv[..end];

    let mut flags: IndexMap<String, Node> = IndexMap::new();
    let mut words = Vec::new();
    // The flag whose value was read last, for warnings about words that follow it.
    let mut last: Option<&str> = None;
    let mut at = 0;
    while at < argv.len() {
        let argument = &argv[at];
        at += 1;
        if !is_flag(argument) {
            words.push((argument, last));
            continue;
        }
        let stripped = argument.trim_start_matches('-');
        last = None;
        if let Some((key, value)) = stripped.split_once('=') {
            last = Some(key);
            set(&mut flags, key, value, warnings);
            continue;
        }
        match argv.get(at) {
            Some(value) if !is_flag(value) => {
                at += 1;
                last = Some(stripped);
                set(&mut flags, stripped, value, warnings);
            }
            // A flag without a value is a switch.
            _ => match stripped.strip_prefix("no") {
                Some(key) if !is_parameter(parameters, &stripped.replace('-', "_")) => {
                    set(&mut flags, key, "False", warnings)
                }
                _ => set(&mut flags, stripped, "True", warnings),
            },
        }
    }

    let names = parameters.iter().map(|parameter| parameter.name);
    let mut free = names.filter(|name| !flags.contains_key(*name)).collect::<Vec<_>>().into_iter();
    let mut placed = Vec::new();
    for (word, after) in words {
        if word == "-" {
            return Err(config("unexpected `-`, which separates calls in python-fire".into()));
        }
        let Some(name) = free.next() else {
            return Err(config(format!("unexpected argument `{word}`")).hint("write overrides as `--id value`"));
        };
        if let Some(flag) = after {
            let note = config(format!("`{word}` after the value of `--{flag}` is read as {name}"));
            warnings.push(note.hint(format!("several values are one argument: --{flag} \"['first','second']\"")));
        }
        placed.push((name.to_owned(), read(word)));
    }
    flags.extend(placed);
    Ok(flags)
}

/// Whether one of the `parameters` has this name.
pub fn is_parameter(parameters: &[Parameter], name: &str) -> bool {
    parameters.iter().any(|parameter| parameter.name == name)
}

/// Value of an argument: a Python literal in which bare words are strings, or else the text itself.
fn read(text: &str) -> Node {
    // Python's parser rejects indentation before an expression.
    let indented = text.starts_with([' ', '\t']);
    let value = if indented { None } else { literal(text, Names::Strings).ok() };
    Node::from_value(&value.unwrap_or_else(|| Value::str(text)), &Origin::command_line())
}

fn set(flags: &mut IndexMap<String, Node>, key: &str, value: &str, warnings: &mut Vec<Warning>) {
    let key = key.replace('-', "_");
    let node = read(value);
    // `#` starts a comment in Python: `a.nii.gz#1` would be truncated there.
    let lost =
        value.contains('#') && !node.as_str().is_some_and(|text| text.contains('#')) && !value.contains(['\'', '"']);
    if lost {
        let note =
            err!("`--{key} {value}` is read as {:?}: Python reads the text after `#` as a comment", node.to_value());
        warnings
            .push(note.kind(Kind::Config).file("command line").hint(format!("quote it twice: --{key} \"'{value}'\"")));
    }
    if let Some(dropped) = flags.insert(key.clone(), node) {
        let note = err!("`--{key}` is given twice: {dropped:?} is ignored, the last value is used").kind(Kind::Config);
        warnings.push(
            note.file("command line").hint(format!("several values are one argument: --{key} \"['first','second']\"")),
        );
    }
}

/// Whether an argument starts with a hyphen and is not a negative number.
fn is_flag(argument: &str) -> bool {
    argument.starts_with("--")
        || argument.strip_prefix('-').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic()))
}
