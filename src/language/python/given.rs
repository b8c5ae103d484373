//! Arguments of functions and methods, and tables of methods.

use super::common::to;
use crate::component::{Args, BuildContext, FromValue, Value};
use crate::error::{Kind, Result};
use crate::{bail, err};

/// Arguments bound to parameters.
///
/// A parameter is declared by its names, separated by `|` (`axis|dim`); `*shape` takes all remaining positional
/// arguments; `_order` is accepted by name only, without effect; a single `**` leaves all arguments in [`Given::rest`].
pub struct Given<'a> {
    /// Name of the function for errors: `numpy.sum`, or `sum` for a method.
    pub called: &'a str,
    params: &'a [&'a str],
    values: Vec<Option<Value>>,
    /// All arguments of a function with the parameter `**`.
    pub rest: Args,
}

fn names(param: &str) -> impl Iterator<Item = &str> {
    param.trim_start_matches(['*', '_']).split('|')
}

impl<'a> Given<'a> {
    /// Assigns arguments to `params`.
    ///
    /// # Errors
    /// Unknown, duplicate or surplus arguments.
    pub fn bind(called: &'a str, params: &'a [&'a str], args: Args) -> Result<Given<'a>> {
        let mut values: Vec<Option<Value>> = vec![None; params.len()];
        if params == ["**"] {
            return Ok(Given { called, params, values, rest: args });
        }
        let given = args.positional.len();
        let mut rest = args.positional.into_iter();
        for (at, param) in params.iter().enumerate().filter(|(_, param)| !param.starts_with('_')) {
            values[at] = match param.strip_prefix('*') {
                Some(_) if rest.len() > 1 => Some(Value::tuple(rest.by_ref())),
                _ => rest.next(),
            };
        }
        if rest.len() > 0 {
            let most = params.iter().filter(|param| !param.starts_with('_')).count();
            return Err(err!("{called} takes at most {most} arguments, found {given}").kind(Kind::Config));
        }
        for (key, value) in args.named {
            let Some(at) = params.iter().position(|param| names(param).any(|name| name == &*key)) else {
                let known: Vec<&str> = params.iter().flat_map(|param| names(param).next()).collect();
                let error = err!("{called} has no argument `{key}`").kind(Kind::Config);
                return Err(error.hint(format!("its arguments are {}", known.join(", "))));
            };
            if values[at].replace(value).is_some() {
                bail!("{called} got several values for argument `{key}`");
            }
        }
        Ok(Given { called, params, values, rest: Args::default() })
    }
    fn label(&self, at: usize) -> String {
        format!("argument `{}`", names(self.params[at]).next().unwrap_or_default())
    }
    /// The argument at a position in `params`, possibly None; `None` if it is missing.
    pub fn any(&self, at: usize) -> Option<&Value> {
        self.values.get(at)?.as_ref()
    }
    /// Like [`Given::any`]; `None` for a None, too.
    pub fn value(&self, at: usize) -> Option<&Value> {
        self.any(at).filter(|value| !value.is_none())
    }
    /// Like [`Given::value`], converted to `T`.
    pub fn get<T: FromValue>(&self, at: usize) -> Result<Option<T>> {
        self.value(at).map(|value| to(&format!("{}: {}", self.called, self.label(at)), value)).transpose()
    }
    /// A required argument, converted to `T`.
    pub fn need<T: FromValue>(&self, at: usize) -> Result<T> {
        match self.any(at) {
            Some(value) => to(&format!("{}: {}", self.called, self.label(at)), value),
            None => Err(err!("{} needs {}", self.called, self.label(at)).kind(Kind::Config)),
        }
    }
    /// An integer or a list of integers.
    pub fn integers(&self, at: usize) -> Result<Option<Vec<i64>>> {
        match self.value(at).map(i64::from_value) {
            Some(Some(one)) => Ok(Some(vec![one])),
            _ => self.get(at),
        }
    }
    /// Like [`Given::integers`] for a required argument.
    pub fn need_integers(&self, at: usize) -> Result<Vec<i64>> {
        self.integers(at)?.map_or_else(|| self.need(at), Ok)
    }
    /// A required shape, whose sizes must not be negative.
    pub fn sizes(&self, at: usize) -> Result<Vec<usize>> {
        let size =
            |n: i64| usize::try_from(n).map_err(|_| err!("{}: negative size {n}", self.called).kind(Kind::Config));
        self.need_integers(at)?.into_iter().map(size).collect()
    }
}

/// A method of values or objects `T`: its names, its parameters as declared for [`Given`], and its implementation.
pub struct Method<T: 'static> {
    /// All names.
    pub names: &'static [&'static str],
    params: &'static [&'static str],
    call: Body<T>,
}

type Body<T> = fn(&T, &Given, &mut BuildContext) -> Result<Value>;

/// Declares a method.
pub const fn method<T>(names: &'static [&'static str], params: &'static [&'static str], call: Body<T>) -> Method<T> {
    Method { names, params, call }
}

impl<T> Method<T> {
    /// Finds a method by name.
    pub fn find<'a>(methods: &'a [Method<T>], name: &str) -> Option<&'a Method<T>> {
        methods.iter().find(|method| method.names.contains(&name))
    }
    /// Evaluates `own.name(args)`; `called` is the name for errors.
    pub fn call(&self, own: &T, called: &str, args: Args, call: &mut BuildContext) -> Result<Value> {
        (self.call)(own, &Given::bind(called, self.params, args)?, call)
    }
}
