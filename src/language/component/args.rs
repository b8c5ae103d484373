//! Arguments of components and functions: one declaration for parser and documentation.

use super::{FromValue, Value, found};
use crate::error::{Error, Kind, Result, did_you_mean};
use crate::{bail, err};
use std::sync::Arc;

/// One declared parameter.
pub struct Param {
    /// Name in MONAI.
    pub name: &'static str,
    /// Documentation.
    pub doc: &'static str,
    /// Description of the type, such as "int" or "list of float".
    pub expected: fn() -> String,
    /// Default value; `None` if the argument is required.
    pub default: Option<fn() -> Value>,
    /// Whether the argument is accepted without effect; `doc` gives the reason.
    pub accepted: bool,
    /// Whether results can depend on the argument: false if it is accepted without effect or marked
    /// `#[no_effect_on_results]`.
    pub affects_results: bool,
    /// Checks the type of a value; the first argument is the component's name, for the error.
    pub check: fn(&str, &Param, &Value) -> Result<()>,
}

/// A struct declared with [`args!`](crate::args).
pub trait Declared: Sized {
    /// Parameters in the order of the struct.
    const PARAMS: &'static [Param];
    /// Parse arguments; `name` is the component, for messages.
    fn parse(name: &str, args: Args) -> Result<Self>;
}

/// Positional and named arguments of a call.
#[derive(Default, Clone, Debug)]
pub struct Args {
    /// Positional arguments.
    pub positional: Vec<Value>,
    /// Named arguments, in the order of the call.
    pub named: Vec<(Arc<str>, Value)>,
}

impl Args {
    /// Creates positional arguments.
    pub fn positional(values: impl IntoIterator<Item = Value>) -> Self {
        Args { positional: values.into_iter().collect(), named: vec![] }
    }
    /// Creates named arguments.
    pub fn named(values: impl IntoIterator<Item = (Arc<str>, Value)>) -> Self {
        Args { positional: vec![], named: values.into_iter().collect() }
    }
    /// Assign a value to each parameter, with defaults for those not given.
    ///
    /// # Errors
    /// Unknown, duplicate, missing and surplus arguments.
    pub fn bind(self, name: &str, params: &[Param]) -> Result<Vec<Value>> {
        if self.positional.len() > params.len() {
            bail!("{name} takes at most {} arguments, found {}", params.len(), self.positional.len());
        }
        let given: Vec<&str> = self.named.iter().map(|(key, _)| &**key).collect();
        if let Some(error) = check_names(name, params, &given).into_iter().next() {
            return Err(error);
        }
        let mut slots: Vec<Option<Value>> = self.positional.into_iter().map(Some).collect();
        slots.resize(params.len(), None);
        for (key, value) in self.named {
            let Some(at) = params.iter().position(|param| param.name == &*key) else { continue };
            if slots[at].replace(value).is_some() {
                bail!("{name} got several values for argument `{key}`");
            }
        }
        params
            .iter()
            .zip(slots)
            .map(|(param, slot)| {
                slot.or_else(|| param.default.map(|make| make())).ok_or_else(|| missing_argument(name, param))
            })
            .collect()
    }
    /// Take exactly the arguments `names`, by position or by name; for functions with few arguments.
    pub fn expect<const N: usize>(mut self, name: &str, names: [&str; N]) -> Result<[Value; N]> {
        for wanted in names.iter().skip(self.positional.len()) {
            let Some(found) = self.named.iter().position(|(key, _)| &**key == *wanted) else { break };
            self.positional.push(self.named.remove(found).1);
        }
        if let Some((key, _)) = self.named.first() {
            return Err(unknown(name, key, &names));
        }
        let found = self.positional.len();
        self.positional.try_into().map_err(|_| err!("{name} takes {N} arguments ({}), found {found}", names.join(", ")))
    }
    /// Remove and return a named argument.
    pub fn take(&mut self, key: &str) -> Option<Value> {
        let at = self.named.iter().position(|(name, _)| &**name == key)?;
        Some(self.named.remove(at).1)
    }
}

fn unknown(name: &str, key: &str, names: &[&str]) -> Error {
    let short = name.rsplit('.').next().unwrap_or(name);
    let see = format!("see `segbundle components {short}`");
    let hint = match did_you_mean(key, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`? {}", see.replacen('s', "S", 1)),
        None => format!("its arguments are {}; {see}", names.join(", ")),
    };
    err!("{name} has no argument `{key}`").hint(hint).kind(Kind::Config)
}

/// Error for a required argument of the component `name` that is not given.
pub(crate) fn missing_argument(name: &str, param: &Param) -> Error {
    err!("{name} needs argument `{}` ({})", param.name, (param.expected)()).kind(Kind::Config)
}

/// Errors for the names in `given` that are no parameters of the component `name`.
pub(crate) fn check_names(name: &str, params: &[Param], given: &[&str]) -> Vec<Error> {
    let names: Vec<&str> = params.iter().map(|param| param.name).collect();
    given.iter().filter(|key| !names.contains(key)).map(|key| unknown(name, key, &names)).collect()
}

/// Convert a bound value to `T`; used by [`args!`](crate::args).
pub fn convert<T: FromValue>(name: &str, param: &Param, value: &Value) -> Result<T> {
    T::from_value(value).ok_or_else(|| {
        if let Some(error) = T::refusal(value) {
            return error.arguments(&[param.name]);
        }
        let (expected, found) = (T::expected(), found(value));
        let error = err!("{name}: argument `{}`: expected {expected}, found {found}", param.name);
        let error = error.kind(T::ERROR).arguments(&[param.name]);
        // A number in quotes, or text that YAML 1.1 does not read as a number.
        let number = value.as_str().and_then(super::as_number);
        let fits = |number: &String| {
            let value = number.parse().map(Value::Int).ok().or_else(|| number.parse().map(Value::Float).ok());
            value.is_some_and(|value| T::from_value(&value).is_some())
        };
        match number.filter(fits) {
            Some(number) => error.hint(format!("write {number}, without quotes")),
            None => error,
        }
    })
}

/// Declare arguments, in MONAI's order: a struct, its documentation and its parser.
///
/// A default is any expression that converts to a [`Value`] (`()` is None); it is converted like a value from a config.
/// An argument of MONAI that has no effect here gets the type [`Accepted`](super::Accepted), with the reason as its
/// doc. An argument that affects speed, logging or the location of results, but not the results, is marked
/// `#[no_effect_on_results]`.
///
/// ```ignore
/// args! {
///     /// Arguments of DataLoader.
///     pub struct DataLoaderArgs {
///         /// Dataset to load cases from.
///         dataset: Arc<dyn Dataset>,
///         /// Number of threads that load cases in the background.
///         #[no_effect_on_results]
///         num_workers: usize = 0,
///         /// No effect: workers share memory with the engine.
///         pin_memory: Accepted = false,
///     }
/// }
/// ```
#[macro_export]
macro_rules! args {
    ($(#[$meta:meta])* $vis:vis struct $name:ident {
        $($(#[$($attribute:tt)*])* $field:ident : $ty:ty $(= $default:expr)?),* $(,)?
    }) => {
        $(#[$meta])*
        #[allow(dead_code, clippy::empty_docs)]
        $vis struct $name { $(#[doc = $crate::args!(@doc $([$($attribute)*])*)] pub $field: $ty),* }

        impl $crate::component::Declared for $name {
            const PARAMS: &'static [$crate::component::Param] = &[$($crate::component::Param {
                name: stringify!($field),
                doc: $crate::args!(@doc $([$($attribute)*])*),
                expected: <$ty as $crate::component::FromValue>::expected,
                default: $crate::args!(@default $($default)?),
                accepted: <$ty as $crate::component::FromValue>::ACCEPTED,
                affects_results: $crate::args!(@affects $([$($attribute)*])*)
                    && !<$ty as $crate::component::FromValue>::ACCEPTED,
                check: |name, param, value| $crate::component::convert::<$ty>(name, param, value).map(drop),
            }),*];
            #[allow(unused_mut, unused_variables)]
            fn parse(name: &str, args: $crate::component::Args) -> $crate::error::Result<Self> {
                let params = <Self as $crate::component::Declared>::PARAMS;
                let mut values = args.bind(name, params)?.into_iter().zip(params);
                $(let $field = match values.next() {
                    Some((value, param)) => $crate::component::convert(name, param, &value)?,
                    None => return Err($crate::err!("{name}: argument list is too short")),
                };)*
                Ok(Self { $($field),* })
            }
        }
    };
    (@doc [doc = $doc:literal] $($rest:tt)*) => { concat!($doc, "\n", $crate::args!(@doc $($rest)*)) };
    (@doc [no_effect_on_results] $($rest:tt)*) => { $crate::args!(@doc $($rest)*) };
    (@doc) => { "" };
    (@affects [no_effect_on_results] $($rest:tt)*) => { false };
    (@affects [doc = $doc:literal] $($rest:tt)*) => { $crate::args!(@affects $($rest)*) };
    (@affects) => { true };
    (@default) => { None };
    (@default $default:expr) => { Some(|| $crate::component::Value::from($default)) };
}
