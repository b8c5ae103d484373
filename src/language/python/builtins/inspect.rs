//! Functions that inspect values (type, attributes, identity), and `print`.

use crate::bundle::expr::values::attributes::attribute;
use crate::bundle::expr::values::types::is_instance;
use crate::bundle::expr::values::{take, text};
use crate::component::{Args, BuildContext, Object, Value};
use crate::error::Result;
use crate::{bail, err};
use std::io::Write;

pub fn callable(args: Args, _: &mut BuildContext) -> Result<Value> {
    let [value] = take(args, "callable", ["obj"], 1)?;
    Ok(Value::Bool(value.unwrap_or_default().callable()))
}

/// Attributes of modules are looked up by the evaluator, which has access to the table.
pub fn getattr(args: Args, _: &mut BuildContext) -> Result<Value> {
    let [value, name, default] = take(args, "getattr", ["object", "name", "default"], 2)?;
    let found = attribute(&value.unwrap_or_default(), &text(&name.unwrap_or_default(), "getattr")?, None);
    match default {
        Some(default) => Ok(found.unwrap_or(default)),
        None => found,
    }
}
pub fn hasattr(args: Args, _: &mut BuildContext) -> Result<Value> {
    let [value, name] = take(args, "hasattr", ["obj", "name"], 2)?;
    Ok(attribute(&value.unwrap_or_default(), &text(&name.unwrap_or_default(), "hasattr")?, None).is_ok().into())
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
    if let Some(class) = class.downcast::<Type>() {
        return Ok(Value::Bool(value.type_name() == class.0));
    }
    is_instance(&value, &class)
        .map(Value::Bool)
        .ok_or_else(|| err!("isinstance() arg 2 must be a type or a tuple of types, found {class:?}"))
}

/// `type(x)`: a value with the type's name, equal to the class or built-in function of that name.
pub fn type_of(args: Args, _: &mut BuildContext) -> Result<Value> {
    let [value] = take(args, "type", ["object"], 1)?;
    Ok(Value::object(Type(value.unwrap_or_default().type_name())))
}

struct Type(String);

impl Object for Type {
    fn type_name(&self) -> &str {
        "type"
    }
    fn repr(&self) -> String {
        format!("<class '{}'>", self.0)
    }
    fn attr(&self, name: &str) -> Result<Option<Value>> {
        let own = if self.0 == "None" { "NoneType" } else { self.0.rsplit('.').next().unwrap_or(&self.0) };
        Ok((name == "__name__").then(|| Value::str(own)))
    }
    fn equals(&self, other: &Value) -> bool {
        match other {
            Value::Component(component) => component.name == self.0,
            Value::Function(function) => function.path.rsplit('.').next() == Some(&self.0),
            other => other.downcast::<Type>().is_some_and(|other| other.0 == self.0),
        }
    }
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
