//! Builds a config's objects without running it, to find all wrong values in advance.
//!
//! A [`Session`] for a dry run resolves items by the same code as a run, with these differences:
//! - Functions and methods that act outside of this process ([`Effect::Acts`](crate::component::Effect)) are not
//!   called.
//! - Errors are recorded, and the other items are still resolved. A component with a wrong argument is built without
//!   it, if the argument has a default. Items that depend on an item without a value have no value either, but the
//!   types of their other arguments are checked.
//! - Engines check the objects that they would start with instead of running.

use super::node::Node;
use super::plan::{Plan, concerns};
use super::session::Session;
use super::tree::walk;
use crate::component::{Component, Value};
use crate::err;
use crate::error::{Error, Kind, Result};
use crate::run::ConfigRecord;
use parking_lot::Mutex;
use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

/// Findings of a dry run.
#[derive(Default)]
pub struct DryRun {
    problems: Mutex<Vec<Error>>,
    /// Ids without a value, because they failed, were withheld, or depend on such an item.
    unknown: Mutex<HashSet<String>>,
    /// What engines are told of the config, once it is known.
    record: OnceLock<Arc<ConfigRecord>>,
}

impl Plan {
    /// Build all items that the run reaches, and add their errors to the plan's problems.
    #[must_use]
    pub fn dry_run(self) -> Plan {
        let mut order = Vec::new();
        for section in [&self.roots.initialize, &self.roots.run, &self.roots.finalize] {
            order.extend(self.section(section));
        }
        walk(&self.tree.root, "", &mut |id, node| {
            if self.reached().contains(id) && (node.is_component() || node.expression().is_some()) {
                order.push(id.to_owned());
            }
        });
        let session = Session::dry(self);
        session.record_folder();
        for id in order {
            // Errors are recorded by the session.
            let _ = session.get(&id);
        }
        session.into_plan()
    }

    /// Values of items, as far as they are known without side effects.
    pub fn values(self, ids: &[String]) -> Vec<Option<Value>> {
        let session = Session::dry(self);
        ids.iter().map(|id| session.get(id).ok()).collect()
    }
}

impl DryRun {
    pub fn into_problems(self) -> Vec<Error> {
        self.problems.into_inner()
    }
    /// Set what engines are told of the config.
    pub fn set_record(&self, record: ConfigRecord) {
        let _ = self.record.set(Arc::new(record));
    }
    /// What engines are told of the config, if it is known.
    pub fn record(&self) -> Option<Arc<ConfigRecord>> {
        self.record.get().cloned()
    }
    /// Record a problem, once.
    pub fn report(&self, error: Error) {
        let mut problems = self.problems.lock();
        let same = |known: &Error| match error.is_of_value() {
            true => known.message() == error.message(),
            false => known.to_string() == error.to_string(),
        };
        if !problems.iter().any(same) {
            problems.push(error);
        }
    }
    /// Called before an item is resolved: an error if it is known to fail, as for expressions that the plan has
    /// rejected.
    pub fn enter(&self, plan: &Plan, id: &str) -> Result<()> {
        let refused = |problem: &Error| problem.get_id() == Some(id);
        let is_component = plan.tree.get(id).is_some_and(Node::is_component);
        match self.unknown.lock().contains(id) || !is_component && plan.problems().iter().any(refused) {
            true => Err(withheld(id)),
            false => Ok(()),
        }
    }
    /// Record that an item has failed. Returns the error for items that depend on it.
    pub fn fail(&self, id: &str, error: Error) -> Error {
        if error.get_kind() != Kind::Withheld {
            self.report(error);
        }
        self.unknown.lock().insert(id.to_owned());
        withheld(id)
    }
    /// Build the component `id` from its arguments, of which the entries `unknown` have no value.
    ///
    /// Wrong arguments are reported. Wrong and unknown arguments with a default are omitted, so that items that depend
    /// on the component can still be checked.
    ///
    /// # Errors
    /// The component cannot be built.
    pub fn build(
        &self,
        plan: &Plan,
        id: &str,
        component: &'static Component,
        mut named: Vec<(Arc<str>, Value)>,
        unknown: Vec<Arc<str>>,
        build: impl Fn(Vec<(Arc<str>, Value)>) -> Result<Value>,
    ) -> Result<Value> {
        let optional = |key: &str| component.params.iter().any(|param| param.name == key && param.default.is_some());
        let mut wrong = unknown;
        for (key, value) in &named {
            let Some(param) = component.params.iter().find(|param| *param.name == **key) else { continue };
            if let Err(error) = (param.check)(component.name, param, value) {
                wrong.push(key.clone());
                self.report(plan.located(error, id, Some(key)));
            }
        }
        if wrong.iter().any(|key| !optional(key)) {
            return Err(withheld(id));
        }
        named.retain(|(key, _)| !wrong.contains(key));
        loop {
            let error = match build(named.clone()) {
                Ok(value) => return Ok(value),
                Err(error) if error.get_kind() == Kind::Withheld => return Err(error),
                Err(error) => error,
            };
            // An error caused by an omitted argument is not an error of the config.
            if !error.get_arguments().iter().any(|argument| wrong.iter().any(|key| **key == **argument)) {
                self.report(plan.located(error.clone(), id, None));
            }
            let before = named.len();
            let culprits = named.extract_if(.., |(key, _)| optional(key) && concerns(&error, key));
            wrong.extend(culprits.map(|(key, _)| key));
            if named.len() == before {
                return Err(withheld(id));
            }
        }
    }
}

/// Error for an item that has no value in a dry run.
pub fn withheld(id: &str) -> Error {
    err!("`{id}` has no value in a dry run").kind(Kind::Withheld)
}
