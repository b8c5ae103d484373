//! Sets, which cannot be modified in place: operators and methods return new ones.

use super::iter::collect_keys;
use crate::component::{BuildContext, Key, Value};
use crate::err;
use crate::error::Result;
use crate::python::given::{Given, Method, method};
use indexmap::IndexSet;

/// Create a set by adding keys one by one.
pub fn make(keys: impl IntoIterator<Item = Key>) -> Value {
    let keys: IndexSet<Key> = keys.into_iter().collect();
    // In CPython's order if all keys are integers; otherwise in insertion order, since the order of strings in CPython
    // differs from run to run.
    let whole: Option<Vec<i64>> = keys.iter().map(|key| if let Key::Int(i) = key { Some(*i) } else { None }).collect();
    Value::Set(match whole {
        Some(whole) => Table::filled(&whole).slots.into_iter().flatten().map(Key::Int).collect(),
        None => keys.into_iter().collect(),
    })
}

/// Python's hash of an int.
fn int_hash(i: i64) -> i64 {
    const MODULUS: i64 = (1 << 61) - 1;
    match i % MODULUS {
        -1 => -2,
        hash => hash,
    }
}

/// CPython's open-addressing hash table (Objects/setobject.c), which determines the order of a set.
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
    /// Insert a new key.
    fn add(&mut self, key: i64) {
        place(&mut self.slots, key);
        self.used += 1;
        if self.used * 5 >= (self.slots.len() - 1) * 3 {
            self.resize(if self.used > 50_000 { self.used * 2 } else { self.used * 4 });
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

/// Operators between two sets; `None` for other operators.
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
    match operator {
        "|" => make(a.iter().chain(b).cloned()),
        "&" => make(a.iter().filter(|key| in_b.contains(key)).cloned()),
        "-" => make(only_a()),
        _ => make(only_b().chain(only_a())),
    }
}

/// Methods of sets; those that modify a set are errors.
pub static METHODS: &[Method<Value>] = &[
    method(&["union"], &["other"], |own, given, call| with("|", own, given, call)),
    method(&["intersection"], &["other"], |own, given, call| with("&", own, given, call)),
    method(&["difference"], &["other"], |own, given, call| with("-", own, given, call)),
    method(&["issubset"], &["other"], |own, given, call| with("<=", own, given, call)),
    method(&["issuperset"], &["other"], |own, given, call| with(">=", own, given, call)),
    method(&["add", "remove", "discard", "update"], &["**"], |_, given, _| {
        let error = err!("sets cannot be modified in place, found `{}`", given.called);
        Err(error.hint("create a new set with `|`, `-` or `&`"))
    }),
];

/// Operator between a set and an iterable.
fn with(symbol: &str, own: &Value, given: &Given, call: &mut BuildContext) -> Result<Value> {
    let other = Value::Set(collect_keys(&given.need(0)?, call)?.into());
    Ok(operator(symbol, own, &other, call)?.unwrap_or_default())
}
