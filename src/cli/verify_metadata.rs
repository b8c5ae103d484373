//! `segbundle verify-metadata`: check metadata.json against MONAI's specification.

use super::monai::CommandArgs;
use crate::bundle::args::ARGS_FILE;
use crate::bundle::{Parameter, Rules, load_metadata};
use crate::err;
use crate::error::{Kind, Result};
use crate::text::count;
use crate::tools::bundle::metadata;
use std::fmt::Write;

pub const ARGS: CommandArgs = CommandArgs {
    command: "verify-metadata",
    parameters: &[
        Parameter::new("meta_file", "FILE", "metadata.json, or several files to merge: \"['a.json','b.json']\""),
        Parameter::new("filepath", "FILE", "No effect: the rules are built in, no schema is downloaded"),
        Parameter::new("create_dir", "BOOL", "No effect"),
        Parameter::new("hash_val", "HASH", "No effect"),
        Parameter::new("hash_type", "TYPE", "No effect"),
        ARGS_FILE,
    ],
    usage: "--meta_file FILE",
    overrides: false,
    examples: "\
Example:
  segbundle verify-metadata --meta_file configs/metadata.json",
};

/// Prints all problems to stdout.
///
/// # Errors
/// The metadata have at least one.
pub fn verify_metadata(words: &[String], rules: Rules) -> Result<()> {
    let Some(mut arguments) = ARGS.parse(words, rules)? else { return Ok(()) };
    let files = arguments.texts("meta_file")?;
    for ignored in ["filepath", "create_dir", "hash_val", "hash_type"] {
        arguments.take(ignored);
    }
    arguments.finish(ARGS.parameters)?;
    let files = files.ok_or_else(|| {
        err!("no metadata file is given").kind(Kind::Config).hint("add `--meta_file configs/metadata.json`")
    })?;
    let found = metadata::check(&load_metadata(&files, rules)?);
    let mut out = String::new();
    for (label, errors) in [("error", &found.errors), ("warning", &found.warnings)] {
        for error in errors {
            let _ = writeln!(out, "{label}: {error}\n");
        }
    }
    let (files, mistakes) = (files.join(", "), found.errors.len());
    let _ = writeln!(out, "{files}: {}, {}", count(mistakes, "mistake"), count(found.warnings.len(), "warning"));
    super::show(&out)?;
    match mistakes {
        0 => Ok(()),
        _ => Err(err!("{} in {files}", count(mistakes, "mistake")).kind(Kind::Config)),
    }
}
