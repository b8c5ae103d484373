//! `json.load` and `json.loads`.
//!
//! Difference from Python: integers beyond 64 bits are errors.

use super::common::{charge_text, pure, reads, wrong};
use super::io::TextFile;
use crate::bundle::json;
use crate::bundle::load::Notes;
use crate::component::{BuildContext, Function, Value};
use crate::err;
use crate::error::{Error, Kind, Result};

pub const FUNCTIONS: &[Function] = &[
    pure("json.loads", |args, call| match args.expect("json.loads", ["s"])? {
        [Value::Str(text)] => parse("json.loads", &text, call),
        [other] => Err(wrong("json.loads", "str", &other)),
    }),
    reads("json.load", |args, call| {
        let [file] = args.expect("json.load", ["fp"])?;
        let file = file.downcast::<TextFile>().ok_or_else(|| wrong("json.load", "open file", &file))?;
        parse("json.load", &file.read()?, call).map_err(|e| e.file(file.name()))
    }),
];

/// Parse JSON; `name` is the function or file in errors.
pub fn parse(name: &str, text: &str, call: &mut BuildContext) -> Result<Value> {
    charge_text(call, text.len())?;
    let invalid = |e: Error| err!("{name}: {}", e.message()).kind(Kind::Config);
    let node = json::read(text, name, &mut Notes::default()).map_err(invalid)?;
    call.charge(node.count())?;
    Ok(node.to_value())
}
