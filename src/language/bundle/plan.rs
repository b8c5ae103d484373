//! Checks a config before a run: parses all expressions, looks up all names, follows all references, and reports all
//! problems at once. [`Plan::dry_run`] also builds objects.
//!
//! Only problems in items that the run reaches are errors; others are in [`Plan::dormant`].

use super::args::{Rules, RunArgs};
use super::check::{self, Findings};
use super::expr::{self, Parsed};
use super::load::Warning;
use super::node::{Content, Node};
use super::tree::{Tree, walk};
use super::{compat, id, tracking};
use crate::component::{Table, Value};
use crate::err;
use crate::error::{Error, Kind, Result};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Maximum length of a chain of references, similar to the limit that Python's stack imposes in MONAI.
pub(super) const MAX_CHAIN: usize = 300;

/// Items at which a run starts.
#[derive(Debug, Clone)]
pub struct Roots {
    /// Id of the section that runs first.
    pub initialize: String,
    /// Id of the section to run.
    pub run: String,
    /// Id of the section that runs last.
    pub finalize: String,
    /// Id of the item with the path of the executed config, for `--tracking`.
    pub executed: Option<String>,
}

impl Default for Roots {
    fn default() -> Self {
        Roots { initialize: "initialize".into(), run: "run".into(), finalize: "finalize".into(), executed: None }
    }
}

/// A function or component with side effects, and the item that calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectUse {
    /// Dotted name of the function or component.
    pub name: String,
    /// File and line of the item.
    pub file: String,
    /// Id of the item.
    pub id: String,
}

/// A checked config: its tree, the items that a run reaches, and all problems found.
pub struct Plan {
    /// The merged and expanded config.
    pub tree: Tree,
    /// Names that the config can use.
    pub table: &'static Table,
    /// Items at which a run starts.
    pub roots: Roots,
    /// Strictness of the checks.
    pub rules: Rules,
    /// Names bound by import statements in the config.
    pub imports: Arc<BTreeMap<String, String>>,
    /// The config recorded by `--tracking`: with overrides, and relative ids and macros expanded once.
    pub executed: Option<Node>,
    /// Folder of the first config file, which contains the bundle's other configs.
    folder: PathBuf,
    expressions: HashMap<String, Arc<Parsed>>,
    /// Ids of import statements.
    import_ids: Vec<String>,
    reached: HashSet<String>,
    problems: Vec<Error>,
    warnings: Vec<Warning>,
    dormant: Vec<Error>,
    notes: Vec<Warning>,
    effects: Vec<EffectUse>,
}

impl Plan {
    /// Prepare a plan from arguments: load files, apply overrides, add tracking, expand twice as MONAI's `run`, and
    /// check. Only a file that cannot be read is an error; others are in [`Plan::problems`].
    pub fn prepare(args: &RunArgs, table: &'static Table) -> Result<Plan> {
        let mut tree = Tree::load(args)?.with(&args.overrides);
        let tracked = match &args.tracking {
            Some(settings) => tracking::patch(&mut tree, settings, args)?,
            None => false,
        };
        let roots = Roots {
            initialize: id::normalize(&args.init_id),
            run: id::normalize(&args.run_id),
            finalize: id::normalize(&args.final_id),
            executed: tracked.then(|| tracking::EXECUTED.to_owned()),
        };
        let tree = tree.expand();
        let executed = tracked.then(|| tree.root.clone());
        let mut plan = Plan::new(tree.expand(), table, roots, args.rules);
        plan.executed = executed;
        plan.folder = args.config_root().to_owned();
        plan.problems.extend(compat::check_run_ids(args, &plan.tree));
        Ok(plan)
    }

    /// Create a plan by checking an expanded tree.
    pub fn new(tree: Tree, table: &'static Table, roots: Roots, rules: Rules) -> Plan {
        let (problems, warnings) = (tree.errors.clone(), tree.warnings.clone());
        let mut plan = Plan {
            tree,
            table,
            roots,
            rules,
            imports: Arc::default(),
            executed: None,
            folder: PathBuf::new(),
            expressions: HashMap::new(),
            import_ids: vec![],
            reached: HashSet::new(),
            problems,
            warnings,
            dormant: vec![],
            notes: vec![],
            effects: vec![],
        };
        let syntax = plan.parse_expressions();
        let (cycles, dormant_cycles) = plan.follow_references();
        plan.problems.extend(cycles);
        plan.dormant.extend(dormant_cycles);
        plan.check_items(syntax);
        let (problems, warnings) = compat::check_overrides(&plan);
        plan.problems.extend(problems);
        plan.warnings.extend(warnings);
        plan.notes = plan.tree.notes.clone();
        plan.notes.extend(compat::dead_keys(&plan.tree, &plan.reached, &plan.referenced()));
        let lookalikes = compat::lookalikes(&plan.tree).into_iter().chain(compat::misspelled_components(&plan));
        plan.warnings.extend(lookalikes.collect::<Vec<_>>());
        plan
    }

    /// Add the findings of a dry run that are not known yet.
    pub(super) fn add_findings(&mut self, mut problems: Vec<Error>, warnings: Vec<Warning>, known_values: &Known<'_>) {
        let within = |known: &Error, id: Option<&str>| {
            known.get_id().zip(id).is_some_and(|(known, id)| id::is_within(known, id))
        };
        let mut order = HashMap::new();
        walk(&self.tree.root, "", &mut |id, _| {
            order.insert(id.to_owned(), order.len());
        });
        problems.sort_by_key(|problem| problem.get_id().and_then(|id| order.get(id)).unwrap_or(&usize::MAX));
        for problem in problems {
            // Several empty datasets may have one cause: their folder does not exist.
            let problem = self.advise(problem, known_values);
            let known = |known: &Error| known.message() == problem.message() && within(known, problem.get_id());
            if !self.problems.iter().any(known) {
                self.problems.push(problem);
            }
        }
        self.warnings.extend(warnings);
    }

    /// Remove the effects of the components that a dry run found to be disabled.
    pub(super) fn drop_effects(&mut self, is_none: impl Fn(&str) -> bool) {
        let tree = &self.tree;
        let disabled = |id: &str| is_none(id) && tree.get(id).is_some_and(Node::is_component);
        self.effects.retain(|effect| !disabled(&effect.id));
    }

    /// Add to an error about missing files the folder of relative paths and the config items to check. An error about
    /// missing cases is located at the dataset without cases, or at the folder that does not exist. `known`: values of
    /// items.
    pub fn advise(&self, error: Error, known: &Known<'_>) -> Error {
        if !error.is_of_working_folder() {
            return error;
        }
        if let Some(file) = error.get_file().filter(|_| error.is_of_data()) {
            let relative = Path::new(file).is_relative();
            let elsewhere = relative.then(|| self.bundle_hint(self.has("bundle_root"))).flatten();
            return error.hint(elsewhere.unwrap_or_else(|| match self.has("load_pretrain") {
                true => "put the file there, or use `--load_pretrain False` for untrained weights".into(),
                false => "put the file there".into(),
            }));
        }
        let folders = ["dataset_dir", "data_dir"].into_iter().filter(|key| self.reached.contains(*key));
        let folder = folders.clone().find_map(|key| Some((key, known(key)?.as_str()?.to_owned())));
        let mut items: Vec<&str> = folders.chain(self.reached.get("datalist").map(String::as_str)).collect();
        let at = |error: Error, id: &str| error.kind(Kind::Config).at(Some(&self.tree.place(id)), id);
        let (error, elsewhere) = match &folder {
            Some((key, folder)) if !Path::new(folder).exists() => {
                let error = at(err!("`{key}`: the folder {folder} does not exist"), key);
                (error, Path::new(folder).is_relative().then(|| self.bundle_hint(self.refers_to(key, "bundle_root"))))
            }
            _ => {
                let mut empty = None;
                walk(&self.tree.root, "", &mut |id, _| {
                    let is_data = id::split_last(id).1 == "data" && self.reached.contains(id) && empty.is_none();
                    if is_data
                        && known(id).is_some_and(|value| value.as_sequence().is_some_and(|items| items.is_empty()))
                    {
                        empty = Some(id.to_owned());
                    }
                });
                let error = match &empty {
                    Some(id) => at(Error::new(error.message()), id),
                    None => error,
                };
                // The hint that the folder may be another one would not help where it exists.
                (error, folder.is_none().then(|| self.bundle_hint(self.has("bundle_root"))))
            }
        };
        if let Some(hint) = elsewhere.flatten() {
            return error.hint(hint);
        }
        items.retain(|id| Some(*id) != error.get_id());
        match (&folder, &items[..]) {
            (Some((key, folder)), _) if error.get_id() != Some(*key) => {
                error.hint(format!("check which files of {folder} (`{key}`) the config selects"))
            }
            (Some((key, _)), _) => error.hint(format!("name the folder of the data: --{key} FOLDER")),
            (None, []) => error,
            (None, items) => error.hint(format!("check `{}`", items.join("` and `"))),
        }
    }

    fn has(&self, id: &str) -> bool {
        self.tree.get(id).is_some()
    }

    /// Hint that relative paths start in the working folder, unless that is the bundle's folder or the user has given
    /// another one. `option`: whether `--bundle_root` changes the path.
    fn bundle_hint(&self, option: bool) -> Option<String> {
        let here = std::env::current_dir().ok()?;
        let is_given = self.tree.overrides.iter().any(|given| given.id == "bundle_root");
        let folder = here.join(&self.folder).canonicalize().ok()?;
        let bundle = folder.parent().filter(|bundle| *bundle != here && !is_given)?;
        let (here, bundle) = (here.display(), bundle.display());
        let option = if option { format!(", or add --bundle_root '{bundle}'") } else { String::new() };
        Some(format!("relative paths start in {here}: run in {bundle}{option}"))
    }

    /// Whether an item refers to the item `target`, directly or through others.
    fn refers_to(&self, id: &str, target: &str) -> bool {
        let (mut todo, mut seen) = (vec![id.to_owned()], HashSet::new());
        while let Some(id) = todo.pop() {
            let Some(text) = self.tree.get(&id).and_then(Node::as_str) else { continue };
            todo.extend(self.references(&id, text).into_iter().map(|(id, _)| id).filter(|id| seen.insert(id.clone())));
        }
        seen.contains(target)
    }

    /// Locate an error of the component `id`, or of one argument of it: at the override that gives a concerned argument,
    /// directly or by reference, else at the argument or the component.
    pub(super) fn located(&self, error: Error, id: &str, argument: Option<&str>) -> Error {
        let given = |argument: &str| {
            let mut id = id::join(id, argument);
            for _ in 0..MAX_CHAIN {
                if self.tree.overrides.iter().any(|given| given.id == id) {
                    return Some(id);
                }
                id = id::whole_reference(&id::normalize(self.tree.get(&id)?.as_str()?))?.to_owned();
            }
            None
        };
        let arguments = self.tree.get(id).map(Node::children).unwrap_or_default();
        let names = arguments.iter().map(|(name, _)| &**name);
        let given = match argument {
            Some(name) => given(name).or_else(|| Some(id::join(id, name))),
            None => names.filter(|name| concerns(&error, name)).find_map(given),
        };
        let id = given.unwrap_or_else(|| id.to_owned());
        error.at(Some(&self.tree.place(&id)), &id)
    }

    /// Errors in items that the run reaches.
    pub fn problems(&self) -> &[Error] {
        &self.problems
    }
    /// Warnings about items that the run reaches.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }
    /// Errors in items that this run does not use.
    pub fn dormant(&self) -> &[Error] {
        &self.dormant
    }
    /// Further notes for `verify`, such as keys without effect.
    pub fn notes(&self) -> &[Warning] {
        &self.notes
    }
    /// Functions and components with side effects that a run would call, in the order of the config.
    pub fn effects(&self) -> &[EffectUse] {
        &self.effects
    }
    /// All ids that a run reads.
    pub fn reached(&self) -> &HashSet<String> {
        &self.reached
    }
    pub(super) fn expression(&self, id: &str) -> Option<&Arc<Parsed>> {
        self.expressions.get(id)
    }

    /// Items of a section (`initialize`, `run`, `finalize`, or any id): the entries of a list, or the item itself.
    pub fn section(&self, section: &str) -> Vec<String> {
        match self.tree.get(section) {
            None => vec![],
            Some(Node { content: Content::List(items), .. }) => {
                (0..items.len()).map(|at| id::join(section, &at.to_string())).collect()
            }
            Some(_) => vec![section.to_owned()],
        }
    }

    /// Parse all expressions and collect their imports. Returns syntax errors by id.
    fn parse_expressions(&mut self) -> HashMap<String, Error> {
        let mut errors = HashMap::new();
        let mut imports = BTreeMap::new();
        let mut order = Vec::new();
        // MONAI adds child items first, and a later import of the same name replaces an earlier one.
        post_order(&self.tree.root, "", &mut |id, node| {
            let Some(text) = node.expression() else { return };
            match expr::parse(&id::normalize(text)) {
                Ok(parsed) => {
                    let place = node.origin.text();
                    self.expressions.insert(id.to_owned(), Arc::new(parsed.located(place.clone(), id)));
                    order.push((id.to_owned(), place));
                }
                Err(error) => {
                    errors.insert(id.to_owned(), error.kind(Kind::Config).at(Some(&node.origin.text()), id));
                }
            }
        });
        for (id, place) in order {
            let Some(bound) = self.expressions.get(&id).and_then(|parsed| parsed.imports()) else { continue };
            if let Some(first) = bound.first() {
                imports.insert(first.name.clone(), first.path.clone());
            }
            if bound.len() > 1 {
                let note = err!("only the first name of this import is bound").kind(Kind::Config).at(Some(&place), &id);
                self.warnings.push(note.hint("write one import statement for each"));
            }
            self.import_ids.push(id);
        }
        self.imports = Arc::new(imports);
        errors
    }

    /// Ids that the string `text` at `id` refers to, with their offsets in an expression.
    fn references(&self, id: &str, text: &str) -> Vec<(String, usize)> {
        match self.expressions.get(id) {
            Some(parsed) => {
                parsed.references().iter().map(|reference| (reference.id.clone(), reference.offset)).collect()
            }
            None => id::whole_reference(text).map(|id| (id.to_owned(), 0)).into_iter().collect(),
        }
    }

    /// All ids that strings of the config refer to, reached or not.
    fn referenced(&self) -> HashSet<String> {
        let mut all = HashSet::new();
        walk(&self.tree.root, "", &mut |id, node| {
            if let Some(text) = node.as_str() {
                all.extend(self.references(id, text).into_iter().map(|(id, _)| id));
            }
        });
        all
    }

    /// Whether the run uses the item `id` as `_disabled_` of components only.
    pub(super) fn only_disables(&self, id: &str) -> bool {
        let flag = |id: &str| id::split_last(id).1 == "_disabled_";
        let (mut any, mut other) = (flag(id), false);
        walk(&self.tree.root, "", &mut |user, node| {
            let Some(text) = node.as_str().filter(|_| self.reached.contains(user)) else { return };
            if self.references(user, text).iter().any(|(read, _)| read == id) {
                let disables = flag(user) && node.expression().is_none();
                any |= disables;
                other |= !disables;
            }
        });
        any && !other
    }

    /// Collect the items to resolve before the item `id`, in MONAI's order (depth first, as written).
    fn dependencies(&self, id: &str, node: &Node, out: &mut Vec<String>) {
        if let Some(text) = node.as_str() {
            out.extend(self.references(id, text).into_iter().map(|(id, _)| id));
        }
        for (part, child) in node.children() {
            let sub = id::join(id, &part);
            if child.is_component() || child.expression().is_some() {
                out.push(sub);
            } else {
                self.dependencies(&sub, child, out);
            }
        }
    }

    /// Find the items that the run reaches. Returns circular references among them, and those elsewhere.
    fn follow_references(&mut self) -> (Vec<Error>, Vec<Error>) {
        let mut walker = Walker::default();
        let sections = [&self.roots.initialize, &self.roots.run, &self.roots.finalize];
        let starts = sections.into_iter().flat_map(|section| self.section(section));
        let starts = starts.chain(self.import_ids.clone()).chain(self.roots.executed.clone());
        for start in starts {
            walker.visit(self, start);
        }
        let cycles = std::mem::take(&mut walker.errors);
        let reached: Vec<String> = walker.done.keys().cloned().collect();
        let mut all = Vec::new();
        walk(&self.tree.root, "", &mut |id, node| {
            if node.as_str().is_some() || node.is_component() {
                all.push(id.to_owned());
            }
        });
        for id in all {
            walker.visit(self, id);
        }
        for id in reached {
            if let Some(node) = self.tree.get(&id) {
                reach(node, &id, &mut self.reached);
            }
        }
        (cycles, walker.errors)
    }

    /// Check all items; `syntax` contains the syntax errors by id.
    fn check_items(&mut self, mut syntax: HashMap<String, Error>) {
        let mut found: Vec<(String, Findings)> = Vec::new();
        let plan: &Plan = self;
        walk(&plan.tree.root, "", &mut |id, node| {
            let mut findings = Findings::default();
            if let Some(error) = syntax.remove(id) {
                findings.errors.push(error);
            } else if let Some(parsed) = plan.expressions.get(id) {
                findings = check::expression(plan, parsed);
            } else if node.is_component() {
                findings = check::component(plan, id, node);
            }
            plan.check_references(id, node, &mut findings);
            found.push((id.to_owned(), findings));
        });
        for (id, findings) in found {
            if !self.reached.contains(&id) {
                self.dormant.extend(findings.errors);
                continue;
            }
            self.problems.extend(findings.errors);
            self.warnings.extend(findings.warnings);
            for name in findings.effects {
                self.effects.push(EffectUse { name, file: self.tree.place(&id), id: id.clone() });
            }
        }
    }

    fn check_references(&self, id: &str, node: &Node, findings: &mut Findings) {
        let Some(text) = node.as_str() else { return };
        for (target, offset) in self.references(id, text) {
            let broken = self.tree.broken.iter().any(|broken| id::is_within(&target, broken));
            if broken || self.tree.get(&target).is_some() {
                continue;
            }
            let error = check::missing_reference(self, &target);
            let error = match self.expressions.get(id) {
                Some(parsed) => parsed.place(error, offset),
                None => error.at(Some(&node.origin.text()), id),
            };
            match self.rules.allow_missing_reference {
                true => findings.warnings.push(error),
                false => findings.errors.push(error),
            }
        }
    }
}

/// Value of an item, if it has been resolved.
pub type Known<'a> = dyn Fn(&str) -> Option<Value> + 'a;

/// Whether an argument may cause an error: the error lists it, or its message contains the name as a whole word.
pub(super) fn concerns(error: &Error, key: &str) -> bool {
    error.get_arguments().iter().any(|argument| argument == key)
        || error.message().split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|word| word == key)
}

/// Add an item and its descendants to `reached`, skipping those that were visited already.
fn reach(node: &Node, id: &str, reached: &mut HashSet<String>) {
    if reached.insert(id.to_owned()) {
        for (part, child) in node.children() {
            reach(child, &id::join(id, &part), reached);
        }
    }
}

fn post_order(node: &Node, id: &str, visit: &mut dyn FnMut(&str, &Node)) {
    for (part, child) in node.children() {
        post_order(child, &id::join(id, &part), visit);
    }
    visit(id, node);
}

/// Depth-first traversal of references, without recursion.
#[derive(Default)]
struct Walker {
    /// Visited ids; true after all their references have been visited.
    done: HashMap<String, bool>,
    errors: Vec<Error>,
}

struct Step {
    id: String,
    dependencies: std::vec::IntoIter<String>,
}

impl Walker {
    fn visit(&mut self, plan: &Plan, start: String) {
        let mut stack: Vec<Step> = Vec::new();
        self.enter(plan, start, &mut stack);
        while let Some(step) = stack.last_mut() {
            match step.dependencies.next() {
                None => {
                    self.done.insert(step.id.clone(), true);
                    stack.pop();
                }
                Some(next) => self.enter(plan, next, &mut stack),
            }
        }
    }

    fn enter(&mut self, plan: &Plan, id: String, stack: &mut Vec<Step>) {
        match self.done.get(&id) {
            Some(true) => return,
            Some(false) => {
                let from = stack.iter().position(|step| step.id == id).unwrap_or(0);
                let path: Vec<&str> = stack[from..].iter().map(|step| step.id.as_str()).chain([id.as_str()]).collect();
                let last = path.len().checked_sub(2).map_or(id.as_str(), |at| path[at]);
                let error = err!("circular references: {}", path.join(" → ")).kind(Kind::Config);
                let inside = path.len() == 2 && path[0] == path[1];
                let error = error.at(Some(&plan.tree.place(last)), last);
                self.errors.push(if inside {
                    error.hint("an item cannot refer to itself or to an item that contains it")
                } else {
                    error
                });
                return;
            }
            None => {}
        }
        let Some(node) = plan.tree.get(&id) else { return };
        if stack.len() == MAX_CHAIN {
            let error = err!("expected at most {MAX_CHAIN} references in a chain").kind(Kind::Config);
            self.errors.push(error.at(Some(&node.origin.text()), &id));
        }
        self.done.insert(id.clone(), false);
        let mut dependencies = Vec::new();
        plan.dependencies(&id, node, &mut dependencies);
        stack.push(Step { id, dependencies: dependencies.into_iter() });
    }
}
