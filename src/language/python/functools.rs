//! `functools.partial` and `functools.reduce`.

use super::common::{found, iterate, pure};
use crate::component::{Args, BuildContext, Dict, Function, Key, Object, Value, discard};
use crate::error::{Kind, Result};
use crate::{bail, err};

pub const FUNCTIONS: &[Function] = &[
    pure("functools.partial", |mut args, _| {
        if args.positional.is_empty() {
            bail!("functools.partial takes at least 1 argument, found 0");
        }
        let function = args.positional.remove(0);
        if !function.callable() {
            return Err(err!("functools.partial: argument `func`: expected callable, found {}", found(&function))
                .kind(Kind::Config));
        }
        Ok(Value::object(Partial { function, args }))
    }),
    pure("functools.reduce", |args, call| {
        let (function, items, start) = match &args.positional[..] {
            [function, items] => (function, items, None),
            [function, items, start] => (function, items, Some(start.clone())),
            other => bail!("functools.reduce takes 2 or 3 arguments, found {}", other.len()),
        };
        let mut items = iterate("functools.reduce", items, call)?.into_iter();
        let Some(start) = start.or_else(|| items.next()) else {
            bail!("functools.reduce: the sequence is empty and there is no initial value")
        };
        items.try_fold(start, |sum, item| function.call(Args::positional([sum, item]), call))
    }),
];

/// A function with some arguments already given.
struct Partial {
    function: Value,
    args: Args,
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Partials of partials go to any depth.
        discard((std::mem::take(&mut self.function), std::mem::take(&mut self.args)));
    }
}

impl Object for Partial {
    fn type_name(&self) -> &str {
        "functools.partial"
    }
    fn repr(&self) -> String {
        let positional = self.args.positional.iter().map(|value| format!(", {value:?}"));
        let named = self.args.named.iter().map(|(key, value)| format!(", {key}={value:?}"));
        format!("functools.partial({:?}{})", self.function, positional.chain(named).collect::<String>())
    }
    fn callable(&self) -> bool {
        true
    }
    fn call(&self, args: Args, call: &mut BuildContext) -> Result<Value> {
        let mut all = self.args.clone();
        all.positional.extend(args.positional);
        for (key, value) in args.named {
            all.named.retain(|(own, _)| *own != key);
            all.named.push((key, value));
        }
        self.function.call(all, call)
    }
    fn attr_names(&self) -> &[&str] {
        &["func", "args", "keywords"]
    }
    fn attr(&self, name: &str) -> Result<Option<Value>> {
        Ok(match name {
            "func" => Some(self.function.clone()),
            "args" => Some(Value::tuple(self.args.positional.clone())),
            "keywords" => Some(Value::Dict(Dict::new(
                self.args.named.iter().map(|(key, value)| (Key::Str(key.clone()), value.clone())),
            ))),
            _ => None,
        })
    }
}
