//! Sets. They cannot be changed in place; their operators and methods make new ones.

use super::iter::collect_keys;
use crate::component::{Args, BuildContext, Key, Value};
use crate::error::Result;
use crate::{bail, err};
use indexmap::IndexSet;

/// A set of these keys, added one by one.
pub fn make(keys: impl IntoIterator<Item = Key>) -> Value {
    let keys: IndexSet<Key> = keys.into_iter().collect();
    in_order(keys, Table::filled)
}

/// A literal of constants: CPython's compiler makes a frozen set of them, that one anew, and the literal copies it.
pub fn literal(keys: Vec<Key>) -> Value {
    let mut keys: IndexSet<Key> = keys.into_iter().collect();
    for _ in 0..2 {
        if let Value::Set(again) = make(keys.iter().cloned()) {
            keys = again.iter().cloned().collect();
        }
    }
    copied(keys)
}

/// A set as CPython copies one: merged at once into an empty one.
pub fn copied(keys: impl IntoIterator<Item = Key>) -> Value {
    let keys: IndexSet<Key> = keys.into_iter().collect();
    in_order(keys, |keys| {
        let mut table = Table::default();
        table.merge(keys);
        table
    })
}

/// In CPython's order where all keys are integers; else in the order of coming (CPython's order of strings changes from
/// run to run).
fn in_order(keys: IndexSet<Key>, table: impl FnOnce(&[i64]) -> Table) -> Value {
    let whole: Option<Vec<i64>> = keys.iter().map(|key| if let Key::Int(i) = key { Some(*i) } else { None }).collect();
    Value::Set(match whole {
        Some(whole) => table(&whole).slots.into_iter().flatten().map(Key::Int).collect(),
        None => keys.into_iter().collect(),
    })
}

/// Python's hash of an int.
pub fn int_hash(i: i64) -> i64 {
    const MODULUS: i64 = (1 << 61) - 1;
    match i % MODULUS {
        -1 => -2,
        hash => hash,
    }
}

/// CPython's open-addressing table (Objects/setobject.c), whose slots are the order of a set.
struct Table {
    slots: Vec<Option<i64>>,
    used: usize,
}

impl Default for Table {
    fn default() -> Self {
        Table { slots: vec![None; 8], used: 0 }
    }
}

impl Table {
    fn filled(keys: &[i64]) -> Table {
        let mut table = Table::default();
        keys.iter().for_each(|key| table.add(*key));
        table
    }
    /// A new key.
    fn add(&mut self, key: i64) {
        place(&mut self.slots, key);
        self.used += 1;
        if self.used * 5 >= (self.slots.len() - 1) * 3 {
            self.resize(if self.used > 50_000 { self.used * 2 } else { self.used * 4 });
        }
    }
    /// New keys of another set.
    fn merge(&mut self, keys: &[i64]) {
        if (self.used + keys.len()) * 5 >= (self.slots.len() - 1) * 3 {
            self.resize((self.used + keys.len()) * 2);
        }
        if self.used == 0 {
            keys.iter().for_each(|key| place(&mut self.slots, *key));
            self.used = keys.len();
        } else {
            keys.iter().for_each(|key| self.add(*key));
        }
    }
    fn resize(&mut self, wanted: usize) {
        let mut larger = vec![None; (wanted + 1).next_power_of_two().max(8)];
        self.slots.iter().flatten().for_each(|key| place(&mut larger, *key));
        self.slots = larger;
    }
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
pub fn operator(operator: &str, a: &Value, b: &Value, call: &mut BuildContext) -> Result<Option<Value>> {
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
    let only_a = || a.iter().filter(|key| !in_b.contains(key)).cloned();
    let only_b = || b.iter().filter(|key| !in_a.contains(key)).cloned();
    // Which set is copied and which is walked follows CPython, for the order of the result.
    match operator {
        "|" => {
            let of_both: IndexSet<Key> = a.iter().chain(b).cloned().collect();
            in_order(of_both, |keys| {
                let (own, new) = keys.split_at(a.len());
                let mut table = Table::default();
                table.merge(own);
                // The other set is counted with what both have.
                if (table.used + b.len()) * 5 >= (table.slots.len() - 1) * 3 {
                    table.resize((table.used + b.len()) * 2);
                }
                new.iter().for_each(|key| table.add(*key));
                table
            })
        }
        "&" => {
            let (short, long) = if b.len() <= a.len() { (b, in_a) } else { (a, in_b) };
            make(short.iter().filter(|key| long.contains(key)).cloned())
        }
        "-" if a.len() >> 2 > b.len() => match copied(a.iter().cloned()) {
            Value::Set(keys) => Value::Set(keys.iter().filter(|key| !in_b.contains(key)).cloned().collect()),
            other => other,
        },
        "-" => make(only_a()),
        _ => make(only_b().chain(only_a())),
    }
}

pub const METHODS: &[&str] =
    &["union", "intersection", "difference", "symmetric_difference", "issubset", "issuperset", "isdisjoint", "copy"];
/// What Python's sets can and ours cannot.
const CHANGING: &[&str] = &[
    "add",
    "remove",
    "discard",
    "pop",
    "clear",
    "update",
    "intersection_update",
    "difference_update",
    "symmetric_difference_update",
];

pub fn method(keys: &std::sync::Arc<[Key]>, name: &str, args: Args, call: &mut BuildContext) -> Result<Option<Value>> {
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
        "copy" => return Ok(Some(copied(keys.iter().cloned()))),
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
