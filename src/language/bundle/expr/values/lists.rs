//! Methods of lists and tuples.

use super::compare::equal;
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
    method("copy", &[], 0, |own, _, call| {
        call.charge(list(own).len())?;
        Ok(Value::list(list(own).items()))
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
