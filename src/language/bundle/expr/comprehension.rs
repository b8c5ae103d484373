//! Comprehensions and generators: nested cursors, consumed at once or step by step.

use super::ast::{Comprehension, Element, Kind, Target};
use super::eval::Frame;
use super::scope::{Owner, Scope};
use super::values::iter::{Cursor, Iter, Step, collect, key};
use super::values::sets;
use crate::bail;
use crate::component::{BuildContext, Dict, Value};
use crate::error::Result;
use std::sync::Arc;

/// State of a comprehension: one cursor per open loop, outermost first.
struct Loops {
    frame: Frame,
    comprehension: Arc<Comprehension>,
    cursors: Vec<Cursor>,
}

impl Frame {
    pub fn comprehension(&self, comprehension: &Arc<Comprehension>, call: &mut BuildContext) -> Result<Value> {
        let Some(first) = comprehension.clauses.first() else { bail!("a comprehension without a loop") };
        // As in Python, the first iterable is evaluated at once in the enclosing scope, even for a generator.
        let iterable = self.eval(&first.iterable, call)?;
        let outermost = Cursor::new(&iterable).map_err(|error| self.parsed.place(error, first.iterable.at))?;
        let scope = Scope::new(Owner::Comprehension, Some(self.scope.clone()));
        let frame = Frame { parsed: self.parsed.clone(), env: self.env.clone(), scope };
        let mut loops = Loops { frame, comprehension: comprehension.clone(), cursors: vec![outermost] };
        match (&comprehension.element, comprehension.kind) {
            (_, Kind::Generator) => Ok(Iter::value("generator", loops)),
            (Element::One(node), kind) => {
                let mut values = Vec::new();
                while loops.next(call)? {
                    values.push(loops.frame.eval(node, call)?);
                }
                if kind == Kind::List {
                    return Ok(Value::list(values));
                }
                Ok(sets::make(values.iter().map(key).collect::<Result<Vec<_>>>()?))
            }
            (Element::KeyValue(name, value), _) => {
                let dict = Dict::default();
                while loops.next(call)? {
                    let name = key(&loops.frame.eval(name, call)?)?;
                    let value = loops.frame.eval(value, call)?;
                    dict.0.write().insert(name, value);
                }
                Ok(Value::Dict(dict))
            }
        }
    }

    fn assign(&self, target: &Target, value: Value, call: &mut BuildContext) -> Result<()> {
        let targets = match target {
            Target::Name(name) => {
                self.scope.set(name, value);
                return Ok(());
            }
            Target::Several(targets) => targets,
        };
        let items = collect(&value, call)?;
        let (found, wanted) = (items.len(), targets.len());
        if found < wanted {
            bail!("not enough values to unpack (expected {wanted}, got {found})");
        }
        if found > wanted {
            bail!("too many values to unpack (expected {wanted})");
        }
        targets.iter().zip(items).try_for_each(|(target, item)| self.assign(target, item, call))
    }
}

impl Loops {
    /// Bind the targets to the next items that pass all conditions; false at the end.
    fn next(&mut self, call: &mut BuildContext) -> Result<bool> {
        let comprehension = self.comprehension.clone();
        while let Some(cursor) = self.cursors.last_mut() {
            let Some(item) = cursor.next(call)? else {
                self.cursors.pop();
                continue;
            };
            let open = self.cursors.len();
            let clause = &comprehension.clauses[open - 1];
            let place = |error| self.frame.parsed.place(error, clause.at);
            self.frame.assign(&clause.target, item, call).map_err(place)?;
            let mut passes = true;
            for condition in &clause.conditions {
                passes = passes && self.frame.eval(condition, call)?.truthy();
            }
            if !passes {
                continue;
            }
            match comprehension.clauses.get(open) {
                None => return Ok(true),
                Some(inner) => {
                    let iterable = self.frame.eval(&inner.iterable, call)?;
                    let cursor =
                        Cursor::new(&iterable).map_err(|error| self.frame.parsed.place(error, inner.iterable.at))?;
                    self.cursors.push(cursor);
                }
            }
        }
        Ok(false)
    }
}

impl Step for Loops {
    fn step(&mut self, call: &mut BuildContext) -> Result<Option<Value>> {
        if !self.next(call)? {
            return Ok(None);
        }
        let comprehension = self.comprehension.clone();
        match &comprehension.element {
            Element::One(node) => self.frame.eval(node, call).map(Some),
            Element::KeyValue(..) => Ok(None),
        }
    }
}
