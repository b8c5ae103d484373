//! `_mode_: callable` with arguments: the callable with some of them given (`functools.partial`).

use crate::component::{Args, BuildContext, Object, Value};
use crate::error::Result;
use std::sync::Arc;

pub struct Partial {
    pub callable: Value,
    pub named: Vec<(Arc<str>, Value)>,
}

impl Object for Partial {
    fn type_name(&self) -> &str {
        "functools.partial"
    }
    fn repr(&self) -> String {
        let named: Vec<String> = self.named.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
        format!("functools.partial({:?}, {})", self.callable, named.join(", "))
    }
    fn attr(&self, name: &str) -> Result<Option<Value>> {
        Ok((name == "func").then(|| self.callable.clone()))
    }
    fn attr_names(&self) -> &[&str] {
        &["func"]
    }
    fn callable(&self) -> bool {
        true
    }
    /// The call's own arguments win.
    fn call(&self, args: Args, call: &mut BuildContext) -> Result<Value> {
        let kept = self.named.iter().filter(|(key, _)| !args.named.iter().any(|(given, _)| given == key));
        let mut named: Vec<_> = kept.cloned().collect();
        named.extend(args.named);
        self.callable.call(Args { positional: args.positional, named }, call)
    }
}
