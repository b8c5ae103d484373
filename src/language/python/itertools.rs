//! `itertools`, with lists for iterators. Endless ones (`count`, `cycle`, `repeat` without a number) are left out.

use super::common::{Callable, charge_text, found, iterate, positional, pure, to};
use crate::component::{Args, BuildContext, Declared, Function, Value};
use crate::error::Result;
use crate::{args, bail, err};

pub const FUNCTIONS: &[Function] = &[
    pure("itertools.chain", |args, call| chain("itertools.chain", &positional("itertools.chain", args)?, call)),
    pure("itertools.chain.from_iterable", |args, call| {
        let [lists] = args.expect("itertools.chain.from_iterable", ["iterable"])?;
        let lists = iterate("itertools.chain.from_iterable", &lists, call)?;
        chain("itertools.chain.from_iterable", &lists, call)
    }),
    pure("itertools.product", |mut args, call| {
        let repeat: usize = args.take("repeat").map_or(Ok(1), |n| to("itertools.product: argument `repeat`", &n))?;
        let once = lists("itertools.product", args, call)?;
        call.charge(repeat.saturating_mul(once.len()))?;
        let pools: Vec<&Vec<Value>> = (0..repeat).flat_map(|_| &once).collect();
        let mut rows: Vec<Vec<Value>> = vec![vec![]];
        for pool in pools {
            call.charge(rows.len().saturating_mul(pool.len()).saturating_mul(rows.first().map_or(0, Vec::len) + 1))?;
            rows = rows
                .iter()
                .flat_map(|row| pool.iter().map(|item| [&row[..], std::slice::from_ref(item)].concat()))
                .collect();
        }
        Ok(tuples(rows))
    }),
    pure("itertools.zip_longest", |mut args, call| {
        let fill = args.take("fillvalue").unwrap_or(Value::None);
        let lists = lists("itertools.zip_longest", args, call)?;
        let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
        call.charge(longest.saturating_mul(lists.len()))?;
        Ok(tuples((0..longest).map(|i| lists.iter().map(|list| list.get(i).unwrap_or(&fill).clone()).collect())))
    }),
    pure("itertools.repeat", |args, call| {
        let args = Repeat::parse("itertools.repeat", args)?;
        let times = args.times.max(0) as usize;
        call.charge(times)?;
        Ok(Value::list(vec![args.object; times]))
    }),
    pure("itertools.islice", |args, call| {
        let args = positional("itertools.islice", args)?;
        let bound = |value: &Value| to::<Option<usize>>("itertools.islice", value);
        let (items, start, stop, step) = match &args[..] {
            [items, stop] => (items, None, bound(stop)?, None),
            [items, start, stop] => (items, bound(start)?, bound(stop)?, None),
            [items, start, stop, step] => (items, bound(start)?, bound(stop)?, bound(step)?),
            other => bail!("itertools.islice takes 2 to 4 arguments, found {}", other.len()),
        };
        let step = step.unwrap_or(1);
        if step == 0 {
            bail!("itertools.islice: the step must be at least 1");
        }
        let items = iterate("itertools.islice", items, call)?;
        let stop = stop.unwrap_or(items.len()).min(items.len());
        Ok(Value::list(items[..stop].iter().skip(start.unwrap_or(0)).step_by(step).cloned()))
    }),
    pure("itertools.combinations", |args, call| {
        let [items, r] = args.expect("itertools.combinations", ["iterable", "r"])?;
        choose("itertools.combinations", &items, to("itertools.combinations", &r)?, call, |chosen, next| {
            chosen.last().is_none_or(|last| next > *last)
        })
    }),
    pure("itertools.permutations", |args, call| {
        let args = Permutations::parse("itertools.permutations", args)?;
        let r = match args.r {
            Some(r) => r,
            None => iterate("itertools.permutations", &args.iterable, call)?.len(),
        };
        choose("itertools.permutations", &args.iterable, r, call, |chosen, next| !chosen.contains(&next))
    }),
    pure("itertools.accumulate", |args, call| {
        let args = Accumulate::parse("itertools.accumulate", args)?;
        let items = iterate("itertools.accumulate", &args.iterable, call)?;
        let mut sums: Vec<Value> = args.initial.is_none().then(Vec::new).unwrap_or_else(|| vec![args.initial.clone()]);
        for item in items {
            sums.push(match (sums.last(), &args.func) {
                (None, _) => item,
                (Some(sum), Some(func)) => func.0.call(Args::positional([sum.clone(), item]), call)?,
                (Some(sum), None) => add(sum, &item, call)?,
            });
        }
        Ok(Value::list(sums))
    }),
    pure("itertools.starmap", |args, call| {
        let [function, rows] = args.expect("itertools.starmap", ["function", "iterable"])?;
        let mut results = vec![];
        for row in iterate("itertools.starmap", &rows, call)? {
            let row = iterate("itertools.starmap: an item", &row, call)?;
            results.push(function.call(Args::positional(row), call)?);
        }
        Ok(Value::list(results))
    }),
];

args! {
    struct Repeat {
        object: Value,
        times: i64,
    }
}
args! {
    struct Permutations {
        iterable: Value,
        r: Option<usize> = (),
    }
}
args! {
    struct Accumulate {
        iterable: Value,
        func: Option<Callable> = (),
        initial: Value = (),
    }
}

fn lists(name: &str, args: Args, call: &mut BuildContext) -> Result<Vec<Vec<Value>>> {
    positional(name, args)?.iter().map(|list| iterate(name, list, call)).collect()
}

fn chain(name: &str, lists: &[Value], call: &mut BuildContext) -> Result<Value> {
    let mut all = vec![];
    for list in lists {
        all.extend(iterate(name, list, call)?);
    }
    Ok(Value::list(all))
}

fn tuples(rows: impl IntoIterator<Item = Vec<Value>>) -> Value {
    Value::list(rows.into_iter().map(Value::tuple))
}

/// All ways to take `r` items in order of position, where `fits` allows the next position after those chosen.
fn choose(
    name: &str,
    items: &Value,
    r: usize,
    call: &mut BuildContext,
    fits: fn(&[usize], usize) -> bool,
) -> Result<Value> {
    let items = iterate(name, items, call)?;
    if r > items.len() {
        return Ok(Value::list([]));
    }
    let mut rows: Vec<Vec<usize>> = vec![vec![]];
    for _ in 0..r {
        let mut longer = vec![];
        for row in &rows {
            for next in 0..items.len() {
                call.charge(1)?;
                if fits(row, next) {
                    call.charge(row.len() + 1)?;
                    longer.push([&row[..], &[next]].concat());
                }
            }
        }
        rows = longer;
    }
    Ok(tuples(rows.into_iter().map(|row| row.into_iter().map(|i| items[i].clone()).collect())))
}

fn add(a: &Value, b: &Value, call: &mut BuildContext) -> Result<Value> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => {
            Ok(Value::Int(a.checked_add(*b).ok_or_else(|| err!("itertools.accumulate: beyond 64-bit integers"))?))
        }
        (Value::Int(_) | Value::Float(_), Value::Int(_) | Value::Float(_)) => {
            Ok(Value::Float(to::<f64>("itertools.accumulate", a)? + to::<f64>("itertools.accumulate", b)?))
        }
        (Value::Str(a), Value::Str(b)) => {
            charge_text(call, a.len() + b.len())?;
            Ok(format!("{a}{b}").into())
        }
        _ => bail!("itertools.accumulate: cannot add {} and {}", found(a), found(b)),
    }
}
