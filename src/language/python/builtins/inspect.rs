//! Functions that inspect values (type, attributes, identity), and `print`.

use crate::bundle::expr::values::attributes::attribute;
use crate::bundle::expr::values::types::is_instance;
use crate::component::{Args, BuildContext, Object, Value};
use crate::error::Result;
use crate::python::common::{one, to};
use crate::python::given::Given;
use crate::{bail, err};
use std::io::Write;
use std::sync::Arc;

pub fn callable(args: Args, _: &mut BuildContext) -> Result<Value> {
    Ok(Value::Bool(one::<Value>("callable", "obj", args)?.callable()))
}

/// Attributes of modules are looked up by the evaluator, which has access to the table.
pub fn getattr(args: Args, _: &mut BuildContext) -> Result<Value> {
    let given = Given::bind("getattr", &["object", "name", "default"], args)?;
    let found = attribute(&given.need(0)?, &given.need::<Arc<str>>(1)?, None);
    found.or_else(|error| given.any(2).cloned().ok_or(error))
}
pub fn hasattr(args: Args, _: &mut BuildContext) -> Result<Value> {
    let [value, name] = args.expect("hasattr", ["obj", "name"])?;
    Ok(attribute(&value, &to::<Arc<str>>("hasattr", &name)?, None).is_ok().into())
}
pub fn setattr(args: Args, _: &mut BuildContext) -> Result<Value> {
    let [object, name, value] = args.expect("setattr", ["obj", "name", "value"])?;
    let name: Arc<str> = to("setattr", &name)?;
    match object {
        Value::Object(object) => object.set_attr(&name, value)?,
        other => bail!("attribute `{name}` of {} cannot be set", other.type_name()),
    }
    Ok(Value::None)
}

pub fn isinstance(args: Args, _: &mut BuildContext) -> Result<Value> {
    let [value, class] = args.expect("isinstance", ["obj", "class_or_tuple"])?;
    if let Some(class) = class.downcast::<Type>() {
        return Ok(Value::Bool(value.type_name() == class.0));
    }
    is_instance(&value, &class)
        .map(Value::Bool)
        .ok_or_else(|| err!("isinstance() arg 2 must be a type or a tuple of types, found {class:?}"))
}

/// `type(x)`: a value with the type's name, equal to the class or built-in function of that name.
pub fn type_of(args: Args, _: &mut BuildContext) -> Result<Value> {
    Ok(Value::object(Type(one::<Value>("type", "object", args)?.type_name())))
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
    let mut part = |name: &str, default: &str| {
        let given = args.take(name).filter(|value| !value.is_none());
        given.map_or(Ok(default.to_owned()), |value| to::<String>("print", &value))
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
