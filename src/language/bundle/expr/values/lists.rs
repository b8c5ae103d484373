//! Methods of lists and tuples.

use super::compare::equal;
use super::iter::collect;
use super::{index, position};
use crate::component::{Args, BuildContext, List, Value};
use crate::error::Result;
use crate::python::given::{Method, method};
use crate::{bail, err};

pub static LIST_METHODS: &[Method<Value>] = &[
    method(&["append"], &["object"], |own, given, call| {
        call.charge(1)?;
        list(own).0.write().push(given.need(0)?);
        Ok(Value::None)
    }),
    method(&["extend"], &["iterable"], |own, given, call| {
        let items = collect(&given.need(0)?, call)?;
        list(own).0.write().extend(items);
        Ok(Value::None)
    }),
    method(&["pop"], &["index"], |own, given, _| {
        let at = given.get(0)?.unwrap_or(-1);
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
    method(&["copy"], &[], |own, _, call| {
        call.charge(list(own).len())?;
        Ok(Value::list(list(own).items()))
    }),
    INDEX,
    COUNT,
    index::METHOD,
];

pub static TUPLE_METHODS: &[Method<Value>] = &[INDEX, COUNT, index::METHOD];

const INDEX: Method<Value> = method(&["index"], &["value"], |own, given, call| {
    let item = given.need(0)?;
    for (at, other) in own.as_sequence().unwrap_or_default().iter().enumerate() {
        if equal(other, &item, call)? {
            return Ok(Value::Int(at as i64));
        }
    }
    Err(err!("{item:?} is not in {}", own.type_name()))
});

const COUNT: Method<Value> = method(&["count"], &["value"], |own, given, call| {
    let (item, mut count) = (given.need(0)?, 0);
    for other in own.as_sequence().unwrap_or_default() {
        count += i64::from(equal(&other, &item, call)?);
    }
    Ok(Value::Int(count))
});

fn list(own: &Value) -> List {
    if let Value::List(list) = own { list.clone() } else { List::default() }
}

/// Sort keys `key(item)` of all items.
pub fn keys(items: &[Value], key: Option<Value>, call: &mut BuildContext) -> Result<Option<Vec<Value>>> {
    let Some(key) = key.filter(|key| !key.is_none()) else { return Ok(None) };
    items.iter().map(|item| key.call(Args::positional([item.clone()]), call)).collect::<Result<_>>().map(Some)
}
