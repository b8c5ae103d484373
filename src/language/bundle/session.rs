//! Objects of a run, which are built on first use in MONAI's order and stored by id.
//!
//! MONAI source: `ReferenceResolver._resolve_one_item` and `ConfigComponent.instantiate`. Each id is resolved once, and
//! all references to it share one value; plain dicts and lists are copied where they are part of another item, but the
//! components and expressions in them are shared.

use super::check::{self, RESERVED};
use super::dry_run::{DryRun, withheld};
use super::expr::{self, Env};
use super::id;
use super::load::Warning;
use super::metadata;
use super::names;
use super::node::{Content, Node, key_text};
use super::plan::{MAX_CHAIN, Plan};
use crate::component::{Args, BuildContext, ConfigSource, Dict, FromValue, Value};
use crate::err;
use crate::error::{Error, Kind, Result};
use crate::image::extensions;
use crate::python::functools::Partial;
use crate::run::{CHECKPOINT_FOLDER, ConfigRecord, NETWORK_OUTPUTS, RunContext};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

/// Resolves the items of a [`Plan`] and stores their values by id.
pub struct Session {
    plan: Plan,
    /// The run; `None` outside of a run.
    run: Option<Arc<RunContext>>,
    own: Weak<Session>,
    resolved: Mutex<HashMap<String, Value>>,
    warnings: Mutex<Vec<Warning>>,
    dry: Option<DryRun>,
}

/// Ids that are being resolved and depend on the current item.
type Waiting = Vec<String>;

impl Session {
    /// Create a session; `run` is passed to all components.
    pub fn new(plan: Plan, run: Option<Arc<RunContext>>) -> Arc<Session> {
        Arc::new_cyclic(|own| Session { run, own: own.clone(), ..Session::with(plan, None) })
    }
    /// Create a session for a dry run, which does not call functions with side effects; see [`super::dry_run`].
    pub(super) fn dry(plan: Plan) -> Session {
        Session::with(plan, Some(DryRun::default()))
    }
    fn with(plan: Plan, dry: Option<DryRun>) -> Session {
        Session { plan, run: None, own: Weak::new(), resolved: Mutex::default(), warnings: Mutex::default(), dry }
    }
    /// The checked config.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
    /// Return the plan, with the findings of the dry run.
    pub(super) fn into_plan(self) -> Plan {
        let problems = self.dry.map(DryRun::into_problems).unwrap_or_default();
        let (mut plan, resolved) = (self.plan, self.resolved.into_inner());
        plan.drop_effects(|id| resolved.get(id).is_some_and(Value::is_none));
        plan.add_findings(problems, self.warnings.into_inner(), &|id| resolved.get(id).cloned());
        plan
    }
    /// Value of an item, if it has been resolved.
    pub fn known(&self, id: &str) -> Option<Value> {
        self.resolved.lock().get(id).cloned()
    }
    /// Take the warnings that were recorded while building.
    pub fn take_warnings(&self) -> Vec<Warning> {
        std::mem::take(&mut self.warnings.lock())
    }

    /// Resolve an item; `""` is the whole config. A missing item and one that cannot be built are errors.
    pub fn get(&self, id: &str) -> Result<Value> {
        let id = id::normalize(id.trim());
        if self.plan.tree.get(&id).is_none() {
            return Err(check::missing_reference(&self.plan, &id));
        }
        self.resolve(&id, &mut vec![])
    }

    /// Run the items of a section in order, up to the first error, without storing their values. A missing section is an
    /// error for `run` only.
    pub fn run_section(&self, section: &str) -> Result<Vec<Value>> {
        let section = id::normalize(section);
        if section == self.plan.roots.run && self.plan.tree.get(&section).is_none() {
            return Err(err!("the config has no `{section}` to run").kind(Kind::Config));
        }
        self.plan.section(&section).iter().map(|item| self.run_item(item)).collect()
    }

    /// Values that an item's expression refers to, in order; for a reference to another item, those of that item.
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

    /// Run an item of a section, without storing its value.
    pub fn run_item(&self, id: &str) -> Result<Value> {
        let value = self.resolve(id, &mut vec![])?;
        self.resolved.lock().remove(id);
        Ok(value)
    }

    /// Value of [`CHECKPOINT_FOLDER`]; `None` if the config does not define it.
    fn checkpoint_folder(&self) -> Result<Option<PathBuf>> {
        if self.plan.tree.get(CHECKPOINT_FOLDER).is_none() {
            return Ok(None);
        }
        let value = self.get(CHECKPOINT_FOLDER)?;
        match PathBuf::from_value(&value) {
            None if !value.is_none() => {
                let error = err!("expected a path, found {}", value.type_name()).kind(Kind::Config);
                Err(error.at(Some(&self.plan.tree.place(CHECKPOINT_FOLDER)), CHECKPOINT_FOLDER))
            }
            folder => Ok(folder),
        }
    }

    /// In a dry run, tell engines the checkpoint folder, if the run reaches it.
    pub(super) fn record_folder(&self) {
        if let Some(dry) = self.dry.as_ref().filter(|_| self.plan.reached().contains(CHECKPOINT_FOLDER)) {
            let checkpoint_folder = match self.checkpoint_folder() {
                Err(error) if error.get_kind() == Kind::Withheld => Ok(None),
                folder => folder,
            };
            dry.set_record(ConfigRecord { checkpoint_folder, ..ConfigRecord::default() });
        }
    }

    /// Run `inner` for the item `id` with the limits of one evaluation.
    fn call<T>(&self, id: &str, inner: impl FnOnce(&mut BuildContext) -> Result<T>) -> Result<T> {
        let config = match &self.dry {
            None => self.own.upgrade().map(|own| own as Arc<dyn ConfigSource>),
            Some(dry) => dry.record().map(|record| record as Arc<dyn ConfigSource>),
        };
        let mut call = BuildContext::in_run(self.run.clone(), config);
        let Some(dry) = &self.dry else { return inner(&mut call) };
        let mut call = call.dry();
        let result = call.lend(inner);
        let place = self.plan.tree.place(id);
        call.take_reports().into_iter().for_each(|error| dry.report(error.at(Some(&place), id)));
        self.warnings.lock().extend(call.take_warnings().into_iter().map(|warning| warning.at(Some(&place), id)));
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
        // The plan has reported these errors.
        if self.dry.is_some() && (waiting.len() >= MAX_CHAIN || waiting.iter().any(|other| other == id)) {
            return Err(withheld(id));
        }
        if waiting.iter().any(|other| other == id) {
            let path = waiting.join(" → ");
            return Err(err!("circular references: {path} → {id}").kind(Kind::Config).at(Some(&place), id));
        }
        if waiting.len() >= MAX_CHAIN {
            let error = err!("expected at most {MAX_CHAIN} references in a chain");
            return Err(error.kind(Kind::Config).at(Some(&place), id));
        }
        waiting.push(id.to_owned());
        let value = if node.is_component() {
            self.component(id, node, waiting).map_err(|e| self.plan.located(e, id, None))
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

    /// Resolve a child of a dict, list or component; `None` for components that are omitted (such as disabled ones).
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

    /// Resolve a reference, or text with `#` replaced.
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
            // Repeat the syntax error of the plan.
            let text = self.plan.tree.get(id).and_then(Node::expression).unwrap_or_default();
            return Err(match expr::parse(&id::normalize(text)) {
                Err(error) => error.kind(Kind::Config),
                Ok(_) => err!("the expression `${text}` was not prepared"),
            });
        };
        let mut references = HashMap::new();
        for reference in parsed.references() {
            if self.plan.tree.get(&reference.id).is_none() {
                return Err(parsed.place(check::missing_reference(&self.plan, &reference.id), reference.offset));
            }
            references.insert(reference.id.clone(), self.resolve(&reference.id, waiting)?);
        }
        if let Some((id, text)) = parsed.iterated_reference().and_then(|id| Some((id, references.get(id)?.as_str()?))) {
            self.check_characters(id, text)?;
        }
        let env = Arc::new(Env { references, imports: self.plan.imports.clone(), table: self.plan.table });
        let value = self.call(id, |call| expr::eval(parsed, &env, call));
        value.map_err(|error| match self.overridden(parsed.references(), &env.references) {
            Some(hint) => error.hint(hint),
            None => error,
        })
    }

    /// Hint at the overrides among the references of an expression that failed.
    fn overridden(&self, references: &[expr::Reference], values: &HashMap<String, Value>) -> Option<String> {
        /// Characters shown of a value.
        const SHOWN: usize = 60;
        let given = references.iter().filter_map(|reference| {
            let given = self.plan.tree.overrides.iter().find(|given| given.id == reference.id)?;
            let value = values.get(&reference.id).filter(|value| !value.callable())?;
            let text = format!("{value:?}");
            let shown: String = text.chars().take(SHOWN).collect();
            Some(format!("--{} = {shown}{}", given.spelled, if shown.len() < text.len() { "…" } else { "" }))
        });
        let given: Vec<String> = given.collect();
        (!given.is_empty()).then(|| format!("the command line gives {}", given.join(", ")))
    }

    /// Check the string `text` at `id` that a comprehension iterates over, by characters as in Python. This is usually a
    /// mistake, such as a datalist that is the name of a single file.
    ///
    /// # Errors
    /// The string is the name of an image file, a path, or a list without quotes.
    fn check_characters(&self, id: &str, text: &str) -> Result<()> {
        if text.chars().nth(1).is_none() {
            return Ok(());
        }
        let place = self.plan.tree.place(id);
        let given = self.plan.tree.overrides.iter().find(|given| given.id == id);
        let option = given.map_or(String::new(), |given| format!("--{} ", given.spelled));
        let list = text.trim().strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        let hint = match list {
            Some(items) => {
                let quoted: Vec<String> = items.split(',').map(|item| format!("'{}'", item.trim())).collect();
                format!("quote the items of the list: {option}\"[{}]\"", quoted.join(","))
            }
            None => match extensions::glob_expression(Path::new(text)) {
                Some(expression) => format!("list the files: {option}\"{}\"", expression.replace('$', "\\$")),
                None => format!("write a list with one item: {option}\"['{text}']\""),
            },
        };
        let located = |error: Error| error.kind(Kind::Config).at(Some(&place), id).hint(hint);
        if list.is_some() || extensions::is_image(text) || text.contains('/') {
            return Err(located(err!("`{id}`: expected a list, found str '{text}'")));
        }
        self.warnings.lock().push(located(err!("`{id}` is the string '{text}', of which each character is an item")));
        Ok(())
    }

    fn component(&self, id: &str, node: &Node, waiting: &mut Waiting) -> Result<Value> {
        let Some(entries) = node.as_dict() else { return Ok(Value::None) };
        // All arguments are resolved in their order in the config, even those of a disabled component.
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
                    return Err(err!("`_debug_` is not supported: it starts Python's debugger").kind(Kind::Unsupported));
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
                err!("`_target_` is {callable:?}, which is not callable and is used as it is").kind(Kind::Config);
            self.warnings.lock().push(note.at(Some(&node.origin.text()), id));
            return Ok(callable);
        }
        let call = |named| self.call(id, |call| callable.call(Args::named(named), call));
        match (&self.dry, &callable) {
            (Some(dry), Value::Component(component)) if !partial => {
                return dry.build(&self.plan, id, component, named, unknown, call);
            }
            (Some(dry), Value::Component(component)) => {
                dry.build(&self.plan, id, component, named.clone(), unknown, |_| Ok(Value::None))?;
            }
            _ if !unknown.is_empty() => return Err(withheld(id)),
            _ => {}
        }
        match partial {
            true if named.is_empty() => Ok(callable),
            true => Ok(Value::object(Partial { function: callable, args: Args::named(named) })),
            false => call(named),
        }
    }
}

impl ConfigSource for Session {
    fn record(&self) -> ConfigRecord {
        let channel_names = self
            .plan
            .tree
            .get(NETWORK_OUTPUTS)
            .and_then(metadata::channel_definition)
            .and_then(|(name, _)| self.get(&id::join(&id::join(NETWORK_OUTPUTS, &name), "channel_def")).ok())
            .unwrap_or_default();
        ConfigRecord {
            checkpoint_folder: self.checkpoint_folder(),
            channel_names,
            resolved: self.resolved(),
            fingerprint: self.fingerprint(),
        }
    }
}
