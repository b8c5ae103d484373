//! Declarations of the methods of built-in types.

use super::take_into;
use crate::component::{Args, BuildContext, Value};
use crate::error::Result;

/// A method: its parameters, of which the first `required` have no default, and its implementation.
pub struct Method {
    pub name: &'static str,
    params: &'static [&'static str],
    required: usize,
    call: Body,
}

type Body = fn(&Value, &mut Given, &mut BuildContext) -> Result<Value>;

/// Arguments in the order of the parameters, and surplus arguments.
pub struct Given {
    slots: Vec<Option<Value>>,
    /// All arguments of a method declared with [`any`].
    pub rest: Args,
}

impl Given {
    /// An argument; `None` if it is missing or None.
    pub fn option(&mut self, at: usize) -> Option<Value> {
        self.slots.get_mut(at)?.take().filter(|value| !value.is_none())
    }
    /// An argument; Python's None if it is missing.
    pub fn value(&mut self, at: usize) -> Value {
        self.slots.get_mut(at).and_then(Option::take).unwrap_or_default()
    }
    /// Whether an argument is given, possibly as None.
    pub fn has(&self, at: usize) -> bool {
        self.slots.get(at).is_some_and(Option::is_some)
    }
}

pub const fn method(name: &'static str, params: &'static [&'static str], required: usize, call: Body) -> Method {
    Method { name, params, required, call }
}

/// Declare a method that accepts any arguments.
pub const fn any(name: &'static str, call: Body) -> Method {
    Method { name, params: &["*"], required: 0, call }
}

/// Evaluate `own.name(args)`; `None` if the type has no method of this name.
pub fn call(
    methods: &'static [Method],
    own: &Value,
    name: &str,
    args: Args,
    call: &mut BuildContext,
) -> Result<Option<Value>> {
    let Some(method) = methods.iter().find(|method| method.name == name) else { return Ok(None) };
    let mut given = match method.params {
        ["*"] => Given { slots: vec![], rest: args },
        params => {
            let mut slots = vec![None; params.len()];
            take_into(&mut slots, args, name, params, method.required)?;
            Given { slots, rest: Args::default() }
        }
    };
    (method.call)(own, &mut given, call).map(Some)
}
