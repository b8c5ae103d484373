//! Lambdas: functions created by expressions. They keep their scope alive and look up names when called, as in Python.

use super::ast::Lambda;
use super::eval::Frame;
use super::scope::{Owner, Scope};
use crate::component::{Args, BuildContext, Dict, Key, Object, Value, discard};
use crate::error::Result;
use crate::{bail, err};
use std::sync::Arc;

pub struct Closure {
    frame: Frame,
    lambda: Arc<Lambda>,
    /// Values of [`Parameters::defaults`](super::ast::Parameters::defaults), evaluated once.
    defaults: Vec<Value>,
}

impl Closure {
    /// Evaluate a lambda expression.
    pub fn value(frame: &Frame, lambda: &Arc<Lambda>, call: &mut BuildContext) -> Result<Value> {
        let defaults = lambda.parameters.defaults().map(|node| frame.eval(node, call)).collect::<Result<_>>()?;
        Ok(Value::object(Closure { frame: frame.clone(), lambda: lambda.clone(), defaults }))
    }

    fn bind(&self, mut args: Args, scope: &Scope) -> Result<()> {
        let parameters = &self.lambda.parameters;
        let mut positional = std::mem::take(&mut args.positional).into_iter();
        let mut defaults = self.defaults.iter();
        let mut missing: Vec<Arc<str>> = Vec::new();
        for parameter in &parameters.positional {
            let (given, by_name) = (positional.next(), args.take(&parameter.name));
            if given.is_some() && by_name.is_some() {
                bail!("<lambda>() got several values for argument `{}`", parameter.name);
            }
            let default = parameter.default.as_ref().and_then(|_| defaults.next());
            match given.or(by_name).or_else(|| default.cloned()) {
                Some(value) => scope.set(&parameter.name, value),
                None => missing.push(parameter.name.clone()),
            }
        }
        if !missing.is_empty() {
            return Err(err!("<lambda>() needs argument `{}`", missing.join("`, `")));
        }
        let surplus: Vec<Value> = positional.collect();
        match &parameters.rest {
            Some(name) => scope.set(name, Value::tuple(surplus)),
            None if !surplus.is_empty() => {
                let most = parameters.positional.len();
                bail!("<lambda>() takes at most {most} positional arguments, found {}", most + surplus.len());
            }
            None => {}
        }
        match &parameters.keywords {
            Some(name) => {
                let named = args.named.into_iter().map(|(name, value)| (Key::Str(name), value));
                scope.set(name, Value::Dict(Dict::new(named)));
            }
            None => {
                if let Some((name, _)) = args.named.first() {
                    bail!("<lambda>() has no argument `{name}`");
                }
            }
        }
        Ok(())
    }
}

impl Drop for Closure {
    fn drop(&mut self) {
        discard(std::mem::take(&mut self.defaults));
    }
}

impl Object for Closure {
    fn type_name(&self) -> &str {
        "function"
    }
    fn repr(&self) -> String {
        "<function <lambda>>".into()
    }
    fn attr(&self, name: &str) -> Result<Option<Value>> {
        Ok(matches!(name, "__name__" | "__qualname__").then(|| Value::str("<lambda>")))
    }
    fn callable(&self) -> bool {
        true
    }
    fn call(&self, args: Args, call: &mut BuildContext) -> Result<Value> {
        call.charge(args.positional.len() + args.named.len() + 1)?;
        let scope = Scope::new(Owner::Function, Some(self.frame.scope.clone()));
        self.bind(args, &scope)?;
        let frame = Frame { parsed: self.frame.parsed.clone(), env: self.frame.env.clone(), scope };
        frame.eval(&self.lambda.body, call)
    }
}
