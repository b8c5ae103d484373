//! Checks metadata.json against MONAI's bundle specification (docs/source/mb_specification.rst, MONAI 1.6.1).
//!
//! `monai.bundle.verify_metadata` downloads the JSON schema that the entry `schema` names; these rules are built in, so
//! that no network is needed, and all problems are found at once. What MONAI's schema accepts, but other tools cannot
//! use, is a warning.

use super::tensor_format::TensorFormat;
use crate::bundle::node::Content;
use crate::bundle::{Node, REQUIRED_METADATA, Tree, Warning, id};
use crate::component::Value;
use crate::err;
use crate::error::{Error, Kind, did_you_mean};

/// What is wrong with metadata.
#[derive(Debug, Default)]
pub struct Findings {
    /// Violations of the specification.
    pub errors: Vec<Error>,
    /// Likely mistakes.
    pub warnings: Vec<Warning>,
}

/// Type of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Text,
    Dict,
    List,
    Bool,
    /// An integer of at least 1.
    Count,
    /// A list of numbers.
    Numbers,
    /// A list of sizes: integers of at least 1, or expressions as text.
    Sizes,
}

/// Entries of metadata.json; [`REQUIRED_METADATA`] lists those that are required.
const BUNDLE: &[(&str, Type)] = &[
    ("schema", Type::Text),
    ("version", Type::Text),
    ("changelog", Type::Dict),
    ("monai_version", Type::Text),
    ("pytorch_version", Type::Text),
    ("numpy_version", Type::Text),
    ("required_packages_version", Type::Dict),
    ("name", Type::Text),
    ("task", Type::Text),
    ("description", Type::Text),
    ("authors", Type::Text),
    ("copyright", Type::Text),
    ("data_source", Type::Text),
    ("data_type", Type::Text),
    ("image_classes", Type::Text),
    ("label_classes", Type::Text),
    ("pred_classes", Type::Text),
    ("eval_metrics", Type::Dict),
    ("intended_use", Type::Text),
    ("references", Type::List),
    ("network_data_format", Type::Dict),
];
/// Entries of an input or output of the network; all but [`MODALITY`] are required.
const TENSOR: &[(&str, Type)] = &[
    ("type", Type::Text),
    ("format", Type::Text),
    (MODALITY, Type::Text),
    ("num_channels", Type::Count),
    ("spatial_shape", Type::Sizes),
    ("dtype", Type::Text),
    ("value_range", Type::Numbers),
    ("is_patch_data", Type::Bool),
    ("channel_def", Type::Dict),
];
const MODALITY: &str = "modality";
const FORMAT: &str = "network_data_format";

impl Type {
    fn accepts(self, node: &Node) -> bool {
        let Content::Leaf(value) = &node.content else {
            let Content::List(items) = &node.content else { return self == Type::Dict };
            return match self {
                Type::List => true,
                Type::Numbers => items.iter().all(|item| matches!(item.to_value(), Value::Int(_) | Value::Float(_))),
                Type::Sizes => !items.is_empty() && items.iter().all(is_size),
                _ => false,
            };
        };
        match self {
            Type::Text => matches!(value, Value::Str(_)),
            Type::Bool => matches!(value, Value::Bool(_)),
            Type::Count => matches!(value, Value::Int(1..)),
            _ => false,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Type::Text => "a string",
            Type::Dict => "a dict",
            Type::List => "a list",
            Type::Bool => "true or false",
            Type::Count => "an integer of at least 1",
            Type::Numbers => "a list of numbers, [MIN, MAX] or []",
            Type::Sizes => "a list of sizes: integers of at least 1, or strings such as \"*\", \"16*n\" or \"2**p\"",
        }
    }
}

fn is_size(node: &Node) -> bool {
    matches!(&node.content, Content::Leaf(Value::Int(1..) | Value::Str(_)))
}

/// Checks loaded metadata.
pub fn check(metadata: &Tree) -> Findings {
    let mut findings = Findings { errors: metadata.errors.clone(), warnings: metadata.warnings.clone() };
    check_entries(&metadata.root, "", BUNDLE, |key| REQUIRED_METADATA.contains(&key), &mut findings);
    if metadata.get("schema").is_none() {
        findings.warnings.push(
            at(
                err!("`schema` is missing: MONAI's verify_metadata needs the address of a JSON schema"),
                metadata.get(""),
                "",
            )
            .hint(format!("add \"schema\": \"{SCHEMA}\"")),
        );
    }
    for side in ["inputs", "outputs"] {
        let path = id::join(FORMAT, side);
        match metadata.get(&path) {
            Some(tensors) if Type::Dict.accepts(tensors) => {
                for (name, tensor) in tensors.children() {
                    check_tensor(tensor, &id::join(&path, &name), &mut findings);
                }
            }
            Some(other) => findings.errors.push(wrong(other, &path, Type::Dict)),
            None if metadata.get(FORMAT).is_some_and(|format| Type::Dict.accepts(format)) => {
                findings.errors.push(at(err!("`{side}` is missing"), metadata.get(FORMAT), FORMAT));
            }
            None => {}
        }
    }
    findings
}

/// The schema that published bundles name.
pub const SCHEMA: &str =
    "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20220324.json";

fn at(error: Error, node: Option<&Node>, id: &str) -> Error {
    let (error, file) = (error.kind(Kind::Config), node.map(|node| node.origin.text()));
    match (id, file) {
        ("", Some(file)) => error.file(file),
        (_, file) => error.at(file.as_deref(), id),
    }
}

fn wrong(node: &Node, id: &str, expected: Type) -> Error {
    let found = match &node.content {
        Content::Dict(_) => "a dict".to_owned(),
        content => match (content, node.to_value()) {
            (Content::List(items), _) if items.len() > 8 => format!("a list of {} items", items.len()),
            (_, value) => format!("{value:?}"),
        },
    };
    at(err!("expected {}, found {found}", expected.text()), Some(node), id)
}

fn check_entries(
    node: &Node,
    path: &str,
    entries: &[(&str, Type)],
    required: impl Fn(&str) -> bool,
    findings: &mut Findings,
) {
    let others: Vec<String> = node.children().into_iter().map(|(key, _)| key).collect();
    for (key, expected) in entries {
        match node.child(key) {
            Some(entry) if !expected.accepts(entry) => {
                findings.errors.push(wrong(entry, &id::join(path, key), *expected));
            }
            None if required(key) => {
                let unknown =
                    others.iter().map(String::as_str).filter(|other| !entries.iter().any(|(known, _)| known == other));
                let near = did_you_mean(key, unknown);
                let error = at(err!("`{key}` is missing"), Some(node), path);
                findings.errors.push(match near {
                    Some(near) => error.hint(format!("rename `{near}` to `{key}`")),
                    None => error,
                });
            }
            _ => {}
        }
    }
}

fn check_tensor(tensor: &Node, path: &str, findings: &mut Findings) {
    if !Type::Dict.accepts(tensor) {
        findings.errors.push(wrong(tensor, path, Type::Dict));
        return;
    }
    let before = findings.errors.len();
    check_entries(tensor, path, TENSOR, |key| key != MODALITY, findings);
    if findings.errors.len() > before {
        return;
    }
    let warning = |key: &str, error: Error| at(error, tensor.child(key), &id::join(path, key));
    match TensorFormat::new(tensor, path) {
        Err(error) => findings.warnings.push(error),
        Ok(format) => {
            findings.warnings.extend(format.size(1, 1, 1).err());
            let named = tensor.child("channel_def").map_or(0, |names| names.children().len());
            let channels = format.channels;
            if named as i64 != channels {
                let error = err!("expected a name for each of {channels} channels, found {named}");
                findings.warnings.push(warning("channel_def", error));
            }
        }
    }
    let values = tensor.child("value_range").map_or(0, |range| range.children().len());
    if !matches!(values, 0 | 2) {
        let error = err!("expected [MIN, MAX], or [] if unknown, found {values} values");
        findings.warnings.push(warning("value_range", error));
    }
}
