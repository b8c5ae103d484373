//! Table of all names that a config can use.

use super::{Args, BuildContext, Param, Value};
use crate::error::{Result, did_you_mean};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// A `_target_`: a class or function of MONAI, torch or ignite that a config can build.
pub struct Component {
    /// Short name in MONAI (`Spacingd`), unique.
    pub name: &'static str,
    /// Dotted path in Python: `monai.transforms.Spacingd`.
    pub path: &'static str,
    /// Further modules that export it: `monai.transforms.spatial.dictionary`.
    pub modules: &'static [&'static str],
    /// Aliases in all modules: `SpacingD`, `SpacingDict`.
    pub also: &'static [&'static str],
    /// Documentation, whose first line is a summary.
    pub doc: &'static str,
    /// Parameters in MONAI's order.
    pub params: &'static [Param],
    /// Deliberate differences from MONAI.
    pub differences: &'static [&'static str],
    /// Side effect of building or calling it.
    pub effect: Effect,
    /// Builds the component, or calls the function.
    pub build: fn(Args, &mut BuildContext) -> Result<Value>,
}

impl Component {
    /// All dotted paths, the main one first.
    pub fn paths(&self) -> impl Iterator<Item = String> {
        let package = self.path.rsplit_once('.').map(|(package, _)| package);
        let (name, also) = (self.name, self.also);
        let modules = package.into_iter().chain(self.modules.iter().copied());
        modules.flat_map(move |module| {
            [name].into_iter().chain(also.iter().copied()).map(move |name| format!("{module}.{name}"))
        })
    }
    /// First line of the documentation.
    pub fn summary(&self) -> &'static str {
        self.doc.trim().lines().next().unwrap_or_default()
    }
}

/// Side effect of a function; `verify` lists the functions that act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// None.
    Pure,
    /// Reads files, folders, the clock or the environment.
    Reads,
    /// Changes files, global settings or objects.
    Acts,
}

/// A function that expressions can call, by its dotted Python name; built-ins have a bare name (`len`).
pub struct Function {
    /// Dotted name: `os.path.join`.
    pub path: &'static str,
    /// Side effect of a call.
    pub effect: Effect,
    /// Implementation.
    pub call: fn(Args, &mut BuildContext) -> Result<Value>,
}

/// A dotted name and a function that creates its value.
pub type Constant = (&'static str, fn() -> Value);

/// Meaning of a name.
#[derive(Clone, Copy)]
pub enum Entry {
    /// A component.
    Component(&'static Component),
    /// A function.
    Function(&'static Function),
    /// A constant such as `math.pi` or `torch.float32`.
    Constant(fn() -> Value),
    /// A member of a string enum: always the same string object, since members are identified by address.
    Member(&'static Arc<str>),
}

impl Entry {
    /// Value of the name in an expression.
    pub fn value(self) -> Value {
        match self {
            Entry::Component(component) => Value::Component(component),
            Entry::Function(function) => Value::Function(function),
            Entry::Constant(make) => make(),
            Entry::Member(text) => Value::Str(text.clone()),
        }
    }
}

/// Names and their meanings. Built once by the registry.
#[derive(Default)]
pub struct Table {
    /// Entries by dotted path; built-ins by their bare name.
    entries: BTreeMap<String, Entry>,
    /// All proper prefixes of paths: `os`, `os.path`.
    modules: BTreeSet<String>,
    /// Short names of components and their aliases.
    components: BTreeMap<String, &'static Component>,
    /// Names of enum members, by the address of their string.
    members: HashMap<usize, &'static str>,
}

impl Table {
    /// Add a component under all its names.
    pub fn add_component(&mut self, component: &'static Component) {
        for name in [component.name].into_iter().chain(component.also.iter().copied()) {
            self.components.insert(name.into(), component);
        }
        for path in component.paths() {
            self.add(&path, Entry::Component(component));
        }
    }
    /// Add functions.
    pub fn add_functions(&mut self, functions: &'static [Function]) {
        for function in functions {
            self.add(function.path, Entry::Function(function));
        }
    }
    /// Add constants.
    pub fn add_constants(&mut self, constants: &'static [Constant]) {
        for (path, make) in constants {
            self.add(path, Entry::Constant(*make));
        }
    }
    /// Add members of string enums, by their dotted names.
    pub fn add_members(&mut self, members: &'static [(String, Arc<str>)]) {
        for (path, text) in members {
            self.add(path, Entry::Member(text));
            self.members.insert(Value::Str(text.clone()).identity(), path.rsplit('.').next().unwrap_or(path));
        }
    }
    /// Name of an enum member: `IMAGE` for `monai.utils.CommonKeys.IMAGE`; `None` for any other string.
    pub fn member_name(&self, value: &Value) -> Option<&'static str> {
        matches!(value, Value::Str(_)).then(|| self.members.get(&value.identity()).copied())?
    }
    /// Keep only the names for which `wanted` returns true; constants count as pure.
    pub fn keep(&mut self, wanted: impl Fn(&str, Effect) -> bool) {
        self.entries.retain(|path, entry| {
            let effect = match entry {
                Entry::Component(component) => component.effect,
                Entry::Function(function) => function.effect,
                Entry::Constant(_) | Entry::Member(_) => Effect::Pure,
            };
            wanted(path, effect)
        });
        self.components.retain(|path, component| wanted(path, component.effect));
    }
    fn add(&mut self, path: &str, entry: Entry) {
        self.entries.insert(path.to_owned(), entry);
        for (at, _) in path.match_indices('.') {
            self.modules.insert(path[..at].to_owned());
        }
    }
    /// Find a component by short name or dotted path.
    pub fn component(&self, name: &str) -> Option<&'static Component> {
        self.components.get(name).copied().or_else(|| match self.entries.get(name) {
            Some(Entry::Component(component)) => Some(*component),
            _ => None,
        })
    }
    /// Find a dotted name or a built-in; the prefix of a path returns [`Value::Module`].
    pub fn lookup(&self, path: &str) -> Option<Value> {
        match self.entries.get(path) {
            Some(entry) => Some(entry.value()),
            None => self.modules.contains(path).then(|| Value::Module(path.into())),
        }
    }
    /// Find the entry of a dotted name or a built-in.
    pub fn entry(&self, path: &str) -> Option<Entry> {
        self.entries.get(path).copied()
    }
    /// Whether `path` is a module: a proper prefix of a dotted name.
    pub fn is_module(&self, path: &str) -> bool {
        self.modules.contains(path)
    }
    /// Names of built-in functions, which have no dot.
    pub fn builtins(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str).filter(|name| !name.contains('.'))
    }
    /// Names directly under a module.
    pub fn names_in<'a>(&'a self, module: &'a str) -> impl Iterator<Item = &'a str> {
        self.entries
            .keys()
            .chain(&self.modules)
            .filter_map(move |path| path.strip_prefix(module)?.strip_prefix('.'))
            .filter(|rest| !rest.contains('.'))
    }
    /// All components, sorted by name.
    pub fn components(&self) -> impl Iterator<Item = &'static Component> {
        self.components
            .iter()
            .filter(|(name, component)| name.as_str() == component.name)
            .map(|(_, component)| *component)
    }
    /// Component name that is most similar to a misspelled one.
    pub fn nearest_component(&self, name: &str) -> Option<&str> {
        did_you_mean(name, self.components.keys().map(String::as_str))
    }
}
