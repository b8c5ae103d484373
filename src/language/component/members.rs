//! Tables of the attributes and methods of object types.

use super::{Args, BuildContext, Object, Value};
use crate::err;
use crate::error::{Kind, Result};

/// Declares a name of the objects of type `T`, with its implementation; see [`members!`](crate::members).
pub enum Member<T: 'static> {
    /// `object.name`, computed by each access.
    Attribute(&'static str, fn(&T) -> Result<Value>),
    /// `object.name(...)`.
    Method(&'static str, fn(&T, Args, &mut BuildContext) -> Result<Value>),
    /// Methods of the Python type that are refused, and the reason.
    Refused(&'static [&'static str], &'static str),
}

use Member::{Attribute, Method, Refused};

/// Names of the attributes and methods in `members`.
pub fn names<T>(members: &[Member<T>]) -> Vec<&'static str> {
    let name = |member: &Member<T>| match member {
        Attribute(name, _) | Method(name, _) => Some(*name),
        Refused(..) => None,
    };
    members.iter().filter_map(name).collect()
}

/// Value of the attribute `name`; `None` if `members` has no such attribute.
pub fn attribute<T>(object: &T, members: &[Member<T>], name: &str) -> Result<Option<Value>> {
    let found = members.iter().find_map(|member| match member {
        Attribute(own, get) if *own == name => Some(get),
        _ => None,
    });
    found.map(|get| get(object)).transpose()
}

/// Result of the method `name`; `None` if `members` has no such method.
pub fn call_method<T: Object>(
    object: &T,
    members: &[Member<T>],
    name: &str,
    args: &mut Args,
    call: &mut BuildContext,
) -> Result<Option<Value>> {
    for member in members {
        match member {
            Method(own, method) if *own == name => return method(object, std::mem::take(args), call).map(Some),
            Refused(names, reason) if names.contains(&name) => {
                return Err(err!("{}.{name}: {reason}", object.type_name()).kind(Kind::Config));
            }
            _ => {}
        }
    }
    Ok(None)
}

/// Implements [`Object::attr_names`], [`Object::attr`] and [`Object::call_method`] by a table of [`Member`]s.
///
/// ```ignore
/// static MEMBERS: &[Member<DateTime>] = &[
///     Attribute("year", |time| Ok(Value::Int(time.year()))),
///     Method("strftime", |time, args, _| time.format(&one("strftime", "format", args)?)),
/// ];
/// impl Object for DateTime {
///     members!(MEMBERS);
///     // ...
/// }
/// ```
#[macro_export]
macro_rules! members {
    ($members:expr) => {
        fn attr_names(&self) -> Vec<&'static str> {
            $crate::component::members::names($members)
        }
        fn attr(&self, name: &str) -> $crate::error::Result<Option<$crate::component::Value>> {
            $crate::component::members::attribute(self, $members, name)
        }
        fn call_method(
            &self,
            name: &str,
            args: &mut $crate::component::Args,
            call: &mut $crate::component::BuildContext,
        ) -> $crate::error::Result<Option<$crate::component::Value>> {
            $crate::component::members::call_method(self, $members, name, args, call)
        }
    };
}
