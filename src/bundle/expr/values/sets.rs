//! Sets. They cannot be changed in place; their operators and methods make new ones.

use super::iter::collect_keys;
use crate::component::{Args, Call, Key, Value};
use crate::error::Result;
use crate::{bail, err};
use indexmap::IndexSet;

/// Each key once, in CPython's order where all are integers, else in the order of coming.
pub fn ordered(keys: impl IntoIterator<Item = Key>) -> Vec<Key> {
    let keys: IndexSet<Key> = keys.into_iter().collect();
    let whole: Option<Vec<i64>> = keys.iter().map(|key| if let Key::Int(i) = key { Some(*i) } else { None }).collect();
    match whole {
        Some(whole) => table(&whole).into_iter().map(Key::Int).collect(),
        None => keys.into_iter().collect(),
    }
}

/// A set of these keys.
pub fn make(keys: impl IntoIterator<Item = Key>) -> Value {
    Value::Set(ordered(keys).into())
}

/// Python's hash of an int.
pub fn int_hash(i: i64) -> i64 {
    const MODULUS: i64 = (1 << 61) - 1;
    match i % MODULUS {
        -1 => -2,
        hash => hash,
    }
}

/// CPython's open-addressing set: where each integer ends up when inserted in this order.
fn table(keys: &[i64]) -> Vec<i64> {
    let mut slots: Vec<Option<i64>> = vec![None; 8];
    let mut used = 0usize;
    for key in keys {
        place(&mut slots, *key);
        used += 1;
        let mask = slots.len() - 1;
        if used * 5 >= mask * 3 {
            let wanted = if used > 50_000 { used * 2 } else { used * 4 };
            let mut larger = vec![None; (wanted + 1).next_power_of_two().max(8)];
            slots.iter().flatten().for_each(|key| place(&mut larger, *key));
            slots = larger;
        }
    }
    slots.into_iter().flatten().collect()
}

fn place(slots: &mut [Option<i64>], key: i64) {
    const LINEAR_PROBES: usize = 9;
    let mask = slots.len() - 1;
    let hash = int_hash(key) as u64;
    let mut perturb = hash;
    let mut at = hash as usize & mask;
    loop {
        let probes = if at + LINEAR_PROBES <= mask { LINEAR_PROBES } else { 0 };
        if let Some(free) = (at..=at + probes).find(|at| slots[*at].is_none()) {
            slots[free] = Some(key);
            return;
        }
        perturb >>= 5;
        at = at.wrapping_mul(5).wrapping_add(1).wrapping_add(perturb as usize) & mask;
    }
}

/// Operators between two sets; `None` where there is no such operator.
pub fn operator(operator: &str, a: &Value, b: &Value, call: &mut Call) -> Result<Option<Value>> {
    let (Value::Set(a), Value::Set(b)) = (a, b) else { return Ok(None) };
    call.charge(a.len() + b.len())?;
    Ok(Some(match operator {
        "|" | "&" | "-" | "^" => combine(operator, a, b),
        "==" | "!=" | "<=" | ">=" | "<" | ">" => {
            let inside = |a: &[Key], b: &[Key]| {
                let b: IndexSet<&Key> = b.iter().collect();
                a.iter().all(|key| b.contains(key))
            };
            Value::Bool(match operator {
                "==" => a.len() == b.len() && inside(a, b),
                "!=" => a.len() != b.len() || !inside(a, b),
                "<=" => inside(a, b),
                ">=" => inside(b, a),
                "<" => a.len() < b.len() && inside(a, b),
                _ => b.len() < a.len() && inside(b, a),
            })
        }
        _ => return Ok(None),
    }))
}

fn combine(operator: &str, a: &[Key], b: &[Key]) -> Value {
    let (in_a, in_b): (IndexSet<&Key>, IndexSet<&Key>) = (a.iter().collect(), b.iter().collect());
    match operator {
        "|" => make(a.iter().chain(b).cloned()),
        "&" => {
            // CPython walks the smaller one.
            let (short, long) = if b.len() <= a.len() { (b, in_a) } else { (a, in_b) };
            make(short.iter().filter(|key| long.contains(key)).cloned())
        }
        "-" => make(a.iter().filter(|key| !in_b.contains(key)).cloned()),
        _ => {
            let only_b = b.iter().filter(|key| !in_a.contains(key));
            make(a.iter().filter(|key| !in_b.contains(key)).chain(only_b).cloned())
        }
    }
}

pub const METHODS: &[&str] =
    &["union", "intersection", "difference", "symmetric_difference", "issubset", "issuperset", "isdisjoint", "copy"];
/// What Python's sets can and ours cannot.
const CHANGING: &[&str] =
    &["add", "remove", "discard", "pop", "clear", "update", "intersection_update", "difference_update", "symmetric_difference_update"];

pub fn method(keys: &std::sync::Arc<[Key]>, name: &str, args: Args, call: &mut Call) -> Result<Option<Value>> {
    if CHANGING.contains(&name) {
        return Err(err!("sets cannot be changed in place, found `{name}`").hint("make a new set with `|`, `-` or `&`"));
    }
    if !METHODS.contains(&name) {
        return Ok(None);
    }
    if !args.named.is_empty() {
        bail!("{name}() takes no named arguments");
    }
    let own = Value::Set(keys.clone());
    let mut others = Vec::new();
    for other in &args.positional {
        others.push(Value::Set(collect_keys(other, call)?.into()));
    }
    let symbol = match name {
        "copy" => return Ok(Some(own)),
        "union" => "|",
        "intersection" => "&",
        "difference" => "-",
        "symmetric_difference" => "^",
        "issubset" => "<=",
        "issuperset" => ">=",
        _ => "",
    };
    if !matches!(symbol, "|" | "&" | "-") && others.len() != 1 {
        bail!("{name}() takes 1 argument, found {}", others.len());
    }
    if symbol.is_empty() {
        let Some(Value::Set(other)) = others.first() else { return Ok(None) };
        call.charge(keys.len() + other.len())?;
        let other: IndexSet<&Key> = other.iter().collect();
        return Ok(Some(Value::Bool(!keys.iter().any(|key| other.contains(key)))));
    }
    let mut result = own;
    for other in &others {
        result = operator(symbol, &result, other, call)?.unwrap_or(result);
    }
    Ok(Some(result))
}
