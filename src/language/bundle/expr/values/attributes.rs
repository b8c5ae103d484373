//! Attributes and methods: `value.name` and `value.name(…)`.

use super::{dicts, lists, sets, strs};
use crate::bundle::names;
use crate::component::{Args, BuildContext, Object, Table, Value};
use crate::error::{Error, Kind, Result, did_you_mean};
use crate::python::given::Method;
use crate::{bail, err};
use std::sync::Arc;

/// The methods of a value of a built-in type.
fn methods_of(value: &Value) -> &'static [Method<Value>] {
    match value {
        Value::Str(_) => strs::METHODS,
        Value::List(_) => lists::LIST_METHODS,
        Value::Tuple(_) => lists::TUPLE_METHODS,
        Value::Dict(_) => dicts::METHODS,
        Value::Set(_) => sets::METHODS,
        _ => &[],
    }
}

/// Evaluate `receiver.name(args)`.
pub fn call_method(
    receiver: &Value,
    name: &str,
    args: Args,
    table: Option<&'static Table>,
    call: &mut BuildContext,
) -> Result<Value> {
    call.charge(1)?;
    if let Value::Object(object) = receiver {
        let mut args = args;
        call.permit(object.effect(name), name)?;
        return match call.nested(|call| call.lend(|call| object.call_method(name, &mut args, call)))? {
            Some(value) => Ok(value),
            None => object.attr(name)?.ok_or_else(|| missing(receiver, name))?.call(args, call),
        };
    }
    match Method::find(methods_of(receiver), name) {
        Some(method) => method.call(receiver, name, args, call),
        None => attribute(receiver, name, table)?.call(args, call),
    }
}

/// Evaluate `value.name`; names in modules and classes are looked up in `table`.
pub fn attribute(value: &Value, name: &str, table: Option<&'static Table>) -> Result<Value> {
    let last = |path: &str| Some(Value::str(path.rsplit('.').next().unwrap_or(path)));
    let found = match (value, name) {
        (Value::Module(path), _) => return in_module(path, name, table),
        (Value::Component(component), "__name__" | "__qualname__") => last(component.path),
        (Value::Function(function), "__name__" | "__qualname__") => last(function.path),
        (Value::Component(component), "__module__") => {
            component.path.rsplit_once('.').map(|(module, _)| Value::str(module))
        }
        (Value::Component(component), _) => table.and_then(|table| table.lookup(&format!("{}.{name}", component.path))),
        (Value::Function(function), _) => table.and_then(|table| table.lookup(&format!("{}.{name}", function.path))),
        // A member of an enum of strings.
        (Value::Str(_), "name" | "value") => {
            let member = table.and_then(|table| table.member_name(value));
            member.map(|own| if name == "name" { Value::str(own) } else { Value::str(value.to_string()) })
        }
        (Value::Object(object), _) => match object.attr(name)? {
            Some(value) => Some(value),
            None if object.attr_names().contains(&name) => Some(bound(value, name)),
            None => None,
        },
        _ => Method::find(methods_of(value), name).map(|_| bound(value, name)),
    };
    found.ok_or_else(|| missing(value, name))
}

fn missing(value: &Value, name: &str) -> Error {
    let kind = value.type_name();
    let error = err!("'{kind}' object has no attribute `{name}`").kind(Kind::Config);
    let names: Vec<&str> = match value {
        Value::Object(object) => object.attr_names(),
        value => methods_of(value).iter().flat_map(|method| method.names).copied().collect(),
    };
    error.suggest(did_you_mean(name, names.into_iter().filter(|name| !name.starts_with("__"))))
}

fn in_module(module: &str, name: &str, table: Option<&'static Table>) -> Result<Value> {
    let Some(table) = table else { bail!("`{module}`: getattr() and hasattr() do not support modules") };
    if let Some(value) = table.lookup(&format!("{module}.{name}")) {
        return Ok(value);
    }
    if name == "__name__" {
        return Ok(Value::str(module));
    }
    Err(names::unreachable(table, &format!("{module}.{name}")))
}

fn bound(receiver: &Value, name: &str) -> Value {
    Value::object(Bound { receiver: receiver.clone(), name: name.into() })
}

/// A bound method: `value.method` without a call.
struct Bound {
    receiver: Value,
    name: Arc<str>,
}

impl Drop for Bound {
    fn drop(&mut self) {
        crate::component::discard(std::mem::take(&mut self.receiver));
    }
}

impl Object for Bound {
    fn type_name(&self) -> &str {
        "method"
    }
    fn repr(&self) -> String {
        format!("<built-in method {} of {} object>", self.name, self.receiver.type_name())
    }
    fn attr(&self, name: &str) -> Result<Option<Value>> {
        Ok((name == "__name__").then(|| Value::Str(self.name.clone())))
    }
    fn callable(&self) -> bool {
        true
    }
    fn call(&self, args: Args, call: &mut BuildContext) -> Result<Value> {
        call_method(&self.receiver, &self.name, args, None, call)
    }
    fn equals(&self, other: &Value) -> bool {
        other
            .downcast::<Bound>()
            .is_some_and(|other| other.name == self.name && super::compare::same(&other.receiver, &self.receiver))
    }
}
