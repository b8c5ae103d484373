//! Functions of iterables, lazy where they are lazy in Python.

use crate::bundle::expr::values::iter::{Cursor, Iter, Step, collect};
use crate::bundle::expr::values::range::Range;
use crate::bundle::expr::values::{arith, compare, sort_keys};
use crate::component::{Args, BuildContext, Value};
use crate::error::Result;
use crate::python::common::{one, to};
use crate::python::given::Given;
use crate::{bail, err};

pub fn len(args: Args, _: &mut BuildContext) -> Result<Value> {
    let value: Value = one("len", "obj", args)?;
    let len = match &value {
        Value::Str(text) => Some(text.chars().count()),
        Value::List(list) => Some(list.len()),
        Value::Tuple(items) => Some(items.len()),
        Value::Dict(dict) => Some(dict.len()),
        Value::Set(keys) => Some(keys.len()),
        Value::Object(object) => object.length(),
        _ => None,
    };
    len.map(|len| Value::Int(len as i64)).ok_or_else(|| err!("object of type '{}' has no len()", value.type_name()))
}

/// Whether any item has the truth value `wanted`.
fn has(args: Args, name: &str, wanted: bool, call: &mut BuildContext) -> Result<bool> {
    let mut cursor = Cursor::new(&one(name, "iterable", args)?)?;
    while let Some(item) = cursor.next(call)? {
        if item.truthy() == wanted {
            return Ok(true);
        }
    }
    Ok(false)
}
pub fn all(args: Args, call: &mut BuildContext) -> Result<Value> {
    has(args, "all", false, call).map(|found| Value::Bool(!found))
}
pub fn any(args: Args, call: &mut BuildContext) -> Result<Value> {
    has(args, "any", true, call).map(Value::Bool)
}

pub fn sum(args: Args, call: &mut BuildContext) -> Result<Value> {
    let given = Given::bind("sum", &["iterable", "start"], args)?;
    let mut total = given.any(1).cloned().unwrap_or(Value::Int(0));
    if matches!(total, Value::Str(_)) {
        return Err(err!("sum() can't sum strings").hint("use `''.join(…)` instead"));
    }
    let mut cursor = Cursor::new(&given.need(0)?)?;
    while let Some(item) = cursor.next(call)? {
        total = arith::binary("+", &total, &item, call)?;
    }
    Ok(total)
}

/// `min` or `max`, by `name`.
pub fn extreme(mut args: Args, name: &str, call: &mut BuildContext) -> Result<Value> {
    let key = args.take("key").filter(|key| !key.is_none());
    let default = args.take("default");
    if let Some((unknown, _)) = args.named.first() {
        bail!("{name}() has no argument `{unknown}`");
    }
    let items = match args.positional.as_slice() {
        [] => bail!("{name}() needs an iterable or several values"),
        [items] => collect(items, call)?,
        _ if default.is_some() => bail!("{name}() takes a default only with a single iterable"),
        several => several.to_vec(),
    };
    let mut best: Option<(Value, Value)> = None;
    for item in items {
        let by = match &key {
            Some(key) => key.call(Args::positional([item.clone()]), call)?,
            None => item.clone(),
        };
        let better = match &best {
            None => true,
            Some((_, best)) if name == "min" => compare::less(&by, best, call)?,
            Some((_, best)) => compare::compare(">", &by, best, call)?.truthy(),
        };
        if better {
            best = Some((item, by));
        }
    }
    best.map(|(item, _)| item).or(default).ok_or_else(|| err!("{name}() of an empty iterable").hint("give a `default`"))
}

pub fn sorted(mut args: Args, call: &mut BuildContext) -> Result<Value> {
    let key = args.take("key");
    let reverse = args.take("reverse").is_some_and(|reverse| reverse.truthy());
    let items = collect(&one("sorted", "iterable", args)?, call)?;
    let keys = sort_keys(&items, key, call)?;
    compare::sort(items, keys, reverse, call).map(Value::list)
}

/// Unlike in Python, the items are copied: later changes of a list are not visible.
pub fn reversed(args: Args, call: &mut BuildContext) -> Result<Value> {
    let source: Value = one("reversed", "sequence", args)?;
    if matches!(source, Value::Set(_)) || source.downcast::<Iter>().is_some() {
        bail!("'{}' object is not reversible", source.type_name());
    }
    let mut items = collect(&source, call)?;
    items.reverse();
    Ok(Iter::value("reversed", Cursor::Items(items.into_iter())))
}

pub fn range(args: Args, _: &mut BuildContext) -> Result<Value> {
    if !args.named.is_empty() || args.positional.is_empty() || args.positional.len() > 3 {
        bail!("range() takes 1 to 3 positional arguments");
    }
    let whole: Vec<i64> = args.positional.iter().map(|value| to("range", value)).collect::<Result<_>>()?;
    let range = match whole[..] {
        [stop] => Range::new(0, stop, 1),
        [start, stop] => Range::new(start, stop, 1),
        _ => Range::new(whole[0], whole[1], whole[2]),
    };
    range.map(Value::object)
}

pub fn iter(args: Args, _: &mut BuildContext) -> Result<Value> {
    let source: Value = one("iter", "object", args)?;
    if source.downcast::<Iter>().is_some() {
        return Ok(source);
    }
    Ok(Iter::value("iterator", Cursor::new(&source)?))
}

pub fn next(args: Args, call: &mut BuildContext) -> Result<Value> {
    let given = Given::bind("next", &["iterator", "default"], args)?;
    let source: Value = given.need(0)?;
    let Some(iter) = source.downcast::<Iter>() else {
        return Err(
            err!("'{}' object is not an iterator", source.type_name()).hint("`next(iter(…))` takes the first item")
        );
    };
    let item = iter.advance(call)?.or_else(|| given.any(1).cloned());
    item.ok_or_else(|| err!("next() of an exhausted iterator").hint("give a default: `next(…, None)`"))
}

pub fn enumerate(args: Args, _: &mut BuildContext) -> Result<Value> {
    let given = Given::bind("enumerate", &["iterable", "start"], args)?;
    let (cursor, at) = (Cursor::new(&given.need(0)?)?, given.get(1)?.unwrap_or(0));
    Ok(Iter::value("enumerate", Enumerate { cursor, at }))
}
struct Enumerate {
    cursor: Cursor,
    at: i64,
}
impl Step for Enumerate {
    fn step(&mut self, call: &mut BuildContext) -> Result<Option<Value>> {
        let Some(item) = self.cursor.next(call)? else { return Ok(None) };
        let at = self.at;
        self.at = at.checked_add(1).ok_or_else(|| err!("enumerate() counts beyond 64 bits"))?;
        Ok(Some(Value::tuple([Value::Int(at), item])))
    }
}

pub fn zip(args: Args, call: &mut BuildContext) -> Result<Value> {
    if let Some((name, _)) = args.named.first() {
        bail!("zip() has no argument `{name}`");
    }
    let lengths = args.positional.iter().map(|list| match list {
        Value::List(list) => Some(list.len()),
        Value::Tuple(items) => Some(items.len()),
        _ => None,
    });
    if let Some(lengths) = lengths.collect::<Option<Vec<usize>>>()
        && lengths.windows(2).any(|pair| pair[0] != pair[1])
    {
        let lengths: Vec<String> = lengths.iter().map(usize::to_string).collect();
        let lengths = lengths.join(" and ");
        call.warn(err!("zip() pairs lists of {lengths} items: it drops the last items of the longer ones"));
    }
    Ok(Iter::value("zip", Zip(args.positional.iter().map(Cursor::new).collect::<Result<_>>()?)))
}
struct Zip(Vec<Cursor>);
impl Zip {
    /// One item of each iterator; `None` as soon as one is exhausted.
    fn all(&mut self, call: &mut BuildContext) -> Result<Option<Vec<Value>>> {
        let mut items = Vec::with_capacity(self.0.len());
        for cursor in &mut self.0 {
            let Some(item) = cursor.next(call)? else { return Ok(None) };
            items.push(item);
        }
        Ok((!items.is_empty()).then_some(items))
    }
}
impl Step for Zip {
    fn step(&mut self, call: &mut BuildContext) -> Result<Option<Value>> {
        Ok(self.all(call)?.map(Value::tuple))
    }
}

pub fn map(args: Args, _: &mut BuildContext) -> Result<Value> {
    let [function, sources @ ..] = args.positional.as_slice() else { bail!("map() needs a function and an iterable") };
    if sources.is_empty() || !args.named.is_empty() {
        bail!("map() needs a function and at least one iterable, by position");
    }
    let cursors = sources.iter().map(Cursor::new).collect::<Result<_>>()?;
    Ok(Iter::value("map", Map { function: function.clone(), sources: Zip(cursors) }))
}
struct Map {
    function: Value,
    sources: Zip,
}
impl Step for Map {
    fn step(&mut self, call: &mut BuildContext) -> Result<Option<Value>> {
        let Some(items) = self.sources.all(call)? else { return Ok(None) };
        self.function.call(Args::positional(items), call).map(Some)
    }
}

pub fn filter(args: Args, _: &mut BuildContext) -> Result<Value> {
    let [function, source] = args.expect("filter", ["function", "iterable"])?;
    Ok(Iter::value("filter", Filter { function, cursor: Cursor::new(&source)? }))
}
struct Filter {
    function: Value,
    cursor: Cursor,
}
impl Step for Filter {
    fn step(&mut self, call: &mut BuildContext) -> Result<Option<Value>> {
        while let Some(item) = self.cursor.next(call)? {
            let keep = match &self.function {
                Value::None => item.truthy(),
                function => function.call(Args::positional([item.clone()]), call)?.truthy(),
            };
            if keep {
                return Ok(Some(item));
            }
        }
        Ok(None)
    }
}
