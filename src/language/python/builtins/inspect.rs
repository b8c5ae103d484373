//! Functions that inspect values (type, attributes, identity), and `print`.

use crate::bundle::expr::values::types::is_instance;
use crate::bundle::expr::values::{take, text};
use crate::component::{Args, BuildContext, Value};
use crate::error::Result;
use crate::{bail, err};
use std::io::Write;

pub fn callable(args: Args, _: &mut BuildContext) -> Result<Value> {
    let [value] = take(args, "callable", ["obj"], 1)?;
    Ok(Value::Bool(value.unwrap_or_default().callable()))
}

pub fn setattr(args: Args, _: &mut BuildContext) -> Result<Value> {
    let [object, name, value] = take(args, "setattr", ["obj", "name", "value"], 3)?;
    let name = text(&name.unwrap_or_default(), "setattr")?;
    match object.unwrap_or_default() {
        Value::Object(object) => object.set_attr(&name, value.unwrap_or_default())?,
        other => bail!("attribute `{name}` of {} cannot be set", other.type_name()),
    }
    Ok(Value::None)
}

pub fn isinstance(args: Args, _: &mut BuildContext) -> Result<Value> {
    let [value, class] = take(args, "isinstance", ["obj", "class_or_tuple"], 2)?;
    let (value, class) = (value.unwrap_or_default(), class.unwrap_or_default());
    is_instance(&value, &class)
        .map(Value::Bool)
        .ok_or_else(|| err!("isinstance() arg 2 must be a type or a tuple of types, found {class:?}"))
}

/// Print to standard output; a closed pipe is not an error.
pub fn print(mut args: Args, call: &mut BuildContext) -> Result<Value> {
    let mut part = |name: &str, default: &str| -> Result<String> {
        match args.take(name) {
            None | Some(Value::None) => Ok(default.to_owned()),
            Some(value) => text(&value, "print").map(|text| text.to_string()),
        }
    };
    let (separator, end) = (part("sep", " ")?, part("end", "\n")?);
    args.take("flush");
    if args.take("file").is_some_and(|file| !file.is_none()) {
        bail!("print() writes to standard output only");
    }
    if let Some((name, _)) = args.named.first() {
        bail!("print() has no argument `{name}`");
    }
    let mut line = String::new();
    for (at, value) in args.positional.iter().enumerate() {
        let text = value.to_string();
        call.charge(text.len() + separator.len())?;
        line.push_str(if at == 0 { "" } else { &separator });
        line.push_str(&text);
    }
    call.charge(end.len())?;
    line.push_str(&end);
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    Ok(Value::None)
}
