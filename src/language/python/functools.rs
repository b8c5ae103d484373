//! `functools.partial`, which also implements `_mode_: callable` with arguments, and `functools.reduce`.

use super::common::{pure, wrong};
use super::given::Given;
use crate::bundle::expr::values::iter::Cursor;
use crate::component::Member::{self, Attribute};
use crate::component::{Args, BuildContext, Function, Object, Value, discard};
use crate::error::Result;
use crate::{bail, err, members};

pub const FUNCTIONS: &[Function] = &[
    pure("functools.partial", |mut args, _| {
        if args.positional.is_empty() {
            bail!("functools.partial takes at least 1 argument, found 0");
        }
        let function = args.positional.remove(0);
        if !function.callable() {
            return Err(wrong("functools.partial: argument `func`", "callable", &function));
        }
        Ok(Value::object(Partial { function, args }))
    }),
    pure("functools.reduce", |args, call| {
        let given = Given::bind("functools.reduce", &["function", "iterable", "initial"], args)?;
        let (function, mut cursor): (Value, _) = (given.need(0)?, Cursor::new(&given.need(1)?)?);
        let first = given.any(2).cloned().map_or_else(|| cursor.next(call), |initial| Ok(Some(initial)))?;
        let mut result = first.ok_or_else(|| err!("functools.reduce: the iterable is empty").hint("give `initial`"))?;
        while let Some(item) = cursor.next(call)? {
            result = function.call(Args::positional([result, item]), call)?;
        }
        Ok(result)
    }),
];

/// A callable with stored arguments; named arguments of a call replace stored ones.
pub struct Partial {
    /// The wrapped callable.
    pub function: Value,
    /// Its first positional arguments and named arguments.
    pub args: Args,
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Partials can be nested to any depth.
        discard((std::mem::take(&mut self.function), std::mem::take(&mut self.args)));
    }
}

static MEMBERS: &[Member<Partial>] = &[Attribute("func", |partial| Ok(partial.function.clone()))];

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
    members!(MEMBERS);
}
