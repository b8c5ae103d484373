//! Objects in configs, and the context of evaluations with its limits.

use super::{Args, Effect, Value};
use crate::error::{Error, Kind, Result};
use crate::run::{ConfigRecord, EngineStart, RunContext};
use crate::{bail, err, log_error};
use std::any::Any;
use std::cell::RefCell;
use std::sync::Arc;

/// An object with attributes and methods: networks, transforms, engines, `torch.device`, lambdas, arrays.
///
/// All methods except for `type_name` have a default that reports the operation as unsupported, so that a type
/// implements only the operations that configs use. The bound `Any` is required by [`Value::downcast`].
pub trait Object: Any + Send + Sync {
    /// Name of the type in Python: `SegResNet`, `torch.device`.
    fn type_name(&self) -> &str;
    /// `repr(object)`.
    fn repr(&self) -> String {
        format!("<{}>", self.type_name())
    }
    /// `str(object)`.
    fn to_str(&self) -> String {
        self.repr()
    }
    /// Value of an attribute, or a bound method; `None` if there is no attribute of this name.
    fn attr(&self, _name: &str) -> Result<Option<Value>> {
        Ok(None)
    }
    /// Names of attributes, for suggestions in error messages.
    fn attr_names(&self) -> Vec<&'static str> {
        vec![]
    }
    /// `object.name = value`, as by `setattr`.
    fn set_attr(&self, name: &str, _value: Value) -> Result<()> {
        bail!("attribute `{name}` of {} cannot be set", self.type_name())
    }
    /// `object.name(args)`; `None` if there is no method of this name (then a callable from [`Object::attr`] is used).
    fn call_method(&self, _name: &str, _args: &mut Args, _call: &mut BuildContext) -> Result<Option<Value>> {
        Ok(None)
    }
    /// `object(args)`.
    fn call(&self, _args: Args, _call: &mut BuildContext) -> Result<Value> {
        bail!("{} is not callable", self.type_name())
    }
    /// `callable(object)`.
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
    /// `iter(object)` for objects whose items are produced lazily; `None` to use [`Object::iterate`].
    fn iterator(&self) -> Option<Result<Value>> {
        None
    }
    /// `len(object)`.
    fn length(&self) -> Option<usize> {
        None
    }
    /// `bool(object)`.
    fn truthy(&self) -> bool {
        self.length() != Some(0)
    }
    /// `self <op> other`, or `other <op> self` when `reflected`; `op` is spelled as in Python (`+`, `//`, `==`, `<`,
    /// `in`) or, if unary, is `neg`, `pos`, `invert` or `abs`. `None` if not supported.
    fn operator(&self, _op: &str, _other: &Value, _reflected: bool, _: &mut BuildContext) -> Result<Option<Value>> {
        Ok(None)
    }
    /// `object == other` for objects that are not identical, as a bool.
    fn equals(&self, _other: &Value) -> bool {
        false
    }
    /// Text that is equal only for equal contents, for values that a config computes from files; `None` for objects
    /// that are determined by the config.
    fn fingerprint(&self) -> Option<String> {
        None
    }
    /// Side effect of a method (including `__call__`, `__getitem__` and `__iter__`). A dry run does not call methods
    /// that act, read images or compute for long.
    fn effect(&self, _method: &str) -> Effect {
        Effect::Pure
    }
}

/// Context of an evaluation: limits on steps and nesting, so that expressions cannot hang or exhaust memory, and the
/// run that it belongs to.
pub struct BuildContext {
    steps_left: u64,
    depth_left: u32,
    dry_run: bool,
    reports: Vec<Error>,
    warnings: Vec<Error>,
    run: Option<Arc<RunContext>>,
    config: Option<Arc<dyn ConfigSource>>,
}

/// Provides the config at the time when an engine starts.
pub trait ConfigSource: Send + Sync {
    /// Returns the config with the values resolved so far.
    fn record(&self) -> ConfigRecord;
}

/// A config that is known already.
impl ConfigSource for ConfigRecord {
    fn record(&self) -> ConfigRecord {
        self.clone()
    }
}

/// Steps charged for building a component: an expression can build at most two thousand.
const BUILD_STEPS: usize = 5000;

/// The limits and the run passed on by [`BuildContext::lend`].
#[derive(Clone)]
struct Lent {
    steps: u64,
    depth: u32,
    dry_run: bool,
    /// Warnings recorded by the borrowers.
    warnings: Vec<Error>,
    run: Option<Arc<RunContext>>,
}

thread_local! {
    /// Context for iterators that are consumed where no context is available, as in the conversion of arguments to
    /// lists.
    static LENT: RefCell<Option<Lent>> = const { RefCell::new(None) };
}

impl Default for BuildContext {
    /// Ten million steps, far more than any published config needs, take less than a second.
    fn default() -> Self {
        BuildContext::with_limits(10_000_000, 200)
    }
}

impl BuildContext {
    /// Creates a context outside of a run, with limits on steps and nesting.
    pub fn with_limits(steps: u64, depth: u32) -> Self {
        BuildContext {
            steps_left: steps,
            depth_left: depth,
            dry_run: false,
            reports: vec![],
            warnings: vec![],
            run: None,
            config: None,
        }
    }
    /// The same context for a dry run, which builds components and calls pure functions only.
    #[must_use]
    pub fn dry(self) -> Self {
        BuildContext { dry_run: true, ..self }
    }
    /// Whether this is a dry run.
    pub fn is_dry_run(&self) -> bool {
        self.dry_run
    }
    /// In a dry run, record an error that the run would encounter later.
    pub fn report(&mut self, error: Error) {
        self.reports.push(error);
    }
    pub(crate) fn take_reports(&mut self) -> Vec<Error> {
        std::mem::take(&mut self.reports)
    }
    /// Log a warning, or in a dry run record it.
    pub fn warn(&mut self, warning: Error) {
        match self.dry_run {
            true => self.warnings.push(warning),
            false => log_error!(warn, &warning, "{}", warning.message()),
        }
    }
    pub(crate) fn take_warnings(&mut self) -> Vec<Error> {
        std::mem::take(&mut self.warnings)
    }
    /// Check whether the function or method `what` may be called.
    ///
    /// # Errors
    /// An error of kind [`Kind::Withheld`] if it acts and this is a dry run.
    // Not inlined: evaluation is recursive, and smaller stack frames allow deeper nesting.
    #[inline(never)]
    pub fn permit(&self, effect: Effect, what: &str) -> Result<()> {
        match self.dry_run && effect == Effect::Acts {
            true => Err(err!("`{what}` is not called in a dry run").kind(Kind::Withheld)),
            false => Ok(()),
        }
    }
    /// Context of an evaluation in a run; `config` is the config that contains it.
    pub fn in_run(run: Option<Arc<RunContext>>, config: Option<Arc<dyn ConfigSource>>) -> Self {
        BuildContext { run, config, ..BuildContext::default() }
    }
    /// The run that this evaluation belongs to; a default one outside of a run.
    pub fn run(&self) -> Arc<RunContext> {
        self.run.clone().unwrap_or_default()
    }
    /// Options and handles for an engine that starts now.
    pub fn engine_start(&self) -> EngineStart {
        let config = self.config.as_ref().map(|config| config.record()).unwrap_or_default();
        EngineStart { run: self.run(), config }
    }
    /// Charge `items` steps, or items of a container to be created, against the limit.
    pub fn charge(&mut self, items: usize) -> Result<()> {
        self.steps_left = self.steps_left.checked_sub(items as u64).ok_or_else(|| {
            err!("the expression needs too many steps or creates too large a value").kind(Kind::Config)
        })?;
        Ok(())
    }
    /// Run `inner` so that code without access to this context uses its limits through [`BuildContext::with_lent`].
    pub fn lend<T>(&mut self, inner: impl FnOnce(&mut BuildContext) -> T) -> T {
        let (steps, depth, dry_run) = (self.steps_left, self.depth_left, self.dry_run);
        let outer = LENT.replace(Some(Lent { steps, depth, dry_run, warnings: vec![], run: self.run.clone() }));
        let result = inner(self);
        if let Some(left) = LENT.replace(outer) {
            self.steps_left = self.steps_left.saturating_sub(steps - left.steps);
            self.warnings.extend(left.warnings);
        }
        result
    }
    /// Run `inner` with the limits and the run lent to this thread, or with default ones.
    pub fn with_lent<T>(inner: impl FnOnce(&mut BuildContext) -> T) -> T {
        let Some(lent) = LENT.with_borrow(Clone::clone) else { return inner(&mut BuildContext::default()) };
        let limits = BuildContext::with_limits(lent.steps, lent.depth);
        let mut call = BuildContext { dry_run: lent.dry_run, warnings: lent.warnings, run: lent.run.clone(), ..limits };
        let result = inner(&mut call);
        LENT.replace(Some(Lent { steps: call.steps_left, warnings: call.warnings, ..lent }));
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

/// Mark an error as a config error, unless the component reads files.
fn as_config(error: Error, effect: Effect) -> Error {
    match error.get_kind() {
        Kind::Run if effect != Effect::Reads && !error.is_of_data() => error.kind(Kind::Config),
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
                    // Nested components are dropped recursively, so that their number limits the depth of the stack.
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
    /// Python's `callable`.
    pub fn callable(&self) -> bool {
        match self {
            Value::Function(_) | Value::Component(_) => true,
            Value::Object(object) => object.callable(),
            _ => false,
        }
    }
}
