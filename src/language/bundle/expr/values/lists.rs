//! Methods of lists and tuples.

use super::compare::{equal, sort};
use super::iter::collect;
use super::methods::{Given, Method, method};
use super::{index, integer, position};
use crate::component::{Args, BuildContext, List, Value};
use crate::error::Result;
use crate::{bail, err};

pub static LIST_METHODS: &[Method] = &[
    method("append", &["object"], 1, |own, given, call| {
        call.charge(1)?;
        list(own).0.write().push(given.value(0));
        Ok(Value::None)
    }),
    method("extend", &["iterable"], 1, |own, given, call| {
        let items = collect(&given.value(0), call)?;
        list(own).0.write().extend(items);
        Ok(Value::None)
    }),
    method("insert", &["index", "object"], 2, |own, given, call| {
        let at = integer(&given.value(0), "list indices")?;
        let list = list(own);
        let mut items = list.0.write();
        let len = items.len() as i64;
        call.charge(items.len() / 16 + 1)?;
        let at = if at < 0 { (at + len).max(0) } else { at.min(len) };
        items.insert(at as usize, given.value(1));
        Ok(Value::None)
    }),
    method("remove", &["value"], 1, |own, given, call| {
        let item = given.value(0);
        let Some(at) = find(&list(own).items(), &item, call)? else { bail!("list.remove(x): {item:?} not in list") };
        list(own).0.write().remove(at);
        Ok(Value::None)
    }),
    method("pop", &["index"], 0, |own, given, _| {
        let at = given.option(0).map_or(Ok(-1), |at| integer(&at, "list indices"))?;
        let list = list(own);
        let mut items = list.0.write();
        if items.is_empty() {
            bail!("pop from empty list");
        }
        match position(at, items.len()) {
            Some(at) => Ok(items.remove(at)),
            None => bail!("pop index out of range: {at}"),
        }
    }),
    method("sort", &["*", "key", "reverse"], 0, |own, given, call| {
        if given.has(0) {
            bail!("sort() takes no positional arguments");
        }
        let items = list(own).items();
        let keys = keys(&items, given.option(1), call)?;
        let sorted = sort(items, keys, given.value(2).truthy(), call)?;
        *list(own).0.write() = sorted;
        Ok(Value::None)
    }),
    method("reverse", &[], 0, |own, _, call| {
        call.charge(list(own).len())?;
        list(own).0.write().reverse();
        Ok(Value::None)
    }),
    method("copy", &[], 0, |own, _, call| {
        call.charge(list(own).len())?;
        Ok(Value::list(list(own).items()))
    }),
    method("__setitem__", &["index", "value"], 2, |own, given, _| {
        let at = integer(&given.value(0), "list indices")?;
        let list = list(own);
        let mut items = list.0.write();
        let len = items.len();
        match position(at, len) {
            Some(at) => items[at] = given.value(1),
            None => bail!("list assignment index out of range: {at}, where the length is {len}"),
        }
        Ok(Value::None)
    }),
    method("index", &["value"], 1, place),
    method("count", &["value"], 1, count),
    method("__getitem__", &["index"], 1, |own, given, call| index::index(own, &given.value(0), call)),
];

pub static TUPLE_METHODS: &[Method] = &[
    method("index", &["value"], 1, place),
    method("count", &["value"], 1, count),
    method("__getitem__", &["index"], 1, |own, given, call| index::index(own, &given.value(0), call)),
];

fn list(own: &Value) -> List {
    if let Value::List(list) = own { list.clone() } else { List::default() }
}

fn place(own: &Value, given: &mut Given, call: &mut BuildContext) -> Result<Value> {
    let item = given.value(0);
    let at = find(&own.as_sequence().unwrap_or_default(), &item, call)?;
    at.map(|at| Value::Int(at as i64)).ok_or_else(|| err!("{item:?} is not in {}", own.type_name()))
}

fn count(own: &Value, given: &mut Given, call: &mut BuildContext) -> Result<Value> {
    let (item, mut count) = (given.value(0), 0);
    for other in own.as_sequence().unwrap_or_default() {
        count += i64::from(equal(&other, &item, call)?);
    }
    Ok(Value::Int(count))
}

/// Sort keys `key(item)` of all items.
pub fn keys(items: &[Value], key: Option<Value>, call: &mut BuildContext) -> Result<Option<Vec<Value>>> {
    match key {
        None | Some(Value::None) => Ok(None),
        Some(key) => {
            items.iter().map(|item| key.call(Args::positional([item.clone()]), call)).collect::<Result<_>>().map(Some)
        }
    }
}

fn find(items: &[Value], item: &Value, call: &mut BuildContext) -> Result<Option<usize>> {
    for (at, other) in items.iter().enumerate() {
        if equal(other, item, call)? {
            return Ok(Some(at));
        }
    }
    Ok(None)
}
