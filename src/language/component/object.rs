//! What a config can hold besides plain values, and the budget under which it is called.

use super::{Args, Effect, Value};
use crate::error::{Error, Kind, Result};
use crate::run::{ConfigRecord, EngineStart, RunContext};
use crate::{bail, err};
use std::any::Any;
use std::cell::Cell;
use std::sync::Arc;

/// Anything with behaviour: networks, transforms, engines, `torch.device`, lambdas, arrays.
///
/// Every method has a default that says what the type cannot do, so that a type implements only what Python code in
/// configs uses of it. `Any` makes [`Value::downcast`] work.
pub trait Object: Any + Send + Sync {
    /// Python's name of the type: `SegResNet`, `torch.device`.
    fn type_name(&self) -> &str;
    fn repr(&self) -> String {
        format!("<{}>", self.type_name())
    }
    fn to_str(&self) -> String {
        self.repr()
    }
    /// An attribute or bound method's value; `None` if there is none of that name.
    fn attr(&self, _name: &str) -> Result<Option<Value>> {
        Ok(None)
    }
    /// Names for "did you mean".
    fn attr_names(&self) -> &[&str] {
        &[]
    }
    fn set_attr(&self, name: &str, _value: Value) -> Result<()> {
        bail!("attribute `{name}` of {} cannot be set", self.type_name())
    }
    /// `object.name(args)`; `None` if there is no such method (then [`Object::attr`] is asked for a callable).
    fn call_method(&self, _name: &str, _args: &mut Args, _call: &mut BuildContext) -> Result<Option<Value>> {
        Ok(None)
    }
    /// `object(args)`.
    fn call(&self, _args: Args, _call: &mut BuildContext) -> Result<Value> {
        bail!("{} is not callable", self.type_name())
    }
    fn callable(&self) -> bool {
        false
    }
    /// `object[index]`.
    fn index(&self, _index: &Value) -> Result<Value> {
        bail!("{} cannot be indexed", self.type_name())
    }
    /// `for x in object`; `None` if it cannot be iterated.
    fn iterate(&self) -> Option<Result<Vec<Value>>> {
        None
    }
    /// `iter(object)` where items are made one by one: an iterator object. `None`: see [`Object::iterate`].
    fn iterator(&self) -> Option<Result<Value>> {
        None
    }
    /// `len(object)`.
    fn length(&self) -> Option<usize> {
        None
    }
    fn truthy(&self) -> bool {
        self.length() != Some(0)
    }
    /// `self <operator> other`, or `other <operator> self` when `reflected`; operators as Python spells them
    /// (`+`, `//`, `==`, `<`, `in`, unary as `neg`). `None` if not supported.
    fn operator(
        &self,
        _operator: &str,
        _other: &Value,
        _reflected: bool,
        _call: &mut BuildContext,
    ) -> Result<Option<Value>> {
        Ok(None)
    }
    fn equals(&self, _other: &Value) -> bool {
        false
    }
    /// What a method does besides computing a value: one of its own, or `__call__`, `__getitem__`, `__iter__`. A dry run
    /// withholds those that act, and whatever reads images or computes for long.
    fn effect(&self, _method: &str) -> Effect {
        Effect::Pure
    }
}

/// What an evaluation may use: a budget, so that no expression can hang or exhaust the machine, and the run that it is
/// part of.
pub struct BuildContext {
    steps_left: u64,
    depth_left: u32,
    dry_run: bool,
    reports: Vec<Error>,
    run: Option<Arc<RunContext>>,
    config: Option<Arc<dyn ConfigSource>>,
}

/// Gives the config as it is when an engine starts.
pub trait ConfigSource: Send + Sync {
    fn record(&self) -> ConfigRecord;
}

/// What building a component counts: an expression builds at most two thousand.
const BUILD_STEPS: usize = 5000;

/// What [`BuildContext::lend`] lends.
#[derive(Clone, Copy)]
struct Lent {
    steps: u64,
    depth: u32,
    dry_run: bool,
}

thread_local! {
    /// For iterators that a function goes through without knowing of budgets, as when it converts an argument to a list.
    static LENT: Cell<Option<Lent>> = const { Cell::new(None) };
}

impl Default for BuildContext {
    /// Ten million steps and items are far beyond every published config and take under a second.
    fn default() -> Self {
        BuildContext::with_limits(10_000_000, 200)
    }
}

impl BuildContext {
    pub fn with_limits(steps: u64, depth: u32) -> Self {
        BuildContext { steps_left: steps, depth_left: depth, dry_run: false, reports: vec![], run: None, config: None }
    }
    /// The same for a dry run: components are built and pure functions called, everything that acts is withheld.
    #[must_use]
    pub fn dry(self) -> Self {
        BuildContext { dry_run: true, ..self }
    }
    pub fn is_dry_run(&self) -> bool {
        self.dry_run
    }
    /// In a dry run: something that the run would fail at later.
    pub fn report(&mut self, error: Error) {
        self.reports.push(error);
    }
    pub fn take_reports(&mut self) -> Vec<Error> {
        std::mem::take(&mut self.reports)
    }
    /// Whether `what` may be done here.
    ///
    /// # Errors
    /// Of kind [`Kind::Withheld`] if it acts and this is a dry run.
    // Not inlined: evaluation is recursive, and a small stack frame lets it nest deeper.
    #[inline(never)]
    pub fn permit(&self, effect: Effect, what: &str) -> Result<()> {
        match self.dry_run && effect == Effect::Acts {
            true => Err(err!("`{what}` is not called in a dry run").kind(Kind::Withheld)),
            false => Ok(()),
        }
    }
    /// For an evaluation in a run; `config` is the config that it belongs to.
    pub fn in_run(run: Option<Arc<RunContext>>, config: Option<Arc<dyn ConfigSource>>) -> Self {
        BuildContext { run, config, ..BuildContext::default() }
    }
    /// The run that this evaluation is part of; a default one outside of a run.
    pub fn run(&self) -> Arc<RunContext> {
        self.run.clone().unwrap_or_default()
    }
    /// What an engine gets that starts now.
    pub fn engine_start(&self) -> EngineStart {
        let config = self.config.as_ref().map(|config| config.record()).unwrap_or_default();
        EngineStart { run: self.run(), config }
    }
    /// Account for `items` steps of work or items of a container about to be made.
    pub fn charge(&mut self, items: usize) -> Result<()> {
        self.steps_left = self
            .steps_left
            .checked_sub(items as u64)
            .ok_or_else(|| err!("the expression needs too many steps or makes too large a value").kind(Kind::Config))?;
        Ok(())
    }
    /// Run `inner` so that what it calls without a budget at hand ([`BuildContext::with_lent`]) uses this one.
    pub fn lend<T>(&mut self, inner: impl FnOnce(&mut BuildContext) -> T) -> T {
        let lent = Lent { steps: self.steps_left, depth: self.depth_left, dry_run: self.dry_run };
        let outer = LENT.replace(Some(lent));
        let result = inner(self);
        let left = LENT.replace(outer).map_or(lent.steps, |left| left.steps);
        self.steps_left = self.steps_left.saturating_sub(lent.steps - left);
        result
    }
    /// The budget that is lent to this thread, or a fresh one.
    pub fn with_lent<T>(inner: impl FnOnce(&mut BuildContext) -> T) -> T {
        let Some(lent) = LENT.get() else { return inner(&mut BuildContext::default()) };
        let mut call = BuildContext { dry_run: lent.dry_run, ..BuildContext::with_limits(lent.steps, lent.depth) };
        let result = inner(&mut call);
        LENT.set(Some(Lent { steps: call.steps_left, ..lent }));
        result
    }
    /// Run `inner` one level deeper.
    pub fn nested<T>(&mut self, inner: impl FnOnce(&mut BuildContext) -> Result<T>) -> Result<T> {
        if self.depth_left == 0 {
            return Err(err!("the expression is nested too deeply").kind(Kind::Config));
        }
        self.depth_left -= 1;
        let result = inner(self);
        self.depth_left += 1;
        result
    }
}

/// What cannot be built is the config's mistake, unless files are read for it.
fn as_config(error: Error, effect: Effect) -> Error {
    match (error.get_kind(), error.get_file()) {
        (Kind::Run, None) if effect != Effect::Reads => error.kind(Kind::Config),
        _ => error,
    }
}

impl Value {
    /// Call a function, class, or callable object.
    pub fn call(&self, args: Args, call: &mut BuildContext) -> Result<Value> {
        call.charge(1)?;
        call.nested(|call| {
            call.lend(|call| match self {
                Value::Function(function) => {
                    call.permit(function.effect, function.path)?;
                    (function.call)(args, call)
                }
                Value::Component(component) => {
                    // Parts within parts are dropped level by level on the stack, so their number bounds the depth.
                    call.charge(BUILD_STEPS)?;
                    (component.build)(args, call).map_err(|error| as_config(error, component.effect))
                }
                Value::Object(object) => {
                    call.permit(object.effect("__call__"), object.type_name())?;
                    object.call(args, call)
                }
                other => bail!("'{}' object is not callable", other.type_name()),
            })
        })
    }
    pub fn callable(&self) -> bool {
        match self {
            Value::Function(_) | Value::Component(_) => true,
            Value::Object(object) => object.callable(),
            _ => false,
        }
    }
}
