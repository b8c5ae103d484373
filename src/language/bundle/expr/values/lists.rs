//! Methods of lists and tuples.

use super::compare::{equal, sort};
use super::iter::collect;
use super::{as_integer, index, integer, position, take};
use crate::component::{Args, BuildContext, List, Value};
use crate::error::Result;
use crate::{bail, err};

pub const LIST_METHODS: &[&str] = &[
    "append",
    "extend",
    "insert",
    "remove",
    "pop",
    "clear",
    "index",
    "count",
    "sort",
    "reverse",
    "copy",
    "__getitem__",
    "__setitem__",
    "__len__",
    "__contains__",
];
pub const TUPLE_METHODS: &[&str] = &["index", "count", "__getitem__", "__len__", "__contains__"];

/// `None` if lists have no such method.
pub fn list_method(list: &List, name: &str, args: Args, call: &mut BuildContext) -> Result<Option<Value>> {
    let nothing = Ok(Some(Value::None));
    match name {
        "append" => {
            let [item] = given(args, name, ["object"])?;
            call.charge(1)?;
            list.0.write().push(item);
            nothing
        }
        "extend" => {
            let [items] = given(args, name, ["iterable"])?;
            let items = collect(&items, call)?;
            list.0.write().extend(items);
            nothing
        }
        "insert" => {
            let [at, item] = given(args, name, ["index", "object"])?;
            let at = integer(&at, "list indices")?;
            let mut items = list.0.write();
            let len = items.len() as i64;
            call.charge(items.len() / 16 + 1)?;
            let at = if at < 0 { (at + len).max(0) } else { at.min(len) };
            items.insert(at as usize, item);
            nothing
        }
        "remove" => {
            let [item] = given(args, name, ["value"])?;
            let Some(at) = find(&list.items(), &item, call)? else { bail!("list.remove(x): {item:?} not in list") };
            list.0.write().remove(at);
            nothing
        }
        "pop" => {
            let [at] = take(args, name, ["index"], 0)?;
            let at = at.map_or(Ok(-1), |at| integer(&at, "list indices"))?;
            let mut items = list.0.write();
            if items.is_empty() {
                bail!("pop from empty list");
            }
            match position(at, items.len()) {
                Some(at) => Ok(Some(items.remove(at))),
                None => bail!("pop index out of range: {at}"),
            }
        }
        "clear" => {
            let [] = given(args, name, [])?;
            let items = std::mem::take(&mut *list.0.write());
            drop(items);
            nothing
        }
        "sort" => {
            let mut args = args;
            if !args.positional.is_empty() {
                bail!("sort() takes no positional arguments");
            }
            let key = args.take("key");
            let reverse = args.take("reverse").is_some_and(|reverse| reverse.truthy());
            let [] = given(args, name, [])?;
            let items = list.items();
            let keys = keys(&items, key, call)?;
            let sorted = sort(items, keys, reverse, call)?;
            *list.0.write() = sorted;
            nothing
        }
        "reverse" => {
            let [] = given(args, name, [])?;
            call.charge(list.len())?;
            list.0.write().reverse();
            nothing
        }
        "copy" => {
            let [] = given(args, name, [])?;
            call.charge(list.len())?;
            Ok(Some(Value::list(list.items())))
        }
        "__setitem__" => {
            let [at, value] = given(args, name, ["index", "value"])?;
            set_item(list, &at, value)?;
            nothing
        }
        _ => sequence_method(&Value::List(list.clone()), name, args, call),
    }
}

/// What lists and tuples share.
pub fn sequence_method(sequence: &Value, name: &str, args: Args, call: &mut BuildContext) -> Result<Option<Value>> {
    match name {
        "index" => {
            let [item, start, stop] = take(args, name, ["value", "start", "stop"], 1)?;
            let items = sequence.as_sequence().unwrap_or_default();
            let part = [as_part(start)?, as_part(stop)?, None];
            let (first, _, count) = index::bounds(&part, items.len())?;
            let item = item.unwrap_or(Value::None);
            let (first, kind) = (first as usize, sequence.type_name());
            match find(items.get(first..first + count).unwrap_or_default(), &item, call)? {
                Some(at) => Ok(Some(Value::Int((first + at) as i64))),
                None => Err(err!("{item:?} is not in {kind}")),
            }
        }
        "count" => {
            let [item] = given(args, name, ["value"])?;
            let mut count = 0;
            for other in sequence.as_sequence().unwrap_or_default() {
                count += i64::from(equal(&other, &item, call)?);
            }
            Ok(Some(Value::Int(count)))
        }
        "__getitem__" => {
            let [at] = given(args, name, ["index"])?;
            index::index(sequence, &at, call).map(Some)
        }
        "__len__" => Ok(Some(Value::Int(sequence.as_sequence().map_or(0, |items| items.len()) as i64))),
        "__contains__" => {
            let [item] = given(args, name, ["value"])?;
            super::compare::contains(sequence, &item, call).map(|found| Some(Value::Bool(found)))
        }
        _ => Ok(None),
    }
}

/// `list[at] = value`
pub fn set_item(list: &List, at: &Value, value: Value) -> Result<()> {
    let at = integer(at, "list indices")?;
    let mut items = list.0.write();
    let len = items.len();
    match position(at, len) {
        Some(at) => {
            items[at] = value;
            Ok(())
        }
        None => bail!("list assignment index out of range: {at}, where the length is {len}"),
    }
}

/// The sort keys: `key(item)` of each item.
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

fn as_part(value: Option<Value>) -> Result<Option<i64>> {
    match value {
        None | Some(Value::None) => Ok(None),
        Some(value) => as_integer(&value)
            .map(Some)
            .ok_or_else(|| err!("slice indices must be integers, not {}", value.type_name())),
    }
}

/// Exactly these arguments.
pub fn given<const N: usize>(args: Args, function: &str, names: [&str; N]) -> Result<[Value; N]> {
    Ok(take(args, function, names, N)?.map(Option::unwrap_or_default))
}
