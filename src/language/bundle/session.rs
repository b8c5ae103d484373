//! A run's objects: built when they are first asked for, remembered by id, in MONAI's order.
//!
//! MONAI source: `ReferenceResolver._resolve_one_item` and `ConfigComponent.instantiate`. Each id resolves once and all
//! references to it share one value; an item of plain dicts and lists is copied wherever it is part of another one, but
//! the components and expressions inside are shared.

use super::check::{self, RESERVED};
use super::dry_run::{DryRun, withheld};
use super::expr::{self, Env};
use super::id;
use super::load::Warning;
use super::names;
use super::node::{Content, Node, key_text};
use super::partial::Partial;
use super::plan::{MAX_CHAIN, Plan};
use crate::component::{Args, BuildContext, ConfigSource, Dict, FromValue, Value};
use crate::err;
use crate::error::{Kind, Result};
use crate::run::{CHECKPOINT_FOLDER, ConfigRecord, RunContext};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

pub struct Session {
    plan: Plan,
    /// `None` outside of a run.
    run: Option<Arc<RunContext>>,
    own: Weak<Session>,
    resolved: Mutex<HashMap<String, Value>>,
    warnings: Mutex<Vec<Warning>>,
    dry: Option<DryRun>,
}

/// Ids that wait for what is being resolved.
type Waiting = Vec<String>;

impl Session {
    /// `run` is given to everything that is built.
    pub fn new(plan: Plan, run: Option<Arc<RunContext>>) -> Arc<Session> {
        Arc::new_cyclic(|own| Session { run, own: own.clone(), ..Session::with(plan, None) })
    }
    /// A session that builds and checks, and withholds what acts outside of this process; see [`super::dry_run`].
    pub(super) fn dry(plan: Plan) -> Session {
        Session::with(plan, Some(DryRun::default()))
    }
    fn with(plan: Plan, dry: Option<DryRun>) -> Session {
        Session { plan, run: None, own: Weak::new(), resolved: Mutex::default(), warnings: Mutex::default(), dry }
    }
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
    /// The plan, with what a dry run has found besides.
    pub(super) fn into_plan(self) -> Plan {
        let problems = self.dry.map(DryRun::into_problems).unwrap_or_default();
        let mut plan = self.plan;
        plan.add_findings(problems, self.warnings.into_inner());
        plan
    }
    /// The value of an item, if it was resolved already.
    pub(super) fn known(&self, id: &str) -> Option<Value> {
        self.resolved.lock().get(id).cloned()
    }
    /// What was noticed while building, taken away.
    pub fn take_warnings(&self) -> Vec<Warning> {
        std::mem::take(&mut self.warnings.lock())
    }

    /// The value of an item; `""` is the whole config.
    pub fn get(&self, id: &str) -> Result<Value> {
        let id = id::normalize(id.trim());
        if self.plan.tree.get(&id).is_none() {
            return Err(check::missing_reference(&self.plan, &id));
        }
        self.resolve(&id, &mut vec![])
    }

    /// Run a section's items in order; their values are not kept. Only a missing `run` is an error.
    pub fn run_section(&self, section: &str) -> Result<Vec<Value>> {
        let section = id::normalize(section);
        if section == self.plan.roots.run && self.plan.tree.get(&section).is_none() {
            return Err(err!("the config has no `{section}` to run").kind(Kind::Config));
        }
        self.plan.section(&section).iter().map(|item| self.run_item(item)).collect()
    }

    /// The values that an item's expression refers to, in order; of a reference to another item, that item's.
    pub fn referenced(&self, id: &str) -> Result<Vec<Value>> {
        let Some(node) = self.plan.tree.get(id) else { return Ok(vec![]) };
        if let Some(parsed) = self.plan.expression(id) {
            return parsed.references().iter().map(|reference| self.get(&reference.id)).collect();
        }
        let text = node.as_str().map(id::normalize);
        match text.as_deref().and_then(id::whole_reference) {
            Some(target) if target != id => self.referenced(target),
            _ => Ok(vec![]),
        }
    }

    /// Run one item of a section; its value is not kept.
    pub fn run_item(&self, id: &str) -> Result<Value> {
        let value = self.resolve(id, &mut vec![])?;
        self.resolved.lock().remove(id);
        Ok(value)
    }

    /// Run `inner` for the item `id`, within the limits of one evaluation.
    fn call<T>(&self, id: &str, inner: impl FnOnce(&mut BuildContext) -> Result<T>) -> Result<T> {
        let config = self.own.upgrade().map(|own| own as Arc<dyn ConfigSource>);
        let mut call = BuildContext::in_run(self.run.clone(), config);
        let Some(dry) = &self.dry else { return inner(&mut call) };
        let mut call = call.dry();
        let result = inner(&mut call);
        let place = self.plan.tree.place(id);
        call.take_reports().into_iter().for_each(|error| dry.report(error.at(Some(&place), id)));
        result
    }

    fn resolve(&self, id: &str, waiting: &mut Waiting) -> Result<Value> {
        if let Some(value) = self.resolved.lock().get(id) {
            return Ok(value.clone());
        }
        if let Some(dry) = &self.dry {
            dry.enter(&self.plan, id)?;
        }
        let Some(node) = self.plan.tree.get(id) else {
            return Err(check::missing_reference(&self.plan, id));
        };
        let place = node.origin.text();
        // The plan has reported both.
        if self.dry.is_some() && (waiting.len() >= MAX_CHAIN || waiting.iter().any(|other| other == id)) {
            return Err(withheld(id));
        }
        if waiting.iter().any(|other| other == id) {
            let path = waiting.join(" → ");
            return Err(err!("circular references: {path} → {id}").kind(Kind::Config).at(Some(&place), id));
        }
        if waiting.len() >= MAX_CHAIN {
            let error = err!("references follow one another more than {MAX_CHAIN} deep");
            return Err(error.kind(Kind::Config).at(Some(&place), id));
        }
        waiting.push(id.to_owned());
        let value = if node.is_component() {
            self.component(id, node, waiting).map_err(|e| e.at(Some(&place), id))
        } else if node.expression().is_some() {
            self.expression(id, waiting).map_err(|e| e.at(Some(&place), id))
        } else {
            self.plain(id, node, waiting)
        };
        waiting.pop();
        let value = match (&self.dry, value) {
            (Some(dry), Err(error)) => return Err(dry.fail(id, error)),
            (_, value) => value?,
        };
        self.resolved.lock().insert(id.to_owned(), value.clone());
        Ok(value)
    }

    /// A part of a dict, list or component; `None` if it is a component that gives nothing and is left out.
    fn part(&self, id: &str, node: &Node, waiting: &mut Waiting) -> Result<Option<Value>> {
        if node.is_component() {
            return Ok(Some(self.resolve(id, waiting)?).filter(|value| !value.is_none()));
        }
        match node.expression() {
            Some(_) => self.resolve(id, waiting).map(Some),
            None => self.plain(id, node, waiting).map(Some),
        }
    }

    fn plain(&self, id: &str, node: &Node, waiting: &mut Waiting) -> Result<Value> {
        match &node.content {
            Content::Leaf(Value::Str(text)) => self.text(id, text, node, waiting),
            Content::Leaf(value) => Ok(value.clone()),
            Content::List(items) => {
                let mut values = Vec::with_capacity(items.len());
                for (at, item) in items.iter().enumerate() {
                    values.extend(self.part(&id::join(id, &at.to_string()), item, waiting)?);
                }
                Ok(Value::list(values))
            }
            Content::Dict(entries) => {
                let mut values = Vec::with_capacity(entries.len());
                for (key, item) in entries {
                    if let Some(value) = self.part(&id::join(id, &key_text(key)), item, waiting)? {
                        values.push((key.clone(), value));
                    }
                }
                Ok(Value::Dict(Dict::new(values)))
            }
        }
    }

    /// A reference, or text with `#` rewritten.
    fn text(&self, id: &str, text: &str, node: &Node, waiting: &mut Waiting) -> Result<Value> {
        let text = id::normalize(text);
        let Some(target) = id::whole_reference(&text) else { return Ok(Value::from(text)) };
        if self.plan.tree.get(target).is_some() {
            return self.resolve(target, waiting);
        }
        let error = check::missing_reference(&self.plan, target).at(Some(&node.origin.text()), id);
        if !self.plan.rules.allow_missing_reference {
            return Err(error);
        }
        self.warnings.lock().push(error);
        Ok(Value::from(text))
    }

    fn expression(&self, id: &str, waiting: &mut Waiting) -> Result<Value> {
        let Some(parsed) = self.plan.expression(id) else {
            // It did not parse; say so again.
            let text = self.plan.tree.get(id).and_then(Node::expression).unwrap_or_default();
            return Err(match expr::parse(&id::normalize(text)) {
                Err(error) => error.kind(Kind::Config),
                Ok(_) => err!("the expression `${text}` was not prepared"),
            });
        };
        let mut references = HashMap::new();
        for reference in parsed.references() {
            if self.plan.tree.get(&reference.id).is_none() {
                return Err(check::missing_reference(&self.plan, &reference.id).place(parsed.text(), reference.offset));
            }
            references.insert(reference.id.clone(), self.resolve(&reference.id, waiting)?);
        }
        // Python does the same, but it is hardly ever meant: a datalist given as one file's name.
        if let Some((name, text)) = parsed.goes_through().and_then(|name| Some((name, references.get(name)?.as_str()?)))
            && text.chars().nth(1).is_some()
        {
            let note = err!("`{name}` is a string, whose letters are taken one by one, where a list is expected")
                .kind(Kind::Config);
            let place = self.plan.tree.get(name).map(|node| node.origin.text());
            self.warnings.lock().push(note.at(place.as_deref(), name).hint(format!("a list of one: \"['{text}']\"")));
        }
        let env = Env { references, imports: self.plan.imports.clone(), table: self.plan.table };
        self.call(id, |call| expr::eval(parsed, &Arc::new(env), call))
    }

    fn component(&self, id: &str, node: &Node, waiting: &mut Waiting) -> Result<Value> {
        let Some(entries) = node.as_dict() else { return Ok(Value::None) };
        // All entries resolve in the order they are written, also those of a disabled component.
        let mut named = Vec::new();
        let (mut target, mut disabled, mut mode) = (None, false, None);
        let mut unknown: Vec<Arc<str>> = vec![];
        for (key, item) in entries {
            let name = key_text(key);
            let value = match self.part(&id::join(id, &name), item, waiting) {
                Err(_) if self.dry.is_some() => {
                    unknown.push(name.into());
                    continue;
                }
                value => value?,
            };
            let Some(value) = value else { continue };
            match name.as_str() {
                "_target_" => target = Some(value),
                "_disabled_" => disabled = check::is_disabled(&value),
                "_mode_" => mode = Some(value),
                name if RESERVED.contains(&name) => {}
                "_debug_" if value.truthy() => {
                    return Err(err!("`_debug_` starts Python's debugger, which is not here").kind(Kind::Unsupported));
                }
                "_debug_" => {}
                _ => named.push((Arc::from(name), value)),
            }
        }
        if disabled {
            return Ok(Value::None);
        }
        let callable = match target {
            Some(Value::Str(name)) => {
                names::target(self.plan.table, &name).ok_or_else(|| names::unknown_target(self.plan.table, &name))?
            }
            None | Some(Value::None) => {
                return Err(err!("`_target_` is None, expected a name or a callable").kind(Kind::Config));
            }
            Some(value) => value,
        };
        let partial = mode.as_ref().map_or(Ok(false), check::check_mode)?;
        if !callable.callable() {
            let note =
                err!("`_target_` is {callable:?}, which cannot be called and is taken as it is").kind(Kind::Config);
            self.warnings.lock().push(note.at(Some(&node.origin.text()), id));
            return Ok(callable);
        }
        let call = |named| self.call(id, |call| callable.call(Args::named(named), call));
        match (&self.dry, &callable) {
            (Some(dry), Value::Component(component)) if !partial => {
                return dry.build((id, node), component, named, unknown, call);
            }
            (Some(dry), Value::Component(component)) => {
                dry.build((id, node), component, named.clone(), unknown, |_| Ok(Value::None))?;
            }
            _ if !unknown.is_empty() => return Err(withheld(id)),
            _ => {}
        }
        match partial {
            true if named.is_empty() => Ok(callable),
            true => Ok(Value::object(Partial { callable, named })),
            false => call(named),
        }
    }
}

impl ConfigSource for Session {
    fn record(&self) -> ConfigRecord {
        let folder = self.plan.tree.get(CHECKPOINT_FOLDER).and_then(|_| self.get(CHECKPOINT_FOLDER).ok());
        ConfigRecord {
            checkpoint_folder: folder.and_then(|folder| PathBuf::from_value(&folder)),
            resolved: self.resolved(),
            fingerprint: self.fingerprint(),
        }
    }
}
