//! Scopes of local names: parameters of lambdas, targets of comprehensions, and names bound by `:=`.

use crate::component::{Value, discard};
use parking_lot::RwLock;
use std::sync::Arc;

/// Kind of a scope. `:=` in a comprehension binds the name in the enclosing scope.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The whole expression, or a lambda.
    Function,
    Comprehension,
}

pub struct Scope {
    owner: Owner,
    names: RwLock<Vec<(Arc<str>, Value)>>,
    parent: Option<Arc<Scope>>,
}

impl Scope {
    pub fn new(owner: Owner, parent: Option<Arc<Scope>>) -> Arc<Scope> {
        Arc::new(Scope { owner, names: RwLock::default(), parent })
    }
    pub fn get(&self, name: &str) -> Option<Value> {
        let found = self.names.read().iter().find(|(known, _)| **known == *name).map(|(_, value)| value.clone());
        found.or_else(|| self.parent.as_ref()?.get(name))
    }
    /// Bind a name in this scope.
    pub fn set(&self, name: &Arc<str>, value: Value) {
        let mut names = self.names.write();
        let old = match names.iter_mut().find(|(known, _)| known == name) {
            Some((_, slot)) => std::mem::replace(slot, value),
            None => {
                names.push((name.clone(), value));
                Value::None
            }
        };
        // The old value is dropped after the lock is released, since its drop may read this scope.
        drop(names);
        drop(old);
    }
    /// Bind a name as `name := value` does.
    pub fn walrus(&self, name: &Arc<str>, value: Value) {
        match &self.parent {
            Some(parent) if self.owner == Owner::Comprehension => parent.walrus(name, value),
            _ => self.set(name, value),
        }
    }
    /// All names that are visible in this scope, for suggestions.
    pub fn visible(&self) -> Vec<Arc<str>> {
        let mut names: Vec<Arc<str>> = self.names.read().iter().map(|(name, _)| name.clone()).collect();
        names.extend(self.parent.iter().flat_map(|parent| parent.visible()));
        names
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        // Closures can create chains of scopes of any length, so that the drop must not be recursive.
        discard((std::mem::take(self.names.get_mut()), self.parent.take()));
    }
}
