//! `math`. Domain errors are errors as in Python, not NaN.

use super::common::{iterate, one, positional, pure, to, wrong};
use crate::component::{Args, BuildContext, Declared, FromValue, Function, Value};
use crate::error::{Kind, Result};
use crate::{args, err};

pub const CONSTANTS: super::common::Constants = &[
    ("math.pi", || std::f64::consts::PI.into()),
    ("math.tau", || std::f64::consts::TAU.into()),
    ("math.e", || std::f64::consts::E.into()),
    ("math.inf", || f64::INFINITY.into()),
    ("math.nan", || f64::NAN.into()),
];

/// One float to one float; NaN from a number that is none is Python's "math domain error", infinity its range error.
macro_rules! float {
    ($path:literal, $f:expr) => {
        pure($path, |args, _| {
            let x: f64 = one($path, "x", args)?;
            let f: fn(f64) -> f64 = $f;
            checked($path, f(x), x.is_finite(), x.is_nan()).map(Value::Float)
        })
    };
}
/// Two floats to one.
macro_rules! float2 {
    ($path:literal, $f:expr) => {
        pure($path, |args, _| {
            let [x, y] = args.expect($path, ["x", "y"])?;
            let (x, y): (f64, f64) = (to($path, &x)?, to($path, &y)?);
            let f: fn(f64, f64) -> f64 = $f;
            checked($path, f(x, y), x.is_finite() && y.is_finite(), x.is_nan() || y.is_nan()).map(Value::Float)
        })
    };
}
/// One float to a bool.
macro_rules! test {
    ($path:literal, $f:expr) => {
        pure($path, |args, _| {
            let x: f64 = one($path, "x", args)?;
            let f: fn(f64) -> bool = $f;
            Ok(f(x).into())
        })
    };
}
/// One float to an int; an int stays itself.
macro_rules! whole {
    ($path:literal, $f:expr) => {
        pure($path, |args, _| {
            let [x] = args.expect($path, ["x"])?;
            if let Some(i) = i64::from_value(&x) {
                return Ok(Value::Int(i));
            }
            let f: fn(f64) -> f64 = $f;
            to_int($path, f(to($path, &x)?))
        })
    };
}

pub const FUNCTIONS: &[Function] = &[
    float!("math.sqrt", f64::sqrt),
    float!("math.cbrt", f64::cbrt),
    float!("math.exp", f64::exp),
    float!("math.exp2", f64::exp2),
    float!("math.expm1", f64::exp_m1),
    float!("math.log2", |x| if x > 0.0 || x.is_nan() { x.log2() } else { f64::NAN }),
    float!("math.log10", |x| if x > 0.0 || x.is_nan() { x.log10() } else { f64::NAN }),
    float!("math.log1p", |x| if x > -1.0 || x.is_nan() { x.ln_1p() } else { f64::NAN }),
    float!("math.sin", f64::sin),
    float!("math.cos", f64::cos),
    float!("math.tan", f64::tan),
    float!("math.asin", f64::asin),
    float!("math.acos", f64::acos),
    float!("math.atan", f64::atan),
    float!("math.sinh", f64::sinh),
    float!("math.cosh", f64::cosh),
    float!("math.tanh", f64::tanh),
    float!("math.asinh", f64::asinh),
    float!("math.acosh", f64::acosh),
    float!("math.atanh", f64::atanh),
    float!("math.degrees", f64::to_degrees),
    float!("math.radians", f64::to_radians),
    float!("math.fabs", f64::abs),
    float2!("math.atan2", f64::atan2),
    float2!("math.fmod", |x, y| x % y),
    float2!("math.copysign", f64::copysign),
    float2!("math.remainder", remainder),
    float2!("math.pow", |x, y| if x == 0.0 && y < 0.0 { f64::NAN } else { x.powf(y) }),
    test!("math.isnan", f64::is_nan),
    test!("math.isinf", f64::is_infinite),
    test!("math.isfinite", f64::is_finite),
    whole!("math.floor", f64::floor),
    whole!("math.ceil", f64::ceil),
    whole!("math.trunc", f64::trunc),
    pure("math.log", log),
    pure("math.isclose", |args, _| {
        let IsClose { a, b, rel_tol, abs_tol } = IsClose::parse("math.isclose", args)?;
        let bound = (rel_tol * a.abs().max(b.abs())).max(abs_tol);
        Ok((a == b || a.is_finite() && b.is_finite() && (a - b).abs() <= bound).into())
    }),
    pure("math.gcd", |args, _| {
        let values = integers("math.gcd", args)?;
        int("math.gcd", Some(values.into_iter().fold(0, gcd)))
    }),
    pure("math.lcm", |args, _| {
        let values = integers("math.lcm", args)?;
        int(
            "math.lcm",
            values
                .into_iter()
                .try_fold(1, |a, b| if a == 0 || b == 0 { Some(0) } else { (a / gcd(a, b)).checked_mul(b) }),
        )
    }),
    pure("math.factorial", |args, _| {
        let n: i64 = one("math.factorial", "n", args)?;
        if n < 0 {
            return Err(err!("math.factorial: expected an int of at least 0, found {n}").kind(Kind::Config));
        }
        int("math.factorial", if n > 20 { None } else { (1..=n as u64).try_fold(1u64, u64::checked_mul) })
    }),
    pure("math.comb", |args, _| {
        let [n, k] = args.expect("math.comb", ["n", "k"])?;
        let (n, k): (usize, usize) = (to("math.comb", &n)?, to("math.comb", &k)?);
        let k = if k > n { return Ok(Value::Int(0)) } else { k.min(n - k) };
        // C(n, k) with k > 66 and n ≥ 2k is beyond 64 bits.
        let steps = if k > 66 {
            None
        } else {
            (0..k as u128).try_fold(1u128, |c, i| Some(c.checked_mul(n as u128 - i)? / (i + 1)))
        };
        int("math.comb", steps.and_then(|c| u64::try_from(c).ok()))
    }),
    pure("math.isqrt", |args, _| {
        let n: usize = one("math.isqrt", "n", args)?;
        int("math.isqrt", Some(n.isqrt() as u64))
    }),
    pure("math.fsum", |args, call| {
        let values = floats("math.fsum", args, "seq", call)?;
        Ok(Value::Float(exact_sum(&values)))
    }),
    pure("math.prod", |args, call| {
        let Prod { iterable, start } = Prod::parse("math.prod", args)?;
        let items = iterate("math.prod", &iterable, call)?;
        let whole = items.iter().chain([&start]).all(|item| i64::from_value(item).is_some());
        if whole {
            let product = items.iter().chain([&start]).filter_map(i64::from_value).try_fold(1i64, i64::checked_mul);
            return product.map(Value::Int).ok_or_else(|| too_large("math.prod"));
        }
        items
            .iter()
            .try_fold(to("math.prod", &start)?, |p, item| Ok(p * to::<f64>("math.prod", item)?))
            .map(Value::Float)
    }),
    pure("math.hypot", |args, _| {
        let values: Vec<f64> =
            positional("math.hypot", args)?.iter().map(|x| to("math.hypot", x)).collect::<Result<_>>()?;
        Ok(Value::Float(values.into_iter().fold(0.0, f64::hypot)))
    }),
    pure("math.dist", |args, call| {
        let [p, q] = args.expect("math.dist", ["p", "q"])?;
        let read = |value: &Value, call: &mut BuildContext| {
            iterate("math.dist", value, call)?.iter().map(|x| to("math.dist", x)).collect::<Result<Vec<f64>>>()
        };
        let (p, q) = (read(&p, call)?, read(&q, call)?);
        if p.len() != q.len() {
            return Err(err!("math.dist: points of {} and {} coordinates", p.len(), q.len()).kind(Kind::Config));
        }
        Ok(Value::Float(p.iter().zip(&q).fold(0.0, |sum: f64, (a, b)| sum.hypot(a - b))))
    }),
    pure("math.modf", |args, _| {
        let x: f64 = one("math.modf", "x", args)?;
        let fraction = if x.is_infinite() { 0f64.copysign(x) } else { x.fract() };
        Ok(Value::tuple([fraction.into(), x.trunc().into()]))
    }),
];

args! {
    struct IsClose {
        a: f64,
        b: f64,
        rel_tol: f64 = 1e-9,
        abs_tol: f64 = 0.0,
    }
}
args! {
    struct Prod {
        iterable: Value,
        start: Value = 1,
    }
}

fn checked(name: &str, result: f64, finite: bool, nan: bool) -> Result<f64> {
    if result.is_nan() && !nan {
        return Err(err!("{name}: math domain error").kind(Kind::Config));
    }
    if result.is_infinite() && finite {
        let domain = matches!(name, "math.atanh");
        return Err(err!("{name}: math {} error", if domain { "domain" } else { "range" }).kind(Kind::Config));
    }
    Ok(result)
}

/// A whole float as an int.
pub fn to_int(name: &str, x: f64) -> Result<Value> {
    // 2^63 is the first float beyond.
    if x.is_finite() && (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&x) {
        return Ok(Value::Int(x as i64));
    }
    Err(err!("{name}: cannot convert {:?} to a 64-bit integer", Value::Float(x)).kind(Kind::Config))
}

fn too_large(name: &str) -> crate::error::Error {
    err!("{name}: the result is beyond 64-bit integers").kind(Kind::Config)
}

fn int(name: &str, value: Option<u64>) -> Result<Value> {
    value.and_then(|i| i64::try_from(i).ok()).map(Value::Int).ok_or_else(|| too_large(name))
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn integers(name: &str, args: Args) -> Result<Vec<u64>> {
    positional(name, args)?.iter().map(|x| to::<i64>(name, x).map(i64::unsigned_abs)).collect()
}

fn floats(name: &str, args: Args, argument: &str, call: &mut BuildContext) -> Result<Vec<f64>> {
    let [items] = args.expect(name, [argument])?;
    iterate(name, &items, call)?.iter().map(|x| to(name, x)).collect()
}

fn log(args: Args, _: &mut BuildContext) -> Result<Value> {
    let values = positional("math.log", args)?;
    let ln = |value: &Value| match to::<f64>("math.log", value)? {
        x if x > 0.0 || x.is_nan() => Ok(x.ln()),
        _ => Err(err!("math.log: math domain error").kind(Kind::Config)),
    };
    match &values[..] {
        [x] => Ok(Value::Float(ln(x)?)),
        [x, base] => match ln(base)? {
            0.0 => Err(err!("math.log: division by zero").kind(Kind::Config)),
            base => Ok(Value::Float(ln(x)? / base)),
        },
        _ => Err(wrong("math.log", "x and an optional base", &Value::tuple(values))),
    }
}

/// IEEE remainder: x − y·(x/y rounded to even).
fn remainder(x: f64, y: f64) -> f64 {
    if y.is_infinite() && x.is_finite() {
        return x;
    }
    let y = y.abs();
    let r = x.abs() % y;
    // r and y − r are exact near the half.
    let rest = y - r;
    let signed = if r < rest {
        r
    } else if r > rest {
        -rest
    } else if (x.abs() - r) / y % 2.0 == 0.0 {
        r
    } else {
        -rest
    };
    signed.copysign(if signed == 0.0 { x } else { signed * x.signum() })
}

/// Shewchuk's exact summation, rounded once at the end.
fn exact_sum(values: &[f64]) -> f64 {
    let mut partials: Vec<f64> = vec![];
    let mut special = 0.0;
    for &value in values {
        if !value.is_finite() {
            special += value;
            continue;
        }
        let mut x = value;
        let mut kept = 0;
        for i in 0..partials.len() {
            let mut y = partials[i];
            if x.abs() < y.abs() {
                std::mem::swap(&mut x, &mut y);
            }
            let high = x + y;
            let low = y - (high - x);
            if low != 0.0 {
                partials[kept] = low;
                kept += 1;
            }
            x = high;
        }
        partials.truncate(kept);
        partials.push(x);
    }
    if special != 0.0 || special.is_nan() {
        return special;
    }
    // Largest first; the first inexact addition decides, with a correction for ties.
    let mut sum = partials.pop().unwrap_or(0.0);
    let mut low = 0.0;
    while let Some(y) = partials.pop() {
        let x = sum;
        sum = x + y;
        low = y - (sum - x);
        if low != 0.0 {
            break;
        }
    }
    if let Some(&next) = partials.last()
        && (low < 0.0 && next < 0.0 || low > 0.0 && next > 0.0)
    {
        let y = low * 2.0;
        let x = sum + y;
        if y == x - sum {
            sum = x;
        }
    }
    sum
}
