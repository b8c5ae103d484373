//! Arguments of array methods and of functions of NumPy and torch.

use super::{Flavor, Type};
use crate::component::{Args, FromValue, Value};
use crate::error::{Kind, Result};
use crate::python::common::to;
use crate::{bail, err};

/// Arguments bound to parameters.
///
/// A parameter is declared by its names, separated by `|` (`axis|dim`); `*shape` takes all remaining positional
/// arguments; `_order` is accepted by name only, without effect.
pub struct Given<'a> {
    /// Name of the function for errors: `numpy.sum`, or `sum` for a method.
    pub called: &'a str,
    /// Library of the function.
    pub flavor: Flavor,
    params: &'a [&'a str],
    values: Vec<Option<Value>>,
}

fn named(param: &str, key: &str) -> bool {
    param.trim_start_matches(['*', '_']).split('|').any(|name| name == key)
}

impl<'a> Given<'a> {
    /// Assigns arguments to `params`.
    ///
    /// # Errors
    /// Unknown, duplicate or surplus arguments.
    pub fn bind(called: &'a str, flavor: Flavor, params: &'a [&'a str], args: Args) -> Result<Given<'a>> {
        let mut values: Vec<Option<Value>> = vec![None; params.len()];
        let given = args.positional.len();
        let mut rest = args.positional.into_iter();
        for (at, param) in params.iter().enumerate().filter(|(_, param)| !param.starts_with('_')) {
            values[at] = match param.strip_prefix('*') {
                None => rest.next(),
                Some(_) if rest.len() > 1 => Some(Value::tuple(rest.by_ref())),
                Some(_) => rest.next(),
            };
        }
        if rest.len() > 0 {
            let most = params.iter().filter(|param| !param.starts_with('_')).count();
            return Err(err!("{called} takes at most {most} arguments, found {given}").kind(Kind::Config));
        }
        for (key, value) in args.named {
            let Some(at) = params.iter().position(|param| named(param, &key)) else {
                return Err(err!("{called} has no argument `{key}`").kind(Kind::Config));
            };
            if values[at].replace(value).is_some() {
                bail!("{called} got several values for argument `{key}`");
            }
        }
        Ok(Given { called, flavor, params, values })
    }
    fn name(&self, at: usize) -> &str {
        self.params[at].trim_start_matches(['*', '_']).split('|').next().unwrap_or_default()
    }
    pub(super) fn torch(&self) -> bool {
        self.flavor == Flavor::Torch
    }
    /// Value of the argument at a position in `params`; `None` if it is missing or None.
    pub fn value(&self, at: usize) -> Option<&Value> {
        self.values.get(at)?.as_ref().filter(|value| !value.is_none())
    }
    /// Like [`Given::value`], converted to `T`.
    pub fn get<T: FromValue>(&self, at: usize) -> Result<Option<T>> {
        self.value(at).map(|value| to(&format!("{}: argument `{}`", self.called, self.name(at)), value)).transpose()
    }
    /// Like [`Given::get`] for a required argument.
    pub fn need<T: FromValue>(&self, at: usize) -> Result<T> {
        self.get(at)?.ok_or_else(|| err!("{} needs argument `{}`", self.called, self.name(at)).kind(Kind::Config))
    }
    /// An integer or a list of integers.
    pub(super) fn integers(&self, at: usize) -> Result<Option<Vec<i64>>> {
        match self.value(at).map(i64::from_value) {
            Some(Some(one)) => Ok(Some(vec![one])),
            _ => self.get(at),
        }
    }
    /// A required shape, whose sizes must not be negative.
    pub fn sizes(&self, at: usize) -> Result<Vec<usize>> {
        let sizes = self.integers(at)?.map_or_else(|| self.need(at), Ok)?;
        let size =
            |n: i64| usize::try_from(n).map_err(|_| err!("{}: negative size {n}", self.called).kind(Kind::Config));
        sizes.into_iter().map(size).collect()
    }
    /// Default floating-point type of the library.
    pub fn float(&self) -> Type {
        if self.torch() { Type::F32 } else { Type::F64 }
    }
}
